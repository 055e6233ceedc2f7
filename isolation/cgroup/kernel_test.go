//go:build e2e

package cgroup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

// These tests need root and the kernel's cgroups.

func newTree(t testing.TB) (*Tree, string) {
	t.Helper()
	tree, err := Open("/berth-test-" + string(task.NewID())[20:])
	if err != nil {
		t.Fatal(err)
	}
	id := string(task.NewID())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for range 2 {
			for _, err := range []error{tree.Kill(ctx, id), tree.Remove(ctx, id), tree.Close(ctx)} {
				if err != nil {
					t.Error(err)
				}
			}
		}
		for _, mount := range tree.layout.mounts {
			if _, err := os.Stat(mount + tree.parent); err == nil {
				t.Errorf("%s%s is left", mount, tree.parent)
			}
		}
	})
	return tree, id
}

// spawn runs a shell command in a child cgroup of the task.
func spawn(t *testing.T, tree *Tree, id, child, script string) *exec.Cmd {
	t.Helper()
	controllers := needed1
	if tree.layout.unified {
		controllers = []string{"cpu"}
	}
	join := ""
	for _, c := range controllers {
		dir := tree.dir(c, id, child)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		join += "echo $$ > " + dir + "/cgroup.procs && "
	}
	cmd := exec.Command("/bin/sh", "-c", join+script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestALife(t *testing.T) {
	tree, id := newTree(t)
	t.Log(tree.Layout())
	if _, err := tree.Gauge(id, ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Gauge of nothing: %v", err)
	}
	for range 2 {
		if err := tree.Create(id, Limits{CPU: 512, Memory: 64, PIDs: 50}); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := tree.List(); err != nil || !slices.Contains(names, id) {
		t.Errorf("List = %v, %v", names, err)
	}
	g, err := tree.Gauge(id, "/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if c, err := g.Read(); err != nil || c.CPUNanos != 0 || c.PIDs != 0 {
		t.Errorf("before: %+v, %v", c, err)
	}

	// A hog in one container: killed, and counted, even after its cgroup is gone.
	hog := spawn(t, tree, id, "hog", `exec dd if=/dev/zero of=/dev/null bs=200M count=1`)
	if err := hog.Wait(); err == nil {
		t.Error("the hog was not killed")
	}
	n, err := tree.OOMKills(id, "hog")
	if err != nil || n != 1 {
		t.Errorf("OOMKills = %d, %v; want 1", n, err)
	}
	var before task.Counters
	for range rareEvery { // Not everything is read every time.
		if before, err = g.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if before.OOMKills != 1 || before.MemoryPeakBytes != 64<<20 || before.CPUNanos == 0 {
		t.Errorf("after the hog: %+v, %v", before, err)
	}
	for _, mount := range tree.layout.mounts {
		_ = os.Remove(filepath.Join(mount+tree.Path(id), "hog"))
	}
	if c, err := g.Read(); err != nil || c.OOMKills != 1 || c.CPUNanos < before.CPUNanos {
		t.Errorf("after the hog's cgroup is gone: %+v, %v", c, err)
	}

	// A fork bomb and a spinner: held back, and then ended all at once.
	spin := spawn(t, tree, id, "spin", `while :; do :; done`)
	if err := tree.Throttle(id, "spin", 512); err != nil {
		t.Fatal(err)
	}
	bomb := spawn(t, tree, id, "bomb", `b() { b | b & }; b; sleep 100`) // A shell that cannot fork may end.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := g.Read()
		if err != nil || c.PIDs > 50 || time.Now().After(deadline) {
			t.Fatalf("during the bomb: %+v, %v; want throttling and at most 50 processes", c, err)
		}
		if c.ThrottledPeriods > 0 && c.ThrottledNanos > 0 && c.PIDs > 10 {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := tree.Kill(ctx, id); err != nil {
		t.Error(err)
	}
	_, _ = bomb.Wait(), spin.Wait()
	// The host's init has yet to reap what lost its parent.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := g.Read()
		if err == nil && c.PIDs == 0 {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("after Kill: %+v, %v", c, err)
		}
	}
	for range 2 {
		if err := tree.Remove(ctx, id); err != nil {
			t.Error(err)
		}
	}
	if _, err := g.Read(); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Read after Remove: %v", err)
	}
}

func TestSizeIsWhatTheKernelEnforces(t *testing.T) {
	tree, id := newTree(t)
	if err := tree.Create(id, Limits{CPU: 256, Memory: 512, PIDs: 99}); err != nil {
		t.Fatal(err)
	}
	container := tree.dir("cpu", id, "c")
	if err := os.Mkdir(container, 0o755); err != nil { // as a runtime does
		t.Fatal(err)
	}
	for range 2 {
		if err := tree.Throttle(id, "c", 256); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		tree.dir("cpu", id) + "/cpu.cfs_quota_us":         "25000",
		tree.dir("cpu", id) + "/cpu.cfs_period_us":        "100000",
		container + "/cpu.cfs_quota_us":                   "25000",
		tree.dir("cpu", id) + "/cpu.shares":               "256",
		tree.dir("memory", id) + "/memory.limit_in_bytes": strconv.Itoa(512 << 20),
		tree.dir("pids", id) + "/pids.max":                "99",

		tree.dir("memory", id) + "/memory.kmem.tcp.limit_in_bytes": strconv.Itoa(128 << 20),
	}
	if tree.layout.unified {
		dir := tree.dir("cpu", id)
		want = map[string]string{
			dir + "/cpu.max": "25000 100000", container + "/cpu.max": "25000 100000", dir + "/cpu.weight": "25", dir + "/memory.max": strconv.Itoa(512 << 20),
			dir + "/pids.max": "99",
		}
	}
	for file, value := range want {
		if got, err := os.ReadFile(file); err != nil || string(got) != value+"\n" {
			t.Errorf("%s = %q, %v; want %s", file, got, err, value)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	tree, id := newTree(b)
	if err := tree.Create(id, Limits{CPU: 256, Memory: 512, PIDs: 99}); err != nil {
		b.Fatal(err)
	}
	g, err := tree.Gauge(id, "/proc/self/ns/net")
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Read(); err != nil {
			b.Fatal(err)
		}
	}
}
