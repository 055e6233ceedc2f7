package client

import (
	"context"
	"io"
	"net/url"

	"berth/billing/prices"
	"berth/server/api"
)

// Prices returns all price lists, and which of them holds when.
func (c *Client) Prices(ctx context.Context) (prices.Overview, error) {
	var o prices.Overview
	err := c.call(ctx, request{method: "GET", path: "/price-lists"}, &o)
	return o, err
}

// PriceList returns the price list of that ID, or the newest of that name.
func (c *Client) PriceList(ctx context.Context, ref string) (prices.Described, error) {
	var d prices.Described
	err := c.call(ctx, request{method: "GET", path: "/price-lists/" + url.PathEscape(ref)}, &d)
	return d, err
}

// AddPriceList stores the price list that d describes. Nobody is charged by it until
// it is active; storing it again changes nothing.
func (c *Client) AddPriceList(ctx context.Context, d prices.Draft) (prices.Described, error) {
	var out prices.Described
	err := c.call(ctx, request{method: "POST", path: "/price-lists", body: d}, &out)
	return out, err
}

// ImportPrices stores the price lists in a file; see prices.Import. region and name
// may be empty.
func (c *Client) ImportPrices(ctx context.Context, file io.Reader, region, name string) (prices.Imported, error) {
	var out prices.Imported
	r := request{method: "POST", path: "/price-lists/import", query: values("region", region, "name", name), stream: file, media: octets}
	err := c.call(ctx, r, &out)
	return out, err
}

// ActivatePriceList makes a list active among those of its name. from may be empty.
func (c *Client) ActivatePriceList(ctx context.Context, id string, from prices.Day) (prices.Change, error) {
	var ch prices.Change
	r := request{method: "POST", path: "/price-lists/" + url.PathEscape(id) + "/activate", body: api.ActivatePrices{EffectiveFrom: from}}
	err := c.call(ctx, r, &ch)
	return ch, err
}

// UsePrices puts prices in use.
func (c *Client) UsePrices(ctx context.Context, u api.UsePrices) (prices.Change, error) {
	var ch prices.Change
	err := c.call(ctx, request{method: "POST", path: "/price-lists/use", body: u}, &ch)
	return ch, err
}
