package client

import (
	"context"
	"net/url"

	"berth/server/api"
	"berth/task"
)

// Groups returns all security groups, by name.
func (c *Client) Groups(ctx context.Context) ([]task.SecurityGroup, error) {
	var all api.GroupList
	err := c.call(ctx, request{method: "GET", path: "/security-groups"}, &all)
	return all.SecurityGroups, err
}

// Group returns the security group of that ID or name.
func (c *Client) Group(ctx context.Context, ref string) (task.SecurityGroup, error) {
	var g task.SecurityGroup
	err := c.call(ctx, request{method: "GET", path: groupPath(ref)}, &g)
	return g, err
}

// PutGroup makes the security group of that name, or replaces its rules; repeating it
// changes nothing.
func (c *Client) PutGroup(ctx context.Context, name string, r api.GroupRequest) (task.SecurityGroup, error) {
	var g task.SecurityGroup
	err := c.call(ctx, request{method: "PUT", path: groupPath(name), body: r}, &g)
	return g, err
}

// RemoveGroup removes the security group of that ID or name.
func (c *Client) RemoveGroup(ctx context.Context, ref string) error {
	return c.call(ctx, request{method: "DELETE", path: groupPath(ref)}, nil)
}

func groupPath(ref string) string { return "/security-groups/" + url.PathEscape(ref) }
