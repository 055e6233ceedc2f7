package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/server/rest"
	"berth/server/rest/resttest"
)

// standIn says, in the environment of this test's own program, what it does when
// it is started as "berth server": live serves a resttest.Fake, deaf also ignores
// SIGTERM, and die says why and ends.
const standIn = "BERTH_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if how := os.Getenv(standIn); how != "" && len(os.Args) > 1 && os.Args[1] == "server" {
		os.Exit(standInServer(how, os.Args[2:]))
	}
	os.Exit(m.Run())
}

func standInServer(how string, args []string) int {
	if how == "die" {
		fmt.Fprintln(os.Stderr, "berth: \x1b[31mno containerd here\x1b[0m")
		return 1
	}
	listen := ""
	for _, arg := range args {
		if v, ok := strings.CutPrefix(arg, "--listen="); ok {
			listen = v
		}
		if v, ok := strings.CutPrefix(arg, "--state-dir="); ok { // as a server would
			if err := os.WriteFile(filepath.Join(v, "berth.db"), nil, 0o600); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if how == "deaf" {
		signal.Ignore(syscall.SIGTERM)
	}
	fake := resttest.New()
	fake.Script = demo
	c := fake.Config()
	c.Log = zap.NewNop()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go http.Serve(l, rest.New(ctx, c))
	<-ctx.Done()
	return 0
}

// freePort returns an address that nobody listens on.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// command runs berth in this process and returns all that it said.
func command(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	var out strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code = run(ctx, args, strings.NewReader(""), &out, &out)
	return code, out.String()
}

func contains(t *testing.T, said string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(said, part) {
			t.Errorf("does not say %q:\n%s", part, said)
		}
	}
}

// downAfter makes sure that no server outlives the test.
func downAfter(t *testing.T, dir string) {
	t.Cleanup(func() {
		if b, ok := findBackground(dir); ok {
			b.signal(syscall.SIGKILL)
		}
	})
}

// Ensure up starts a server, shows the sample whole, and can be repeated; and
// that down ends it, and can be repeated too.
func TestUpDown(t *testing.T) {
	t.Setenv(standIn, "live")
	dir, listen := filepath.Join(t.TempDir(), "state"), freePort(t)
	downAfter(t, dir)

	code, said := command(t, "up", "--state-dir", dir, "--listen", listen)
	if code != 0 {
		t.Fatalf("up: exit code %d\n%s", code, said)
	}
	contains(t, said, "Started the server", "Tasks can run", "ran hello -for 5s", "main exited with 0",
		"TIMELINE", "vCPU-seconds", "Total", "$0.000205709", "The API is at http://"+listen+"/api/v1", "berth down --state-dir "+dir)
	first, ok := findBackground(dir)
	if !ok {
		t.Fatal("no server runs")
	}
	code, said = command(t, "up", "--state-dir", dir)
	again, _ := findBackground(dir)
	if code != 0 || again.pid != first.pid {
		t.Errorf("up again: exit code %d, process %d after %d\n%s", code, again.pid, first.pid, said)
	}
	contains(t, said, "already running", "ran hello -for 5s")

	code, said = command(t, "down", "--state-dir", dir)
	if code != 0 || first.alive() {
		t.Errorf("down: exit code %d, alive %v\n%s", code, first.alive(), said)
	}
	contains(t, said, "ended", "is kept")
	code, said = command(t, "down", "--state-dir", dir, "--purge")
	if _, err := os.Stat(dir); code != 0 || !os.IsNotExist(err) {
		t.Errorf("down --purge: exit code %d, %v\n%s", code, err, said)
	}
	contains(t, said, "No server of "+dir+" runs", "Deleted "+dir)
	code, said = command(t, "down", "--state-dir", dir)
	contains(t, said, "Nothing is left")
	if code != 0 {
		t.Errorf("down of nothing: exit code %d", code)
	}
}

// Ensure tasks that run are stopped before the server is.
func TestDownStopsTasks(t *testing.T) {
	t.Setenv(standIn, "live")
	dir, listen := t.TempDir(), freePort(t)
	downAfter(t, dir)
	if code, said := command(t, "up", "--no-sample", "--state-dir", dir, "--listen", listen); code != 0 {
		t.Fatalf("up: %s", said)
	}
	endpoint := "http://" + listen
	file := filepath.Join(dir, "sleep.json")
	if err := os.WriteFile(file, []byte(`{"family":"sleep","networkMode":"awsvpc","cpu":"256","memory":"512",
		"containerDefinitions":[{"name":"main","image":"x","command":["sleep","1h"]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, said := command(t, "--endpoint", endpoint, "run", "-f", file); code != 0 {
		t.Fatalf("run: %s", said)
	}
	// The stand-in's tasks never stop, so down loses patience and goes on.
	code, said := command(t, "down", "--state-dir", dir, "--wait", "300ms")
	if code != 0 {
		t.Errorf("down: exit code %d\n%s", code, said)
	}
	contains(t, said, "Stopping 1 task.", "Not all tasks stopped", "ended")
}

// Ensure a server that dies while it starts is diagnosed by its last words, which
// cannot steer the terminal.
func TestUpDies(t *testing.T) {
	t.Setenv(standIn, "die")
	dir := t.TempDir()
	code, said := command(t, "up", "--state-dir", dir, "--listen", freePort(t))
	if code != 1 || strings.Contains(said, "\x1b") {
		t.Errorf("exit code %d\n%q", code, said)
	}
	contains(t, said, `\x1b[31mno containerd here`, "ended before it was ready", "berth doctor")
}

// Ensure a port in use is found before anything is started.
func TestUpPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "state")
	code, said := command(t, "up", "--state-dir", dir, "--listen", l.Addr().String())
	if _, err := os.Stat(dir); code != 1 || !os.IsNotExist(err) {
		t.Errorf("exit code %d, %v", code, err)
	}
	contains(t, said, "nothing can listen on "+l.Addr().String(), "--listen")
}

// Ensure a server that does not hear SIGTERM is ended all the same, and that a
// process which only has the same number is not.
func TestEnd(t *testing.T) {
	t.Setenv(standIn, "deaf")
	dir, listen := t.TempDir(), freePort(t)
	downAfter(t, dir)
	if code, said := command(t, "up", "--no-sample", "--state-dir", dir, "--listen", listen); code != 0 {
		t.Fatalf("up: %s", said)
	}
	b, ok := findBackground(dir)
	if !ok {
		t.Fatal("no server runs")
	}
	other := b
	other.start++
	if killed, err := other.end(t.Context(), time.Second); killed || err != nil || !b.alive() {
		t.Errorf("another process was ended: %v, %v", killed, err)
	}
	if killed, err := b.end(t.Context(), 100*time.Millisecond); !killed || err != nil || b.alive() {
		t.Errorf("end = %v, %v; alive %v", killed, err, b.alive())
	}
}

// Ensure --purge deletes nothing that is not Berth's.
func TestPurgeForeign(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	code, said := command(t, "down", "--state-dir", dir, "--purge")
	if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); code != 1 || err != nil {
		t.Errorf("exit code %d, %v\n%s", code, err, said)
	}
}
