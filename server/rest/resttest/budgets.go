package resttest

import (
	"context"
	"slices"
	"strings"

	"berth/billing"
	"berth/billing/budget"
	"berth/fault"
	"berth/task"
)

// PutBudget is part of rest.Budgets: budgets of a Fake are checked and remembered. Nothing is
// held, and what is spent of each is Spent.
func (f *Fake) PutBudget(_ context.Context, b budget.Budget) (budget.Status, error) {
	if len(b.Notify) == 0 {
		b.Notify = []budget.Threshold{{Type: budget.Actual, Percent: 100}}
	}
	if err := b.Check(); err != nil {
		return budget.Status{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b.CreatedAt, b.UpdatedAt = f.now, f.now
	f.budgets = slices.DeleteFunc(f.budgets, func(o budget.Budget) bool { return o.Name == b.Name })
	f.budgets = append(f.budgets, b)
	slices.SortFunc(f.budgets, func(a, b budget.Budget) int { return strings.Compare(a.Name, b.Name) })
	return f.standing(b), nil
}

func (f *Fake) standing(b budget.Budget) budget.Status {
	return budget.StatusOf(b, budget.Spending{Posted: f.Spent, Recent: f.Spent, Since: f.now}, f.now)
}

// Budgets is part of rest.Budgets.
func (f *Fake) Budgets(context.Context) ([]budget.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []budget.Status
	for _, b := range f.budgets {
		all = append(all, f.standing(b))
	}
	return all, nil
}

// Budget is part of rest.Budgets.
func (f *Fake) Budget(_ context.Context, name string) (budget.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.budgets {
		if b.Name == name {
			return f.standing(b), nil
		}
	}
	return budget.Status{}, fault.New(fault.NotFound, "no budget %s", name)
}

// Allowed is part of rest.Budgets: of a budget that denies, Spent is gone.
func (f *Fake) Allowed(_ context.Context, ts []task.Task) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.budgets {
		if b.Action == budget.Notify || !b.Covers(billing.FactsOf(ts[0])) || f.Spent < b.Limit {
			continue
		}
		r := &budget.Refusal{Budget: b.Name, Period: b.Period, Day: budget.DayOf(f.now), Limit: b.Limit, Used: f.Spent, Asked: 1}
		return r.Fault()
	}
	return nil
}

// RemoveBudget is part of rest.Budgets.
func (f *Fake) RemoveBudget(ctx context.Context, name string) error {
	if _, err := f.Budget(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budgets = slices.DeleteFunc(f.budgets, func(b budget.Budget) bool { return b.Name == name })
	return nil
}
