package tuning

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// mostFailures of a size without one success, and it is not tried any more.
const mostFailures = 3

// drive does for a tuning what can be done now: it looks at each run that has not
// ended, and then starts another, stops what is over the budget, or says that it is
// over. Each act is written before the next, and all can be repeated.
func (t *Tuner) drive(ctx context.Context, id ID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		u, runs, err := t.Book.Tuning(ctx, id)
		if fault.KindOf(err) == fault.NotFound && err != nil || u.Status.Ended() {
			return nil // Somebody ended it since it had its turn.
		}
		if err != nil {
			return err
		}
		again, err := t.step(ctx, u, runs)
		if err != nil || !again {
			return err
		}
	}
}

// step does one act. It reports false if there is nothing to do but wait.
func (t *Tuner) step(ctx context.Context, u Tuning, runs []Run) (again bool, err error) {
	if u.Status == Waiting {
		u.Status = Running
		if u.StartedAt.IsZero() {
			u.StartedAt = t.Now().UTC()
		}
		_, err := t.put(ctx, u)
		return true, err
	}
	var held, soFar billing.Money // by the runs under way
	open := 0
	for _, r := range runs {
		if r.State != Going {
			continue
		}
		cost, done, err := t.look(ctx, u, r)
		if err != nil || done {
			return done, err
		}
		cost = max(cost, u.trial(r.Size).Least) // What is about to start will cost that much.
		held, soFar, open = held+max(cost, r.Held), soFar+cost, open+1
	}
	if u.Status == Running && open > 0 && u.Spent+soFar > u.MaxCost {
		u.Status, u.Ending = Stopping, BudgetReached
		u.Reason = fmt.Sprintf("what runs has passed what was left of maxCost, $%s", u.MaxCost)
		_, err := t.put(ctx, u)
		return true, err
	}
	if i := slices.IndexFunc(runs, func(r Run) bool { return r.State == Submitting }); i >= 0 {
		if u.Status == Stopping {
			return t.adopt(ctx, u, runs, runs[i])
		}
		return t.submit(ctx, u, runs[i])
	}
	if u.Status == Stopping {
		if open > 0 {
			return false, nil
		}
		return true, t.end(ctx, u, u.Ending, u.Reason)
	}
	if open >= u.Parallelism {
		return false, nil
	}
	next, ok := u.next(runs)
	switch {
	case !ok && open > 0:
		return false, nil
	case !ok:
		return true, t.end(ctx, u, Completed, "")
	}
	next.Held = u.hold(next.Size, runs)
	if u.Spent+held+next.Held > u.MaxCost {
		if open > 0 {
			return false, nil // They may turn out to be cheaper.
		}
		return true, t.end(ctx, u, BudgetReached, fmt.Sprintf("$%s are spent of $%s, and the next run, at %s, may cost $%s", u.Spent, u.MaxCost, next.Size, next.Held))
	}
	_, err = t.put(ctx, u, next)
	return true, err
}

// submit gives r its task. What was submitted before is found again by its token.
func (t *Tuner) submit(ctx context.Context, u Tuning, r Run) (again bool, err error) {
	ts, err := t.Tasks.Submit(ctx, u.run(r, r.token(u.ID)))
	switch kind := fault.KindOf(err); {
	case err == nil:
		r.State, r.Task = Going, ts[0].ID
		_, err = t.put(ctx, u, r)
		return true, err
	case ctx.Err() != nil, kind == fault.Internal, kind == fault.Unavailable:
		return false, fmt.Errorf("submit a run at %s: %w", r.Size, err)
	case unfit(err): // The host has become smaller.
		for i := range u.Sizes {
			if u.Sizes[i].Size == r.Size {
				u.Sizes[i].Unfit = fault.Message(err)
			}
		}
	default:
		u.Status, u.Ending, u.Reason = Stopping, Failed, "a run was refused: "+fault.Message(err)
	}
	r.State, r.Outcome, r.Reason, r.Held, r.EndedAt = Ended, Discarded, fault.Message(err), 0, t.Now().UTC()
	_, err = t.put(ctx, u, r)
	return true, err
}

// adopt finds out whether r, of a tuning that ends, was submitted before the process
// died. If so its task is stopped in the next step; if not it never will be.
func (t *Tuner) adopt(ctx context.Context, u Tuning, runs []Run, r Run) (again bool, err error) {
	ts, err := t.Journal.StartedBy(ctx, StartedBy(u.ID))
	if err != nil {
		return false, err
	}
	for _, found := range ts {
		if !slices.ContainsFunc(runs, func(o Run) bool { return o.Task == found.ID }) {
			r.State, r.Task = Going, found.ID
			_, err = t.put(ctx, u, r)
			return true, err
		}
	}
	r.State, r.Outcome, r.Reason, r.Held, r.EndedAt = Ended, Discarded, "it was not submitted any more", 0, t.Now().UTC()
	_, err = t.put(ctx, u, r)
	return true, err
}

// look returns what r, which goes on, costs so far; or it writes down how it ended, and
// reports done. The task of a tuning that ends is asked to stop.
func (t *Tuner) look(ctx context.Context, u Tuning, r Run) (soFar billing.Money, done bool, err error) {
	now, err := t.Journal.Task(ctx, r.Task)
	lost := err != nil && fault.KindOf(err) == fault.NotFound
	if err != nil && !lost {
		return 0, false, err
	}
	if u.Status == Stopping && !lost && now.DesiredStatus != task.Stopped {
		if _, err := t.Tasks.Stop(ctx, r.Task, "the tuning ends: "+u.Reason); err != nil {
			return 0, false, fmt.Errorf("stop task %s: %w", r.Task, err)
		}
	}
	b, err := t.Meter.Bill(ctx, r.Task)
	if err != nil && !(lost && fault.KindOf(err) == fault.NotFound) {
		return 0, false, err
	}
	switch {
	case lost:
		r.State, r.Outcome, r.Reason, r.EndedAt = Ended, Lost, "its task was forgotten", t.Now().UTC()
		r.Cost, r.BilledSeconds = b.Total, b.BilledSeconds
	case now.LastStatus.Final() && b.Status == billing.StatusFinal:
		r = r.ended(now, b, u.Status == Stopping, t.Now().UTC())
	default:
		return b.Total, false, nil
	}
	r.Held = 0
	u.Spent += r.Cost
	if _, err = t.put(ctx, u, r); err == nil {
		t.Log.Info("run of a tuning ended", zap.String("tuning", string(u.ID)), zap.Stringer("size", r.Size), zap.Int("run", r.N),
			zap.String("outcome", string(r.Outcome)), zap.String("task", string(r.Task)))
	}
	return 0, true, err
}

// end writes down that nothing of u runs any more.
func (t *Tuner) end(ctx context.Context, u Tuning, as Status, reason string) error {
	u.Status, u.Ending, u.Reason, u.EndedAt = as, "", reason, t.Now().UTC()
	_, err := t.put(ctx, u)
	return err
}

// next returns the run that comes next; false if there is none. Rounds are interleaved,
// and each begins one size further, so that what drifts on the host is shared by all.
func (u Tuning) next(runs []Run) (Run, bool) {
	var try []Trial
	for _, s := range u.Sizes {
		if u.skipped(s, runs) == "" {
			try = append(try, s)
		}
	}
	if len(try) == 0 {
		return Run{}, false
	}
	if u.WarmUp {
		warm := func(r Run) bool { return r.N == 0 && (r.State != Ended || r.Outcome != Discarded) }
		if i := slices.IndexFunc(runs, warm); i < 0 {
			return slot(runs, try[0].Size, 0)
		} else if runs[i].State != Ended {
			return Run{}, false
		}
	}
	for n := range u.Runs {
		for i := range u.Sizes {
			s := u.Sizes[(n+i)%len(u.Sizes)]
			if u.skipped(s, runs) != "" {
				continue
			}
			if r, ok := slot(runs, s.Size, n+1); ok {
				return r, true
			}
		}
	}
	return Run{}, false
}

// slot returns the run of size s with that number as it is to be submitted; false if it is
// there.
func slot(runs []Run, s Size, n int) (Run, bool) {
	attempt := 1
	for _, r := range runs {
		if r.Size != s || r.N != n {
			continue
		}
		if r.State != Ended || r.Outcome != Discarded {
			return Run{}, false
		}
		attempt = max(attempt, r.Attempt+1)
	}
	return Run{Size: s, N: n, Attempt: attempt, State: Submitting}, true
}

// skipped says why a size is not tried any more; empty if it is.
func (u Tuning) skipped(s Trial, runs []Run) string {
	if s.Unfit != "" {
		return s.Unfit
	}
	failed := 0
	for _, r := range runs {
		switch {
		case r.Size != s.Size || !r.counts():
		case r.Outcome == Succeeded:
			return ""
		default:
			failed++
		}
	}
	if failed >= mostFailures {
		return fmt.Sprintf("%d runs failed and none succeeded", failed)
	}
	return ""
}

// hold returns how much of maxCost has to be left for a run at s: as much as the dearest
// that was seen there, if one has succeeded, and else what a long one costs by the
// estimate.
func (u Tuning) hold(s Size, runs []Run) billing.Money {
	var most billing.Money
	seen := false
	for _, r := range runs {
		if r.Size == s && r.State == Ended && r.Outcome != Discarded {
			most, seen = max(most, r.Cost), seen || r.Outcome == Succeeded
		}
	}
	if seen {
		return most
	}
	return max(most, u.trial(s).High)
}

// trial returns the size s of u.
func (u Tuning) trial(s Size) Trial {
	for _, t := range u.Sizes {
		if t.Size == s {
			return t
		}
	}
	return Trial{Size: s}
}
