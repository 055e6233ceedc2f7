package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/billing/tuning"
	"berth/fault"
)

var _ tuning.Book = (*Store)(nil)

// PutTuning is part of tuning.Book.
func (s *Store) PutTuning(ctx context.Context, t tuning.Tuning, runs ...tuning.Run) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode tuning: %w", err)
	}
	bodies := make([]string, len(runs))
	for i, r := range runs {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode run: %w", err)
		}
		bodies[i] = string(b)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		var have int64
		err := tx.QueryRowContext(ctx, `SELECT version FROM tunings WHERE id = ?`, t.ID).Scan(&have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read version of tuning %s: %w", t.ID, err)
		}
		if t.Version != have+1 {
			return fault.New(fault.Conflict, "tuning %s has changed meanwhile", t.ID)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO tunings (id, status, version, body) VALUES (?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version, body = excluded.body`,
			t.ID, t.Status, t.Version, string(body)); err != nil {
			return fmt.Errorf("write tuning %s: %w", t.ID, err)
		}
		for i, r := range runs {
			if _, err := tx.ExecContext(ctx, `INSERT INTO tuning_runs (tuning, cpu, memory, run, attempt, state, task, body) VALUES (?, ?, ?, ?, ?, ?, nullif(?, ''), ?)
					ON CONFLICT (tuning, cpu, memory, run, attempt) DO UPDATE SET state = excluded.state, task = excluded.task, body = excluded.body`,
				t.ID, r.CPU, r.Memory, r.N, r.Attempt, r.State, r.Task, bodies[i]); err != nil {
				return fmt.Errorf("write run %d at %s of tuning %s: %w", r.N, r.Size, t.ID, err)
			}
		}
		return nil
	})
}

// Tuning is part of tuning.Book. Tuning and runs are read from one snapshot.
func (s *Store) Tuning(ctx context.Context, id tuning.ID) (t tuning.Tuning, runs []tuning.Run, err error) {
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return t, nil, fmt.Errorf("read tuning %s: %w", id, err)
	}
	defer tx.Rollback()
	all, err := queryBodies[tuning.Tuning](ctx, tx, `SELECT body FROM tunings WHERE id = ?`, id)
	if err != nil {
		return t, nil, fmt.Errorf("read tuning %s: %w", id, err)
	}
	if len(all) == 0 {
		return t, nil, fault.New(fault.NotFound, "no tuning %s", id)
	}
	if runs, err = queryBodies[tuning.Run](ctx, tx, `SELECT body FROM tuning_runs WHERE tuning = ? ORDER BY n`, id); err != nil {
		return t, nil, fmt.Errorf("read runs of tuning %s: %w", id, err)
	}
	return all[0], runs, nil
}

// Tunings is part of tuning.Book.
func (s *Store) Tunings(ctx context.Context, limit int, before tuning.ID) ([]tuning.Tuning, error) {
	all, err := queryBodies[tuning.Tuning](ctx, s.reader(), `SELECT body FROM tunings WHERE ? = '' OR id < ? ORDER BY id DESC LIMIT ?`, before, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list tunings: %w", err)
	}
	return all, nil
}

// Unended is part of tuning.Book.
func (s *Store) Unended(ctx context.Context) ([]tuning.Tuning, error) {
	all, err := queryBodies[tuning.Tuning](ctx, s.reader(), `SELECT body FROM tunings WHERE status IN ('WAITING', 'RUNNING', 'STOPPING') ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list tunings that have not ended: %w", err)
	}
	return all, nil
}

// RemoveTuning is part of tuning.Book.
func (s *Store) RemoveTuning(ctx context.Context, id tuning.ID) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM tunings WHERE id = ?`, id)
		if err != nil {
			return fmt.Errorf("remove tuning %s: %w", id, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fault.New(fault.NotFound, "no tuning %s", id))
		}
		return nil
	})
}

// queryBodies returns the bodies that a query finds; its one column is JSON.
func queryBodies[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
