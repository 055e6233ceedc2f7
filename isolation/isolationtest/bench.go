package isolationtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// patience is how long a test waits for what must happen, on an emulated CPU too.
const patience = 5 * time.Minute

// bench is a Runtime and one task for one test.
type bench struct {
	*testing.T
	host  Host
	rt    isolation.Runtime
	image string
	id    task.ID
}

func (b *bench) open() isolation.Runtime {
	b.Helper()
	rt, err := b.host.Open()
	if err != nil {
		b.Fatal(err)
	}
	return rt
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	b.Cleanup(cancel)
	return ctx
}

func (b *bench) sandbox() isolation.Sandbox {
	return isolation.Sandbox{ID: b.id, Size: task.Size{CPU: 256, Memory: 512}, Storage: 64 << 20, Containers: 4}
}

func (b *bench) container(name string, command ...string) isolation.Container {
	return isolation.Container{Task: b.id, Name: name, Image: b.image, Command: command}
}

func (b *bench) provision() task.Network {
	b.Helper()
	n, err := b.rt.Provision(b.ctx(), b.sandbox())
	if err != nil {
		b.Fatalf("Provision: %v", err)
	}
	return n
}

func (b *bench) create(name string, command ...string) {
	b.Helper()
	if err := b.rt.Create(b.ctx(), b.container(name, command...)); err != nil {
		b.Fatalf("Create %s: %v", name, err)
	}
}

func (b *bench) start(name string) isolation.Started {
	b.Helper()
	st, err := b.rt.Start(b.ctx(), b.id, name)
	if err != nil {
		b.Fatalf("Start %s: %v", name, err)
	}
	return st
}

// run provisions, creates and starts one container.
func (b *bench) run(name string, command ...string) isolation.Started {
	b.Helper()
	b.provision()
	b.create(name, command...)
	return b.start(name)
}

func (b *bench) wait(name string) task.Exit {
	b.Helper()
	e, err := b.rt.Wait(b.ctx(), b.id, name)
	if err != nil {
		b.Fatalf("Wait %s: %v", name, err)
	}
	return e
}

func (b *bench) stop(name string) time.Time {
	b.Helper()
	at, err := b.rt.Stop(b.ctx(), b.id, name)
	if err != nil {
		b.Fatalf("Stop %s: %v", name, err)
	}
	return at
}

func (b *bench) kill(name string) {
	b.Helper()
	if err := b.rt.Kill(b.ctx(), b.id, name); err != nil {
		b.Fatalf("Kill %s: %v", name, err)
	}
}

func (b *bench) remove() {
	b.Helper()
	if err := b.rt.Remove(b.ctx(), b.id); err != nil {
		b.Fatalf("Remove: %v", err)
	}
}

// wantLife checks how often the main process of a container was started, 0 for never, and
// when it was last.
func (b *bench) wantLife(name string, starts int, last isolation.Started) {
	b.Helper()
	life, err := b.rt.Life(b.id, name)
	if err != nil || life.Made.IsZero() || life.Restarts != max(starts-1, 0) || !life.Started.Equal(last.At) {
		b.Errorf("Life = %+v, %v; want %d starts, the last at %v", life, err, starts, last.At)
	}
}

func same(a, b isolation.Started) bool { return a.RuntimeID == b.RuntimeID && a.At.Equal(b.At) }

func (b *bench) wantCode(name string, want int) {
	b.Helper()
	if e := b.wait(name); e.Code != want {
		b.Errorf("%s ended with %+v, want code %d", name, e, want)
	}
}

// ready waits until the program of a container serves the port by which it says
// that it has set itself up, above all its signal handlers.
func (b *bench) ready(port string) {
	b.Helper()
	b.create("ready"+port, "dial", port)
	b.start("ready" + port)
	b.wantCode("ready"+port, 0)
}

// quiet fails the test if the container ends within d.
func (b *bench) quiet(name string, d time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	if e, err := b.rt.Wait(ctx, b.id, name); !errors.Is(err, context.DeadlineExceeded) {
		b.Errorf("Wait %s = %+v, %v; it should go on", name, e, err)
	}
}

func (b *bench) wantKind(what string, err error, want fault.Kind) {
	b.Helper()
	if err == nil || fault.KindOf(err) != want {
		b.Errorf("%s: error %v, want one of kind %q", what, err, want)
	}
}
