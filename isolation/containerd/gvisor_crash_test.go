//go:build e2e

package containerd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// TestGVisorServerDiesAnywhere is TestServerDiesAnywhere for tasks in gVisor.
func TestGVisorServerDiesAnywhere(t *testing.T) {
	needGVisor(t)
	serverDiesAnywhere(t, task.GVisor, 15)
}

// parts are the processes that stand between a task in gVisor and the host, by the
// beginning of their names.
func (s *stage) parts() []string {
	return []string{
		filepath.Join(s.libexec, "containerd-shim-runc-v2"),
		"runsc-sandbox", "runsc-gofer",
		s.monitor() + "\x00monitor", s.monitor() + "\x00--", filepath.Join(filepath.Dir(s.monitor()), "runsc"),
	}
}

// monitor is the path of berth-runsc as it finds itself: behind all links.
func (s *stage) monitor() string {
	path, err := filepath.EvalSymlinks(filepath.Join(s.libexec, "berth-runsc"))
	if err != nil {
		return err.Error()
	}
	return path
}

// having returns the processes whose command lines begin so and have that word in them.
func having(program, word string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		line, _ := os.ReadFile(path)
		if bytes.HasPrefix(line, []byte(program)) && bytes.Contains(line, []byte(word)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err == nil && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestGVisorPartsDie kills what a task in gVisor stands on at random moments of its life.
// All who ask come back; what can be known of how it ended is; and nothing of it stays.
func TestGVisorPartsDie(t *testing.T) {
	needGVisor(t)
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begun, first := time.Now(), task.NewID() // How long does it take if nobody dies?
	for name, end := range whole(ctx, t, in(task.GVisor, rt), first, nil) {
		// 143: on a busy host the signal comes before its handler.
		if want := map[string][]string{"says": {"code 3"}, "stays": {"code 0", "code 143"}}[name]; !slices.Contains(want, end) {
			t.Errorf("nobody died, and %s ended with %s, want one of %q", name, end, want)
		}
	}
	window := min(time.Since(begun), 2*time.Second) // of which other tests may have taken the most
	hit := make(map[string]int)
	ends := make(map[string]int)
	for round := range 24 {
		id := task.NewID()
		victim := shared.parts()[round%len(shared.parts())]
		after := rand.N(window)
		over, done, killed := make(chan struct{}), make(chan struct{}), make(chan int, 1)
		go func() { killed <- strike(over, done, after, victim, string(id)) }()
		// It is killed while it is made or runs; or at any moment, also while it ends.
		var running <-chan struct{}
		if round/len(shared.parts())%2 != 0 && !strings.HasSuffix(victim, "--") { // that one lives for a moment only
			running = done
		}
		all := whole(ctx, t, in(task.GVisor, rt), id, running)
		close(over)
		if <-killed > 0 {
			hit[filepath.Base(victim)]++
		}
		for name, end := range all {
			switch end {
			case "code 3", "code 0", "code 137", "code 143", "code 2", "lost": // 2: the signal came before its handler
				ends[end]++
			default:
				if end == "" {
					t.Errorf("round %d, %q killed after %v: %s has no end", round, victim, after, name)
				}
				ends["cannot start"]++
			}
			if n := starts(id, name); n > 1 {
				t.Errorf("round %d, %q killed after %v: %s was started %d times", round, victim, after, name, n)
			}
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			left := shared.ofGVisor(string(id))
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("round %d, %q killed after %v: left over: %q", round, victim, after, left)
			}
		}
	}
	t.Logf("killed: %v; ends: %v", hit, ends)
	for _, program := range shared.parts() {
		if kind := filepath.Base(program); hit[kind] == 0 && !strings.HasSuffix(program, "--") {
			t.Errorf("no %q was killed", kind)
		}
	}
}

// strike kills, after some time, the first processes of that kind that there are, and
// returns how many it killed. It closes done when it has, and gives up when over is closed.
func strike(over <-chan struct{}, done chan<- struct{}, after time.Duration, program, word string) (killed int) {
	select {
	case <-time.After(after):
	case <-over:
	}
	defer close(done)
	for {
		for _, pid := range having(program, word) {
			if unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
			}
		}
		select {
		case <-over:
			return killed
		case <-time.After(time.Millisecond):
		}
		if killed > 0 {
			return killed
		}
	}
}

// whole takes a task with two containers through its whole life, as the runner does: a
// call that fails for no fault of the user's is made again. It runs until running is
// closed, if that is not nil. It returns how the containers ended.
func whole(ctx context.Context, t *testing.T, rt isolation.Runtime, id task.ID, running <-chan struct{}) map[string]string {
	t.Helper()
	again := func(what string, call func() error) error {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			err := call()
			switch fault.KindOf(err) {
			case fault.Invalid, fault.NotFound, fault.Conflict:
				return err
			}
			if err == nil {
				return nil
			}
			if time.Now().After(deadline) || ctx.Err() != nil {
				t.Fatalf("task %s: %s: %v", id, what, err)
			}
		}
	}
	ends := make(map[string]string)
	names := []string{"says", "stays"}
	live := func() error {
		if err := again("Provision", func() error {
			_, err := rt.Provision(ctx, isolation.Sandbox{ID: id, Size: task.Size{CPU: 1024, Memory: 512}, Storage: 64 << 20, Containers: 2})
			return err
		}); err != nil {
			return err
		}
		for _, name := range names {
			c := isolation.Container{Task: id, Name: name, Image: shared.image, Command: []string{"say", "started-" + name, "3"}}
			if name == "stays" {
				c.Command = []string{"trap", "TERM", "10ms"}
			}
			if err := again("Create", func() error { return rt.Create(ctx, c) }); err != nil {
				return fmt.Errorf("create: %w", err)
			}
		}
		for _, name := range names {
			if err := again("Start", func() error { _, err := rt.Start(ctx, id, name); return err }); err != nil {
				return fmt.Errorf("start: %w", err)
			}
		}
		return nil
	}
	failed := live()
	if running != nil {
		<-running
	}
	for _, name := range names {
		if failed != nil || name == "stays" {
			again("Stop", func() error { _, err := rt.Stop(ctx, id, name); return err })
		}
		var e task.Exit
		err := again("Wait", func() (err error) {
			patience, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if e, err = rt.Wait(patience, id, name); errors.Is(err, context.DeadlineExceeded) {
				err = errors.Join(err, rt.Kill(ctx, id, name))
			}
			return err
		})
		switch {
		case err == nil:
			ends[name] = fmt.Sprintf("code %d", e.Code)
		case failed != nil:
			ends[name] = failed.Error()
		default:
			ends[name] = "lost"
		}
	}
	for range 2 {
		again("Remove", func() error { return rt.Remove(ctx, id) })
	}
	return ends
}

// ofGVisor returns what there is of a task in gVisor beside what other tasks have, too.
// For the empty word it is that of all tasks.
func (s *stage) ofGVisor(word string) (found []string) {
	for _, pattern := range []string{filepath.Join(s.run, "runsc", "*", "*"), filepath.Join(s.run, "sandboxes", "*"), filepath.Join(s.run, "runsc.*")} {
		paths, _ := filepath.Glob(pattern)
		for _, p := range paths {
			if bytes.Contains([]byte(p), []byte(word)) && filepath.Base(p) != "null-netns" {
				found = append(found, p)
			}
		}
	}
	for _, program := range s.parts() {
		for _, pid := range having(program, s.run) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if bytes.Contains(line, []byte(word)) {
				found = append(found, fmt.Sprintf("process %d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
			}
		}
	}
	return found
}

// TestGVisorUnburied removes a task whose sandbox was killed and has a parent that does
// not hear of that, as the first process of many a container does not.
func TestGVisorUnburied(t *testing.T) {
	needGVisor(t)
	subreaper := func(on uintptr) {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, on, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	subreaper(1) // Orphans are ours from here on.
	defer subreaper(0)
	s := small
	s.Runtime, s.Containers = task.GVisor, 2
	b, _ := newBox(t, s)
	for _, name := range []string{"one", "two"} {
		b.run(isolation.Container{Name: name, Command: []string{"sleep", "1h"}})
	}
	sandbox := having("runsc-sandbox", string(b.id))
	if len(sandbox) != 1 {
		t.Fatalf("sandboxes: %v", sandbox)
	}
	if err := unix.Kill(sandbox[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if e := b.wait(name); e.Code != 137 {
			t.Errorf("%s ended with %+v, want code 137", name, e)
		}
	}
	if st, err := b.rt.Restart(t.Context(), b.id, "two", 1); err != nil || st.RuntimeID == "" {
		t.Fatalf("Restart: %+v, %v", st, err)
	}
	if code, err := b.rt.Exec(t.Context(), b.id, "two", isolation.Command{Name: "check", Args: []string{"/probe", "exit", "3"}}); err != nil || code != 3 {
		t.Errorf("Exec in the next run: %d, %v", code, err)
	}
	if err := b.rt.Remove(t.Context(), b.id); err != nil {
		t.Error(err)
	}
	buried := 0
	for _, pid := range sandbox {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WNOHANG, nil); err == nil && status.Signaled() {
			buried++
		}
	}
	if buried != 1 {
		t.Error("the sandbox had been buried by another: this tried nothing")
	}
	if left := shared.ofGVisor(string(b.id)); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// TestGVisorCutShort removes a task whose server died while the sandbox was being made, by
// a runsc that goes on.
func TestGVisorCutShort(t *testing.T) {
	needGVisor(t)
	rt, err := shared.open()
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for round := range 10 {
		id := task.NewID()
		p := part{shared.libexec, shared.state, shared.run, shared.address, shared.config.Snapshotter, shared.image, id, task.GVisor}
		cmd := p.command(t)
		var making []int
		for deadline := time.Now().Add(20 * time.Second); len(making) == 0; making = having(filepath.Join(shared.libexec, "runsc")+"\x00", string(id)) {
			if time.Now().After(deadline) {
				t.Fatal("the sandbox is not made")
			}
		}
		// The further it is, the more there is to take back. It joins one cgroup after the other.
		time.Sleep(time.Duration(round) * 3 * time.Millisecond)
		if unix.Kill(making[0], unix.SIGSTOP) == nil {
			cut++
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := rt.Remove(t.Context(), id); err != nil {
			t.Errorf("round %d: Remove: %v", round, err)
		}
		_ = unix.Kill(making[0], unix.SIGCONT)
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			left := shared.ofGVisor(string(id))
			for _, pid := range having(filepath.Join(shared.libexec, "runsc"), string(id)) {
				left = append(left, fmt.Sprint("process ", pid))
			}
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("round %d: left over: %q", round, left)
				break
			}
		}
		if err := rt.Remove(t.Context(), id); err != nil {
			t.Errorf("round %d: Remove again: %v", round, err)
		}
	}
	if cut < 5 {
		t.Errorf("the sandbox was cut short in %d rounds only", cut)
	}
}

// TestGVisorTornRecord removes a task of whose containers runsc has records that it cannot
// read: it was killed when it had written half of them.
func TestGVisorTornRecord(t *testing.T) {
	needGVisor(t)
	s := small
	s.Runtime, s.Containers = task.GVisor, 2
	b, _ := newBox(t, s)
	for _, name := range []string{"one", "two"} {
		b.run(isolation.Container{Name: name, Command: []string{"sleep", "1h"}})
	}
	records, err := filepath.Glob(filepath.Join(shared.run, "runsc", "*", string(b.id)+"*.state"))
	if err != nil || len(records) != 3 {
		t.Fatalf("records of a sandbox and two containers: %q, %v", records, err)
	}
	for _, file := range records {
		if err := os.Truncate(file, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.rt.Remove(t.Context(), b.id); err != nil {
		t.Error(err)
	}
	if left := shared.ofGVisor(string(b.id)); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// TestGVisorMonitorDies kills the process that stands for a container on the host, alone:
// what it stood for ends, too.
func TestGVisorMonitorDies(t *testing.T) {
	needGVisor(t)
	s := small
	s.Runtime, s.Containers = task.GVisor, 3
	b, _ := newBox(t, s)
	b.run(isolation.Container{Name: "server", Command: []string{"listen", "8081"}})
	b.run(isolation.Container{Name: "ready", Command: []string{"dial", "8081"}})
	if e := b.wait("ready"); e.Code != 0 {
		t.Fatalf("the server does not serve: %+v", e)
	}
	pid, err := shared.process(b.id, "server")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := b.wait("server"); e.Code != 137 {
		t.Errorf("the server ended with %+v, want code 137", e)
	}
	b.run(isolation.Container{Name: "after", Command: []string{"dial", "127.0.0.1:8081"}})
	if e := b.wait("after"); e.Code != 1 {
		t.Errorf("it still serves: %+v", e)
	}
}
