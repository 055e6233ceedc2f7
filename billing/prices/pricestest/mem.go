// Package pricestest has a book of prices that is kept in memory, and the suite that
// every book passes.
package pricestest

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/billing/prices"
	"berth/fault"
)

// Mem is a prices.Book in memory. The zero value is empty.
type Mem struct {
	Fail error // what writes fail with; nil if they work

	mu      sync.Mutex
	lists   []prices.List
	changes []prices.Change
}

// Open returns a catalogue over an empty Mem, with the examples of a region in use.
func Open(region string, now func() time.Time) *prices.Catalogue {
	c, err := prices.Open(context.Background(), prices.Config{Book: new(Mem), Region: region, Log: zap.NewNop(), Now: now})
	if err != nil {
		panic(err) // Mem does not fail.
	}
	return c
}

// PriceLists is part of prices.Book.
func (m *Mem) PriceLists(context.Context) ([]prices.List, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lists), nil
}

// PriceChanges is part of prices.Book.
func (m *Mem) PriceChanges(context.Context) ([]prices.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.changes), nil
}

// PutPriceList is part of prices.Book.
func (m *Mem) PutPriceList(_ context.Context, l prices.List) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Fail != nil {
		return m.Fail
	}
	for _, have := range m.lists {
		if have.ID == l.ID && string(have.Body()) == string(l.Body()) {
			return nil
		}
		if have.ID == l.ID {
			return fault.New(fault.Conflict, "there is another price list %s", l.ID)
		}
	}
	m.lists = append(m.lists, l)
	return nil
}

// ChangePrices is part of prices.Book.
func (m *Mem) ChangePrices(_ context.Context, c prices.Change) (prices.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.N = int64(len(m.changes)) + 1
	switch {
	case m.Fail != nil:
		return c, m.Fail
	case c.List != "" && !slices.ContainsFunc(m.lists, func(l prices.List) bool { return l.ID == c.List }):
		return c, fault.New(fault.NotFound, "no price list %q", c.List)
	case c.From.Before(c.At) && (!c.From.IsZero() || c.N > 1):
		return c, fault.New(fault.Internal, "prices of the past do not change")
	}
	m.changes = append(m.changes, c)
	return c, nil
}
