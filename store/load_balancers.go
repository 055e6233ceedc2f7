package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"berth/balancer"
	"berth/task"
)

// LoadBalancers returns the load balancers of an account and region, by name.
func (s *Store) LoadBalancers(ctx context.Context, in task.Realm) ([]balancer.LoadBalancer, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM load_balancers WHERE account = ? AND region = ? ORDER BY name`, in.Account, in.Region)
	if err != nil {
		return nil, fmt.Errorf("list load balancers: %w", err)
	}
	defer rows.Close()
	all := []balancer.LoadBalancer{}
	for rows.Next() {
		var body string
		var l balancer.LoadBalancer
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan load balancer: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			return nil, fmt.Errorf("decode load balancer: %w", err)
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

// PutLoadBalancer remembers a load balancer in place of the one of that name.
func (s *Store) PutLoadBalancer(ctx context.Context, in task.Realm, l balancer.LoadBalancer) error {
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode load balancer: %w", err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO load_balancers (account, region, name, arn, body) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (account, region, name) DO UPDATE SET body = excluded.body`, in.Account, in.Region, l.Name, l.ARN, string(body)); err != nil {
			return fmt.Errorf("write load balancer: %w", err)
		}
		return nil
	})
}

// RemoveLoadBalancer forgets a load balancer, if it is there.
func (s *Store) RemoveLoadBalancer(ctx context.Context, in task.Realm, arn string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM load_balancers WHERE account = ? AND region = ? AND arn = ?`, in.Account, in.Region, arn); err != nil {
			return fmt.Errorf("remove load balancer: %w", err)
		}
		return nil
	})
}
