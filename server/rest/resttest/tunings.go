package resttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/billing/tuning"
	"berth/fault"
	"berth/task"
)

// newTuner returns a tuner whose tasks are those of f. Nothing happens by itself here
// either: it goes on when somebody calls one of its methods.
func (f *Fake) newTuner() *tuning.Tuner {
	n := 0
	return tuning.New(tuning.Config{
		Tasks: tuned{f}, Journal: tuned{f}, Meter: f, Book: &shelf{tunings: make(map[tuning.ID]tuning.Tuning), runs: make(map[tuning.ID][]tuning.Run)},
		Quote: func(_ context.Context, t task.Task) (history.Quote, error) {
			total, err := estimate.Total(billing.ShapeOf(t), billing.BuiltIn(), quoted)
			return history.Quote{Expected: total, High: total}, err
		},
		Price: func(_ context.Context, t task.Task, d time.Duration) (billing.Money, error) {
			return estimate.Total(billing.ShapeOf(t), billing.BuiltIn(), d)
		},
		Log: zap.NewNop(), Now: f.Now,
		NewID: func() tuning.ID { n++; return tuning.ID(fmt.Sprintf("%032x", 0x7000+n)) },
	})
}

// Create is rest.Tunings.
func (f tuned) Create(ctx context.Context, r tuning.Request) (tuning.Report, error) {
	return f.then(f.tuner.Create(ctx, r))
}

// Tuning is rest.Tunings.
func (f tuned) Tuning(ctx context.Context, id tuning.ID) (tuning.Report, error) {
	return f.tuner.Tuning(ctx, id)
}

// Wait is rest.Tunings.
func (f tuned) Wait(ctx context.Context, id tuning.ID, version int64) (tuning.Report, error) {
	return f.tuner.Wait(ctx, id, version)
}

// Tunings is rest.Tunings.
func (f tuned) Tunings(ctx context.Context, limit int, token string) ([]tuning.Tuning, string, error) {
	return f.tuner.Tunings(ctx, limit, token)
}

// Cancel is rest.Tunings.
func (f tuned) Cancel(ctx context.Context, id tuning.ID) (tuning.Report, error) {
	return f.then(f.tuner.Cancel(ctx, id))
}

// Resume is rest.Tunings.
func (f tuned) Resume(ctx context.Context, id tuning.ID, maxCost *billing.Money) (tuning.Report, error) {
	return f.then(f.tuner.Resume(ctx, id, maxCost))
}

// Remove is rest.Tunings.
func (f tuned) Remove(ctx context.Context, id tuning.ID) error { return f.tuner.Remove(ctx, id) }

// then lets tunings go on as far as they can.
func (f tuned) then(r tuning.Report, err error) (tuning.Report, error) {
	if err != nil {
		return r, err
	}
	for range 3 { // one ends, the next begins
		if _, err := f.tuner.Turn(context.Background()); err != nil {
			return r, err
		}
	}
	return r, nil
}

// tuned is f for a tuner and as rest.Tunings. Tasks that are stopped there are gone at once.
type tuned struct{ *Fake }

func (f tuned) Stop(ctx context.Context, id task.ID, reason string) (task.Task, error) {
	t, err := f.Fake.Stop(ctx, id, reason)
	if err != nil || t.LastStatus != task.Running {
		return t, err
	}
	for _, step := range []func(now time.Time) task.Transition{
		func(now time.Time) task.Transition { return task.Quit(now, task.UserInitiated, reason, nil) },
		task.Deactivated,
		func(now time.Time) task.Transition { return task.Ended(now, nil, nil) },
		task.Removed,
	} {
		t = f.Advance(id, func(_ task.Task, now task.Instant) task.Transition { return step(now.Wall) })
	}
	return t, nil
}

// StartedBy is tuning.Journal.
func (f tuned) StartedBy(_ context.Context, by string) (all []task.Task, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range f.order {
		if t := f.tasks[id]; t.StartedBy == by {
			all = append(all, t)
		}
	}
	return all, nil
}

// shelf is a tuning.Book in memory.
type shelf struct {
	mu      sync.Mutex
	tunings map[tuning.ID]tuning.Tuning
	runs    map[tuning.ID][]tuning.Run
}

func (s *shelf) PutTuning(_ context.Context, t tuning.Tuning, runs ...tuning.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Version != s.tunings[t.ID].Version+1 {
		return fault.New(fault.Conflict, "tuning %s has changed meanwhile", t.ID)
	}
	t.Sizes = slices.Clone(t.Sizes)
	s.tunings[t.ID] = t
	all := slices.Clone(s.runs[t.ID])
	for _, r := range runs {
		same := func(o tuning.Run) bool { return o.Size == r.Size && o.N == r.N && o.Attempt == r.Attempt }
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = r
		} else {
			all = append(all, r)
		}
	}
	s.runs[t.ID] = all
	return nil
}

func (s *shelf) Tuning(_ context.Context, id tuning.ID) (tuning.Tuning, []tuning.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tunings[id]
	if !ok {
		return t, nil, fault.New(fault.NotFound, "no tuning %s", id)
	}
	t.Sizes = slices.Clone(t.Sizes)
	return t, slices.Clone(s.runs[id]), nil
}

func (s *shelf) Tunings(_ context.Context, limit int, before tuning.ID) ([]tuning.Tuning, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []tuning.Tuning{}
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(s.tunings))) {
		if (before == "" || id < before) && len(all) < limit {
			all = append(all, s.tunings[id])
		}
	}
	return all, nil
}

func (s *shelf) Unended(context.Context) ([]tuning.Tuning, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []tuning.Tuning
	for _, id := range slices.Sorted(maps.Keys(s.tunings)) {
		if t := s.tunings[id]; !t.Status.Ended() {
			all = append(all, t)
		}
	}
	return all, nil
}

func (s *shelf) RemoveTuning(_ context.Context, id tuning.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tunings, id)
	delete(s.runs, id)
	return nil
}
