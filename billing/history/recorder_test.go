package history_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// book is a history.Book in memory, whose writes may fail.
type book struct {
	seq    task.Seq
	runs   map[task.ID]history.Run
	quotes map[task.ID]history.Quote
	failed int
}

func (b *book) fails() error {
	if b.failed++; b.failed%3 == 0 {
		return fault.New(fault.Unavailable, "the disk is full")
	}
	return nil
}

func (b *book) PutQuote(_ context.Context, seq task.Seq, q history.Quote) error {
	if err := b.fails(); err != nil {
		return err
	}
	b.seq, b.quotes[q.Task] = seq, q
	return nil
}

func (b *book) PutRun(_ context.Context, seq task.Seq, r history.Run, _ time.Time) error {
	if err := b.fails(); err != nil {
		return err
	}
	b.seq, b.runs[r.Task] = seq, r
	return nil
}

func (b *book) Recorded(context.Context) (task.Seq, error) { return b.seq, nil }

// journal tells what happened, and then waits.
type journal []task.Event

func (j journal) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for _, e := range j {
			if e.Seq > seq && !yield(e, nil) {
				return
			}
		}
		<-ctx.Done()
	}
}

type samples struct{ billing.Chunk }

func (s samples) Usage(context.Context, task.ID, time.Time, time.Time) ([]billing.Chunk, error) {
	return []billing.Chunk{s.Chunk}, nil
}

// Ensure of each task there is one record and one estimate, whatever fails in between, and
// that the record says how long it took, how it ended and what it used.
func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
		var j journal
		for i := range 20 {
			code := 0
			if i == 3 {
				code = 7
			}
			tk := task.Task{
				ID: task.ID(fmt.Sprintf("%032d", i)), DefinitionARN: "arn:aws:ecs:us-east-1:000000000000:task-definition/web:4", Version: 1,
				CPU: "256", Memory: "512", LastStatus: task.Provisioning, CreatedAt: start, Arch: "X86_64",
			}
			j = append(j, task.Event{Seq: task.Seq(len(j) + 1), At: start, Task: tk})
			tk.Version, tk.LastStatus, tk.StopCode = 8, task.Stopped, task.EssentialExited
			tk.PullStartedAt, tk.PullStoppedAt, tk.StartedAt = start, start.Add(2*time.Second), start.Add(3*time.Second)
			tk.ExecutionStoppedAt, tk.StoppedAt = start.Add(32*time.Second), start.Add(33*time.Second)
			tk.Containers = []task.Container{{Name: "main", Essential: true, ExitCode: &code}}
			j = append(j, task.Event{Seq: task.Seq(len(j) + 1), At: tk.StoppedAt, Task: tk})
		}
		chunk := billing.Chunk{Data: billing.Pack([]task.Sample{{At: start.Add(30 * time.Second), Counters: task.Counters{CPUNanos: 4e9, MemoryPeakBytes: 99 << 20, WorkingSetBytes: 80 << 20}}})}
		b := &book{runs: make(map[task.ID]history.Run), quotes: make(map[task.ID]history.Quote)}
		r := history.New(history.Config{
			Journal: j, Usage: samples{chunk}, Book: b, Log: zap.NewNop(),
			Quote: func(_ context.Context, t task.Task) (history.Quote, error) {
				return history.Quote{Expected: 5, At: t.CreatedAt}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(b.runs) != 20 || len(b.quotes) != 20 || b.seq != 40 {
			t.Errorf("%d runs and %d estimates up to event %d, want 20 and 20 up to 40", len(b.runs), len(b.quotes), b.seq)
		}
		for i := range 20 {
			id := task.ID(fmt.Sprintf("%032d", i))
			got := b.runs[id]
			if got.Family != "web" || got.Revision != 4 || got.Pull != 2*time.Second || got.Rest != 31*time.Second || !got.Completed() || got.Failed() != (i == 3) ||
				got.Use == nil || got.Use.CPUNanos != 4e9 || got.Use.PeakBytes != 99<<20 || got.Shape != (billing.Shape{CPU: 256, Memory: 512, Storage: 20, Arch: "X86_64"}) {
				t.Errorf("run %d: %+v, %+v", i, got, got.Use)
			}
			if q := b.quotes[id]; q.Task != id || q.Expected != 5 {
				t.Errorf("estimate %d: %+v", i, q)
			}
		}
	})
}
