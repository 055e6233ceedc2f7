package main

import (
	"context"
	"time"

	"berth/billing/prices"
	"berth/billing/waste"
	"berth/billing/whatif"
	"berth/store"
)

// hindsight lets the server ask what of the costs was for nothing, and what would have
// been on other terms.
type hindsight struct {
	store    *store.Store
	replayer *whatif.Replayer
}

func newHindsight(st *store.Store, rates *prices.Catalogue) hindsight {
	return hindsight{st, whatif.New(whatif.Config{Runs: st, Prices: regional{rates}, Now: time.Now})}
}

func (h hindsight) Waste(ctx context.Context, q waste.Query) (waste.Report, error) {
	return waste.Of(ctx, h.store, q)
}

func (h hindsight) WhatIf(ctx context.Context, r whatif.Request) (whatif.Result, error) {
	return h.replayer.Replay(ctx, r)
}
