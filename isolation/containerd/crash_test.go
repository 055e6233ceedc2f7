//go:build e2e

package containerd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/isolation"
	"berth/isolation/containerd/daemon"
	"berth/task"
)

// childEnv makes the test binary play the part of a server, to be killed.
const childEnv = "BERTH_TEST_CHILD"

// part is what a child does.
type part struct {
	Libexec, State, Run, Address, Snapshotter, Image string

	Task  task.ID           // run this task to its end; empty: supervise a containerd
	Class task.RuntimeClass // in which that task is
}

func child(text string) int {
	var p part
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.play()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (p part) play() error {
	ctx := context.Background()
	if p.Task == "" {
		d, err := daemon.Open(daemon.Config{Libexec: p.Libexec, StateDir: p.State, RunDir: p.Run, Log: zap.NewNop()})
		if err != nil {
			return err
		}
		return d.Run(ctx)
	}
	s := &stage{libexec: p.Libexec, state: p.State, run: p.Run, address: p.Address, image: p.Image, log: zap.NewNop()}
	s.config.Snapshotter = p.Snapshotter
	s.configure()
	rt, err := s.open()
	if err != nil {
		return err
	}
	if err := live(ctx, in(p.Class, rt), p.Image, p.Task, func(int, error) {}); err != nil {
		return err
	}
	// From here on nobody may ask for anything but Remove.
	if err := os.WriteFile(p.removing(), nil, 0o600); err != nil {
		return err
	}
	return rt.Remove(ctx, p.Task)
}

// removing is a file that a child makes before it removes its task.
func (p part) removing() string { return filepath.Join(p.State, "removing-"+string(p.Task)) }

// live takes a task with two containers through its life, up to its end, as the
// runner does: each call is made until it succeeds. seen gets how the containers ended.
func live(ctx context.Context, rt isolation.Runtime, image string, id task.ID, seen func(code int, err error)) error {
	if _, err := rt.Provision(ctx, isolation.Sandbox{ID: id, Size: task.Size{CPU: 1024, Memory: 512}, Storage: 64 << 20}); err != nil {
		return err
	}
	names := []string{"one", "two"}
	for _, name := range names {
		c := isolation.Container{Task: id, Name: name, Image: image, Command: []string{"say", "started-" + name, "3"}}
		if name == "two" {
			c.Secrets = tells("A=b")
		}
		if err := rt.Create(ctx, c); err != nil {
			return err
		}
	}
	for _, name := range names {
		if _, err := rt.Start(ctx, id, name); err != nil {
			return err
		}
	}
	for _, name := range names {
		e, err := rt.Wait(ctx, id, name)
		seen(e.Code, err)
	}
	return nil
}

func (p part) command(t *testing.T) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestServerDiesAnywhere kills a server at a random moment in the life of a
// task; the next one takes the task to its end. No process is started twice,
// none is lost, and how they ended is known.
func TestServerDiesAnywhere(t *testing.T) { serverDiesAnywhere(t, task.Runc, 25) }

func serverDiesAnywhere(t *testing.T, class task.RuntimeClass, rounds int) {
	opened, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	rt := in(class, opened)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if emulated {
		rounds = 5
	}
	begin, first := time.Now(), task.NewID() // How long does it take if nobody dies?
	if err := errors.Join(live(ctx, rt, shared.image, first, func(int, error) {}), rt.Remove(ctx, first)); err != nil {
		t.Fatal(err)
	}
	window := time.Since(begin) * 3 / 2 // The child has to start, too.
	cut := 0                            // rounds in which the server did not get to the end
	for round := range rounds {
		id := task.NewID()
		p := part{shared.libexec, shared.state, shared.run, shared.address, shared.config.Snapshotter, shared.image, id, class}
		cmd := p.command(t)
		after := rand.N(window)
		time.Sleep(after)
		if err := cmd.Process.Kill(); err != nil && cmd.ProcessState == nil {
			t.Logf("round %d: %v", round, err)
		}
		_ = cmd.Wait()

		if _, err := os.Stat(p.removing()); err == nil {
			if err := rt.Remove(ctx, id); err != nil {
				t.Errorf("round %d, killed after %v: %v", round, after, err)
			}
			continue
		}
		cut++
		for try := 0; ; try++ {
			err := live(ctx, rt, shared.image, id, func(code int, err error) {
				if err != nil || code != 3 {
					t.Errorf("round %d, killed after %v: a container ended with code %d, %v; want 3", round, after, code, err)
				}
			})
			if err == nil {
				break
			}
			if try == 300 {
				t.Fatalf("round %d, killed after %v: %v", round, after, err)
			}
			// containerd may still be busy with what the dead one asked for.
			time.Sleep(100 * time.Millisecond)
		}
		if err := rt.Remove(ctx, id); err != nil {
			t.Errorf("round %d, killed after %v: %v", round, after, err)
		}
		for _, name := range []string{"one", "two"} {
			if n := starts(id, name); n != 1 {
				t.Errorf("round %d, killed after %v: container %s was started %d times", round, after, name, n)
			}
		}
	}
	t.Logf("killed before the end: %d of %d", cut, rounds)
	if cut < rounds/5 {
		t.Errorf("the server was killed before the end in %d rounds of %d only", cut, rounds)
	}
}

// starts counts how often a container said that it was started.
func starts(id task.ID, name string) int {
	files, _ := filepath.Glob(filepath.Join(shared.config.LogsDir, string(id), name, "*"))
	n := 0
	for _, f := range files {
		text, _ := os.ReadFile(f)
		n += strings.Count(string(text), "started-"+name)
	}
	return n
}

// pid returns the PID of a supervised containerd.
func pid(run string) (int, error) {
	text, err := os.ReadFile(filepath.Join(run, "containerd.pid"))
	if err != nil {
		return 0, err
	}
	var id struct{ PID int }
	return id.PID, json.Unmarshal(text, &id)
}

// TestContainerdDies kills containerd while tasks run. They go on, those who
// wait for them notice nothing, the next calls find a new containerd, and how a
// process ended in between is known.
func TestContainerdDies(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "long", Command: []string{"trap", "TERM", "10ms", "8081"}})
	b.run(isolation.Container{Name: "short", Command: []string{"sleep", "1h"}})
	b.run(isolation.Container{Name: "unwatched", Command: []string{"sleep", "1h"}})
	b.run(isolation.Container{Name: "ready", Command: []string{"dial", "8081"}})
	b.wait("ready")
	results := make(map[string]chan task.Exit)
	for _, name := range []string{"long", "short"} {
		results[name] = make(chan task.Exit, 1)
		go func() {
			e, err := b.rt.Wait(t.Context(), b.id, name)
			if err != nil {
				t.Errorf("Wait for %s: %v", name, err)
			}
			results[name] <- e
		}()
	}
	before, err := pid(shared.run)
	if err != nil {
		t.Fatal(err)
	}
	victims := []int{before}
	for _, name := range []string{"short", "unwatched"} {
		p, err := shared.process(b.id, name)
		if err != nil {
			t.Fatal(err)
		}
		victims = append(victims, p)
	}
	for _, p := range victims { // The supervisor leaves us a moment before it starts the next containerd.
		if err := unix.Kill(p, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if e := <-results["short"]; e.Code != 137 {
		t.Errorf("the one that ended meanwhile: %+v", e)
	}
	if e := b.wait("unwatched"); e.Code != 137 {
		t.Errorf("the one that ended meanwhile and that nobody waited for: %+v", e)
	}
	for try := 0; ; try++ {
		_, err := b.rt.Stop(t.Context(), b.id, "long")
		if err == nil {
			break
		}
		if try == 100 {
			t.Fatalf("Stop: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if e := <-results["long"]; e.Code != 0 {
		t.Errorf("the one that went on: %+v", e)
	}
	if after, err := pid(shared.run); err != nil || after == before {
		t.Errorf("containerd has PID %d, as before it was killed, %v", after, err)
	}
}

// TestSupervisorDies kills a server; the next one takes over its containerd.
func TestSupervisorDies(t *testing.T) {
	state, err := os.MkdirTemp(filepath.Dir(shared.state), "second")
	if err != nil {
		t.Fatal(err)
	}
	run := shared.run + "/2"
	if err := os.MkdirAll(run, 0o700); err != nil {
		t.Fatal(err)
	}
	config := daemon.Config{Libexec: shared.libexec, StateDir: state, RunDir: run, Log: shared.log}
	cmd := part{Libexec: config.Libexec, State: state, Run: run}.command(t)
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var first int
	for deadline := time.Now().Add(30 * time.Second); first == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first server's containerd does not come up")
		}
		first, _ = pid(run)
	}
	if _, err := daemon.Open(config); err == nil {
		t.Error("two servers have the same state directory")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	d, err := daemon.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	if err := d.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if second, err := pid(run); err != nil || second != first {
		t.Errorf("containerd has PID %d, %v; the first server started %d", second, err, first)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("stop: %v", err)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", first)); err == nil && bytes.Contains(line, []byte("containerd")) {
		t.Errorf("containerd still runs: %s", line)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestForgottenParts takes pieces of a task away behind the Runtime's back, as a
// restart of the host or an operator does. Remove removes what is left.
func TestForgottenParts(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(b *box) error
	}{
		{"records", func(b *box) error { return os.RemoveAll(filepath.Join(shared.state, "tasks", string(b.id))) }},
		{"network namespace", func(b *box) error {
			return unix.Unmount(filepath.Join(shared.run, "netns", string(b.id)), unix.MNT_DETACH)
		}},
		{"storage", func(b *box) error {
			return unix.Unmount(filepath.Join(shared.state, "storage", string(b.id), "disk"), unix.MNT_DETACH)
		}},
		{"link", func(b *box) error { return exec.Command("ip", "link", "del", "bt"+string(b.id[20:])).Run() }},
		{"shim", func(b *box) error { return shared.Lose(b.id, "main") }},
		{"bridge", func(b *box) error {
			return exec.Command("ip", "link", "del", "berth"+shared.config.Instance).Run()
		}},
		{"another boot", func(b *box) error {
			path := filepath.Join(shared.state, "tasks", string(b.id), "sandbox.json")
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var record map[string]any
			if err := json.Unmarshal(text, &record); err != nil {
				return err
			}
			record["BootID"] = "another"
			if text, err = json.Marshal(record); err != nil {
				return err
			}
			return os.WriteFile(path, text, 0o600)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, _ := newBox(t, small)
			b.run(isolation.Container{Name: "main", Command: []string{"ignore", "TERM"}})
			if err := tt.harm(b); err != nil {
				t.Fatal(err)
			}
			if ids, err := b.rt.List(t.Context()); err != nil || len(ids) != 1 || ids[0] != b.id {
				t.Errorf("List = %v, %v; want %s", ids, err, b.id)
			}
			for range 2 {
				if err := b.rt.Remove(t.Context(), b.id); err != nil {
					t.Fatal(err)
				}
			}
			if ids, err := b.rt.List(t.Context()); err != nil || len(ids) != 0 {
				t.Errorf("after Remove List = %v, %v", ids, err)
			}
			// The next task finds the host in order.
			next, n := newBox(t, small)
			if n.IPv4 == "" {
				t.Error("the next task has no address")
			}
			next.run(isolation.Container{Name: "main", Command: []string{"exit", "2"}})
			if e := next.wait("main"); e.Code != 2 {
				t.Errorf("the next task ended with %+v", e)
			}
		})
	}
}
