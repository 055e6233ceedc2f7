package client

import (
	"context"
	"net/url"

	"berth/billing/estimate"
	"berth/server/api"
)

// Estimate returns what r describes will cost. It changes nothing.
func (c *Client) Estimate(ctx context.Context, r estimate.Request) (estimate.Estimate, error) {
	var e estimate.Estimate
	err := c.call(ctx, request{method: "POST", path: "/estimates", body: r}, &e)
	return e, err
}

// Accuracy compares what a task was expected to cost with what it costs. One of which
// nothing was expected is fault.NotFound.
func (c *Client) Accuracy(ctx context.Context, id string) (api.Accuracy, error) {
	var a api.Accuracy
	err := c.call(ctx, request{method: "GET", path: "/tasks/" + url.PathEscape(id) + "/estimate"}, &a)
	return a, err
}
