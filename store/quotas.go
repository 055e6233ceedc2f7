package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/access"
	"berth/fault"
	"berth/task"
)

// SetQuota remembers what an account may have; a zero Quota is none.
func (s *Store) SetQuota(ctx context.Context, account string, q access.Quota) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode quota: %w", err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO quotas (account, body) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET body = excluded.body`,
			account, string(body)); err != nil {
			return fmt.Errorf("write quota: %w", err)
		}
		return nil
	})
}

// Quota returns what an account may have.
func (s *Store) Quota(ctx context.Context, account string) (access.Quota, error) {
	return readQuota(ctx, s.reader(), account)
}

func readQuota(ctx context.Context, q querier, account string) (out access.Quota, err error) {
	var body string
	err = q.QueryRowContext(ctx, `SELECT body FROM quotas WHERE account = ?`, account).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read quota: %w", err)
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		return out, fmt.Errorf("decode quota: %w", err)
	}
	return out, nil
}

// withinQuota is fault.Exhausted, in Fargate's words, if an account would have more than it
// may with these tasks. It is asked in the transaction that makes them, so that many at once
// cannot pass it together.
func withinQuota(ctx context.Context, tx *sql.Tx, account string, ts []task.Task) error {
	quota, err := readQuota(ctx, tx, account)
	if err != nil || quota.Tasks == 0 && quota.VCPU == 0 {
		return err
	}
	var tasks, units int
	// The + keeps SQLite from an index of the account: most of its tasks have stopped long ago.
	if err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(CAST(body ->> 'cpu' AS INTEGER)), 0) FROM tasks
			WHERE +account = ? AND status <> 'STOPPED'`, account).Scan(&tasks, &units); err != nil {
		return fmt.Errorf("count what the account has: %w", err)
	}
	for _, t := range ts {
		tasks, units = tasks+1, units+t.Size().CPU
	}
	switch {
	case quota.Tasks > 0 && tasks > quota.Tasks:
		return fault.New(fault.Exhausted, "You've reached the limit on the number of tasks you can run concurrently")
	case quota.VCPU > 0 && units > quota.VCPU*1024:
		return fault.New(fault.Exhausted, "You've reached the limit on the number of vCPUs you can run concurrently")
	}
	return nil
}
