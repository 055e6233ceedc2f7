package isolationtest

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Host is a host with a Runtime on it that is to be tested.
type Host interface {
	// Open returns the Runtime as a process of ours that has just started gets
	// it. Every call is such a start; nobody said goodbye before.
	Open() (isolation.Runtime, error)

	// Lose makes the running process of a container vanish in a way that leaves
	// nobody who knows how it ended.
	Lose(id task.ID, container string) error
}

// OneKernel is a Host whose tasks have a kernel of their own, which all containers
// of a task share: what ends it ends all of them, and it is there, a process of the
// task's, until Remove.
type OneKernel interface{ OneKernel() }

// Suite holds the Runtime of every Host to the contract of package isolation.
// image has the commands of [parse]. Each subtest has tasks of its own, and they
// run in parallel when open allows it: the Host that it returns may be shared.
func Suite(t *testing.T, image string, open func(t *testing.T) Host) {
	for _, tt := range []struct {
		name string
		test func(b *bench)
	}{
		{"EveryCallTwice", everyCallTwice},
		{"NothingThere", nothingThere},
		{"WaitAfterEnd", waitAfterEnd},
		{"ManyWaiters", manyWaiters},
		{"WaitEndsWithContext", waitEndsWithContext},
		{"WaitBeforeStart", waitBeforeStart},
		{"ExitCodes", exitCodes},
		{"OutOfMemory", outOfMemory},
		{"StopThenKill", stopThenKill},
		{"StopIsASignal", stopIsASignal},
		{"StopTwice", stopTwice},
		{"StopBeforeStart", stopBeforeStart},
		{"LostProcess", lostProcess},
		{"AdoptedByTheNextProcess", adopted},
		{"UsersFaults", usersFaults},
		{"SharedNetworkOwnProcesses", sharedNetwork},
		{"GaugeOverALife", gaugeOverALife},
		{"StatsOfOneContainer", statsOfOne},
		{"ListKnowsEveryTask", listed},
		{"RemoveHalfMade", removeHalfMade},
		{"RemoveRunning", removeRunning},
		{"ConcurrentCalls", concurrentCalls},
		{"RestartOnce", restartOnce},
		{"RestartWhatRuns", restartWhatRuns},
		{"RestartThenStop", restartThenStop},
		{"Exec", execs},
		{"ExecEndsWithContext", execEndsWithContext},
		{"ExecWhereNothingRuns", execNowhere},
		{"SecretsOnce", secretsOnce},
		{"SessionCarriesAllStreams", sessionStreams},
		{"SessionWithTerminal", sessionTerminal},
		{"SessionEndsWithContext", sessionEndsWithContext},
		{"SessionEndsWithItsListener", sessionStreamFails},
		{"SessionEndsWithContainer", sessionEndsWithContainer},
		{"SessionWhereNothingRuns", sessionNowhere},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := &bench{T: t, host: open(t), image: image, id: task.NewID()}
			b.rt = b.open()
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if err := b.rt.Remove(ctx, b.id); err != nil {
					t.Errorf("Remove at the end: %v", err)
				}
			})
			tt.test(b)
		})
	}
}

func (b *bench) oneKernel() bool {
	_, is := b.host.(OneKernel)
	return is
}

func everyCallTwice(b *bench) {
	first := b.provision()
	if again := b.provision(); !reflect.DeepEqual(again, first) {
		b.Errorf("second Provision = %+v, want %+v", again, first)
	}
	b.create("main", "sleep", "1h")
	b.create("main", "sleep", "1h")
	b.wantLife("main", 0, isolation.Started{})
	started := b.start("main")
	b.wantLife("main", 1, started)
	if again := b.start("main"); !same(again, started) {
		b.Errorf("second Start = %+v, want %+v", again, started)
	}
	if started.RuntimeID == "" || started.At.IsZero() {
		b.Errorf("Start = %+v, want an ID and a time", started)
	}
	b.stop("main")
	b.stop("main")
	b.wait("main")
	b.kill("main")
	b.kill("main")
	if again := b.start("main"); !same(again, started) {
		b.Errorf("Start after the end = %+v, want %+v", again, started)
	}
	b.wantLife("main", 1, started)
	b.remove()
	b.remove()
}

func nothingThere(b *bench) {
	ctx := b.ctx()
	_, err := b.rt.Wait(ctx, b.id, "main")
	b.wantKind("Wait", err, fault.NotFound)
	_, err = b.rt.Start(ctx, b.id, "main")
	b.wantKind("Start", err, fault.NotFound)
	_, err = b.rt.Gauge(ctx, b.id)
	b.wantKind("Gauge", err, fault.NotFound)
	if life, err := b.rt.Life(b.id, "main"); err != nil || life != (task.ContainerLife{}) {
		b.Errorf("Life = %+v, %v; want nothing", life, err)
	}
	b.stop("main")
	b.kill("main")
	b.remove()

	b.provision()
	_, err = b.rt.Wait(ctx, b.id, "main")
	b.wantKind("Wait in an empty task", err, fault.NotFound)
	_, err = b.rt.Start(ctx, b.id, "main")
	b.wantKind("Start in an empty task", err, fault.NotFound)
	b.stop("main")
	b.kill("main")
}

func usersFaults(b *bench) {
	b.provision()
	c := b.container("image", "exit", "0")
	c.Image = "missing.invalid/image@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	b.wantKind("Create with an image that is not here", b.rt.Create(b.ctx(), c), fault.NotFound)

	c = b.container("taker", "exit", "0")
	c.VolumesFrom = []isolation.VolumesFrom{{Container: "giver"}}
	b.wantKind("Create with the volumes of one that is not made", b.rt.Create(b.ctx(), c), fault.Conflict)
	b.create("giver", "exit", "0")
	if err := b.rt.Create(b.ctx(), c); err != nil {
		b.Errorf("Create with the volumes of one that is made: %v", err)
	}

	c = b.container("program", "exit", "0")
	c.EntryPoint = []string{"/missing"}
	for range 2 {
		err := b.rt.Create(b.ctx(), c)
		if err == nil {
			_, err = b.rt.Start(b.ctx(), b.id, "program")
		}
		b.wantKind("a program that is not there", err, fault.Invalid)
	}
	_, err := b.rt.Wait(b.ctx(), b.id, "program")
	b.wantKind("Wait for a program that is not there", err, fault.NotFound)
	b.create("sound", "exit", "0")
	b.start("sound")
	b.wantCode("sound", 0)
}

func sharedNetwork(b *bench) {
	b.provision()
	b.create("server", "listen", "8080")
	b.create("client", "dial", "8080")
	b.create("census", "pids")
	for _, name := range []string{"server", "client", "census"} {
		b.start(name)
	}
	b.wantCode("client", 0)
	b.wantCode("census", 1)

	other := &bench{T: b.T, host: b.host, rt: b.rt, image: b.image, id: task.NewID()}
	b.Cleanup(func() {
		if err := other.rt.Remove(context.Background(), other.id); err != nil {
			b.Error(err)
		}
	})
	if n := other.provision(); n.IPv4 != "" && n.IPv4 == b.provision().IPv4 {
		b.Errorf("two tasks have the address %s", n.IPv4)
	}
	other.create("client", "dial", "127.0.0.1:8080")
	other.start("client")
	other.wantCode("client", 1)
}

func gaugeOverALife(b *bench) {
	b.provision()
	g, err := b.rt.Gauge(b.ctx(), b.id)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	read := func(when string) task.Counters {
		b.Helper()
		c, err := g.Read()
		if err != nil {
			b.Fatalf("Read %s: %v", when, err)
		}
		return c
	}
	if c := read("before the first process"); c.CPUNanos != 0 || c.PIDs != 0 {
		b.Errorf("before the first process: %+v", c)
	}
	b.create("main", "spin", "1h")
	b.start("main")
	during := read("during")
	for deadline := time.Now().Add(patience); during.CPUNanos == 0 || during.MemoryBytes == 0 || during.PIDs == 0; during = read("during") {
		if time.Now().After(deadline) {
			b.Fatalf("during: %+v", during)
		}
		b.quiet("main", 10*time.Millisecond)
	}
	if during.MemoryPeakBytes < during.WorkingSetBytes {
		b.Errorf("during: %+v", during)
	}
	b.kill("main")
	b.wait("main")
	after := read("after the end")
	if after.CPUNanos < during.CPUNanos {
		b.Errorf("after the end: %+v, during: %+v", after, during)
	}
	again, err := b.open().Gauge(b.ctx(), b.id)
	if err != nil {
		b.Fatal(err)
	}
	defer again.Close()
	if c, err := again.Read(); err != nil || c.CPUNanos < after.CPUNanos || c.MemoryPeakBytes < after.MemoryPeakBytes || c.PIDs != 0 && !b.oneKernel() {
		b.Errorf("another gauge: %+v, %v; the first one read %+v", c, err, after)
	}
	b.remove()
	_, err = g.Read()
	b.wantKind("Read after Remove", err, fault.NotFound)
	for range 2 {
		if err := g.Close(); err != nil {
			b.Errorf("Close: %v", err)
		}
	}
}

func listed(b *bench) {
	has := func() bool {
		ids, err := b.rt.List(b.ctx())
		if err != nil {
			b.Fatal(err)
		}
		return slices.Contains(ids, b.id)
	}
	if has() {
		b.Error("List names a task before it was provisioned")
	}
	b.provision()
	if !has() {
		b.Error("List does not name a provisioned task")
	}
	b.create("main", "exit", "0")
	b.start("main")
	b.wait("main")
	if !has() {
		b.Error("List does not name a task that has ended")
	}
	b.remove()
	if has() {
		b.Error("List names a removed task")
	}
}

func removeHalfMade(b *bench) {
	b.provision()
	b.remove()
	b.provision()
	b.create("main", "exit", "0")
	b.remove()
	if _, err := b.rt.Wait(b.ctx(), b.id, "main"); fault.KindOf(err) != fault.NotFound {
		b.Errorf("Wait after Remove: %v, want not found", err)
	}
	// The same task again: nothing of its first life may show.
	b.run("main", "exit", "6")
	b.wantCode("main", 6)
}

func removeRunning(b *bench) {
	b.run("main", "sleep", "1h")
	gone := make(chan struct{})
	ctx := b.ctx()
	go func() { // whatever it gets, it must come back
		defer close(gone)
		_, _ = b.rt.Wait(ctx, b.id, "main")
	}()
	b.quiet("main", 50*time.Millisecond)
	b.remove()
	select {
	case <-gone:
	case <-ctx.Done():
		b.Error("Wait did not return after Remove")
	}
}

func concurrentCalls(b *bench) {
	const callers = 4
	all := func(call func() error) {
		errs := make(chan error, callers)
		for range callers {
			go func() { errs <- call() }()
		}
		for range callers {
			if err := <-errs; err != nil {
				b.Error(err)
			}
		}
	}
	ctx := b.ctx()
	all(func() error { _, err := b.rt.Provision(ctx, b.sandbox()); return err })
	all(func() error { return b.rt.Create(ctx, b.container("main", "exit", "8")) })
	all(func() error { _, err := b.rt.Start(ctx, b.id, "main"); return err })
	all(func() error { _, err := b.rt.Stop(ctx, b.id, "main"); return err })
	b.wait("main")
	all(func() error { return b.rt.Remove(ctx, b.id) })
}
