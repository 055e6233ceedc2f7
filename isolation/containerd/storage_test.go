//go:build e2e

package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// floods runs a container that writes to path until it may not, and returns how much
// that was.
func (b *box) floods(name string, c isolation.Container, path string) float64 {
	b.Helper()
	if code := b.does(name, c, "flood", path); code != 0 {
		b.Fatalf("flooding %s ended with %d", path, code)
	}
	r := b.report(name)
	if r["full"] != true {
		b.Errorf("flooding %s: %v, want no space left on device", path, r["error"])
	}
	written, _ := r["written"].(float64)
	return written
}

// Ensure everything that the containers of a task can write to has one limit, that
// whoever meets it is told so, and that nobody else notices.
func TestStorageIsLimited(t *testing.T) {
	const storage = 128 << 20
	s := small
	s.Storage, s.Containers = storage, 6
	hog, _ := newBox(t, s)
	neighbour, _ := newBox(t, s)
	var before unix.Statfs_t
	if err := unix.Statfs(shared.state, &before); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"root": "/big", "hosts": "/etc/hosts", "resolv": "/etc/resolv.conf", "hostname": "/etc/hostname"}
	for name, path := range places { // made before there is no room to make them
		c := isolation.Container{Task: hog.id, Name: name, Image: shared.image, Command: []string{"flood", path}}
		if err := hog.rt.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if n := hog.floods("volume", at("/v", "v"), "/v/big"); n < storage/2 || n > storage {
		t.Errorf("%.0f bytes went into a storage of %d", n, storage)
	}
	for name, path := range places {
		if n := hog.floods(name, isolation.Container{}, path); n > 8<<20 { // what ext4 keeps for itself comes and goes
			t.Errorf("%.0f bytes went into %s of a full storage", n, path)
		}
	}
	late := isolation.Container{Task: hog.id, Name: "late", Image: shared.image, WorkingDirectory: "/a/new/one", Command: []string{"exit", "0"}}
	err := hog.rt.Create(t.Context(), late)
	if err == nil {
		_, err = hog.rt.Start(t.Context(), hog.id, "late")
	}
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "no space left") {
		t.Errorf("a container in a full storage: %v", err)
	}
	g, err := hog.rt.Gauge(t.Context(), hog.id)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if c, err := g.Read(); err != nil || c.EphemeralStorageBytes < storage/2 || c.EphemeralStorageBytes > storage {
		t.Errorf("a full storage of %d says %d, %v", storage, c.EphemeralStorageBytes, err)
	}
	if n := neighbour.floods("root", isolation.Container{}, "/big"); n < storage/2 {
		t.Errorf("the neighbour had room for %.0f bytes only", n)
	}
	var after unix.Statfs_t
	if err := unix.Statfs(shared.state, &after); err != nil {
		t.Fatal(err)
	}
	if lost := int64(before.Bavail-after.Bavail) * before.Bsize; lost > 2*storage+64<<20 {
		t.Errorf("two tasks took %d bytes of the host's disk, with %d each", lost, storage)
	}
}

// Ensure the logs of a task's containers and its disk are not more together than its
// storage.
func TestLogsCountAsStorage(t *testing.T) {
	s := small
	s.Storage, s.Containers = 64<<20, 1
	b, _ := newBox(t, s)
	b.run(isolation.Container{Name: "talker", Command: []string{"chatter", "200000"}})
	if e := b.wait("talker"); e.Code != 0 {
		t.Fatalf("%+v", e)
	}
	logs := int64(0)
	files, err := filepath.Glob(filepath.Join(shared.config.LogsDir, string(b.id), "talker", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		logs += st.Size()
	}
	if logs == 0 || logs > s.Storage/4+1<<20 {
		t.Errorf("logs of %d bytes in a storage of %d", logs, s.Storage)
	}
	if n := b.floods("root", isolation.Container{}, "/big"); int64(n)+logs > s.Storage {
		t.Errorf("%.0f bytes of files and %d of logs in a storage of %d", n, logs, s.Storage)
	}
}

// Ensure what is written stays over a new server, and that a root directory looks as
// the image has it.
func TestStorageStays(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "writer", Command: []string{"put", "/kept", "hello"}})
	b.wait("writer")
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	b.rt = rt
	s := small
	s.ID = b.id
	if _, err := rt.Provision(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	layer := filepath.Join(shared.config.StateDir, "storage", string(b.id), "disk")
	if kept, err := filepath.Glob(layer + "/*/upper/kept"); err != nil || len(kept) != 1 {
		t.Errorf("the file is at %v, %v", kept, err)
	}
	b.want(b.sees("root", isolation.Container{}, "/"), "mode", "drwxr-xr-x")
}

// Ensure a world whose making was cut short is made whole.
func TestStorageHalfMade(t *testing.T) {
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	s := small
	s.ID = task.NewID()
	record := fmt.Sprintf(`{"Sandbox":{"ID":%q,"Storage":%d},"BootID":"x","Disk":true}`, s.ID, s.Storage)
	for file, text := range map[string]string{"tasks/%s/sandbox.json": record, "storage/%s/image": "half"} {
		path := filepath.Join(shared.config.StateDir, fmt.Sprintf(file, s.ID))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rt.Provision(t.Context(), s); err != nil {
		t.Error(err)
	}
	if err := rt.Remove(t.Context(), s.ID); err != nil {
		t.Error(err)
	}
}

// Ensure no task begins on a host whose disk is nearly full, and the next does when there
// is room again.
func TestNoRoomOnTheHost(t *testing.T) {
	config := shared.config
	config.DiskFloor = 1 << 60
	full, err := shared.openWith(config)
	if err != nil {
		t.Fatal(err)
	}
	s := small
	s.ID = task.NewID()
	t.Cleanup(func() {
		if err := full.Remove(context.Background(), s.ID); err != nil {
			t.Error(err)
		}
	})
	if _, err := full.Provision(t.Context(), s); fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Message(err), "nearly full") {
		t.Errorf("on a full disk: %v", err)
	}
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.Provision(t.Context(), s); err != nil {
		t.Errorf("with room: %v", err)
	}
}
