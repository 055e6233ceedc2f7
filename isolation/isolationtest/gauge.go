package isolationtest

import (
	"context"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// gauge reads the counters of one world, also after another one of the same
// name took its place.
type gauge struct {
	f  *Fake
	id task.ID
	w  *world
}

// Gauge implements isolation.Runtime.
func (f *Fake) Gauge(_ context.Context, id task.ID) (isolation.Gauge, error) {
	f.mu.Lock()
	w := f.worlds[id]
	there := w != nil && w.provisioned
	f.mu.Unlock()
	if !there {
		return nil, fault.New(fault.NotFound, "task %s is not provisioned", id)
	}
	if err := f.fail("gauge", id); err != nil {
		return nil, err
	}
	return &gauge{f: f, id: id, w: w}, nil
}

// Read implements isolation.Gauge.
func (g *gauge) Read() (task.Counters, error) {
	g.f.mu.Lock()
	w := g.w
	if g.f.worlds[g.id] != w || !w.provisioned {
		g.f.mu.Unlock()
		return task.Counters{}, fault.New(fault.NotFound, "task %s was removed", g.id)
	}
	ran, running := w.ran, uint64(0)
	for _, c := range w.containers {
		if c.running() {
			running++
			ran += time.Since(c.started)
		}
	}
	s, ooms := w.sandbox, w.ooms
	g.f.mu.Unlock()

	if g.f.Usage != nil {
		return g.f.Usage(s, ran), nil
	}
	memory := uint64(s.Size.Memory) << 20
	c := task.Counters{
		CPUNanos: uint64(ran) * uint64(s.Size.CPU) / 1024,
		PIDs:     running,
		OOMKills: ooms,
	}
	if ran > 0 {
		c.MemoryPeakBytes = memory / 2
	}
	if running > 0 {
		c.MemoryBytes, c.WorkingSetBytes = memory/2, memory/2
	}
	if ooms > 0 {
		c.MemoryPeakBytes = memory
	}
	return c, nil
}

// Close implements isolation.Gauge.
func (g *gauge) Close() error { return nil }

// Stats implements isolation.Runtime. A container uses all the CPU and half the
// memory that its task has.
func (f *Fake) Stats(_ context.Context, id task.ID, name string) (task.ContainerStats, error) {
	f.mu.Lock()
	w, c := f.find(process{id, name})
	if c == nil || !w.provisioned || !c.running() {
		f.mu.Unlock()
		return task.ContainerStats{}, fault.New(fault.NotFound, "container %s of task %s has no counters", name, id)
	}
	ran, size := time.Since(c.started), w.sandbox.Size
	f.mu.Unlock()
	used := uint64(ran) * uint64(size.CPU) / 1024
	memory := uint64(size.Memory) << 20
	return task.ContainerStats{
		At: time.Now(), CPUNanos: used, UserNanos: used, HostCPUNanos: uint64(ran), HostCPUs: 1,
		MemoryBytes: memory / 2, MemoryPeakBytes: memory / 2, MemoryLimitBytes: memory,
		PIDs: 1, PIDsLimit: 2048,
	}, f.fail("stats", id)
}
