package isolationtest

import (
	"time"

	"berth/fault"
	"berth/task"
)

// statsOfOne reads what one of two containers uses.
func statsOfOne(b *bench) {
	_, err := b.rt.Stats(b.ctx(), b.id, "busy")
	b.wantKind("Stats before Provision", err, fault.NotFound)
	b.run("busy", "spin", "1h")
	b.create("idle", "sleep", "1h")
	b.start("idle")
	read := func(container string) task.ContainerStats {
		b.Helper()
		s, err := b.rt.Stats(b.ctx(), b.id, container)
		if err != nil {
			b.Fatalf("Stats of %s: %v", container, err)
		}
		return s
	}
	first := read("busy")
	second := first
	for deadline := time.Now().Add(patience); second.CPUNanos <= first.CPUNanos+uint64(200*time.Millisecond); second = read("busy") {
		if time.Now().After(deadline) {
			b.Fatalf("it spins and uses no CPU: %+v, then %+v", first, second)
		}
		b.quiet("busy", 10*time.Millisecond)
	}
	if second.PIDs == 0 || second.MemoryBytes == 0 || second.PIDsLimit == 0 || second.HostCPUs == 0 || second.HostCPUNanos < second.CPUNanos ||
		second.HostCPUNanos <= first.HostCPUNanos || !second.At.After(first.At) {
		b.Errorf("%+v, then %+v", first, second)
	}
	if limit := uint64(b.sandbox().Size.Memory) << 20; second.MemoryLimitBytes != limit {
		b.Errorf("the limit of memory is %d, want the task's %d", second.MemoryLimitBytes, limit)
	}
	if idle := read("idle"); !b.oneKernel() && (idle.PIDs == 0 || idle.CPUNanos >= read("busy").CPUNanos) {
		b.Errorf("of the other container: %+v", idle)
	}
	_, err = b.rt.Stats(b.ctx(), b.id, "nobody")
	b.wantKind("Stats of a container that is not there", err, fault.NotFound)
	b.remove()
	_, err = b.rt.Stats(b.ctx(), b.id, "busy")
	b.wantKind("Stats after Remove", err, fault.NotFound)
}
