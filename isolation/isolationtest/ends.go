package isolationtest

import (
	"strconv"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// The parts of the suite about how processes end, and who learns of it.

func waitAfterEnd(b *bench) {
	started := b.run("main", "exit", "3")
	first := b.wait("main")
	if first.Code != 3 || first.OOMKilled || first.At.Before(started.At) {
		b.Errorf("Wait = %+v, want code 3 at or after %v", first, started.At)
	}
	if again := b.wait("main"); !again.At.Equal(first.At) || again.Code != first.Code {
		b.Errorf("second Wait = %+v, want %+v", again, first)
	}
}

func manyWaiters(b *bench) {
	b.run("main", "sleep", "1h")
	exits := make(chan task.Exit)
	ctx := b.ctx()
	const waiters = 8
	for range waiters {
		go func() {
			e, err := b.rt.Wait(ctx, b.id, "main")
			if err != nil {
				b.Errorf("Wait: %v", err)
			}
			exits <- e
		}()
	}
	b.quiet("main", 50*time.Millisecond)
	b.kill("main")
	for range waiters {
		if e := <-exits; e.Code != 137 {
			b.Errorf("a waiter got %+v, want code 137", e)
		}
	}
}

func waitEndsWithContext(b *bench) {
	b.run("main", "sleep", "1h")
	b.quiet("main", 20*time.Millisecond)
	b.quiet("main", 20*time.Millisecond) // the first one left the process alone
	b.kill("main")
	b.wantCode("main", 137)
}

func waitBeforeStart(b *bench) {
	b.provision()
	b.create("main", "exit", "7")
	got := make(chan task.Exit, 1)
	ctx := b.ctx()
	go func() {
		e, err := b.rt.Wait(ctx, b.id, "main")
		if err != nil {
			b.Errorf("Wait before Start: %v", err)
		}
		got <- e
	}()
	b.quiet("main", 50*time.Millisecond)
	b.start("main")
	if e := <-got; e.Code != 7 {
		b.Errorf("Wait before Start = %+v, want code 7", e)
	}
}

// exitCodes has ten containers, the most that a task can have.
func exitCodes(b *bench) {
	b.provision()
	codes := []int{0, 1, 2, 126, 127, 128, 129, 137, 254, 255}
	for _, code := range codes {
		b.create("c"+strconv.Itoa(code), "exit", strconv.Itoa(code))
	}
	for _, code := range codes {
		b.start("c" + strconv.Itoa(code))
	}
	for _, code := range codes {
		b.wantCode("c"+strconv.Itoa(code), code)
	}
}

func outOfMemory(b *bench) {
	b.provision()
	b.create("hog", "oom", "32")
	b.create("modest", "sleep", "1h")
	b.start("modest")
	b.start("hog")
	if e := b.wait("hog"); e.Code != 137 || !e.OOMKilled {
		b.Errorf("hog ended with %+v, want code 137 and OOMKilled", e)
	}
	b.stop("modest")
	if e := b.wait("modest"); e.OOMKilled && !b.oneKernel() {
		b.Errorf("modest ended with %+v, and it was not the one with the memory", e)
	}
	g, err := b.rt.Gauge(b.ctx(), b.id)
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	if c, err := g.Read(); err != nil || c.OOMKills == 0 || c.MemoryPeakBytes < 500<<20 || c.MemoryPeakBytes > 513<<20 { // Version 1 counts a page before it refuses it.
		b.Errorf("Read = %+v, %v; want an OOM kill and a peak of 512 MiB", c, err)
	}
}

func stopThenKill(b *bench) {
	b.run("main", "ignore", "TERM", "8081")
	b.ready("8081")
	b.stop("main")
	b.quiet("main", 300*time.Millisecond)
	b.kill("main")
	b.wantCode("main", 137)
}

func stopIsASignal(b *bench) {
	b.provision()
	b.create("graceful", "trap", "TERM", "100ms", "8081")
	b.create("plain", "sleep", "1h", "8082")
	b.start("graceful")
	b.start("plain")
	b.ready("8081")
	b.ready("8082")
	b.stop("graceful")
	b.stop("plain")
	b.wantCode("graceful", 0)
	b.wantCode("plain", 143)
}

// stopTwice asks again, as the next server does. The program ends with another code if it
// gets a second signal.
func stopTwice(b *bench) {
	b.run("main", "trap", "TERM", "600ms", "8081")
	b.ready("8081")
	first := b.stop("main")
	b.quiet("main", 50*time.Millisecond)
	b.rt = b.open()
	if second := b.stop("main"); first.IsZero() || !second.Equal(first) {
		b.Errorf("it was asked to stop at %v, and then at %v", first, second)
	}
	b.wantCode("main", 0)
}

func stopBeforeStart(b *bench) {
	b.provision()
	b.create("main", "exit", "5")
	b.stop("main")
	b.kill("main")
	for range 2 {
		_, err := b.rt.Start(b.ctx(), b.id, "main")
		b.wantKind("Start after Stop", err, fault.Invalid)
		_, err = b.rt.Wait(b.ctx(), b.id, "main")
		b.wantKind("Wait for what was stopped before it started", err, fault.NotFound)
		b.wantLife("main", 0, isolation.Started{})
	}
}

func lostProcess(b *bench) {
	started := b.run("main", "sleep", "1h")
	lost := make(chan error, 1)
	ctx := b.ctx()
	go func() {
		_, err := b.rt.Wait(ctx, b.id, "main")
		lost <- err
	}()
	b.quiet("main", 50*time.Millisecond)
	if err := b.host.Lose(b.id, "main"); err != nil {
		b.Fatal(err)
	}
	b.wantKind("Wait while the process is lost", <-lost, fault.NotFound)
	_, err := b.rt.Wait(ctx, b.id, "main")
	b.wantKind("Wait after the process was lost", err, fault.NotFound)
	if again := b.start("main"); !same(again, started) {
		b.Errorf("Start after the process was lost = %+v, want %+v", again, started)
	}
	b.stop("main")
	b.kill("main")
	_, err = b.open().Wait(ctx, b.id, "main")
	b.wantKind("Wait by the next process", err, fault.NotFound)
}

func adopted(b *bench) {
	started := b.run("main", "trap", "TERM", "50ms", "8081")
	b.create("ended", "exit", "9")
	b.start("ended")
	b.create("made", "exit", "4")
	ended := b.wait("ended")

	b.rt = b.open()
	if again := b.start("main"); !same(again, started) {
		b.Errorf("Start by the next process = %+v, want %+v", again, started)
	}
	if e := b.wait("ended"); e.Code != 9 || !e.At.Equal(ended.At) {
		b.Errorf("Wait by the next process = %+v, want %+v", e, ended)
	}
	b.start("made")
	b.wantCode("made", 4)
	b.ready("8081")
	b.stop("main")
	b.wantCode("main", 0)
}
