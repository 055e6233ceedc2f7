package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrap "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	task "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/proto"
)

const container = "01a2085d01c57612b58c5dae275bfea5-2181635051"

// bundle makes a bundle of which the shim left what files say, and makes it the
// working directory, as containerd does.
func bundle(t *testing.T, files map[string]string) call {
	t.Helper()
	dir := filepath.Join(t.TempDir(), container)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return call{action: "delete", namespace: "berth", id: container}
}

const (
	ended   = `{"Timestamp":"2026-11-23T12:23:07.123456789+02:00","Pid":4242,"Status":137}`
	options = `{"root":"DIR/runc","binary_name":"/x/runc"}`
)

// Ensure containerd is told how a container ended of which nothing else is left,
// in the words that it decodes.
func TestGone(t *testing.T) {
	g, err := readGone(bundle(t, map[string]string{"exit.json": ended, "options.json": options, "rootfs/.keep": ""}))
	if err != nil {
		t.Fatal(err)
	}
	var got task.DeleteResponse
	if err := proto.Unmarshal(g.response(), &got); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 10, 23, 7, 123456789, time.UTC)
	if got.Pid != 4242 || got.ExitStatus != 137 || !got.ExitedAt.AsTime().Equal(at) || len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("response says %v", &got)
	}
}

// Ensure containerd's own shim gets every case in which something may be left to
// do, or to find out.
func TestNotGone(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"runc has a record":    {"exit.json": ended, "options.json": options, "runc/berth/" + container + "/state.json": "{}"},
		"no end written":       {"options.json": options},
		"half of an end":       {"exit.json": ended[:20], "options.json": options},
		"no process":           {"exit.json": `{"Timestamp":"2026-11-23T12:23:07Z","Status":0}`, "options.json": options},
		"no options":           {"exit.json": ended},
		"options without root": {"exit.json": ended, "options.json": "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			if g, err := readGone(bundle(t, files)); err == nil {
				t.Errorf("taken for gone: %+v", g)
			}
		})
	}
}

func TestIsMounted(t *testing.T) {
	plain := t.TempDir()
	for dir, want := range map[string]bool{"/proc": true, plain: false, plain + "/nowhere": false} {
		if got, err := isMounted(filepath.Dir(dir), dir); err != nil || got != want {
			t.Errorf("isMounted(%s) = %v, %v", dir, got, err)
		}
	}
}

// Ensure the shim is started once for all containers of a task, with the socket
// that containerd then finds somebody at, and that a socket of one that died is
// no obstacle.
func TestStart(t *testing.T) {
	dir, err := os.MkdirTemp("", "b") // A test's own directory has too long a name for a socket.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	level := bootstrap.LogLevel_LOG_LEVEL_TRACE // a negative number, which is long on the wire
	params, err := proto.Marshal(&bootstrap.BootstrapParams{InstanceID: container, Namespace: "berth", LogLevel: level, SocketDir: &dir})
	if err != nil {
		t.Fatal(err)
	}
	// In the shim's place: it notes its arguments and whether descriptor 3 is a
	// socket, and stays.
	shim, notes, pid := filepath.Join(dir, "shim"), filepath.Join(dir, "notes"), filepath.Join(dir, "pid")
	script := "#!/bin/sh\n[ -S /proc/self/fd/3 ] || exit 1\necho $$ >" + pid + "\necho \"$@\" >>" + notes + "\nexec sleep 60\n"
	if err := os.WriteFile(shim, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		text, _ := os.ReadFile(pid)
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || syscall.Kill(n, syscall.SIGKILL) != nil {
			t.Errorf("the shim of the test, process %q, is not there to be ended", text)
		}
	})
	t.Chdir(dir)

	socket := filepath.Join(dir, strings.Split(container, "-")[0])
	begin := func(id string) string {
		t.Helper()
		var out bytes.Buffer
		if err := start(call{action: "start", namespace: "berth", id: id, address: "/x.sock"}, shim, bytes.NewReader(params), &out); err != nil {
			t.Fatal(err)
		}
		var r bootstrap.BootstrapResult
		if err := proto.Unmarshal(out.Bytes(), &r); err != nil || r.Version != 3 || r.Protocol != "ttrpc" {
			t.Fatalf("result %v, %v", &r, err)
		}
		return r.Address
	}
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	for _, id := range []string{container, strings.Split(container, "-")[0] + "-0000000001"} {
		if got := begin(id); got != "unix://"+socket {
			t.Errorf("address %s, want that of %s", got, socket)
		}
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", info, err)
	}
	want := "-namespace berth -id " + container + " -address /x.sock\n"
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got, _ := os.ReadFile(notes)
		if string(got) == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("started %q, want once %q", got, want)
		}
	}
}

func TestSocketDirMissing(t *testing.T) {
	for _, params := range [][]byte{nil, {0x0a, 0x01, 'x'}, {0x4a, 0x7f}, {0xff}} {
		if dir, err := socketDir(params); err == nil {
			t.Errorf("socketDir(%x) = %q", params, dir)
		}
	}
}

func TestParse(t *testing.T) {
	got, err := parse(strings.Fields("-namespace berth -address /a.sock -publish-binary /x/containerd -id c-1 -bundle /b delete"))
	if want := (call{action: "delete", namespace: "berth", id: "c-1", address: "/a.sock"}); err != nil || got != want {
		t.Errorf("parse = %+v, %v", got, err)
	}
}
