package client

import (
	"context"
	"net/url"

	"berth/billing/budget"
	"berth/server/api"
)

// Budgets returns how all budgets stand, by name.
func (c *Client) Budgets(ctx context.Context) ([]budget.Status, error) {
	var all api.BudgetList
	err := c.call(ctx, request{method: "GET", path: "/budgets"}, &all)
	return all.Budgets, err
}

// Budget returns how a budget stands.
func (c *Client) Budget(ctx context.Context, name string) (budget.Status, error) {
	var b budget.Status
	err := c.call(ctx, request{method: "GET", path: budgetPath(name)}, &b)
	return b, err
}

// PutBudget makes the budget of that name, or changes it; repeating it has thresholds told
// anew.
func (c *Client) PutBudget(ctx context.Context, name string, r api.BudgetRequest) (budget.Status, error) {
	var b budget.Status
	err := c.call(ctx, request{method: "PUT", path: budgetPath(name), body: r}, &b)
	return b, err
}

// RemoveBudget forgets a budget.
func (c *Client) RemoveBudget(ctx context.Context, name string) error {
	return c.call(ctx, request{method: "DELETE", path: budgetPath(name)}, nil)
}

func budgetPath(name string) string { return "/budgets/" + url.PathEscape(name) }
