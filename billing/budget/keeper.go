package budget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Config is what New needs. All fields are required.
type Config struct {
	Book   Book
	Prices billing.Prices

	// Stop writes the wish to stop on a task, and makes e known with it. The first wish
	// counts; if this is not the first, e is not told.
	Stop func(ctx context.Context, id task.ID, code, reason string, e Event) (task.Task, error)

	// Tell makes something known. Telling an event again is telling it once.
	Tell func(ctx context.Context, e Event) error

	Clock func() task.Instant
	Log   *zap.Logger
}

// Keeper keeps tasks within budgets: it sets money aside before they start and while they
// run, and stops those that there is none left for.
type Keeper struct {
	Config
	changing sync.RWMutex // held for writing while a budget is being changed: until what runs already is held, nothing new may start
	told     sync.Map     // what was told; only so that it is not written again and again
	watched  time.Time    // when thresholds were looked at last; zero if not yet
}

// New returns a Keeper. What runs is looked after while Run does.
func New(c Config) *Keeper { return &Keeper{Config: c} }

// renewBatch is how many holds are renewed in one transaction: others wait for it.
const renewBatch = 50

// Run renews holds until ctx ends and returns nil. What ran while no Keeper did is held,
// or stopped, at once.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		if err := k.Look(ctx); err != nil && ctx.Err() == nil {
			k.Log.Error("budgets not looked after, will be tried again", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Look does once what Run does again and again: it renews holds, stops what there is no
// money left for, and tells of thresholds that budgets have come to.
func (k *Keeper) Look(ctx context.Context) error { return errors.Join(k.renew(ctx), k.watch(ctx)) }

// Admit has create make ts with the money that is to be held for them. If a budget has not
// enough left for all of them, create's error says so, and so does the one of Admit.
func (k *Keeper) Admit(ctx context.Context, ts []task.Task, create func([]Hold) ([]task.Task, error)) ([]task.Task, error) {
	hs, err := k.holds(ts)
	if err != nil {
		return nil, err
	}
	k.changing.RLock()
	defer k.changing.RUnlock()
	made, err := create(hs)
	if r := (*Refusal)(nil); errors.As(err, &r) {
		k.denied(ctx, r)
	}
	return made, err
}

// Allowed returns the error that Admit would return for ts now, and makes nothing.
func (k *Keeper) Allowed(ctx context.Context, ts []task.Task) error {
	hs, err := k.holds(ts)
	if err != nil {
		return err
	}
	return k.Book.Allowed(ctx, ts, hs)
}

// holds returns what is held for tasks that are submitted now.
func (k *Keeper) holds(ts []task.Task) ([]Hold, error) {
	now := k.Clock()
	hs := make([]Hold, len(ts))
	for i, t := range ts {
		var err error
		if hs[i], err = first(t, k.Prices, t.Time(now)); err != nil {
			return nil, err
		}
	}
	return hs, nil
}

// renew holds money for what goes on, and stops what there is none for.
func (k *Keeper) renew(ctx context.Context) error {
	ids, err := k.Book.Holding(ctx)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(ids, renewBatch) {
		rs, err := k.Book.Renew(ctx, batch, k.renewal)
		if err != nil {
			return err
		}
		for _, r := range rs {
			if err := k.enforce(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// renewal is a Renewer.
func (k *Keeper) renewal(t task.Task, cursors []billing.Cursor, most time.Time) (Hold, bool) {
	now := k.Clock()
	if !t.PullStartedAt.IsZero() && !t.Clock.SameBoot(now) {
		return Hold{}, false // It ended with the host, and the runner will say when.
	}
	at := t.Time(now)
	until := at.Add(Lease)
	if !most.IsZero() && most.Before(until) {
		until = most
	}
	if until.Before(at) {
		until = at
	}
	return HoldOf(t, cursors, k.Prices, at, affordable(t, cursors, k.Prices, at, until)), true
}

// enforce stops a task whose hold ends soon and could not be renewed.
func (k *Keeper) enforce(ctx context.Context, r Renewal) error {
	t := r.Task
	if t.DesiredStatus == task.Stopped || r.Until.Sub(t.Time(k.Clock())) >= margin {
		return nil
	}
	reason := fmt.Sprintf("SpendLimitReached: the task may cost $%s at most (maxCost)", t.MaxCost.Short())
	if r.Refused != nil {
		reason = "SpendLimitReached: " + r.Refused.Error()
	}
	e, err := k.stopping(ctx, r, reason)
	if err == nil {
		_, err = k.Stop(ctx, t.ID, task.SpendLimit, reason, e)
	}
	if fault.KindOf(err) == fault.NotFound { // The task is forgotten, or the budget that refused.
		return nil
	}
	return err
}

// PutBudget makes b, or changes the budget of its name, and returns how it stands. From when it
// returns no new task gets past it.
func (k *Keeper) PutBudget(ctx context.Context, b Budget) (Status, error) {
	if len(b.Notify) == 0 {
		b.Notify = []Threshold{{Actual, 100}}
	}
	if err := b.Check(); err != nil {
		return Status{}, err
	}
	k.changing.Lock()
	defer k.changing.Unlock()
	b, err := k.Book.PutBudget(ctx, b)
	if err != nil {
		return Status{}, err
	}
	k.told.Clear()
	if err := k.renew(ctx); err != nil {
		return Status{}, err
	}
	return k.status(ctx, b)
}

// RemoveBudget forgets a budget. If there is none of that name that is fault.NotFound.
func (k *Keeper) RemoveBudget(ctx context.Context, name string) error {
	return k.Book.RemoveBudget(ctx, name)
}

// Budget returns how a budget stands. If there is none of that name that is fault.NotFound.
func (k *Keeper) Budget(ctx context.Context, name string) (Status, error) {
	bs, err := k.Book.Budgets(ctx)
	if err != nil {
		return Status{}, err
	}
	i := slices.IndexFunc(bs, func(b Budget) bool { return b.Name == name })
	if i < 0 {
		return Status{}, fault.New(fault.NotFound, "no budget %s", name)
	}
	return k.status(ctx, bs[i])
}

// Budgets returns how all budgets stand, by name.
func (k *Keeper) Budgets(ctx context.Context) ([]Status, error) {
	bs, err := k.Book.Budgets(ctx)
	if err != nil || len(bs) == 0 {
		return nil, err
	}
	return k.statuses(ctx, bs, k.Clock().Wall)
}

func (k *Keeper) statuses(ctx context.Context, bs []Budget, now time.Time) ([]Status, error) {
	sp, err := k.Book.Spending(ctx, bs, now)
	if err != nil {
		return nil, err
	}
	all := make([]Status, len(bs))
	for i, b := range bs {
		all[i] = StatusOf(b, sp[i], now)
	}
	return all, nil
}

func (k *Keeper) status(ctx context.Context, b Budget) (Status, error) {
	all, err := k.statuses(ctx, []Budget{b}, k.Clock().Wall)
	if err != nil {
		return Status{}, err
	}
	return all[0], nil
}
