package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/cluster"
	"berth/fault"
	"berth/task"
)

// Cluster returns the cluster that in names, also one that was deleted. One that does not
// exist is fault.NotFound. The default cluster exists unless it was deleted.
func (s *Store) Cluster(ctx context.Context, in task.Realm) (cluster.Cluster, error) {
	return readCluster(ctx, s.reader(), in)
}

func readCluster(ctx context.Context, q querier, in task.Realm) (cluster.Cluster, error) {
	var body string
	err := q.QueryRowContext(ctx, `SELECT body FROM clusters WHERE account = ? AND region = ? AND name = ?`,
		in.Account, in.Region, in.Cluster).Scan(&body)
	switch {
	case errors.Is(err, sql.ErrNoRows) && in.Cluster == task.DefaultCluster:
		return cluster.Default(), nil
	case errors.Is(err, sql.ErrNoRows):
		return cluster.Cluster{}, noCluster()
	case err != nil:
		return cluster.Cluster{}, fmt.Errorf("read cluster: %w", err)
	}
	return decodeCluster(body)
}

// noCluster has the words of the ECS API.
func noCluster() error {
	return &fault.Error{Kind: fault.NotFound, Field: "cluster", Msg: "Cluster not found."}
}

func decodeCluster(body string) (c cluster.Cluster, err error) {
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		return c, fmt.Errorf("decode cluster: %w", err)
	}
	return c, nil
}

// ActiveCluster returns nil if tasks can be made in the cluster that in names, and
// fault.NotFound if it does not exist or was deleted.
func (s *Store) ActiveCluster(ctx context.Context, in task.Realm) error {
	return activeCluster(ctx, s.reader(), in)
}

func activeCluster(ctx context.Context, q querier, in task.Realm) error {
	if in.Cluster == "" {
		return nil
	}
	c, err := readCluster(ctx, q, in)
	if err == nil && c.Status != cluster.Active {
		return noCluster()
	}
	return err
}

// ChangeCluster replaces the cluster that in names by what f makes of it, in one
// transaction, and returns that. f gets the zero Cluster if there is none. An error of f
// is ChangeCluster's, and nothing is changed.
func (s *Store) ChangeCluster(ctx context.Context, in task.Realm, f func(cluster.Cluster) (cluster.Cluster, error)) (cluster.Cluster, error) {
	var next cluster.Cluster
	err := s.write(ctx, func(tx *sql.Tx) error {
		c, err := readCluster(ctx, tx, in)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if next, err = f(c); err != nil {
			return err
		}
		body, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("encode cluster: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO clusters (account, region, name, status, body, created_at) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (account, region, name) DO UPDATE SET status = excluded.status, body = excluded.body, created_at = excluded.created_at`,
			in.Account, in.Region, next.Name, next.Status, string(body), nanos(next.CreatedAt)); err != nil {
			return fmt.Errorf("write cluster: %w", err)
		}
		return nil
	})
	return next, err
}

// Clusters lists the ACTIVE clusters of an account and region by name, the default one
// too, and returns a token for the next page, empty after the last.
func (s *Store) Clusters(ctx context.Context, in task.Realm, p Page) ([]cluster.Cluster, string, error) {
	after := ""
	if p.Token != "" {
		var err error
		if after, err = openToken(clustersToken, p.Token); err != nil {
			return nil, "", err
		}
	}
	limit := max(p.Limit, 1)
	implied, err := json.Marshal(cluster.Default())
	if err != nil {
		return nil, "", fmt.Errorf("encode cluster: %w", err)
	}
	rows, err := s.reader().QueryContext(ctx, `WITH known (name, status, body) AS (
				SELECT name, status, body FROM clusters WHERE account = ?1 AND region = ?2
				UNION ALL SELECT ?3, 'ACTIVE', ?4 WHERE NOT EXISTS (SELECT 1 FROM clusters WHERE account = ?1 AND region = ?2 AND name = ?3))
			SELECT body FROM known WHERE status = 'ACTIVE' AND name > ?5 ORDER BY name LIMIT ?6`,
		in.Account, in.Region, task.DefaultCluster, string(implied), after, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list clusters: %w", err)
	}
	defer rows.Close()
	all := []cluster.Cluster{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, "", fmt.Errorf("scan cluster: %w", err)
		}
		c, err := decodeCluster(body)
		if err != nil {
			return nil, "", err
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil || len(all) <= limit {
		return all, "", err
	}
	all = all[:limit]
	return all, sealToken(clustersToken, all[limit-1].Name), nil
}

// CountIn returns how many tasks of a cluster are in each status, those that have stopped
// left out.
func (s *Store) CountIn(ctx context.Context, in task.Realm) (map[task.Status]int, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT status, count(*) FROM tasks
			WHERE account = ? AND region = ? AND cluster = ? AND status <> 'STOPPED' GROUP BY status`, in.Account, in.Region, in.Cluster)
	return scanCounts(rows, err)
}

// AccountSettings returns the settings that a principal of an account has in a region, by
// name; those of the account itself are under the principal "".
func (s *Store) AccountSettings(ctx context.Context, in task.Realm, principal string) (map[string]string, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT name, value FROM account_settings WHERE account = ? AND region = ? AND principal = ?`,
		in.Account, in.Region, principal)
	if err != nil {
		return nil, fmt.Errorf("read account settings: %w", err)
	}
	defer rows.Close()
	all := make(map[string]string)
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("scan account setting: %w", err)
		}
		all[name] = value
	}
	return all, rows.Err()
}

// SetAccountSetting keeps a setting, or forgets it if value is empty. Repeating it changes
// nothing.
func (s *Store) SetAccountSetting(ctx context.Context, in task.Realm, principal, name, value string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		query, args := `DELETE FROM account_settings WHERE account = ? AND region = ? AND principal = ? AND name = ?`,
			[]any{in.Account, in.Region, principal, name}
		if value != "" {
			query, args = `INSERT INTO account_settings (account, region, principal, name, value) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (account, region, principal, name) DO UPDATE SET value = excluded.value`, append(args, value)
		}
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("write account setting: %w", err)
		}
		return nil
	})
}
