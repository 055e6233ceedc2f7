package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"berth/billing"
	"berth/task"
)

// PutUsage is part of billing.History.
func (s *Store) PutUsage(ctx context.Context, chunks []billing.Chunk, rolls []billing.RollUp) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, c := range chunks {
			if _, err := tx.ExecContext(ctx, `INSERT INTO usage_chunks (task, from_at, to_at, samples, data) VALUES (?, ?, ?, ?, ?)
					ON CONFLICT (task, from_at) DO UPDATE SET to_at = excluded.to_at, samples = excluded.samples, data = excluded.data`,
				c.Task, nanos(c.From), nanos(c.To), c.Samples, c.Data); err != nil {
				return fmt.Errorf("write usage of task %s: %w", c.Task, err)
			}
		}
		for _, up := range rolls {
			if err := rollUp(ctx, tx, up); err != nil {
				return err
			}
		}
		return nil
	})
}

// Usage is part of billing.History.
func (s *Store) Usage(ctx context.Context, id task.ID, from, to time.Time) ([]billing.Chunk, error) {
	first, last := nanos(from), nanos(to)
	if last == 0 {
		last = math.MaxInt64
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT from_at, to_at, samples, data FROM usage_chunks
			WHERE task = ? AND to_at >= ? AND from_at <= ? ORDER BY from_at`, id, first, last)
	if err != nil {
		return nil, fmt.Errorf("read usage of task %s: %w", id, err)
	}
	defer rows.Close()
	var cs []billing.Chunk
	for rows.Next() {
		c := billing.Chunk{Task: id}
		var from, to int64
		if err := rows.Scan(&from, &to, &c.Samples, &c.Data); err != nil {
			return nil, fmt.Errorf("scan usage: %w", err)
		}
		c.From, c.To = timeOf(from), timeOf(to)
		cs = append(cs, c)
	}
	return cs, rows.Err()
}

// LastUsage is part of billing.History.
func (s *Store) LastUsage(ctx context.Context, id task.ID) (time.Time, error) {
	var last int64
	err := s.reader().QueryRowContext(ctx, `SELECT to_at FROM usage_chunks WHERE task = ? ORDER BY from_at DESC LIMIT 1`, id).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("read last usage of task %s: %w", id, err)
	}
	return timeOf(last), nil
}
