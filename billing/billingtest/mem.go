// Package billingtest is for the tests of whoever keeps or feeds a ledger: a
// ledger in memory, a suite that every ledger passes, and an oracle that prices
// with rational numbers.
package billingtest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Mem is a Ledger in memory. The zero value is empty and ready.
type Mem struct {
	mu      sync.Mutex
	seq     task.Seq
	closed  time.Time
	cursors map[task.ID]map[billing.SKU]billing.Cursor
	entries map[task.ID]map[string]billing.Entry // by ID
	past
}

var _ billing.Ledger = (*Mem)(nil)

func (m *Mem) Post(_ context.Context, seq task.Seq, moves []billing.Move) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cursors == nil {
		m.cursors, m.entries = make(map[task.ID]map[billing.SKU]billing.Cursor), make(map[task.ID]map[string]billing.Entry)
	}
	var news []billing.Move
	for _, mv := range moves {
		have := m.cursors[mv.New.Task][mv.New.SKU]
		if have != mv.New && have != mv.Old {
			return fault.New(fault.Conflict, "the cursor of %s, %s has moved", mv.New.Task, mv.New.SKU)
		}
		for _, e := range mv.Entries {
			if old, ok := m.entries[e.Task][e.ID]; ok && old.Hash() != e.Hash() {
				return fault.New(fault.Internal, "entry %s is there with another body", e.ID)
			}
			if e.Booked.Before(m.closed) && have != mv.New {
				return fault.New(fault.Conflict, "entry %s is booked in a closed period", e.ID)
			}
		}
		if have != mv.New {
			news = append(news, mv)
		}
	}
	for _, mv := range news {
		id := mv.New.Task
		if m.cursors[id] == nil {
			m.cursors[id], m.entries[id] = make(map[billing.SKU]billing.Cursor), make(map[string]billing.Entry)
		}
		m.cursors[id][mv.New.SKU] = mv.New
		for _, e := range mv.Entries {
			m.entries[id][e.ID] = e
		}
	}
	m.seq = max(m.seq, seq)
	return nil
}

func (m *Mem) Position(context.Context) (task.Seq, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq, nil
}

func (m *Mem) Cursors(_ context.Context, id task.ID) ([]billing.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var cs []billing.Cursor
	for _, c := range m.cursors[id] {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b billing.Cursor) int { return cmp.Compare(a.SKU, b.SKU) })
	return cs, nil
}

func (m *Mem) Entries(_ context.Context, id task.ID) ([]billing.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var es []billing.Entry
	for _, e := range m.entries[id] {
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b billing.Entry) int {
		return cmp.Or(cmp.Compare(a.SKU, b.SKU), order(a.Seq, b.Seq))
	})
	return es, nil
}

// order compares Seqs: those of reversals, which are negative, come last.
func order(a, b int64) int {
	if a < 0 || b < 0 {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

// Closed is part of billing.Ledger.
func (m *Mem) Closed(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed, nil
}

// Close closes the periods until a time.
func (m *Mem) Close(until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = until
}
