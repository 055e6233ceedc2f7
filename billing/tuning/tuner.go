package tuning

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// Tasks runs tasks.
type Tasks interface {
	// Preview returns the tasks that Submit would make of r, and of which definition,
	// or the error that it would return, and does nothing. That the host could never
	// hold them is fault.Exhausted, and the definition is returned beside it.
	Preview(ctx context.Context, r task.Run) (task.Definition, []task.Task, error)

	// Submit runs r. With the same token it returns the same tasks.
	Submit(ctx context.Context, r task.Run) ([]task.Task, error)

	// Stop asks a task to stop. It can be repeated, also for one that has stopped.
	Stop(ctx context.Context, id task.ID, reason string) (task.Task, error)
}

// Journal knows what became of tasks.
type Journal interface {
	Task(ctx context.Context, id task.ID) (task.Task, error)

	// StartedBy returns the tasks that bear that startedBy.
	StartedBy(ctx context.Context, by string) ([]task.Task, error)
}

// Meter knows what tasks cost: so far, or for good.
type Meter interface {
	Bill(ctx context.Context, id task.ID) (billing.Bill, error)
}

// Book keeps tunings.
type Book interface {
	// PutTuning writes t and those of its runs, whole or not at all, and has them
	// durable when it returns. Version must be one more than what is there, 1 for a
	// tuning that is new; else it is a fault.Conflict and nothing is written. A run
	// that has ended does not change any more.
	PutTuning(ctx context.Context, t Tuning, runs ...Run) error

	// Tuning returns a tuning and its runs in the order in which they were first
	// written, or fault.NotFound.
	Tuning(ctx context.Context, id ID) (Tuning, []Run, error)

	// Tunings returns at most limit tunings, the latest first, of those that are older
	// than before, if that is not empty.
	Tunings(ctx context.Context, limit int, before ID) ([]Tuning, error)

	// Unended returns the tunings that have not ended, the oldest first.
	Unended(ctx context.Context) ([]Tuning, error)

	// RemoveTuning forgets a tuning and its runs. One that is not there is
	// fault.NotFound.
	RemoveTuning(ctx context.Context, id ID) error
}

// Config is what New needs. All fields are required.
type Config struct {
	Tasks   Tasks
	Journal Journal
	Meter   Meter
	Book    Book

	// Quote estimates what a task will cost.
	Quote func(ctx context.Context, t task.Task) (history.Quote, error)

	// Price returns what a task costs that is charged for d, a minute at least.
	Price func(ctx context.Context, t task.Task, d time.Duration) (billing.Money, error)

	Log   *zap.Logger
	Now   func() time.Time
	NewID func() ID
}

// Tuner makes tunings. Its methods can be called side by side; nothing runs but in
// Run.
type Tuner struct {
	Config
	mu   sync.Mutex    // held while a tuning is changed
	wake chan struct{} // has room for one: there is something to do

	watch   sync.Mutex
	changed chan struct{} // closed when a tuning was written
}

// New returns a Tuner. It does nothing until Run.
func New(c Config) *Tuner {
	return &Tuner{Config: c, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

// every is how often a tuning that runs is looked at. It is what a run of it waits
// longer for its turn than it has to, on average half of it, and is not charged for.
const every = 500 * time.Millisecond

// retry is how long the Tuner waits after something failed.
const retry = 2 * time.Second

// Run makes tunings until ctx ends, those of an earlier process first. A failure is
// logged and tried again.
func (t *Tuner) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		busy, err := t.Turn(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			t.Log.Warn("tuning did not go on, will be tried again", zap.Error(err))
			pause(ctx, retry, nil) // or failures would be tried as fast as they come
		case busy:
			pause(ctx, every, t.wake)
		default:
			select {
			case <-t.wake:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// pause waits for d, or until wake has something or ctx ends.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// Turn does what can be done now, and reports whether there is a tuning that has not
// ended. Run calls it as long as there is.
func (t *Tuner) Turn(ctx context.Context) (busy bool, err error) {
	all, err := t.Book.Unended(ctx)
	if err != nil {
		return true, err
	}
	for _, u := range turns(all) {
		if err := t.drive(ctx, u.ID); err != nil {
			return true, fmt.Errorf("tuning %s: %w", u.ID, err)
		}
	}
	return len(all) > 0, nil
}

// turns returns which of the tunings have their turn: those that have begun, or else the
// one that waits longest.
func turns(all []Tuning) []Tuning {
	var begun []Tuning
	for _, u := range all {
		if u.Status != Waiting {
			begun = append(begun, u)
		}
	}
	if len(begun) == 0 && len(all) > 0 {
		return all[:1]
	}
	return begun
}

// Create accepts a tuning, which waits for its turn. When it returns it will be made,
// even if the process dies right after. Errors are fault.Invalid with the field,
// fault.NotFound for a definition that is not known, and fault.Exhausted if the host can
// hold none of the sizes. Repeating it makes another.
func (t *Tuner) Create(ctx context.Context, r Request) (Report, error) {
	u, err := t.plan(ctx, r)
	if err != nil {
		return Report{}, err
	}
	u.ID, u.CreatedAt = t.NewID(), t.Now().UTC()
	t.mu.Lock()
	defer t.mu.Unlock()
	if u, err = t.put(ctx, u); err != nil {
		return Report{}, fmt.Errorf("create tuning: %w", err)
	}
	t.rouse()
	return report(u, nil), nil
}

// Tuning returns how far a tuning has come, and what it has found so far. One that does
// not exist is fault.NotFound.
func (t *Tuner) Tuning(ctx context.Context, id ID) (Report, error) {
	u, runs, err := t.Book.Tuning(ctx, id)
	if err != nil {
		return Report{}, err
	}
	return report(u, runs), nil
}

// Wait is Tuning, but waits until the tuning has a later version than that, has ended,
// or ctx ends, whichever comes first.
func (t *Tuner) Wait(ctx context.Context, id ID, version int64) (Report, error) {
	for {
		t.watch.Lock()
		changed := t.changed
		t.watch.Unlock()
		r, err := t.Tuning(context.WithoutCancel(ctx), id)
		if err != nil || r.Version > version || r.Status.Ended() {
			return r, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return r, nil
		}
	}
}

// Tunings returns a page of tunings, the latest first, without their runs, and the
// token of the next page, "" if there is none.
func (t *Tuner) Tunings(ctx context.Context, limit int, token string) ([]Tuning, string, error) {
	var before ID
	if token != "" {
		id, err := ParseID(token)
		if err != nil {
			return nil, "", fault.At("nextToken", "no page returned it")
		}
		before = id
	}
	all, err := t.Book.Tunings(ctx, limit+1, before)
	if err != nil || len(all) <= limit {
		return all, "", err
	}
	all = all[:limit]
	return all, string(all[limit-1].ID), nil
}

// Cancel ends a tuning: its runs are stopped, and what it has found so far stays. It
// returns at once; the tuning is CANCELLED when nothing of it runs. It can be repeated.
// A tuning that ended otherwise is a fault.Conflict.
func (t *Tuner) Cancel(ctx context.Context, id ID) (Report, error) {
	return t.change(ctx, id, func(u *Tuning) (bool, error) {
		switch u.Status {
		case Waiting:
			u.Status, u.Reason, u.EndedAt = Cancelled, "somebody cancelled it", t.Now().UTC()
		case Running:
			u.Status, u.Ending, u.Reason = Stopping, Cancelled, "somebody cancelled it"
		case Stopping:
			if u.Ending == Cancelled {
				return false, nil
			}
			u.Ending, u.Reason = Cancelled, "somebody cancelled it"
		case Cancelled:
			return false, nil
		default:
			return false, fault.New(fault.Conflict, "tuning %s has ended as %s", id, u.Status)
		}
		return true, nil
	})
}

// Resume lets a tuning go on that has ended before all of its runs, with another
// maxCost if that is not nil; of one that goes on it changes maxCost only. What was spent
// before counts. One that is COMPLETED or about to end is a fault.Conflict.
func (t *Tuner) Resume(ctx context.Context, id ID, maxCost *billing.Money) (Report, error) {
	return t.change(ctx, id, func(u *Tuning) (bool, error) {
		switch u.Status {
		case Completed, Stopping:
			return false, fault.New(fault.Conflict, "tuning %s is %s", id, u.Status)
		case Waiting, Running:
			if maxCost == nil {
				return false, nil
			}
		default:
			u.Status, u.Reason, u.EndedAt = Waiting, "", time.Time{}
		}
		if maxCost != nil {
			u.MaxCost = *maxCost
		}
		if u.MaxCost <= u.Spent {
			return false, fault.At("maxCost", "must be more than the $%s that are spent already", u.Spent)
		}
		return true, nil
	})
}

// Remove forgets a tuning that has ended. Its tasks and what they cost stay. One that has
// not ended is a fault.Conflict.
func (t *Tuner) Remove(ctx context.Context, id ID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, _, err := t.Book.Tuning(ctx, id)
	if err != nil {
		return err
	}
	if !u.Status.Ended() {
		return fault.New(fault.Conflict, "tuning %s is %s: cancel it first", id, u.Status)
	}
	return t.Book.RemoveTuning(ctx, id)
}

// change changes a tuning if f says so.
func (t *Tuner) change(ctx context.Context, id ID, f func(*Tuning) (bool, error)) (Report, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u, runs, err := t.Book.Tuning(ctx, id)
	if err != nil {
		return Report{}, err
	}
	changed, err := f(&u)
	if err != nil || !changed {
		return report(u, runs), err
	}
	if u, err = t.put(ctx, u); err != nil {
		return Report{}, err
	}
	t.rouse()
	return report(u, runs), nil
}

// put writes u as a new version, with those of its runs, and tells who waits. mu is held.
func (t *Tuner) put(ctx context.Context, u Tuning, runs ...Run) (Tuning, error) {
	u.Version++
	if err := t.Book.PutTuning(ctx, u, runs...); err != nil {
		return u, err
	}
	t.watch.Lock()
	defer t.watch.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
	return u, nil
}

// rouse lets Run look again.
func (t *Tuner) rouse() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
