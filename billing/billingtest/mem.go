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
	cursors map[key]billing.Cursor
	entries map[string]billing.Entry // by ID
	chunks  map[task.ID][]billing.Chunk
}

var _ billing.Ledger = (*Mem)(nil)

type key struct {
	id  task.ID
	sku billing.SKU
}

func (m *Mem) Post(_ context.Context, seq task.Seq, moves []billing.Move) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cursors == nil {
		m.cursors, m.entries = make(map[key]billing.Cursor), make(map[string]billing.Entry)
	}
	var news []billing.Move
	for _, mv := range moves {
		k := key{mv.New.Task, mv.New.SKU}
		have := m.cursors[k]
		for _, e := range mv.Entries {
			if old, ok := m.entries[e.ID]; ok && old.Hash() != e.Hash() {
				return fault.New(fault.Internal, "entry %s is there with another body", e.ID)
			}
		}
		if have == mv.New {
			continue
		}
		if have != mv.Old {
			return fault.New(fault.Conflict, "the cursor of %s, %s has moved", mv.New.Task, mv.New.SKU)
		}
		news = append(news, mv)
	}
	for _, mv := range news {
		m.cursors[key{mv.New.Task, mv.New.SKU}] = mv.New
		for _, e := range mv.Entries {
			m.entries[e.ID] = e
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
	for k, c := range m.cursors {
		if k.id == id {
			cs = append(cs, c)
		}
	}
	slices.SortFunc(cs, func(a, b billing.Cursor) int { return cmp.Compare(a.SKU, b.SKU) })
	return cs, nil
}

func (m *Mem) Entries(_ context.Context, id task.ID) ([]billing.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var es []billing.Entry
	for _, e := range m.entries {
		if e.Task == id {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, func(a, b billing.Entry) int {
		return cmp.Or(cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.Seq, b.Seq))
	})
	return es, nil
}

func (m *Mem) PutUsage(_ context.Context, chunks []billing.Chunk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chunks == nil {
		m.chunks = make(map[task.ID][]billing.Chunk)
	}
	for _, c := range chunks {
		c.Data = slices.Clone(c.Data)
		cs := m.chunks[c.Task]
		i, found := slices.BinarySearchFunc(cs, c, func(a, b billing.Chunk) int { return a.From.Compare(b.From) })
		if found {
			cs[i] = c
		} else {
			m.chunks[c.Task] = slices.Insert(cs, i, c)
		}
	}
	return nil
}

func (m *Mem) Usage(_ context.Context, id task.ID, from, to time.Time) ([]billing.Chunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var cs []billing.Chunk
	for _, c := range m.chunks[id] {
		if (from.IsZero() || !c.To.Before(from)) && (to.IsZero() || !c.From.After(to)) {
			cs = append(cs, c)
		}
	}
	return cs, nil
}

func (m *Mem) LastUsage(_ context.Context, id task.ID) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cs := m.chunks[id]; len(cs) > 0 {
		return cs[len(cs)-1].To, nil
	}
	return time.Time{}, nil
}
