package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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
		var entries []billing.Entry
		var ended []task.ID
		for _, mv := range moves {
			moved, err := move(ctx, tx, mv)
			if err != nil {
				return err
			}
			if moved {
				entries = append(entries, mv.Entries...)
			}
			if mv.New.Closed {
				ended = append(ended, mv.New.Task)
			}
		}
		if err := s.enter(ctx, tx, entries); err != nil {
			return err
		}
		if err := s.releaseHolds(ctx, tx, ended); err != nil {
			return err
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

// enter writes entries behind those that are there. The writer calls it.
func (s *Store) enter(ctx context.Context, tx *sql.Tx, entries []billing.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if s.book == nil {
		b, err := openBook(ctx, tx)
		if err != nil {
			return err
		}
		s.book = b
	}
	first := s.book.frontier.Size() + int64(len(s.book.leaves))
	err := s.book.enter(ctx, tx, entries)
	if err == nil {
		err = s.count(ctx, tx, first, entries)
	}
	if err != nil && strings.Contains(err.Error(), periodClosed) {
		return fault.Wrap(fault.Conflict, err, "an entry is booked in a period that is closed")
	}
	return err
}

// periodClosed is what the database says to an entry in a closed period.
const periodClosed = "the period is closed"

// move moves one cursor. moved is false if it was moved so before, with the same
// entries.
func move(ctx context.Context, tx *sql.Tx, mv billing.Move) (moved bool, err error) {
	old, c := mv.Old, mv.New
	if old == c {
		return false, unmoved(ctx, tx, mv)
	}
	var res sql.Result
	if old.Task == "" {
		res, err = tx.ExecContext(ctx, `INSERT INTO meter_cursors (`+cursorColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, cursorArgs(c)...)
	} else {
		res, err = tx.ExecContext(ctx, `UPDATE meter_cursors SET rate = ?, price_list = ?, segment_at = ?, segment_amount = ?, seq = ?,
					billed_to = ?, amount = ?, measured_at = ?, closed = ?, end_at = ?
				WHERE task = ? AND sku = ? AND arn = ? AND size = ? AND start_at = ? AND rate = ? AND price_list = ? AND segment_at = ?
					AND segment_amount = ? AND seq = ? AND billed_to = ? AND amount = ? AND measured_at = ? AND closed = ? AND end_at = ?`,
			append(cursorArgs(c)[cursorFixed:], cursorArgs(old)...)...)
	}
	if err != nil {
		return false, fmt.Errorf("move cursor of task %s for %s: %w", c.Task, c.SKU, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err == nil, err
	}
	return false, unmoved(ctx, tx, mv)
}

// unmoved returns nil if the cursor stands at mv.New already, with its entries.
func unmoved(ctx context.Context, tx *sql.Tx, mv billing.Move) error {
	rows, err := tx.QueryContext(ctx, `SELECT `+cursorColumns+` FROM meter_cursors WHERE task = ? AND sku = ?`, mv.New.Task, mv.New.SKU)
	if err != nil {
		return fmt.Errorf("read cursor: %w", err)
	}
	found, err := scanCursors(rows)
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0] != mv.New {
		return fault.New(fault.Conflict, "the cursor of task %s for %s has moved", mv.New.Task, mv.New.SKU)
	}
	for _, e := range mv.Entries {
		var have []byte
		err := tx.QueryRowContext(ctx, `SELECT hash FROM ledger_entries WHERE n = `+placeOf("?1"), e.ID).Scan(&have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read entry %s: %w", e.ID, err)
		}
		if hash := e.Hash(); !bytes.Equal(have, hash[:]) {
			return fault.New(fault.Internal, "entry %s is there with another body", e.ID)
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
	rows, err := s.reader().QueryContext(ctx, `SELECT `+entryColumns+`, arn FROM ledger_entries JOIN
			(SELECT task AS t, sku AS s, arn FROM meter_cursors) ON t = task AND s = sku WHERE n IN `+placesOf("?1")+` ORDER BY sku, seq < 0, abs(seq)`, id)
	if err != nil {
		return nil, fmt.Errorf("read entries of task %s: %w", id, err)
	}
	defer rows.Close()
	var es []billing.Entry
	for rows.Next() {
		var arn string
		e, _, _, err := scanEntry(rows, &arn)
		if err != nil {
			return nil, err
		}
		e.ARN = arn
		es = append(es, e)
	}
	return es, rows.Err()
}

// Closed is part of billing.Ledger.
func (s *Store) Closed(ctx context.Context) (time.Time, error) {
	var until int64
	err := s.reader().QueryRowContext(ctx, `SELECT coalesce(max(to_at), 0) FROM ledger_periods`).Scan(&until)
	if err != nil {
		return time.Time{}, fmt.Errorf("read closed periods: %w", err)
	}
	return timeOf(until), nil
}

const (
	cursorColumns = `task, sku, arn, size, start_at, rate, price_list, segment_at, segment_amount, seq, billed_to, amount, measured_at, closed, end_at`
	cursorFixed   = 5 // of these, how many never change

	entryColumns = `n, id, task, account, sku, seq, kind, from_at, to_at, units, rate, price_list, amount, booked_at, used, measured_at, ref, reason, hash`
)

// placeOf returns the SQL for which entry has an ID, placesOf that for the entries of a
// task: block by block, the newest first, and of a task not those before its first.
func placeOf(id string) string {
	return `(SELECT i.n FROM ledger_blocks CROSS JOIN ledger_entries i ON i.n >> 12 = block AND substr(i.id, 21) = substr(` + id + `, 21) AND i.id = ` + id + ` LIMIT 1)`
}

func placesOf(task string) string {
	return `(SELECT i.n FROM ledger_blocks CROSS JOIN ledger_entries i ON i.n >> 12 = block AND substr(i.task, 21) = substr(` + task + `, 21) AND i.task = ` + task + `
		WHERE block >= (SELECT min(since) >> 12 FROM cost_tasks WHERE task = ` + task + `))`
}

// cursorArgs returns the values of cursorColumns.
func cursorArgs(c billing.Cursor) []any {
	return []any{
		string(c.Task), string(c.SKU), c.ARN, c.Size, nanos(c.From), int64(c.Rate), c.PriceList, nanos(c.SegmentFrom), int64(c.SegmentAmount),
		c.Seq, nanos(c.To), int64(c.Amount), nanos(c.Measured), c.Closed, nanos(c.End),
	}
}

func scanCursors(rows *sql.Rows) ([]billing.Cursor, error) {
	defer rows.Close()
	var cs []billing.Cursor
	for rows.Next() {
		var c billing.Cursor
		var from, segment, to, measured, end int64
		if err := rows.Scan(&c.Task, &c.SKU, &c.ARN, &c.Size, &from, &c.Rate, &c.PriceList, &segment, &c.SegmentAmount,
			&c.Seq, &to, &c.Amount, &measured, &c.Closed, &end); err != nil {
			return nil, fmt.Errorf("scan cursor: %w", err)
		}
		c.From, c.SegmentFrom, c.To, c.Measured, c.End = timeOf(from), timeOf(segment), timeOf(to), timeOf(measured), timeOf(end)
		cs = append(cs, c)
	}
	return cs, rows.Err()
}

// scanEntry reads entryColumns, and more columns behind them.
func scanEntry(rows *sql.Rows, more ...any) (e billing.Entry, n int64, hash []byte, err error) {
	var from, to, booked, measured int64
	var used sql.NullInt64
	var ref sql.NullString
	into := []any{&n, &e.ID, &e.Task, &e.Account, &e.SKU, &e.Seq, &e.Kind, &from, &to, &e.Units, &e.Rate, &e.PriceList, &e.Amount,
		&booked, &used, &measured, &ref, &e.Reason, &hash}
	if err := rows.Scan(append(into, more...)...); err != nil {
		return e, 0, nil, fmt.Errorf("scan entry: %w", err)
	}
	e.From, e.To, e.Booked, e.Measured = timeOf(from), timeOf(to), timeOf(booked), timeOf(measured)
	e.Used, e.Ref = billing.UsedUnits{Units: used.Int64, Known: used.Valid}, ref.String
	return e, n, hash, nil
}
