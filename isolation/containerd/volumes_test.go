//go:build e2e

package containerd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// does runs the probe with that command in a container with those mounts and
// returns its exit code.
func (b *box) does(name string, c isolation.Container, command ...string) int {
	b.Helper()
	c.Name, c.Command = name, command
	b.run(c)
	return b.wait(name).Code
}

// sees returns what a container sees at path.
func (b *box) sees(name string, c isolation.Container, path string) map[string]any {
	b.Helper()
	if code := b.does(name, c, "look", path); code != 0 {
		b.Errorf("%s cannot see %s: %d", name, path, code)
		return nil
	}
	return b.report(name)
}

func at(path, volume string) isolation.Container {
	return isolation.Container{Mounts: []isolation.Mount{{Path: path, Volume: volume}}}
}

func of(image string, c isolation.Container) isolation.Container {
	c.Image = image
	return c
}

// Ensure the containers of a task share its volumes, and nobody else does, also
// after the server started again.
func TestVolumes(t *testing.T) {
	b, _ := newBox(t, small)
	if code := b.does("writer", at("/shared/here", "v"), "put", "/shared/here/greeting", "hello"); code != 0 {
		t.Fatalf("the writer ended with %d", code)
	}
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	b.rt = rt
	reader := at("/elsewhere", "v")
	reader.Mounts[0].ReadOnly = true
	b.want(b.sees("reader", reader, "/elsewhere/greeting"), "text", "hello")
	if code := b.does("vandal", reader, "put", "/elsewhere/greeting", "bye"); code != 1 {
		t.Errorf("writing to a volume that is mounted read-only ended with %d", code)
	}
	plain := b.sees("plain", at("/plain", "other"), "/plain")
	b.want(plain, "mode", "drwxr-xr-x")
	b.want(plain, "uid", 0)
	b.want(plain, "names", nil)

	stranger, _ := newBox(t, small)
	b.want(stranger.sees("stranger", at("/shared", "v"), "/shared"), "names", nil)

	both := at("/etc", "config")
	both.Mounts = append(both.Mounts, isolation.Mount{Path: "/etc/inner", Volume: "v"})
	b.want(b.sees("nested", both, "/etc/inner/greeting"), "text", "hello")
	b.want(b.sees("hosts", both, "/etc"), "names", "[hostname hosts inner resolv.conf]")
}

// Ensure a volume at a place that the image declares as one begins with what the
// image has there.
func TestVolumeOfTheImage(t *testing.T) {
	b, _ := newBox(t, small)
	image := imageWith(t, "/data/", "/sly", "/not/there")
	app := at("/data", "v")
	app.User, app.Image = "app", image
	dir := b.sees("dir", app, "/data")
	b.want(dir, "mode", "drwxr-x---")
	b.want(dir, "uid", 1000)
	b.want(dir, "gid", 1001)
	b.want(b.sees("seed", app, "/data/seed"), "text", "seed")
	if code := b.does("write", app, "put", "/data/mine", "x"); code != 0 {
		t.Errorf("the owner cannot write to the volume: %d", code)
	}
	if code := b.does("drop", app, "put", "/data/seed", "changed"); code != 0 {
		t.Errorf("the owner cannot change what the image had: %d", code)
	}
	b.want(b.sees("again", app, "/data/seed"), "text", "changed")
	b.want(b.sees("elsewhere", of(image, at("/not/there", "w")), "/not/there"), "names", nil)
	// A link of the image leads to the image's /etc, never to the host's.
	b.want(b.sees("sly", of(image, at("/sly", "x")), "/sly/group"), "text", "root:x:0:\napp:x:1001:\nextra:x:1002:app\n")
}

// directory makes one that stands for a file system, on the same disk as the state.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(shared.state), "efs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Ensure tasks share a file system that outlives them, see no more of it than they
// are given, and that nothing they put there leads to the host's files.
func TestSharedFileSystem(t *testing.T) {
	dir := directory(t)
	for _, d := range []string{"team/a", "team/b"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"sly": "/etc", "up": "../../../../../../etc", "good": "/team/a", "magic": "/proc/self/root"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	config := shared.config
	config.FileSystems = map[string]string{"fs-12345678": dir, "fs-00000000": filepath.Join(dir, "gone")}
	rt, err := shared.openWith(config)
	if err != nil {
		t.Fatal(err)
	}
	on := func(system, root string) isolation.Container {
		return isolation.Container{Mounts: []isolation.Mount{{Path: "/efs", Volume: "v", FileSystem: system, Root: root}}}
	}
	one, _ := newBoxOf(t, rt, small)
	if code := one.does("writer", on("fs-12345678", "/team/a"), "put", "/efs/note", "shared"); code != 0 {
		t.Fatalf("the writer ended with %d", code)
	}
	other, _ := newBoxOf(t, rt, small)
	other.want(other.sees("all", on("fs-12345678", "/"), "/efs/team/a/note"), "text", "shared")
	other.want(other.sees("part", on("fs-12345678", "/team"), "/efs"), "names", "[a b]")
	other.want(other.sees("up", on("fs-12345678", "/team/../../team/b"), "/efs"), "names", nil)
	other.want(other.sees("link", on("fs-12345678", "/good"), "/efs/note"), "text", "shared")
	for i, c := range []isolation.Container{
		on("fs-12345678", "/nowhere"), on("fs-12345678", "/team/a/note"), on("fs-12345678", "/sly"), on("fs-12345678", "/up"),
		on("fs-12345678", "/magic"), on("fs-00000000", "/"), on("fs-87654321", "/"),
	} {
		c.Task, c.Image, c.Name = other.id, shared.image, fmt.Sprint("bad", i)
		if err := rt.Create(t.Context(), c); fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), "ResourceInitializationError: ") {
			t.Errorf("%+v: %v", c.Mounts, err)
		}
	}
	// Somebody who writes to it puts a link in the place before it is mounted. Runc
	// mounts by name, and a recreated container is mounted after a while.
	c := on("fs-12345678", "/team/b")
	c.Task, c.Image, c.Name = other.id, shared.image, "raced"
	if err := rt.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "team/b"), filepath.Join(dir, "team/c")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "team/b")); err != nil {
		t.Fatal(err)
	}
	if err := shared.Lose(other.id, "raced"); err != nil { // so that Start has to make it again
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := rt.Start(t.Context(), other.id, "raced")
		if fault.KindOf(err) == fault.Invalid && strings.Contains(fault.Message(err), "changed while") {
			break
		}
		if err == nil || time.Now().After(deadline) { // Until containerd has noticed, Start is to be repeated.
			t.Fatalf("a container with the host's /etc in the place of its volume: %v", err)
		}
	}
}

// Ensure memory is as large as it is said to be, with its options.
func TestMemoryFileSystem(t *testing.T) {
	b, _ := newBox(t, small)
	memory := isolation.Container{User: "app", Mounts: []isolation.Mount{{Path: "/mem/here", Size: 2, Options: []string{"mode=1770", "gid=1001", "uid=5"}}}}
	dir := b.sees("dir", memory, "/mem/here")
	b.want(dir, "mode", "dtrwxrwx---")
	b.want(dir, "uid", 5)
	if code := b.does("fits", memory, "put", "/mem/here/f", "x", fmt.Sprint(1<<20)); code != 0 {
		t.Errorf("1 MiB in 2: %d", code)
	}
	if code := b.does("bursts", memory, "put", "/mem/here/f", "x", fmt.Sprint(3<<20)); code != 1 {
		t.Errorf("3 MiB in 2: %d", code)
	}
	memory.Mounts[0].Options = []string{"ro"}
	if code := b.does("readonly", memory, "put", "/mem/here/f", "x"); code != 1 {
		t.Errorf("writing to read-only memory: %d", code)
	}
}

// Ensure a definition can say how much shared memory there is, and put a volume there: its
// word counts more than what containers have there.
func TestSharedMemory(t *testing.T) {
	for _, class := range []task.RuntimeClass{task.Runc, task.GVisor} {
		t.Run(string(class), func(t *testing.T) {
			if class == task.GVisor {
				needGVisor(t)
			}
			s := small
			s.Runtime = class
			b, _ := newBox(t, s)
			memory := isolation.Container{User: "app", Mounts: []isolation.Mount{{Path: "/dev/shm", Size: 2}}}
			b.want(b.sees("dir", memory, "/dev/shm"), "mode", "dtrwxrwxrwx")
			if code := b.does("fits", memory, "put", "/dev/shm/f", "x", fmt.Sprint(1<<20)); code != 0 {
				t.Errorf("1 MiB in 2: %d", code)
			}
			if code := b.does("bursts", memory, "put", "/dev/shm/f", "x", fmt.Sprint(3<<20)); code != 1 {
				t.Errorf("3 MiB in 2: %d", code)
			}
			if code := b.does("writer", at("/dev/shm/below", "v"), "put", "/dev/shm/below/f", "kept"); code != 0 {
				t.Errorf("a volume below: %d", code)
			}
			b.want(b.sees("reader", at("/dev/shm", "v"), "/dev/shm/f"), "text", "kept")
		})
	}
}

// Ensure a place that nothing can be mounted at is the user's fault, and that neither the
// user nor the container's log is told where on the host the volume is.
func TestMountOverAFile(t *testing.T) {
	b, _ := newBox(t, small)
	for name, path := range map[string]string{"file": "/etc/passwd", "kernel": "/sys/x", "process": "/proc/self"} {
		c := at(path, "v")
		c.Task, c.Image, c.Name = b.id, shared.image, name
		err := b.rt.Create(context.Background(), c)
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("a volume at %s: %v", path, err)
		}
		if said := fault.Message(err); strings.Contains(said, shared.state) || strings.Contains(said, shared.run) {
			t.Errorf("the user is told %q", said)
		}
		dir := filepath.Join(shared.config.LogsDir, string(b.id), name)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, "end")); err == nil {
				break // Its writer has ended.
			}
			if time.Now().After(deadline) {
				t.Fatalf("the log in %s does not end", dir)
			}
		}
		files, err := filepath.Glob(dir + "/*.log")
		if err != nil || len(files) == 0 {
			t.Errorf("no log in %s: %v", dir, err)
		}
		for _, f := range files {
			if text, err := os.ReadFile(f); err != nil || len(text) > 0 {
				t.Errorf("the log of %s has %q, %v", name, text, err)
			}
		}
	}
}
