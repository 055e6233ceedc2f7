package client

import (
	"context"
	"time"

	"berth/server/api"
)

// Anomalies returns the hours of a range in which something cost more than expected, the
// latest first, at most 10,000. Zero times mean this month so far.
func (c *Client) Anomalies(ctx context.Context, from, to time.Time) (api.AnomalyList, error) {
	var list api.AnomalyList
	err := c.call(ctx, request{method: "GET", path: "/anomalies", query: values("from", stamp(from), "to", stamp(to), "limit", "10000")}, &list)
	return list, err
}
