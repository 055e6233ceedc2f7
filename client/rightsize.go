package client

import (
	"context"

	"berth/billing/rightsize"
)

// Rightsize returns which sizes tasks need by what their runs used. It changes nothing.
func (c *Client) Rightsize(ctx context.Context, r rightsize.Request) (rightsize.Advice, error) {
	var a rightsize.Advice
	err := c.call(ctx, request{method: "POST", path: "/rightsizing", body: r}, &a)
	return a, err
}
