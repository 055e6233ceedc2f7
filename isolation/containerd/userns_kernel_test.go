//go:build e2e

package containerd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation"
	"berth/task"
)

// outside returns what an ID of the task is on the host, as its record says.
func (b *box) outside(id uint32) uint32 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(shared.state, "tasks", string(b.id), "sandbox.json"))
	if err != nil {
		b.Fatal(err)
	}
	var record struct{ IDs uint32 }
	if err := json.Unmarshal(text, &record); err != nil {
		b.Fatal(err)
	}
	return record.IDs + id
}

// main returns what is in force for the task's one container.
func (b *box) main() task.ContainerIsolation {
	b.Helper()
	i, err := b.rt.Inspect(b.Context(), b.id)
	if err != nil || len(i.Containers) != 1 {
		b.Fatalf("the task's containers: %+v, %v", i.Containers, err)
	}
	return i.Containers[0]
}

// user returns the user of a process on the host.
func user(t *testing.T, pid int) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", pid), &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

func owner(t *testing.T, path string) (uid, gid uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid, st.Gid
}

// Ensure root in a task is nobody on the host and nobody in another task, also after the
// server started again, and that nothing of it is left.
func TestUserNamespaces(t *testing.T) {
	one, _ := newBox(t, small)
	r := one.inspect(isolation.Container{Name: "main"})
	one.want(r, "uid", 0)
	c := one.main()
	if want := fmt.Sprintf("0 %d 65536 65536 65536 %d", one.outside(0), 0x70000000-1<<16); one.outside(0) < 0x70000000 || c.UIDMap != want {
		t.Errorf("user IDs %q, want %q", c.UIDMap, want)
	}
	if slices.Contains(c.SharedWithHost, "user") || r["namespaces"].(map[string]any)["user"] != c.Namespaces["user"] {
		t.Errorf("user namespace: %v, the host's: %v; seen from inside: %v", c.Namespaces, c.SharedWithHost, r["namespaces"])
	}
	if uid := user(t, c.HostPID); uid != one.outside(0) {
		t.Errorf("root is %d on the host, want %d", uid, one.outside(0))
	}
	// Whoever owns the network namespace may steer it.
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.HostPID))
	if err != nil {
		t.Fatal(err)
	}
	defer netns.Close()
	fd, err := unix.IoctlRetInt(int(netns.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if of, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil || of != c.Namespaces["user"] {
		t.Errorf("the network namespace belongs to %s, %v; want %s", of, err, c.Namespaces["user"])
	}

	again, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	one.rt = again
	other, _ := newBox(t, small)
	other.rt = again
	other.run(isolation.Container{Name: "app", User: "app", Command: []string{"sleep", "1h"}})
	if uid := user(t, other.main().HostPID); uid != other.outside(1000) || other.outside(0) == one.outside(0) {
		t.Errorf("app of another task is %d on the host; the tasks' IDs begin at %d and %d", uid, one.outside(0), other.outside(0))
	}

	users := filepath.Join(shared.run, "users", string(one.id))
	if err := again.Remove(t.Context(), one.id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(users); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", users, err)
	}
	third, _ := newBox(t, small)
	if code := third.does("main", isolation.Container{}, "exit", "7"); code != 7 {
		t.Errorf("after the view of the layers was removed, a container ended with %d", code)
	}
}

// Ensure files have the owners that the image gives them, whoever that is on the host, and
// that what a task writes belongs to it.
func TestOwners(t *testing.T) {
	dir := directory(t)
	if err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(filepath.Join(dir, "theirs"), []byte("x"), 0o600), os.Chown(filepath.Join(dir, "theirs"), 1000, 1001)); err != nil {
		t.Fatal(err)
	}
	config := shared.config
	config.FileSystems = map[string]string{"fs-12345678": dir}
	rt, err := shared.openWith(config)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newBoxOf(t, rt, small)
	b.want(b.sees("image", isolation.Container{}, "/etc/passwd"), "uid", 0)
	b.want(b.sees("hosts", isolation.Container{}, "/etc/hosts"), "uid", 0)
	if code := b.does("change", isolation.Container{}, "put", "/etc/passwd", "changed"); code != 0 {
		t.Errorf("root cannot change a file of the image: %d", code)
	}
	upper, err := filepath.Glob(filepath.Join(shared.state, "storage", string(b.id), "disk", "*", "upper", "etc", "passwd"))
	if err != nil || len(upper) != 1 {
		t.Fatalf("the changed file is at %v, %v", upper, err)
	}
	if uid, gid := owner(t, upper[0]); uid != b.outside(0) || gid != b.outside(0) {
		t.Errorf("what root changed belongs to %d:%d on the host, want %d", uid, gid, b.outside(0))
	}
	app := of(imageWith(t, "/data"), at("/data", "v"))
	app.User = "app"
	if code := b.does("write", app, "put", "/data/mine", "x"); code != 0 {
		t.Fatalf("app cannot write to its volume: %d", code)
	}
	if uid, gid := owner(t, filepath.Join(shared.state, "storage", string(b.id), "disk", "volumes", "v", "mine")); uid != b.outside(1000) || gid != b.outside(1001) {
		t.Errorf("what app wrote belongs to %d:%d on the host, want %d:%d", uid, gid, b.outside(1000), b.outside(1001))
	}
	// A file system outlives tasks: there IDs are what they are.
	efs := isolation.Container{Mounts: []isolation.Mount{{Path: "/efs", Volume: "e", FileSystem: "fs-12345678", Root: "/"}}}
	b.want(b.sees("theirs", efs, "/efs/theirs"), "uid", 1000)
	for name, want := range map[string]uint32{"root": 0, "app": 1000} {
		efs.User = name
		if code := b.does("efs-"+name, efs, "put", "/efs/"+name, "x"); code != 0 {
			t.Errorf("%s cannot write to the file system: %d", name, code)
			continue
		}
		if uid, _ := owner(t, filepath.Join(dir, name)); uid != want {
			t.Errorf("what %s wrote to the file system belongs to %d, want %d", name, uid, want)
		}
	}
	// Any ID can be a user's, also one that no task has of its own.
	r := b.inspect(isolation.Container{Name: "high", User: "100660:100661"})
	b.want(r, "uid", 100660)
	b.want(r, "gid", 100661)
}

// Ensure a server that is told so gives tasks the host's user IDs.
func TestHostUsers(t *testing.T) {
	config := shared.config
	config.HostUsers = true
	rt, err := shared.openWith(config)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := newBoxOf(t, rt, small)
	b.run(isolation.Container{Name: "main", Command: []string{"sleep", "1h"}})
	if c := b.main(); c.UIDMap != "0 0 4294967295" || !slices.Contains(c.SharedWithHost, "user") || user(t, c.HostPID) != 0 {
		t.Errorf("user IDs %q, the host's namespaces %v", c.UIDMap, c.SharedWithHost)
	}
}

// Ensure what the kernel counts by user is counted by task. Where this process may not raise
// limits, all tasks share what the host's root may have.
func TestLimitsByUser(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	greedy, _ := newBox(t, small)
	modest, _ := newBox(t, small)
	greedy.run(isolation.Container{Name: "main", Command: []string{"watch", fmt.Sprint(most + 1), "1h"}})
	if got := greedy.report("main")["got"]; got.(float64) > float64(most) {
		t.Errorf("a task has %v inotify instances, more than %d", got, most)
	}
	modest.run(isolation.Container{Name: "main", Command: []string{"watch", "1", "1h"}})
	want := 0
	if mayRaise(t) {
		want = 1
	}
	modest.want(modest.report("main"), "got", want)
}

// mayRaise reports whether this process has CAP_SYS_RESOURCE.
func mayRaise(t *testing.T) bool {
	t.Helper()
	header, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}
