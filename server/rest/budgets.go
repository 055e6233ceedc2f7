package rest

import (
	"cmp"
	"context"

	"berth/billing/budget"
	"berth/fault"
	"berth/notice"
	"berth/server/api"
	"berth/task"
)

// Budgets keeps tasks within budgets.
type Budgets interface {
	// PutBudget makes a budget, or changes the one of its name.
	PutBudget(ctx context.Context, b budget.Budget) (budget.Status, error)

	Budgets(ctx context.Context) ([]budget.Status, error)

	// Budget returns how one stands, and RemoveBudget forgets one. If there is none of that
	// name that is fault.NotFound.
	Budget(ctx context.Context, name string) (budget.Status, error)
	RemoveBudget(ctx context.Context, name string) error

	// Allowed returns the error that submitting tasks would return now for want of money,
	// and changes nothing.
	Allowed(ctx context.Context, ts []task.Task) error
}

type budgetIn struct {
	Name string `path:"name" doc:"Name of a budget"`
}

type putBudgetIn struct {
	budgetIn
	Body api.BudgetRequest
}

func (s *server) budgets(ctx context.Context, _ *none) (*api.BudgetList, error) {
	all, err := s.Budgets.Budgets(ctx)
	for i := range all {
		all[i].Webhook = notice.Shown(all[i].Webhook)
	}
	return &api.BudgetList{Budgets: some(all)}, err
}

func (s *server) budget(ctx context.Context, in *budgetIn) (*budget.Status, error) {
	b, err := s.Budgets.Budget(ctx, in.Name)
	b.Webhook = notice.Shown(b.Webhook)
	return &b, err
}

func (s *server) putBudget(ctx context.Context, in *putBudgetIn) (*budget.Status, error) {
	r := in.Body
	if notice.Hidden(r.Webhook) { // as it was read
		old, err := s.Budgets.Budget(ctx, in.Name)
		switch {
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return nil, err
		case err != nil || notice.Shown(old.Webhook) != r.Webhook:
			return nil, fault.At("webhook", "the path of a webhook must be said, but for the one that is there already")
		}
		r.Webhook = old.Webhook
	}
	if r.Webhook != "" {
		if err := notice.CheckWebhook("webhook", r.Webhook); err != nil {
			return nil, err
		}
	}
	b, err := s.Budgets.PutBudget(ctx, budget.Budget{
		Name: in.Name, Scope: r.Scope, Limit: r.Limit, Notify: r.Notify, Webhook: r.Webhook,
		Period: cmp.Or(r.Period, budget.Monthly), Action: cmp.Or(r.Action, budget.Notify),
	})
	b.Webhook = notice.Shown(b.Webhook)
	return &b, err
}

func (s *server) removeBudget(ctx context.Context, in *budgetIn) (*none, error) {
	return nil, s.Budgets.RemoveBudget(ctx, in.Name)
}
