//go:build e2e

package containerd_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Ensure what is said to keep a task apart is what the kernel says, not what was asked
// for: a limit that somebody changed is told as it is.
func TestInspect(t *testing.T) {
	const group = "sg-00000000000000001"
	s := member(group)
	s.Publish = []task.Port{{Protocol: "tcp", Container: 7777}}
	b, n := newBox(t, s)
	setGroups(t, task.SecurityGroup{ID: group, Name: "g", Egress: task.Everything()})
	b.run(isolation.Container{Name: "main", Command: []string{"sleep", "1h"}, Memory: 64, ReadonlyRootFilesystem: true, DropCapabilities: []string{"MKNOD"}})
	b.run(isolation.Container{Name: "user", Command: []string{"sleep", "1h"}, User: "1000"})
	i, err := b.rt.Inspect(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	if i.Cgroup.VCPU != 0.25 || i.Cgroup.MemoryBytes != 512<<20 || i.Cgroup.PIDs != 2048 {
		t.Errorf("cgroup: %+v", i.Cgroup)
	}
	if w := i.Network; !w.PortIsolated || !slices.Equal(w.SenderGuard, []string{n.MAC + " " + n.IPv4}) || !slices.Equal(w.Groups, []string{group}) ||
		!slices.Equal(w.Published, n.Published) || !slices.Contains(w.Rules, "egress "+group+": 1") || !strings.Contains(strings.Join(w.Interfaces, " "), n.IPv4) {
		t.Errorf("network: %+v", w)
	}
	if !i.Storage.Limited || i.Storage.SizeBytes < 128<<20 || !strings.HasPrefix(i.Storage.Device, "/dev/loop") {
		t.Errorf("storage: %+v", i.Storage)
	}
	if len(i.Containers) != 2 {
		t.Fatalf("containers: %+v", i.Containers)
	}
	main, user := i.Containers[0], i.Containers[1]
	if main.Cgroup.MemoryBytes != 64<<20 || !main.ReadonlyRoot || user.ReadonlyRoot || !main.NoNewPrivileges || main.Seccomp.Mode != "filter" ||
		main.Seccomp.Filters < 1 || len(main.Seccomp.Profile) != 64 || !slices.Contains(main.MaskedPaths, "/proc/keys") || !slices.Contains(main.ReadonlyPaths, "/proc/sys") {
		t.Errorf("main: %+v", main)
	}
	if slices.Contains(main.Capabilities.Effective, "CAP_MKNOD") || !slices.Contains(main.Capabilities.Effective, "CAP_CHOWN") || len(user.Capabilities.Effective) != 0 {
		t.Errorf("capabilities: %v and %v", main.Capabilities, user.Capabilities)
	}
	for _, space := range []string{"pid", "mnt", "net", "ipc", "uts", "cgroup", "user"} {
		if main.Namespaces[space] == "" || slices.Contains(main.SharedWithHost, space) {
			t.Errorf("namespace %s: %v, the host's: %v", space, main.Namespaces, main.SharedWithHost)
		}
	}
	if main.Namespaces["net"] != i.Network.Namespace || user.Namespaces["net"] != i.Network.Namespace || user.Namespaces["pid"] == main.Namespaces["pid"] {
		t.Errorf("namespaces: %v and %v", main.Namespaces, user.Namespaces)
	}
	if main.HostPID == 0 || main.OOMScoreAdj != 500 || main.Rlimits["open files"] == "" || main.UIDMap == "" {
		t.Errorf("main: %+v", main)
	}

	files, err := filepath.Glob("/sys/fs/cgroup/*" + i.Cgroup.Path + "/pids.max")
	if len(files) == 0 {
		files, err = filepath.Glob("/sys/fs/cgroup" + i.Cgroup.Path + "/pids.max")
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("77"), 0); err != nil {
		t.Fatal(err)
	}
	if i, err := b.rt.Inspect(t.Context(), b.id); err != nil || i.Cgroup.PIDs != 77 {
		t.Errorf("after somebody set 77: %d, %v", i.Cgroup.PIDs, err)
	}
	if err := b.rt.Remove(context.Background(), b.id); err != nil {
		t.Fatal(err)
	}
	if _, err := b.rt.Inspect(t.Context(), b.id); fault.KindOf(err) != fault.Conflict {
		t.Errorf("of a task that is gone: %v", err)
	}
}

// Ensure what is said of a task in gVisor is what stands between it and the host: the
// sandbox's process, not that by which the host knows when a container ends.
func TestInspectGVisor(t *testing.T) {
	needGVisor(t)
	s := small
	s.Runtime, s.Containers = task.GVisor, 2
	b, n := newBox(t, s)
	b.run(isolation.Container{Name: "main", Command: []string{"sleep", "1h"}, WorkingDirectory: "/", ReadonlyRootFilesystem: true})
	b.run(isolation.Container{Name: "side", Command: []string{"sleep", "1h"}})
	i, err := b.rt.Inspect(t.Context(), b.id)
	if err != nil || len(i.Containers) != 2 {
		t.Fatalf("%+v, %v", i, err)
	}
	if filepath.Base(i.Runtime) != "runsc" || !strings.Contains(strings.Join(i.Network.Interfaces, "; "), n.IPv4) {
		t.Errorf("runtime %s, interfaces %q", i.Runtime, i.Network.Interfaces)
	}
	sandbox := having("runsc-sandbox", string(b.id))
	for _, c := range i.Containers {
		if !slices.Equal(sandbox, []int{c.HostPID}) || c.Seccomp.Mode != "filter" || c.Cgroup.MemoryBytes != 512<<20 ||
			slices.Contains(c.SharedWithHost, "net") || slices.Contains(c.SharedWithHost, "mnt") || len(c.Capabilities.Effective) > 10 {
			t.Errorf("sandbox %v: %+v", sandbox, c)
		}
	}
	if !i.Containers[0].ReadonlyRoot || i.Containers[1].ReadonlyRoot {
		t.Error("which root is read-only is not told")
	}
}
