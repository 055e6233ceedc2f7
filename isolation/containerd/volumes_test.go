//go:build e2e

package containerd_test

import (
	"context"
	"fmt"
	"testing"

	"berth/fault"
	"berth/isolation"
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
	app := at("/data", "v")
	app.User = "app"
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
	b.want(b.sees("elsewhere", at("/not/there", "w"), "/not/there"), "names", nil)
	// A link of the image leads to the image's /etc, never to the host's.
	b.want(b.sees("sly", at("/sly", "x"), "/sly/group"), "text", "root:x:0:\napp:x:1001:\nextra:x:1002:app\n")
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

// Ensure a place that nothing can be mounted at is the user's fault.
func TestMountOverAFile(t *testing.T) {
	b, _ := newBox(t, small)
	c := at("/etc/passwd", "v")
	c.Task, c.Image, c.Name = b.id, shared.image, "file"
	if err := b.rt.Create(context.Background(), c); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a volume over a file: %v", err)
	}
}
