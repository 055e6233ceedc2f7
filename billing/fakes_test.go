package billing_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/fault"
	"berth/task"
)

// host is a fake of everything around a meter: the journal, the clocks and the
// counters. Its clocks follow the bubble's; the wall clock can be stepped.
type host struct {
	begun time.Time

	mu     sync.Mutex
	step   time.Duration // of the wall clock
	events []task.Event
	tasks  map[task.ID]task.Task
	grown  chan struct{}
	beats  []task.Instant
	stuck  map[task.ID]bool // whose counters never answer
	broken map[task.ID]bool // whose counters fail
}

func newHost() *host {
	return &host{begun: time.Now(), tasks: make(map[task.ID]task.Task), grown: make(chan struct{}),
		stuck: make(map[task.ID]bool), broken: make(map[task.ID]bool)}
}

func (h *host) now() task.Instant {
	h.mu.Lock()
	defer h.mu.Unlock()
	return task.Instant{Wall: time.Now().UTC().Add(h.step), Boot: time.Since(h.begun), BootID: "boot"}
}

func (h *host) stepWall(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.step += d
}

// provision makes a task whose charge begins now.
func (h *host) provision() task.Task {
	now := h.now()
	t := billingtest.Task(now.Wall)
	t.Clock = now
	h.tell(t)
	return t
}

// provisionStuck is provision for a task whose counters take an hour to read.
func (h *host) provisionStuck() task.Task {
	now := h.now()
	t := billingtest.Task(now.Wall)
	t.Clock = now
	h.mu.Lock()
	h.stuck[t.ID] = true
	h.mu.Unlock()
	h.tell(t)
	return t
}

// end ends all processes of t, which leaves a final reading.
func (h *host) end(t task.Task) task.Task {
	t.ExecutionStoppedAt = t.Time(h.now())
	c := counters(t.ExecutionStoppedAt.Sub(t.PullStartedAt))
	t.Usage, t.LastStatus = &c, task.Deprovisioning
	t.Version++
	h.tell(t)
	return t
}

// remove ends t's charge.
func (h *host) remove(t task.Task) task.Task {
	t.StoppedAt, t.LastStatus = t.Time(h.now()), task.Stopped
	t.Version++
	h.tell(t)
	return t
}

func (h *host) tell(t task.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tasks[t.ID] = t
	h.events = append(h.events, task.Event{Seq: task.Seq(len(h.events) + 1), At: time.Now(), Task: t})
	close(h.grown)
	h.grown = make(chan struct{})
}

func (h *host) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for {
			h.mu.Lock()
			events, grown := h.events[seq:], h.grown
			h.mu.Unlock()
			for _, ev := range events {
				if ctx.Err() != nil || !yield(ev, nil) {
					return
				}
				seq = ev.Seq
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (h *host) Unfinished(context.Context) ([]task.Task, task.Seq, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ts []task.Task
	for _, t := range h.tasks {
		if t.StoppedAt.IsZero() {
			ts = append(ts, t)
		}
	}
	return ts, task.Seq(len(h.events)), nil
}

func (h *host) Task(_ context.Context, id task.ID) (task.Task, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.tasks[id]
	if !ok {
		return t, fault.New(fault.NotFound, "no task %s", id)
	}
	return t, nil
}

func (h *host) Beat(_ context.Context, now task.Instant) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beats = append(h.beats, now)
	return nil
}

func (h *host) Open(_ context.Context, id task.ID) (billing.Gauge, error) {
	t, err := h.Task(context.Background(), id)
	if err != nil || !t.StoppedAt.IsZero() {
		return nil, fault.New(fault.NotFound, "task %s is not here", id)
	}
	return &gauge{h, t, make(chan struct{})}, nil
}

type gauge struct {
	h      *host
	t      task.Task
	closed chan struct{}
}

// counters are what a task of 0.25 vCPU that always computes has used after d.
func counters(d time.Duration) task.Counters {
	n := uint64(max(0, d) / time.Millisecond)
	return task.Counters{
		CPUNanos: n * 250_000, ThrottledNanos: n * 700_000, Periods: n / 100, ThrottledPeriods: n / 125,
		MemoryBytes: 100 << 20, WorkingSetBytes: 64<<20 + n%7*4096, MemoryPeakBytes: 128 << 20, PIDs: 3,
		WriteBytes: n * 4096, WriteOps: n, RxBytes: n * 100, TxBytes: n * 10,
	}
}

func (g *gauge) Read() (task.Counters, error) {
	g.h.mu.Lock()
	stuck, broken := g.h.stuck[g.t.ID], g.h.broken[g.t.ID]
	g.h.mu.Unlock()
	if stuck {
		time.Sleep(time.Hour)
	}
	if broken {
		return task.Counters{}, fault.New(fault.Internal, "input/output error")
	}
	return counters(g.t.Time(g.h.now()).Sub(g.t.PullStartedAt)), nil
}

func (g *gauge) Close() error { return nil }

// flaky is a ledger whose calls fail at random, before or after they took
// effect.
type flaky struct {
	*billingtest.Mem
	mu   sync.Mutex
	rand *rand.Rand
	odds int // one call in odds fails; 0: none
}

func (f *flaky) fails() (before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := fault.New(fault.Unavailable, "the disk is full")
	switch {
	case f.odds == 0 || f.rand.IntN(f.odds) != 0:
		return nil, nil
	case f.rand.IntN(2) == 0:
		return err, nil
	}
	return nil, err
}

func (f *flaky) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.odds = 0
}

func (f *flaky) Post(ctx context.Context, seq task.Seq, moves []billing.Move) error {
	before, after := f.fails()
	if before != nil {
		return before
	}
	if err := f.Mem.Post(ctx, seq, moves); err != nil {
		return err
	}
	return after
}

func (f *flaky) PutUsage(ctx context.Context, chunks []billing.Chunk, rolls []billing.RollUp) error {
	before, after := f.fails()
	if before != nil {
		return before
	}
	if err := f.Mem.PutUsage(ctx, chunks, rolls); err != nil {
		return err
	}
	return after
}
