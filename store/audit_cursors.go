package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"

	"berth/billing"
	"berth/task"
)

// verifyCursors checks the cursors whose entries have not all come: those that
// have none yet are as their task says.
func (a *audit) verifyCursors(ctx context.Context) error {
	for {
		if ok, err := a.readCursor(); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	var least *progress
	for _, p := range a.waiting {
		if p.stored.Seq == 0 {
			if err := a.checkUnbegun(ctx, p); err != nil {
				return err
			}
			continue
		}
		if least == nil || p.stored.Task < least.stored.Task {
			least = p
		}
	}
	if least != nil {
		c := least.stored
		return bad("meter_cursors", string(c.Task)+" "+string(c.SKU), "it knows of %d entries, and %d are there", c.Seq, least.replay.Seq())
	}
	return nil
}

// checkUnbegun checks a cursor without entries. If its task was forgotten, there
// would be entries.
func (a *audit) checkUnbegun(ctx context.Context, p *progress) error {
	c := p.stored
	name := string(c.Task) + " " + string(c.SKU)
	if err := checkCursor(p); err != nil {
		return err
	}
	r, err := a.q.QueryContext(ctx, `SELECT body FROM tasks WHERE id = ?`, []driver.NamedValue{{Ordinal: 1, Value: string(c.Task)}})
	if err != nil {
		return err
	}
	rows := &rawRows{rows: r, values: make([]driver.Value, 1)}
	defer rows.close()
	if ok, err := rows.next(); err != nil {
		return err
	} else if !ok {
		return bad("meter_cursors", name, "there is neither an entry nor a task")
	}
	var t task.Task
	if err := json.Unmarshal([]byte(rows.text(0)), &t); err != nil {
		return bad("meter_cursors", name, "its task cannot be read: %v", err)
	}
	cursors := billing.Open(t, billing.PriceList{})
	var have int64
	if err := a.count(ctx, `SELECT count(*) FROM meter_cursors WHERE task = ?`, &have, string(c.Task)); err != nil {
		return err
	}
	if have != int64(len(cursors)) {
		return bad("meter_cursors", name, "its task reserves %d resources and has %d cursors", len(cursors), have)
	}
	for _, want := range cursors {
		if want.SKU != c.SKU {
			continue
		}
		rate, known := c.Rate, false
		if a.rates != nil {
			rate, known = a.rates(c.PriceList, c.SKU)
		}
		want.PriceList, want.Rate = c.PriceList, c.Rate
		if want == c && (!known || rate == c.Rate) {
			return nil
		}
	}
	return bad("meter_cursors", name, "it is not what the task reserves, or not at the price of its list")
}
