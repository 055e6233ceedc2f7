package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"berth/billing"
	"berth/billing/tuning"
	"berth/server/api"
)

// Tune lets the server run a definition some times at each of several sizes. It returns
// when that is accepted; WaitTuning tells how it goes on. Repeating it makes another
// tuning.
func (c *Client) Tune(ctx context.Context, r tuning.Request) (tuning.Report, error) {
	return c.tuning(ctx, request{method: "POST", path: "/tunings", body: r})
}

// Tuning returns what a tuning has found so far. One that does not exist is
// fault.NotFound.
func (c *Client) Tuning(ctx context.Context, id string) (tuning.Report, error) {
	return c.tuning(ctx, request{method: "GET", path: tuningPath(id)})
}

// WaitTuning is Tuning, but waits up to that long, a minute at most, for a later version
// than version, or for the end of the tuning.
func (c *Client) WaitTuning(ctx context.Context, id string, version int64, patience time.Duration) (tuning.Report, error) {
	query := url.Values{
		"waitSeconds":  {strconv.Itoa(int(min(patience, time.Minute) / time.Second))},
		"afterVersion": {strconv.FormatInt(version, 10)},
	}
	return c.tuning(ctx, request{method: "GET", path: tuningPath(id), query: query})
}

// Tunings returns a page of tunings, newest first. token is the NextToken of the page
// before, or empty.
func (c *Client) Tunings(ctx context.Context, token string) (api.TuningPage, error) {
	var page api.TuningPage
	query := url.Values{}
	if token != "" {
		query.Set("nextToken", token)
	}
	err := c.call(ctx, request{method: "GET", path: "/tunings", query: query}, &page)
	return page, err
}

// CancelTuning stops the runs of a tuning and ends it; what it has found stays. It can be
// repeated.
func (c *Client) CancelTuning(ctx context.Context, id string) (tuning.Report, error) {
	return c.tuning(ctx, request{method: "POST", path: tuningPath(id) + "/cancel"})
}

// ResumeTuning lets a tuning go on that has ended before all of its runs, with another
// maxCost if that is not nil.
func (c *Client) ResumeTuning(ctx context.Context, id string, maxCost *billing.Money) (tuning.Report, error) {
	return c.tuning(ctx, request{method: "POST", path: tuningPath(id) + "/resume", body: api.TuningResume{MaxCost: maxCost}})
}

// RemoveTuning forgets a tuning that has ended.
func (c *Client) RemoveTuning(ctx context.Context, id string) error {
	return c.call(ctx, request{method: "DELETE", path: tuningPath(id)}, nil)
}

func (c *Client) tuning(ctx context.Context, r request) (tuning.Report, error) {
	var t tuning.Report
	err := c.call(ctx, r, &t)
	return t, err
}

func tuningPath(id string) string { return "/tunings/" + url.PathEscape(id) }
