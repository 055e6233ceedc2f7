package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

var _ billing.Ledger = (*Store)(nil)

// settingMeter is the position of the meter in the journal.
const settingMeter = "meter"

// Post is part of billing.Ledger: everything in one transaction.
func (s *Store) Post(ctx context.Context, seq task.Seq, moves []billing.Move) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, mv := range moves {
			if err := move(ctx, tx, mv); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE
				SET value = excluded.value WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)`,
			settingMeter, strconv.FormatUint(uint64(seq), 10))
		if err != nil {
			return fmt.Errorf("write meter's position: %w", err)
		}
		return nil
	})
}

// move moves one cursor and writes its entries.
func move(ctx context.Context, tx *sql.Tx, mv billing.Move) error {
	for _, e := range mv.Entries {
		var hash string
		err := tx.QueryRowContext(ctx, `SELECT hash FROM ledger_entries WHERE id = ?`, e.ID).Scan(&hash)
		if err == nil && hash != e.Hash() {
			return fault.New(fault.Internal, "entry %s is there with another body", e.ID)
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read entry %s: %w", e.ID, err)
		}
	}
	moved, err := compareAndSet(ctx, tx, mv.Old, mv.New)
	if err != nil || !moved {
		return err
	}
	for _, e := range mv.Entries {
		if err := insertEntry(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// compareAndSet moves a cursor from old to c. moved is false if it stands at c
// already; if it stands elsewhere, that is a fault.Conflict.
func compareAndSet(ctx context.Context, tx *sql.Tx, old, c billing.Cursor) (moved bool, err error) {
	var have billing.Cursor
	rows, err := tx.QueryContext(ctx, `SELECT `+cursorColumns+` FROM meter_cursors WHERE task = ? AND sku = ?`, c.Task, c.SKU)
	if err != nil {
		return false, fmt.Errorf("read cursor: %w", err)
	}
	found, err := scanCursors(rows)
	if err != nil {
		return false, err
	}
	if len(found) == 1 {
		have = found[0]
	}
	if have == c {
		return false, nil
	}
	if have != old {
		return false, fault.New(fault.Conflict, "the cursor of task %s for %s has moved", c.Task, c.SKU)
	}
	var res sql.Result
	if old.Task == "" {
		res, err = tx.ExecContext(ctx, `INSERT INTO meter_cursors (`+cursorColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.Task, c.SKU, c.ARN, c.Size, c.Rate, c.PriceList, nanos(c.From), c.Seq, nanos(c.To), c.Amount, c.Closed, nanos(c.End))
	} else {
		res, err = tx.ExecContext(ctx, `UPDATE meter_cursors SET seq = ?, billed_to = ?, amount = ?, closed = ?, end_at = ?
				WHERE task = ? AND sku = ? AND seq = ? AND billed_to = ?`,
			c.Seq, nanos(c.To), c.Amount, c.Closed, nanos(c.End), old.Task, old.SKU, old.Seq, nanos(old.To))
	}
	if err != nil {
		return false, fmt.Errorf("move cursor of task %s for %s: %w", c.Task, c.SKU, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = fault.New(fault.Conflict, "the cursor of task %s for %s has moved", c.Task, c.SKU)
	}
	return err == nil, err
}

func insertEntry(ctx context.Context, tx *sql.Tx, e billing.Entry) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO ledger_entries (`+entryColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.ID, e.Task, e.Account, e.SKU, e.Seq, e.Kind, nanos(e.From), nanos(e.To), e.Units, e.Rate, e.PriceList, e.Amount, e.Hash()); err != nil {
		return fmt.Errorf("insert entry %s: %w", e.ID, err)
	}
	for _, p := range e.Postings() {
		if _, err := tx.ExecContext(ctx, `INSERT INTO ledger_postings (entry, account, unit, amount) VALUES (?, ?, ?, ?)`,
			e.ID, p.Account, p.Unit, p.Amount); err != nil {
			return fmt.Errorf("insert posting of entry %s: %w", e.ID, err)
		}
	}
	return nil
}

// Position is part of billing.Ledger.
func (s *Store) Position(ctx context.Context) (task.Seq, error) {
	v, err := s.setting(ctx, settingMeter)
	if err != nil || v == "" {
		return 0, err
	}
	seq, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read meter's position: %w", err)
	}
	return task.Seq(seq), nil
}

// Cursors is part of billing.Ledger.
func (s *Store) Cursors(ctx context.Context, id task.ID) ([]billing.Cursor, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT `+cursorColumns+` FROM meter_cursors WHERE task = ? ORDER BY sku`, id)
	if err != nil {
		return nil, fmt.Errorf("read cursors of task %s: %w", id, err)
	}
	return scanCursors(rows)
}

// Entries is part of billing.Ledger.
func (s *Store) Entries(ctx context.Context, id task.ID) ([]billing.Entry, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT `+entryColumns+` FROM ledger_entries WHERE task = ? ORDER BY sku, seq`, id)
	if err != nil {
		return nil, fmt.Errorf("read entries of task %s: %w", id, err)
	}
	defer rows.Close()
	var es []billing.Entry
	for rows.Next() {
		e, _, err := scanEntry(rows)
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	return es, rows.Err()
}

const (
	cursorColumns = `task, sku, arn, size, rate, price_list, start_at, seq, billed_to, amount, closed, end_at`
	entryColumns  = `id, task, account, sku, seq, kind, from_at, to_at, units, rate, price_list, amount, hash`
)

func scanCursors(rows *sql.Rows) ([]billing.Cursor, error) {
	defer rows.Close()
	var cs []billing.Cursor
	for rows.Next() {
		var c billing.Cursor
		var from, to, end int64
		if err := rows.Scan(&c.Task, &c.SKU, &c.ARN, &c.Size, &c.Rate, &c.PriceList, &from, &c.Seq, &to, &c.Amount, &c.Closed, &end); err != nil {
			return nil, fmt.Errorf("scan cursor: %w", err)
		}
		c.From, c.To, c.End = timeOf(from), timeOf(to), timeOf(end)
		cs = append(cs, c)
	}
	return cs, rows.Err()
}

func scanEntry(rows *sql.Rows) (e billing.Entry, hash string, err error) {
	var from, to int64
	if err := rows.Scan(&e.ID, &e.Task, &e.Account, &e.SKU, &e.Seq, &e.Kind, &from, &to, &e.Units, &e.Rate, &e.PriceList, &e.Amount, &hash); err != nil {
		return e, "", fmt.Errorf("scan entry: %w", err)
	}
	e.From, e.To = timeOf(from), timeOf(to)
	return e, hash, nil
}
