package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"

	"berth/billing"
	"berth/server/api"
)

// LedgerEntries yields entries of the ledger in its order, page after page.
func (c *Client) LedgerEntries(ctx context.Context, f billing.EntryFilter) iter.Seq2[api.LedgerEntry, error] {
	query := values("task", string(f.Task), "sku", string(f.SKU), "kind", string(f.Kind), "from", stamp(f.From), "to", stamp(f.To))
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	return pages(query, func(query url.Values) ([]api.LedgerEntry, string, error) {
		var page api.LedgerPage
		err := c.call(ctx, request{method: "GET", path: "/ledger/entries", query: query}, &page)
		return page.Entries, page.NextToken, err
	})
}

// VerifyLedger works the whole ledger out again. It takes a while.
func (c *Client) VerifyLedger(ctx context.Context) (billing.Audit, error) {
	var a billing.Audit
	err := c.call(ctx, request{method: "GET", path: "/ledger/verify"}, &a)
	return a, err
}

// LedgerProof returns the proof that an entry is in the ledger, as it was sent.
func (c *Client) LedgerProof(ctx context.Context, entry string) (json.RawMessage, error) {
	var p json.RawMessage
	err := c.call(ctx, request{method: "GET", path: "/ledger/entries/" + url.PathEscape(entry) + "/proof"}, &p)
	return p, err
}

// LedgerConsistency returns the proof that the ledger has only grown from one
// checkpoint to another, which is the newest if newer is 0, as it was sent.
func (c *Client) LedgerConsistency(ctx context.Context, older, newer int64) (json.RawMessage, error) {
	query := values("from", strconv.FormatInt(older, 10))
	if newer > 0 {
		query.Set("to", strconv.FormatInt(newer, 10))
	}
	var p json.RawMessage
	err := c.call(ctx, request{method: "GET", path: "/ledger/consistency", query: query}, &p)
	return p, err
}

// LedgerCheckpoint returns what was signed of the ledger at a size, or last if size
// is 0.
func (c *Client) LedgerCheckpoint(ctx context.Context, size int64) (api.LedgerCheckpoint, error) {
	query := url.Values{}
	if size > 0 {
		query.Set("size", strconv.FormatInt(size, 10))
	}
	var out api.LedgerCheckpoint
	err := c.call(ctx, request{method: "GET", path: "/ledger/checkpoint", query: query}, &out)
	return out, err
}

// LedgerKey returns the public key of the ledger.
func (c *Client) LedgerKey(ctx context.Context) (api.LedgerKey, error) {
	var out api.LedgerKey
	err := c.call(ctx, request{method: "GET", path: "/ledger/key"}, &out)
	return out, err
}

// Periods returns the months of the ledger.
func (c *Client) Periods(ctx context.Context) ([]billing.Period, error) {
	var list api.PeriodList
	err := c.call(ctx, request{method: "GET", path: "/ledger/periods"}, &list)
	return list.Periods, err
}

// ClosePeriod closes a month, as in 2026-10. Closing again changes nothing.
func (c *Client) ClosePeriod(ctx context.Context, name string) (billing.Period, error) {
	var p billing.Period
	err := c.call(ctx, request{method: "POST", path: "/ledger/periods/" + url.PathEscape(name) + "/close"}, &p)
	return p, err
}

// ReverseEntry takes an entry back, whole and once, and returns the entry that does.
func (c *Client) ReverseEntry(ctx context.Context, entry, reason string) (api.LedgerEntry, error) {
	var e api.LedgerEntry
	err := c.call(ctx, request{method: "POST", path: "/ledger/entries/" + url.PathEscape(entry) + "/reverse", body: api.ReverseRequest{Reason: reason}}, &e)
	return e, err
}
