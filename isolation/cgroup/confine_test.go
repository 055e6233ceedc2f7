//go:build e2e

package cgroup

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Ensure a task moves with all that is in it when the CPUs change that it is kept to, also
// what is made in it meanwhile.
func TestConfine(t *testing.T) {
	tree, id := newTree(t)
	if !tree.Confines() || runtime.NumCPU() < 2 {
		t.Fatalf("this test needs two CPUs and the controller cpuset, of %s", tree.Layout())
	}
	all := strings.TrimSpace(readFile(t, "/sys/devices/system/cpu/online"))
	if err := tree.Confine(id, "1", all); err != nil || tree.Exists(id) {
		t.Fatalf("a task that is not there: %v, made: %v", err, tree.Exists(id))
	}
	if err := tree.Create(id, Limits{CPU: 1024, Memory: 64, PIDs: 50}); err != nil {
		t.Fatal(err)
	}
	spin := spawn(t, tree, id, "spin", `while :; do :; done`)
	defer func() { _, _ = spin.Process.Kill(), spin.Wait() }()
	for _, cpus := range []string{"1", "1", "0", all} {
		if err := tree.Confine(id, cpus, all); err != nil {
			t.Fatal(err)
		}
		container := tree.dir("cpuset", id, "spin")
		if err := os.MkdirAll(container, 0o755); err != nil {
			t.Fatal(err)
		}
		if !tree.layout.unified { // as a runtime does
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				if err := write(filepath.Join(container, file), strings.TrimSpace(readFile(t, tree.dir("cpuset", id)+"/"+file))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := write(container+"/cgroup.procs", strconv.Itoa(spin.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		for _, path := range [][]string{{id}, {id, "spin"}} {
			if got, err := tree.cpus(path...); err != nil || got != cpus {
				t.Errorf("kept to %s, %v has CPUs %q, %v", cpus, path, got, err)
			}
		}
		var mask unix.CPUSet
		if err := unix.SchedGetaffinity(spin.Process.Pid, &mask); err != nil {
			t.Fatal(err)
		}
		for cpu := range 2 {
			if want := strings.Contains(cpus, strconv.Itoa(cpu)) || cpus == all; mask.IsSet(cpu) != want {
				t.Errorf("kept to %s, the process may run on CPU %d: %v", cpus, cpu, !want)
			}
		}
	}
	if l, err := tree.Inspect(id, "spin"); err != nil || l.CPUs != all {
		t.Errorf("Inspect says CPUs %q, %v; want %s", l.CPUs, err, all)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
