package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"berth/billing"
	"berth/billing/proof"
	"berth/fault"
	"berth/task"
)

// periodForm is the name of a period: a month, in UTC.
const periodForm = "2006-01"

// Periods returns every month in which something is booked, and those that are
// closed, in order.
func (s *Store) Periods(ctx context.Context) ([]billing.Period, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT `+periodColumns+` FROM ledger_periods
			UNION ALL SELECT strftime('%Y-%m', booked_at / 1000000000, 'unixepoch') AS month, 0, 0, 0, 0, count(*), sum(amount), '' FROM ledger_entries
			WHERE booked_at >= coalesce((SELECT max(to_at) FROM ledger_periods), 0) GROUP BY month ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read periods: %w", err)
	}
	defer rows.Close()
	var all []billing.Period
	for rows.Next() {
		p, err := scanPeriod(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

func scanPeriod(rows *sql.Rows) (p billing.Period, err error) {
	var from, to, closed int64
	if err := rows.Scan(&p.Name, &from, &to, &closed, &p.Size, &p.Entries, &p.Amount, &p.Note); err != nil {
		return p, fmt.Errorf("scan period: %w", err)
	}
	p.From, p.To, p.ClosedAt, p.Status = timeOf(from), timeOf(to), timeOf(closed), billing.PeriodClosed
	if closed == 0 {
		p.Status = billing.PeriodOpen
		p.From, p.To, err = month(p.Name)
	}
	return p, err
}

func month(name string) (from, to time.Time, err error) {
	from, err = time.Parse(periodForm, name)
	if err != nil {
		return from, to, fault.At("period", "%q is not a month, as in 2026-10", name)
	}
	return from, from.AddDate(0, 1, 0), nil
}

// ClosePeriod closes a month: nothing can be booked in it any more, which the
// database itself sees to, and what corrects something in it is booked when it is
// made. Periods are closed one after another, when they are over and every charge
// in them is posted; else it is a fault.Conflict. Closing again changes nothing.
func (s *Store) ClosePeriod(ctx context.Context, name string) (p billing.Period, err error) {
	from, to, err := month(name)
	if err != nil {
		return p, err
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		p, err = closePeriod(ctx, tx, s, billing.Period{Name: name, From: from, To: to, Status: billing.PeriodClosed, ClosedAt: s.Now().UTC().Round(0)})
		return err
	})
	return p, err
}

func closePeriod(ctx context.Context, tx *sql.Tx, s *Store, p billing.Period) (billing.Period, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+periodColumns+` FROM ledger_periods WHERE name = ?`, p.Name)
	if err != nil {
		return p, fmt.Errorf("read period: %w", err)
	}
	if rows.Next() {
		have, err := scanPeriod(rows)
		return have, errors.Join(err, rows.Close())
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return p, fmt.Errorf("read period: %w", err)
	}
	if err := canClose(ctx, tx, p); err != nil {
		return p, err
	}
	if err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(amount), 0), coalesce((SELECT max(n) + 1 FROM ledger_entries), 0)
			FROM ledger_entries WHERE booked_at >= ? AND booked_at < ?`, nanos(p.From), nanos(p.To)).Scan(&p.Entries, &p.Amount, &p.Size); err != nil {
		return p, fmt.Errorf("sum period: %w", err)
	}
	signed, err := proof.SignText(periodText(s.seal.verifier.Name(), p), s.seal.signer)
	if err != nil {
		return p, err
	}
	p.Note = string(signed)
	if _, err := tx.ExecContext(ctx, `INSERT INTO ledger_periods (`+periodColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		p.Name, nanos(p.From), nanos(p.To), nanos(p.ClosedAt), p.Size, p.Entries, int64(p.Amount), p.Note); err != nil {
		return p, fmt.Errorf("close period: %w", err)
	}
	return p, nil
}

// canClose returns why a period cannot be closed now.
func canClose(ctx context.Context, tx *sql.Tx, p billing.Period) error {
	if p.ClosedAt.Before(p.To) {
		return fault.New(fault.Conflict, "%s is not over before %s", p.Name, p.To.Format(time.RFC3339))
	}
	for _, c := range []struct{ query, why string }{
		{`SELECT name FROM ledger_periods WHERE to_at > ?1 AND ?1 > 0 AND ?2 > 0 ORDER BY to_at DESC LIMIT 1`, "%s is closed already, and periods are closed in order"},
		{`SELECT strftime('%Y-%m', booked_at / 1000000000, 'unixepoch') FROM ledger_entries
			WHERE booked_at < ?1 AND booked_at >= coalesce((SELECT max(to_at) FROM ledger_periods), 0) AND ?2 > 0 ORDER BY booked_at LIMIT 1`, "%s is not closed, and periods are closed in order"},
		{`SELECT task FROM meter_cursors WHERE closed = 0 AND start_at < ?2 AND billed_to < ?2 AND ?1 > 0 LIMIT 1`, "not all of the charge of task %s is posted; wait for the meter"},
	} {
		var what string
		err := tx.QueryRowContext(ctx, c.query, nanos(p.From), nanos(p.To)).Scan(&what)
		if err == nil {
			return fault.New(fault.Conflict, c.why, what)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("look for what keeps %s open: %w", p.Name, err)
		}
	}
	// A task that the meter has not seen yet has no cursor.
	rows, err := tx.QueryContext(ctx, `SELECT id, coalesce(body ->> 'pullStartedAt', '') FROM tasks t
			WHERE created_at < ? AND NOT EXISTS (SELECT 1 FROM meter_cursors WHERE task = t.id)`, nanos(p.To))
	if err != nil {
		return fmt.Errorf("look for tasks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id task.ID
		var begun string
		if err := rows.Scan(&id, &begun); err != nil {
			return fmt.Errorf("scan task: %w", err)
		}
		if at, err := time.Parse(time.RFC3339Nano, begun); err == nil && !at.IsZero() && at.Before(p.To) {
			return fault.New(fault.Conflict, "nothing of the charge of task %s is posted; wait for the meter", id)
		}
	}
	return rows.Err()
}

// Reverse takes a whole entry back, once: doing it again, or with a reversal, is a
// fault.Conflict. An entry that does not exist is fault.NotFound.
func (s *Store) Reverse(ctx context.Context, id, reason string) (billing.Record, error) {
	reason = strings.TrimSpace(reason)
	if reason == "" || len(reason) > 255 || strings.ContainsFunc(reason, unicode.IsControl) {
		return billing.Record{}, fault.At("reason", "it says in at most 255 bytes, on one line, why the entry is taken back")
	}
	var made billing.Record
	err := s.write(ctx, func(tx *sql.Tx) error {
		e, err := record(ctx, tx, id)
		if err != nil {
			return err
		}
		var closed int64
		var by string
		err = tx.QueryRowContext(ctx, `SELECT coalesce((SELECT max(to_at) FROM ledger_periods), 0), coalesce((SELECT id FROM ledger_entries WHERE task = ? AND sku = ? AND seq = ? AND seq < 0), '')`,
			string(e.Task), string(e.SKU), -e.Seq).Scan(&closed, &by)
		if err != nil {
			return fmt.Errorf("look for reversals of entry %s: %w", id, err)
		}
		if by != "" && e.Kind != billing.Reversal {
			return fault.New(fault.Conflict, "entry %s was taken back by entry %s", id, by)
		}
		r, err := e.Reverse(reason, timeOf(closed), s.Now())
		if err != nil {
			return err
		}
		if err := s.enter(ctx, tx, []billing.Entry{r}); err != nil {
			return err
		}
		made, err = record(ctx, tx, r.ID)
		return err
	})
	return made, err
}
