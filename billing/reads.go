package billing

import (
	"cmp"
	"context"
	"slices"
	"time"

	"berth/fault"
	"berth/task"
)

// Bill returns what a task costs: so far, or for good. A task that does not
// exist is fault.NotFound. One that was forgotten still has its bill.
func (m *Meter) Bill(ctx context.Context, id task.ID) (Bill, error) {
	t, err := m.Journal.Task(ctx, id)
	forgotten := fault.KindOf(err) == fault.NotFound
	if err != nil && !forgotten {
		return Bill{}, err
	}
	// Entries after cursors: those of a cursor are there when it is seen.
	cursors, cerr := m.Ledger.Cursors(ctx, id)
	if cerr != nil {
		return Bill{}, cerr
	}
	if forgotten {
		if len(cursors) == 0 {
			return Bill{}, err
		}
		t = task.Task{ID: id, ARN: cursors[0].ARN, LastStatus: task.Stopped, StoppedAt: cursors[0].To}
	}
	entries, err := m.Ledger.Entries(ctx, id)
	if err != nil {
		return Bill{}, err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { // made since the cursors were read
		return !slices.ContainsFunc(cursors, func(c Cursor) bool { return c.SKU == e.SKU && e.Seq <= c.Seq })
	})
	return NewBill(t, m.Prices, cursors, entries, t.Time(m.Clock())), nil
}

// merge returns chunks in order; of two with the same beginning, the longer.
func merge(stored, live []Chunk) []Chunk {
	all := slices.Concat(stored, live)
	slices.SortStableFunc(all, func(a, b Chunk) int {
		return cmp.Or(a.From.Compare(b.From), -a.To.Compare(b.To))
	})
	return slices.CompactFunc(all, func(a, b Chunk) bool { return a.From.Equal(b.From) })
}

// unpackAll returns the samples of chunks that are in order.
func unpackAll(chunks []Chunk) ([]task.Sample, error) {
	var all []task.Sample
	for _, c := range chunks {
		samples, err := Unpack(c.Data)
		if err != nil {
			return nil, err
		}
		for _, s := range samples {
			if n := len(all); n == 0 || s.At.After(all[n-1].At) {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// Estimate returns what t would cost in the time d: a line for each SKU, and
// their sum.
func (m *Meter) Estimate(t task.Task, d time.Duration) ([]Line, Money) {
	return Estimate(t, m.Prices, d)
}
