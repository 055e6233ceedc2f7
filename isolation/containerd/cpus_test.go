//go:build e2e

package containerd_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation"
	"berth/task"
)

// cpus returns the CPUs that the task's one container may use, as the kernel has it.
func (b *box) cpus() unix.CPUSet {
	b.Helper()
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(b.main().HostPID, &mask); err != nil {
		b.Fatal(err)
	}
	return mask
}

// Ensure a task of a whole CPU has it to itself, that others come back to it when it goes,
// and that a server that starts again knows.
func TestOwnCPUs(t *testing.T) {
	all := runtime.NumCPU()
	if all == 1 {
		t.Fatal("nothing can be had to oneself on a host with one CPU")
	}
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	of := func(cpu int) isolation.Sandbox { return isolation.Sandbox{Size: task.Size{CPU: cpu, Memory: 512}} }
	half, _ := newBoxOf(t, rt, of(512))
	half.run(isolation.Container{Name: "main", Command: []string{"sleep", "1h"}})
	if got := half.cpus(); got.Count() != all {
		t.Errorf("half a CPU alone may run on %d CPUs", got.Count())
	}
	one, _ := newBoxOf(t, rt, of(1024))
	one.run(isolation.Container{Name: "main", Command: []string{"sleep", "1h"}})
	check := func(when string) {
		t.Helper()
		own, rest := one.cpus(), half.cpus()
		if own.Count() != 1 || rest.Count() != all-1 {
			t.Errorf("%s a task of one CPU may run on %d, one of half a CPU on %d", when, own.Count(), rest.Count())
		}
		for cpu := range all {
			if own.IsSet(cpu) && rest.IsSet(cpu) {
				t.Errorf("%s both may run on CPU %d", when, cpu)
			}
		}
	}
	check("at first")
	if rt, err = shared.open(); err != nil {
		t.Fatal(err)
	}
	one.rt, half.rt = rt, rt
	check("after the server started again")
	if err := rt.Remove(t.Context(), one.id); err != nil {
		t.Fatal(err)
	}
	if got := half.cpus(); got.Count() != all {
		t.Errorf("half a CPU alone again may run on %d CPUs", got.Count())
	}

	config := shared.config
	config.ShareCPUs = true
	if rt, err = shared.openWith(config); err != nil {
		t.Fatal(err)
	}
	other, _ := newBoxOf(t, rt, of(1024))
	other.run(isolation.Container{Name: "main", Command: []string{"sleep", "1h"}})
	if got := other.cpus(); got.Count() != all {
		t.Errorf("where CPUs are shared, a task of one may run on %d", got.Count())
	}
}
