package budget

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"berth/billing"
)

// Event is something that a budget, or the limit of a task, has led to.
type Event struct {
	ID      string    `json:"-"` // the same for the same event
	At      time.Time `json:"-"`
	Type    EventType `json:"-"`
	Webhook string    `json:"-"` // where the budget wants it told; may be empty

	Budget    string        `json:"budget,omitempty"` // empty if it is the limit of the task itself
	Period    string        `json:"period,omitempty"` // 2026-11-28 or 2026-11
	Limit     billing.Money `json:"limit"`
	Spent     billing.Money `json:"spent"`
	Forecast  billing.Money `json:"forecast,omitzero"`
	Threshold *Threshold    `json:"threshold,omitempty"`
	Task      string        `json:"taskArn,omitempty"`
	Reason    string        `json:"reason"` // in a sentence
}

// EventType says what happened.
type EventType string

// What can happen.
const (
	Reached EventType = "threshold" // a budget came to a threshold: once in a period
	Denied  EventType = "denied"    // a run was refused: the first of a period
	Stopped EventType = "stopped"   // a task was stopped
)

// watch tells of thresholds that budgets have come to. What was spent after the last look
// in a period is told in the next period.
func (k *Keeper) watch(ctx context.Context) error {
	bs, err := k.Book.Budgets(ctx)
	if err != nil || len(bs) == 0 {
		return err
	}
	now := k.Clock().Wall
	for _, p := range []Period{Daily, Monthly} {
		var late []Budget
		from, _ := p.Days(DayOf(now))
		for _, b := range bs {
			if b.Period == p && k.watched.Before(from.Time()) && b.UpdatedAt.Before(from.Time()) {
				late = append(late, b)
			}
		}
		if len(late) == 0 {
			continue
		}
		all, err := k.statuses(ctx, late, from.Time().Add(-1))
		if err != nil {
			return err
		}
		if err := k.compare(ctx, all, now, Actual); err != nil {
			return err
		}
	}
	all, err := k.statuses(ctx, bs, now)
	if err != nil {
		return err
	}
	if err := k.compare(ctx, all, now, Actual, Forecasted); err != nil {
		return err
	}
	k.watched = now
	return nil
}

// compare tells of thresholds of some types that budgets have come to in a period.
func (k *Keeper) compare(ctx context.Context, all []Status, now time.Time, types ...ThresholdType) error {
	for _, s := range all {
		for _, t := range s.Notify {
			if !slices.Contains(types, t.Type) || !s.Reaches(t) {
				continue
			}
			e := s.event(Reached, DayOf(s.From), fmt.Sprintf("%s/%d", t.Type, t.Percent))
			e.At, e.Spent, e.Forecast, e.Threshold = now, s.Spent, s.Forecast, &t
			e.Reason = fmt.Sprintf("Budget %s has spent $%s of $%s in %s, %d %% (told at %d %%)", s.Name, s.Spent.Short(), s.Limit.Short(), e.Period, s.Percent, t.Percent)
			if t.Type == Forecasted {
				e.Reason = fmt.Sprintf("Budget %s will have spent $%s of $%s in %s if it goes on as in the last 24 hours (told at %d %%)",
					s.Name, s.Forecast.Short(), s.Limit.Short(), e.Period, t.Percent)
			}
			if err := k.tell(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// event returns an event of b in a period. Its ID also names what makes b another budget.
func (b *Budget) event(typ EventType, d Day, about string) Event {
	period := b.Period.Noun(d)
	return Event{
		ID:   fmt.Sprintf("budget/%s/%d/%s/%s/%s", b.Name, b.UpdatedAt.UnixNano(), period, typ, about),
		Type: typ, Budget: b.Name, Period: period, Limit: b.Limit, Webhook: b.Webhook,
	}
}

// denied tells that a run was refused. The run is refused whether that succeeds or not.
func (k *Keeper) denied(ctx context.Context, r *Refusal) {
	known := r.Budget + "/" + r.Period.Noun(r.Day)
	if _, told := k.told.LoadOrStore(known, true); told {
		return
	}
	s, err := k.Budget(ctx, r.Budget)
	if err == nil {
		e := s.event(Denied, r.Day, "run")
		e.At, e.Spent, e.Reason = k.Clock().Wall, s.Spent, "A run was refused: "+r.Error()
		err = k.Tell(ctx, e)
	}
	if err != nil {
		k.told.Delete(known)
		k.Log.Error("not told that a run was refused", zap.Error(err))
	}
}

// stopping returns the event that a task is stopped.
func (k *Keeper) stopping(ctx context.Context, r Renewal, reason string) (Event, error) {
	t := r.Task
	e := Event{Type: Stopped, Limit: t.MaxCost, Spent: r.Spent}
	if r.Refused != nil {
		s, err := k.Budget(ctx, r.Refused.Budget)
		if err != nil {
			return e, err
		}
		e = s.event(Stopped, r.Refused.Day, string(t.ID))
		e.Spent = s.Spent
	}
	e.ID, e.At, e.Task, e.Reason = "task/"+string(t.ID)+"/"+string(Stopped), k.Clock().Wall, t.ARN, reason
	return e, nil
}

// tell tells e unless it is known to be told.
func (k *Keeper) tell(ctx context.Context, e Event) error {
	if _, told := k.told.LoadOrStore(e.ID, true); told {
		return nil
	}
	err := k.Tell(ctx, e)
	if err != nil {
		k.told.Delete(e.ID)
	}
	return err
}
