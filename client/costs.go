package client

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/focus"
	"berth/server/api"
)

// Costs sums up what was charged. Groups come whole, from all pages.
func (c *Client) Costs(ctx context.Context, q billing.CostQuery) (billing.CostReport, error) {
	query := values("from", stamp(q.From), "to", stamp(q.To), "granularity", q.Granularity, "groupBy", strings.Join(q.GroupBy, ","), "limit", "10000")
	filter(query, q.Filters)
	var all billing.CostReport
	for {
		var page billing.CostReport
		if err := c.call(ctx, request{method: "GET", path: "/costs", query: query}, &page); err != nil {
			return all, err
		}
		page.Groups = append(all.Groups, page.Groups...)
		if all = page; all.NextToken == "" {
			return all, nil
		}
		query.Set("nextToken", all.NextToken)
	}
}

// filter writes the filters of a question about costs.
func filter(query url.Values, filters map[string][]string) {
	for by, list := range filters {
		key, tag := strings.CutPrefix(by, billing.TagKey)
		switch {
		case tag && len(list) == 0:
			query.Set("tag", key)
		case tag:
			query.Set("tag", key+"="+strings.Join(list, ","))
		default:
			query.Set(by, strings.Join(list, ","))
		}
	}
}

// The files of Export.
const (
	FocusCSV     = "focus.csv"
	FocusParquet = "focus.parquet"
	CURCSV       = "cur.csv"
)

// Export writes what was charged in a range to w. version is that of FOCUS; empty
// means the server's. Zero times mean this month so far. A file that the server
// broke off is an error.
func (c *Client) Export(ctx context.Context, file, version string, from, to time.Time, w io.Writer) error {
	resp, err := c.send(ctx, request{method: "GET", path: "/exports/" + url.PathEscape(file),
		query: values("version", version, "from", stamp(from), "to", stamp(to))}, api.CSV+", "+api.Parquet)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// Chargeback returns what each of what costs can be grouped by has to pay for a
// month, as 2026-10; an empty by means accounts.
func (c *Client) Chargeback(ctx context.Context, period, by string) (billing.Chargeback, error) {
	var out billing.Chargeback
	err := c.call(ctx, request{method: "GET", path: "/chargeback/" + url.PathEscape(period), query: values("by", by)}, &out)
	return out, err
}

// Reconcile compares a FOCUS or Cost and Usage Report CSV with the ledger.
func (c *Client) Reconcile(ctx context.Context, file io.Reader) (focus.Reconciliation, error) {
	var out focus.Reconciliation
	err := c.call(ctx, request{method: "POST", path: "/reconcile", stream: file, media: api.CSV}, &out)
	return out, err
}
