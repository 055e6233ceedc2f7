package history

import (
	"context"
	"fmt"
	"iter"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Journal says what happens to tasks.
type Journal interface {
	// Follow yields every event after seq, in order, and then waits for more
	// until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]
}

// Usage has the samples of tasks.
type Usage interface {
	Usage(ctx context.Context, id task.ID, from, to time.Time) ([]billing.Chunk, error)
}

// Book keeps the records. What one method writes is written whole or not at all,
// together with the note that the journal was read up to seq, and is durable when
// it returns. Writing what is there already changes nothing but that note.
type Book interface {
	PutQuote(ctx context.Context, seq task.Seq, q Quote) error

	// PutRun also forgets what stopped before the time keep.
	PutRun(ctx context.Context, seq task.Seq, r Run, keep time.Time) error

	// Recorded returns how far the journal was read, 0 in the beginning.
	Recorded(ctx context.Context) (task.Seq, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Journal Journal
	Usage   Usage
	Book    Book

	// Quote estimates what a task will cost that was just submitted.
	Quote func(ctx context.Context, t task.Task) (Quote, error)

	Log *zap.Logger
}

// Recorder writes down what the journal says about runs.
type Recorder struct{ Config }

// New returns a Recorder. It does nothing until Run.
func New(c Config) *Recorder { return &Recorder{c} }

// keep is how long a run is remembered. What-ifs and right sizes look at months.
const keep = 400 * 24 * time.Hour

// retry is how long the Recorder waits after something failed.
const retry = 5 * time.Second

// Run records until ctx ends. A failure is logged and tried again from where the
// records end; it never loses a run.
func (r *Recorder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		r.Log.Warn("runs not recorded, will be tried again", zap.Error(err))
		again := time.NewTimer(retry)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
	}
	return nil
}

func (r *Recorder) follow(ctx context.Context) error {
	seq, err := r.Book.Recorded(ctx)
	if err != nil {
		return err
	}
	for ev, err := range r.Journal.Follow(ctx, seq) {
		if err != nil {
			return fmt.Errorf("follow journal: %w", err)
		}
		if err := r.record(ctx, ev); err != nil {
			return fmt.Errorf("record task %s: %w", ev.Task.ID, err)
		}
	}
	return ctx.Err()
}

// record writes down what ev says. It can be repeated.
func (r *Recorder) record(ctx context.Context, ev task.Event) error {
	t := ev.Task
	switch {
	case t.Version == 1:
		q, err := r.Quote(ctx, t)
		if k := fault.KindOf(err); err != nil && k != fault.Internal && k != fault.Unavailable {
			r.Log.Debug("task not estimated", zap.String("task", string(t.ID)), zap.Error(err))
			return nil // There are no prices for such a task: it has no estimate.
		}
		if err != nil {
			return err
		}
		q.Task, q.At = t.ID, t.CreatedAt
		return r.Book.PutQuote(ctx, ev.Seq, q)
	case t.LastStatus.Final():
		samples, err := r.samples(ctx, t.ID)
		if err != nil {
			return err
		}
		return r.Book.PutRun(ctx, ev.Seq, Of(t, samples), ev.At.Add(-keep))
	}
	return nil
}

// samples returns those that are stored. The last seconds may not be yet; the
// task's last reading stands for them.
func (r *Recorder) samples(ctx context.Context, id task.ID) ([]task.Sample, error) {
	chunks, err := r.Usage.Usage(ctx, id, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	var all []task.Sample
	for _, c := range chunks {
		some, err := billing.Unpack(c.Data)
		if err != nil { // It would be no better the next time, and the other runs must not wait for it.
			r.Log.Error("samples of a run not read", zap.String("task", string(id)), zap.Time("from", c.From), zap.Error(err))
			continue
		}
		all = append(all, some...)
	}
	return all, nil
}
