//go:build e2e

package containerd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Ensure a container has a volume of its own where its image declares one, however its
// root file system is made and whoever its users are.
func TestImageVolumes(t *testing.T) {
	open := func(t *testing.T, snapshotter string, hostUsers bool) isolation.Runtime {
		config := shared.config
		config.Snapshotter, config.HostUsers = snapshotter, hostUsers
		rt, err := shared.openWith(config)
		if err != nil {
			t.Fatal(err)
		}
		return rt
	}
	t.Run("overlay", func(t *testing.T) { imageVolumes(t, open(t, "overlayfs", false), false) })
	t.Run("native", func(t *testing.T) { imageVolumes(t, open(t, "native", false), false) })
	t.Run("host users", func(t *testing.T) { imageVolumes(t, open(t, "overlayfs", true), true) })
	t.Run("gVisor", func(t *testing.T) {
		needGVisor(t)
		imageVolumes(t, in(task.GVisor, open(t, "overlayfs", false)), true)
	})
}

func imageVolumes(t *testing.T, rt isolation.Runtime, hostUsers bool) {
	s := small
	s.Storage, s.Containers = 128<<20, 12
	b, _ := newBoxOf(t, rt, s)
	image := imageWith(t, "/data/", "fresh/one", "/to-data")
	app := isolation.Container{Image: image, User: "app", WorkingDirectory: "/", ReadonlyRootFilesystem: true}
	from := func(image string, readOnly bool, names ...string) isolation.Container {
		c := isolation.Container{Image: image, User: "app", WorkingDirectory: "/", ReadonlyRootFilesystem: true}
		for _, name := range names {
			c.VolumesFrom = append(c.VolumesFrom, isolation.VolumesFrom{Container: name, ReadOnly: readOnly})
		}
		return c
	}
	// It begins as the image has it, and can be written to where nothing else can.
	dir := b.sees("dir", app, "/data")
	b.want(dir, "mode", "drwxr-x---")
	b.want(dir, "uid", 1000)
	b.want(dir, "gid", 1001)
	b.want(b.sees("seed", app, "/data/seed"), "text", "seed")
	if code := b.does("main", app, "put", "/data/mine", "x"); code != 0 {
		t.Errorf("writing to a volume of the image: %d", code)
	}
	if code := b.does("elsewhere", app, "put", "/tmp/mine", "x"); code != 1 {
		t.Errorf("writing beside it to a root file system that is read-only: %d", code)
	}
	root := app
	root.User = ""
	if code := b.does("fresh", root, "put", "/fresh/one/mine", "x"); code != 0 {
		t.Errorf("writing to a volume where the image has nothing: %d", code)
	}
	files, err := filepath.Glob(filepath.Join(shared.state, "storage", string(b.id), "disk", "*", "volumes", "*", "mine"))
	if err != nil || len(files) != 2 {
		t.Errorf("what was written is in %v, %v", files, err)
	} else if uid, _ := owner(t, files[0]); !hostUsers && uid != b.outside(1000) && uid != b.outside(0) {
		t.Errorf("it belongs to %d on the host", uid)
	}

	// It is that container's, and theirs who take its volumes.
	b.want(b.sees("alone", app, "/data"), "names", "[seed]")
	b.want(b.sees("taker", from(shared.image, false, "main"), "/data/mine"), "text", "x")
	b.want(b.sees("same", from(image, false, "main"), "/data/mine"), "text", "x")
	b.want(b.sees("first", from(image, false, "main", "alone"), "/data/mine"), "text", "x")
	if code := b.does("writer", from(shared.image, false, "main"), "put", "/data/theirs", "x"); code != 0 {
		t.Errorf("writing to another one's volume: %d", code)
	}
	if code := b.does("reader", from(shared.image, true, "main"), "put", "/data/more", "x"); code != 1 {
		t.Errorf("writing to another one's volume that is to be read-only: %d", code)
	}
	own := from(image, false, "main")
	own.Mounts = []isolation.Mount{{Path: "/data", Volume: "v"}}
	b.want(b.sees("own", own, "/data"), "names", "[seed]")
	outer := from(image, false)
	outer.Mounts = []isolation.Mount{{Path: "/data/inner", Volume: "v"}}
	b.want(b.sees("outer", outer, "/data"), "names", "[inner seed]")
	c := from(shared.image, false, "nobody")
	c.Task, c.Name = b.id, "of-nobody"
	if err := rt.Create(t.Context(), c); fault.KindOf(err) != fault.Conflict {
		t.Errorf("volumes of a container that is not there: %v", err)
	}

	// It is the same one after the container was restarted.
	if code := b.does("keeper", app, "look", "/data/kept"); code != 1 {
		t.Errorf("a file that nobody wrote: %d", code)
	}
	if code := b.does("giver", from(shared.image, false, "keeper"), "put", "/data/kept", "x"); code != 0 {
		t.Errorf("writing to another one's volume: %d", code)
	}
	if _, err := rt.Restart(t.Context(), b.id, "keeper", 1); err != nil {
		t.Fatal(err)
	}
	if code := b.wait("keeper").Code; code != 0 {
		t.Errorf("a file that was there before the restart: %d", code)
	}

	// It is part of the task's storage.
	if n := b.floods("flood", app, "/data/big"); n > 128<<20 {
		t.Errorf("%.0f bytes went into a storage of %d", n, 128<<20)
	}
}

// Ensure whatever an image declares touches nothing but its container.
func TestHostileImageVolumes(t *testing.T) {
	many := make([]string, 10000)
	for i := range many {
		many[i] = fmt.Sprint("/v", i)
	}
	s := small
	s.Containers = 40
	b, _ := newBox(t, s)
	const over, file = "over the root", "over existing file"
	for i, tt := range []struct {
		volumes []string
		want    string // part of the error; empty: it runs
	}{
		{[]string{"/"}, over}, {[]string{""}, over}, {[]string{"a/../.."}, over}, {[]string{"/to-root"}, over},
		{[]string{"/etc/hosts"}, file}, {[]string{"/etc/resolv.conf/x"}, file}, {[]string{"/sly/hostname"}, file}, {[]string{"/probe"}, file},
		{[]string{"/probe/x"}, "not a directory"}, {[]string{"/to-itself"}, "too many"}, {[]string{"/a\x00b"}, "NUL"},
		{[]string{"/" + strings.Repeat("x", 5000)}, "name too long"}, {many, "10000 volumes"},
		{[]string{"/proc", "/proc/sys", "/to-proc/self", "/sys/fs/cgroup", "/dev", "/dev/shm"}, ""},
		{[]string{"../../../new", "relative"}, ""}, {[]string{"/sly", "/sly/new", "/etc"}, ""}, {[]string{"/work/here", "/work"}, ""},
	} {
		c := isolation.Container{Task: b.id, Name: fmt.Sprint("c", i), Image: imageWith(t, tt.volumes...), ReadonlyRootFilesystem: true}
		if tt.want == "" {
			b.does(c.Name, c, "exit", "7")
			if code := b.wait(c.Name).Code; code != 7 {
				t.Errorf("%q: ended with %d", tt.volumes, code)
			}
			continue
		}
		err := b.rt.Create(t.Context(), c)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), tt.want) || strings.Contains(fault.Message(err), shared.run) {
			t.Errorf("%.100q: %.300v, want %q", tt.volumes, err, tt.want)
		}
	}
	sly := of(imageWith(t, "/sly"), isolation.Container{ReadonlyRootFilesystem: true})
	if code := b.does("sly", sly, "put", "/etc/berth-was-here", "x"); code != 0 {
		t.Errorf("writing to a volume at a link of the image: %d", code)
	}
	if _, err := os.Stat("/etc/berth-was-here"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link of an image leads to the host's files: %v", err)
	}
	relative := of(imageWith(t, "relative"), isolation.Container{ReadonlyRootFilesystem: true})
	if code := b.does("relative", relative, "put", "/relative/x", "x"); code != 0 {
		t.Errorf("writing to a volume with a relative path: %d", code)
	}
}
