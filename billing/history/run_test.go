package history_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// stopped returns a task that pulled for 2 s, started for 1 s, ran for so long and
// was removed in half a second.
func stopped(ran time.Duration) task.Task {
	t := billingtest.Task(noon)
	t.DefinitionARN = "arn:aws:ecs:us-east-1:000000000000:task-definition/job:3"
	t.LastStatus, t.StopCode = task.Stopped, task.EssentialExited
	t.PullStoppedAt = noon.Add(2 * time.Second)
	t.StartedAt = noon.Add(3 * time.Second)
	t.ExecutionStoppedAt = t.StartedAt.Add(ran)
	t.StoppedAt = t.ExecutionStoppedAt.Add(500 * time.Millisecond)
	t.Version = 9
	return t
}

func TestOf(t *testing.T) {
	tk := stopped(10 * time.Second)
	two, zero := 2, 0
	tk.Containers = []task.Container{{Name: "side", ExitCode: &two}, {Name: "main", Essential: true, ExitCode: &zero}, {Name: "other", Essential: true, ExitCode: &two}}
	tk.Usage = &task.Counters{CPUNanos: 2_500_000_000, MemoryPeakBytes: 7, Periods: 100, ThrottledPeriods: 50, OOMKills: 1}
	r := history.Of(tk, nil)
	if r.Family != "job" || r.Revision != 3 || !r.Completed() || !r.Failed() || r.ExitCode != 2 || r.Pull != 2*time.Second || r.Rest != 11500*time.Millisecond ||
		r.Metered() != tk.StoppedAt.Sub(tk.PullStartedAt) || !r.Charged || r.Shape != (billing.Shape{CPU: 256, Memory: 512, Storage: 20, Arch: "X86_64"}) {
		t.Errorf("%+v", r)
	}
	// 2.5 s of CPU in 10 s are 256 CPU units: the sixteenth step.
	if u := r.Use; u == nil || u.PeakBytes != 7 || u.ThrottledPeriods != 50 || u.OOMKills != 1 || !maps.Equal(u.Minutes, map[int]int{16: 1}) {
		t.Errorf("%+v", u)
	}

	tk = stopped(time.Second)
	tk.PullStoppedAt, tk.StartedAt, tk.StopCode = time.Time{}, time.Time{}, task.FailedToStart
	if r = history.Of(tk, nil); r.Ran || !r.Charged || !r.Failed() || r.Completed() || r.Pull != tk.StoppedAt.Sub(tk.PullStartedAt) || r.Rest != 0 || r.Use != nil {
		t.Errorf("a task that failed over the pull: %+v", r)
	}
	tk.PullStartedAt = time.Time{}
	if r = history.Of(tk, nil); r.Charged || r.Metered() != 0 {
		t.Errorf("a task that never pulled: %+v", r)
	}
}

// Ensure no minute of CPU time is said to be less than it was, that whole minutes
// are counted once, and that the peaks are the highest of all samples.
func TestUse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seconds := rapid.IntRange(1, 1000).Draw(rt, "seconds")
		tk := stopped(time.Duration(seconds) * time.Second)
		var samples []task.Sample
		var cpu, peak, working, most uint64 // most is the CPU time of the busiest second
		for i := range seconds {
			busy := rapid.Uint64Range(0, 2_000_000_000).Draw(rt, "cpu")
			if rapid.IntRange(0, 20).Draw(rt, "lost") == 0 {
				cpu += busy
				continue
			}
			cpu += busy
			most = max(most, busy)
			w := rapid.Uint64Range(0, 1<<30).Draw(rt, "memory")
			working, peak = max(working, w), max(peak, w+1)
			samples = append(samples, task.Sample{At: tk.StartedAt.Add(time.Duration(i+1) * time.Second), Counters: task.Counters{
				CPUNanos: cpu, WorkingSetBytes: w, MemoryPeakBytes: peak,
			}})
		}
		tk.Usage = &task.Counters{CPUNanos: cpu, MemoryPeakBytes: peak}
		u := history.Of(tk, samples).Use
		if u.CPUNanos != cpu || u.PeakBytes != peak || u.WorkingSetBytes != working {
			rt.Errorf("%+v, want %d, %d, %d", u, cpu, peak, working)
		}
		minutes, highest := 0, 0
		for k, n := range u.Minutes {
			minutes, highest = minutes+n, max(highest, k)
		}
		if minutes < 1 || minutes > max(1, seconds/60) {
			rt.Errorf("%d minutes in %d s", minutes, seconds)
		}
		if seconds <= 60 { // One minute: its average is known.
			if units := float64(cpu) / 1e9 / float64(seconds) * 1024; float64(highest*history.CPUStep) < units || float64((highest-1)*history.CPUStep) > units {
				rt.Errorf("step %d for %f CPU units", highest, units)
			}
		}
	})
}

// world is a journal and a book that fail now and then.
type world struct {
	mu     sync.Mutex
	events []task.Event
	quotes map[task.ID]history.Quote
	runs   map[task.ID]history.Run
	seq    task.Seq
	fails  int // the next so many writes
	grown  chan struct{}
}

func newWorld() *world {
	return &world{quotes: make(map[task.ID]history.Quote), runs: make(map[task.ID]history.Run), grown: make(chan struct{})}
}

func (w *world) tell(t task.Task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, task.Event{Seq: task.Seq(len(w.events) + 1), At: noon, Task: t})
	close(w.grown)
	w.grown = make(chan struct{})
}

func (w *world) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for ctx.Err() == nil {
			w.mu.Lock()
			events, grown := w.events[seq:], w.grown
			w.mu.Unlock()
			for _, ev := range events {
				if seq = ev.Seq; !yield(ev, nil) {
					return
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
			}
		}
	}
}

func (w *world) Usage(context.Context, task.ID, time.Time, time.Time) ([]billing.Chunk, error) {
	return nil, nil
}

func (w *world) failing() error {
	if w.fails > 0 {
		w.fails--
		return errors.New("the disk is full")
	}
	return nil
}

func (w *world) PutQuote(_ context.Context, seq task.Seq, q history.Quote) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing(); err != nil {
		return err
	}
	if _, ok := w.quotes[q.Task]; !ok {
		w.quotes[q.Task] = q
	}
	w.seq = max(w.seq, seq)
	return nil
}

func (w *world) PutRun(_ context.Context, seq task.Seq, r history.Run, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failing(); err != nil {
		return err
	}
	w.runs[r.Task] = r
	w.seq = max(w.seq, seq)
	return nil
}

func (w *world) Recorded(context.Context) (task.Seq, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq, nil
}

// Ensure that every task gets one estimate and one record, whatever fails and
// however often the recorder starts anew, and that the estimate knows exactly the
// runs that ended before.
func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		config := history.Config{Journal: w, Usage: w, Book: w, Log: zap.NewNop(), Quote: func(_ context.Context, tk task.Task) (history.Quote, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if tk.Family == "Windows" {
				return history.Quote{}, fault.New(fault.NotFound, "no prices")
			}
			return history.Quote{Runs: len(w.runs)}, nil
		}}
		var ids []task.ID
		for i := range 40 {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- history.New(config).Run(ctx) }()
			tk := stopped(time.Second)
			ids = append(ids, tk.ID)
			begun := tk
			begun.Version, begun.LastStatus = 1, task.Provisioning
			if w.fails = i % 3; i == 7 {
				begun.Family = "Windows"
			}
			w.tell(begun)
			if i%4 > 0 {
				synctest.Wait()
			}
			w.tell(tk)
			if i%5 > 0 {
				time.Sleep(time.Minute)
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.fails = 0
		history.New(config).Run(ctx)
		for i, id := range ids {
			if q, ok := w.quotes[id]; ok == (i == 7) || ok && (q.Runs != i || !q.At.Equal(noon)) {
				t.Errorf("task %d: %+v, %v", i, q, ok)
			}
			if r, ok := w.runs[id]; !ok || r.Family != "job" {
				t.Errorf("task %d: %+v, %v", i, r, ok)
			}
		}
	})
}
