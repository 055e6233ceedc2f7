package client

import (
	"context"
	"iter"
	"strconv"

	"berth/notice"
	"berth/server/api"
)

// Notices returns the newest notices that q selects, at most q.Limit, the oldest of
// them first; a limit of 0 leaves it to the server. If after is given, they are the
// first ones behind it instead.
func (c *Client) Notices(ctx context.Context, after *notice.Seq, q notice.Query) (api.NoticeList, error) {
	query := values("type", q.Type, "subject", q.Subject)
	if after != nil {
		query.Set("after", strconv.FormatUint(uint64(*after), 10))
	}
	if q.Limit != 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	var list api.NoticeList
	err := c.call(ctx, request{method: "GET", path: "/notices", query: query}, &list)
	return list, err
}

// FollowNotices yields the notices that q selects, and then what comes. It comes back
// to where it was when the server restarts. q.Limit means nothing.
func (c *Client) FollowNotices(ctx context.Context, q notice.Query) iter.Seq2[api.Notice, error] {
	query := values("after", strconv.FormatUint(uint64(q.After), 10), "type", q.Type, "subject", q.Subject)
	return follow[api.Notice](c, ctx, request{method: "GET", path: "/notices/stream", query: query}, true)
}
