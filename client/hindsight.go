package client

import (
	"context"
	"strconv"
	"strings"

	"berth/billing/waste"
	"berth/billing/whatif"
)

// Waste says which part of the costs was for nothing. Zero times are for the server to
// say: the first of this month, and now.
func (c *Client) Waste(ctx context.Context, q waste.Query) (waste.Report, error) {
	query := values("from", stamp(q.From), "to", stamp(q.To), "groupBy", strings.Join(q.GroupBy, ","))
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	filter(query, q.Filters)
	var r waste.Report
	err := c.call(ctx, request{method: "GET", path: "/waste", query: query}, &r)
	return r, err
}

// WhatIf says what recorded runs would have cost on other terms.
func (c *Client) WhatIf(ctx context.Context, r whatif.Request) (whatif.Result, error) {
	var out whatif.Result
	err := c.call(ctx, request{method: "POST", path: "/what-if", body: r}, &out)
	return out, err
}
