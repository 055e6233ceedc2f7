package client

import (
	"context"
	"net/url"

	"berth/balancer"
	"berth/server/api"
)

// TargetGroups returns all target groups, by name.
func (c *Client) TargetGroups(ctx context.Context) ([]balancer.TargetGroup, error) {
	var all api.TargetGroupList
	err := c.call(ctx, request{method: "GET", path: "/target-groups"}, &all)
	return all.TargetGroups, err
}

// TargetGroup returns the target group of that name or ARN.
func (c *Client) TargetGroup(ctx context.Context, ref string) (balancer.TargetGroup, error) {
	var g balancer.TargetGroup
	err := c.call(ctx, request{method: "GET", path: targetGroupPath(ref)}, &g)
	return g, err
}

// PutTargetGroup makes the target group of that name, or changes it; repeating it changes
// nothing.
func (c *Client) PutTargetGroup(ctx context.Context, name string, r api.TargetGroupRequest) (balancer.TargetGroup, error) {
	var g balancer.TargetGroup
	err := c.call(ctx, request{method: "PUT", path: targetGroupPath(name), body: r}, &g)
	return g, err
}

// RemoveTargetGroup removes the target group of that name or ARN.
func (c *Client) RemoveTargetGroup(ctx context.Context, ref string) error {
	return c.call(ctx, request{method: "DELETE", path: targetGroupPath(ref)}, nil)
}

// Targets returns the targets of the group of that name or ARN as they are now.
func (c *Client) Targets(ctx context.Context, ref string) ([]balancer.Target, error) {
	var all api.TargetList
	err := c.call(ctx, request{method: "GET", path: targetGroupPath(ref) + "/targets"}, &all)
	return all.Targets, err
}

func targetGroupPath(ref string) string { return "/target-groups/" + url.PathEscape(ref) }
