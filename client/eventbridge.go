package client

import (
	"context"
	"iter"
	"net/url"

	"berth/eventbridge"
	"berth/server/api"
)

// EventBridge yields what happens in EventBridge's words, as far as pattern selects it; an
// empty one selects all. It begins behind the position after: "0" is the beginning of all,
// "" is now. It comes back to where it was when the server restarts.
func (c *Client) EventBridge(ctx context.Context, pattern, after string) iter.Seq2[eventbridge.Event, error] {
	query := values("pattern", pattern, "after", after)
	return follow[eventbridge.Event](c, ctx, request{method: "GET", path: "/events/eventbridge", query: query}, true)
}

// EventRules returns all rules that send events to webhooks, by name.
func (c *Client) EventRules(ctx context.Context) ([]api.EventRule, error) {
	var all api.EventRuleList
	err := c.call(ctx, request{method: "GET", path: "/event-rules"}, &all)
	return all.Rules, err
}

// EventRule returns the rule of that name.
func (c *Client) EventRule(ctx context.Context, name string) (api.EventRule, error) {
	var r api.EventRule
	err := c.call(ctx, request{method: "GET", path: rulePath(name)}, &r)
	return r, err
}

// PutEventRule makes the rule of that name, which begins now, or changes it, when it goes on
// where it is; repeating it changes nothing.
func (c *Client) PutEventRule(ctx context.Context, name string, r api.EventRuleRequest) (api.EventRule, error) {
	var made api.EventRule
	err := c.call(ctx, request{method: "PUT", path: rulePath(name), body: r}, &made)
	return made, err
}

// RemoveEventRule removes the rule of that name.
func (c *Client) RemoveEventRule(ctx context.Context, name string) error {
	return c.call(ctx, request{method: "DELETE", path: rulePath(name)}, nil)
}

func rulePath(name string) string { return "/event-rules/" + url.PathEscape(name) }
