package isolationtest

import (
	"context"
	"errors"
	"strconv"
	"time"

	"berth/fault"
	"berth/isolation"
)

func (b *bench) restart(name string, run int) isolation.Started {
	b.Helper()
	st, err := b.rt.Restart(b.ctx(), b.id, name, run)
	if err != nil {
		b.Fatalf("Restart %s, run %d: %v", name, run, err)
	}
	return st
}

// restartOnce starts each run once, also when the call is repeated by another process.
func restartOnce(b *bench) {
	first := b.run("main", "exit", "3")
	b.wantCode("main", 3)
	second := b.restart("main", 1)
	b.wantCode("main", 3)
	if same(first, second) {
		b.Errorf("run 1 = %+v, as run 0", second)
	}
	for range 2 {
		if again := b.restart("main", 1); !same(again, second) {
			b.Errorf("run 1 again = %+v, want %+v", again, second)
		}
		b.rt = b.open()
	}
	b.wantLife("main", 2, second)
	third := b.restart("main", 2)
	b.wantCode("main", 3)
	if same(second, third) {
		b.Errorf("run 2 = %+v, as run 1", third)
	}
	for _, run := range []int{1, 4} {
		_, err := b.rt.Restart(b.ctx(), b.id, "main", run)
		b.wantKind("a run out of order", err, fault.Conflict)
	}
	_, err := b.rt.Restart(b.ctx(), b.id, "nobody", 1)
	b.wantKind("Restart of no container", err, fault.NotFound)
}

func restartWhatRuns(b *bench) {
	b.run("main", "sleep", "1h")
	_, err := b.rt.Restart(b.ctx(), b.id, "main", 1)
	b.wantKind("Restart of a container that runs", err, fault.Conflict)
	b.quiet("main", 50*time.Millisecond)
}

// restartThenStop holds stopping, waiting and killing to the latest run.
func restartThenStop(b *bench) {
	b.run("main", "trap", "TERM", "10ms", "8081")
	b.ready("8081")
	b.kill("main")
	b.wantCode("main", 137)
	b.restart("main", 1)
	b.quiet("main", 50*time.Millisecond)
	b.create("again", "dial", "8081")
	b.start("again")
	b.wantCode("again", 0)
	b.stop("main")
	b.wantCode("main", 0)
	b.rt = b.open()
	b.wantCode("main", 0)
	b.remove()
}

func execs(b *bench) {
	b.run("main", "sleep", "1h")
	for _, want := range []int{0, 3} {
		code, err := b.rt.Exec(b.ctx(), b.id, "main", b.command("exit", strconv.Itoa(want)))
		if err != nil || code != want {
			b.Errorf("Exec of exit %d = %d, %v", want, code, err)
		}
	}
	if code, err := b.rt.Exec(b.ctx(), b.id, "main", b.command("loud", "4")); err != nil || code != 4 {
		b.Errorf("Exec of a program that prints = %d, %v; want 4", code, err)
	}
	_, err := b.rt.Exec(b.ctx(), b.id, "main", isolation.Command{Name: "check", Args: []string{"/missing"}})
	b.wantKind("Exec of what is not there", err, fault.Invalid)
	if code, err := b.rt.Exec(b.ctx(), b.id, "main", b.command("exit", "0")); err != nil || code != 0 {
		b.Errorf("Exec after one that could not start = %d, %v", code, err)
	}
	b.quiet("main", 50*time.Millisecond)
	b.kill("main")
	b.wait("main")
}

// command runs the program of the image.
func (b *bench) command(args ...string) isolation.Command {
	return isolation.Command{Name: "check", Args: append([]string{"/probe"}, args...)}
}

// execEndsWithContext kills what does not end, also what an earlier process began.
func execEndsWithContext(b *bench) {
	b.run("main", "sleep", "1h")
	for range 2 {
		ctx, cancel := context.WithTimeout(b.Context(), 300*time.Millisecond)
		_, err := b.rt.Exec(ctx, b.id, "main", b.command("sleep", "1h"))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("Exec that does not end: %v", err)
		}
	}
	if code, err := b.rt.Exec(b.ctx(), b.id, "main", b.command("exit", "0")); err != nil || code != 0 {
		b.Errorf("the next Exec = %d, %v", code, err)
	}
	b.quiet("main", 50*time.Millisecond)
}

func execNowhere(b *bench) {
	_, err := b.rt.Exec(b.ctx(), b.id, "main", b.command("exit", "0"))
	b.wantKind("Exec in no container", err, fault.Conflict)
	b.provision()
	b.create("main", "sleep", "1h")
	_, err = b.rt.Exec(b.ctx(), b.id, "main", b.command("exit", "0"))
	b.wantKind("Exec in a container that was not started", err, fault.Conflict)
	b.start("main")
	done := make(chan error, 1)
	go func() {
		_, err := b.rt.Exec(b.ctx(), b.id, "main", b.command("sleep", "1h"))
		done <- err
	}()
	b.quiet("main", 200*time.Millisecond)
	b.kill("main")
	select {
	case err := <-done:
		if err == nil {
			b.Log("the command was seen to end") // It was killed with the container.
		}
	case <-time.After(patience):
		b.Error("Exec goes on after its container has ended")
	}
}
