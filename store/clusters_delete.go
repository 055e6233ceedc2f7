package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"berth/cluster"
	"berth/fault"
	"berth/task"
)

// DeleteCluster makes an ACTIVE cluster INACTIVE, in one transaction with the look whether
// tasks are in it: one with tasks that have not stopped is fault.Conflict. One that is not
// ACTIVE is fault.NotFound.
func (s *Store) DeleteCluster(ctx context.Context, in task.Realm) (cluster.Cluster, error) {
	var c cluster.Cluster
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		if c, err = readCluster(ctx, tx, in); err != nil {
			return err
		}
		if c.Status != cluster.Active {
			return noCluster()
		}
		var busy, serves bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM services
				WHERE account = ? AND region = ? AND cluster = ? AND status <> 'INACTIVE')`, in.Account, in.Region, in.Cluster).Scan(&serves); err != nil {
			return fmt.Errorf("look for services in cluster: %w", err)
		}
		if serves {
			return fault.New(fault.Conflict, "The Cluster cannot be deleted while Services are active.")
		}
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM tasks
				WHERE account = ? AND region = ? AND cluster = ? AND status <> 'STOPPED')`, in.Account, in.Region, in.Cluster).Scan(&busy); err != nil {
			return fmt.Errorf("look for tasks in cluster: %w", err)
		}
		if busy {
			return fault.New(fault.Conflict, "The Cluster cannot be deleted while Tasks are active.")
		}
		c.Status, c.DeletedAt = cluster.Inactive, s.Now().UTC()
		body, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("encode cluster: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO clusters (account, region, name, status, body, created_at) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (account, region, name) DO UPDATE SET status = excluded.status, body = excluded.body`,
			in.Account, in.Region, c.Name, c.Status, string(body), nanos(c.CreatedAt)); err != nil {
			return fmt.Errorf("write cluster: %w", err)
		}
		return nil
	})
	return c, err
}
