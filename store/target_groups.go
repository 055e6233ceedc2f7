package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/balancer"
	"berth/fault"
	"berth/task"
)

// TargetGroups returns the target groups of an account and region, by name; with a zero
// Realm all there are.
func (s *Store) TargetGroups(ctx context.Context, in task.Realm) ([]balancer.TargetGroup, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM target_groups WHERE ? = '' OR account = ? AND region = ? ORDER BY name, account, region`,
		in.Account, in.Account, in.Region)
	if err != nil {
		return nil, fmt.Errorf("list target groups: %w", err)
	}
	defer rows.Close()
	all := []balancer.TargetGroup{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan target group: %w", err)
		}
		g, err := decodeTargetGroup(body)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

func decodeTargetGroup(body string) (g balancer.TargetGroup, err error) {
	if err := json.Unmarshal([]byte(body), &g); err != nil {
		return g, fmt.Errorf("decode target group: %w", err)
	}
	return g, nil
}

// TargetGroup returns the target group of that name or ARN, or fault.NotFound.
func (s *Store) TargetGroup(ctx context.Context, in task.Realm, ref string) (balancer.TargetGroup, error) {
	return targetGroup(ctx, s.reader(), in, ref)
}

func targetGroup(ctx context.Context, q querier, in task.Realm, ref string) (balancer.TargetGroup, error) {
	var body string
	err := q.QueryRowContext(ctx, `SELECT body FROM target_groups WHERE account = ? AND region = ? AND (name = ? OR arn = ?)`,
		in.Account, in.Region, ref, ref).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return balancer.TargetGroup{}, balancer.NoGroup(ref)
	}
	if err != nil {
		return balancer.TargetGroup{}, fmt.Errorf("read target group: %w", err)
	}
	return decodeTargetGroup(body)
}

// PutTargetGroup remembers a target group in place of the one of that name, whose ARN and
// time of creation it keeps. If another one has its ListenPort it is fault.Conflict.
func (s *Store) PutTargetGroup(ctx context.Context, in task.Realm, g balancer.TargetGroup) (balancer.TargetGroup, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		known, err := targetGroup(ctx, tx, in, g.Name)
		switch {
		case err == nil:
			g.ARN, g.CreatedAt = known.ARN, known.CreatedAt
		case fault.KindOf(err) == fault.NotFound:
			g.ARN, g.CreatedAt = balancer.ARN(in, g.Name, freshTargetGroup()), time.Unix(0, s.at()).UTC()
		default:
			return err
		}
		var other string
		err = tx.QueryRowContext(ctx, `SELECT arn FROM target_groups WHERE listen_port = ? AND arn <> ?`, g.ListenPort, g.ARN).Scan(&other)
		switch {
		case err == nil: // It may be another account's, of which nobody is told.
			return fault.New(fault.Conflict, "another target group has port %d of this host", g.ListenPort)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("look for the port of a target group: %w", err)
		}
		body, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("encode target group: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO target_groups (account, region, name, arn, listen_port, body) VALUES (?, ?, ?, ?, nullif(?, 0), ?)
				ON CONFLICT (account, region, name) DO UPDATE SET listen_port = excluded.listen_port, body = excluded.body`,
			in.Account, in.Region, g.Name, g.ARN, g.ListenPort, string(body)); err != nil {
			return fmt.Errorf("write target group: %w", err)
		}
		return nil
	})
	return g, err
}

// freshTargetGroup returns the end of a new target group's ARN.
func freshTargetGroup() string {
	var id [8]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// RemoveTargetGroup forgets the target group of that name or ARN. One that an unfinished
// task names is fault.Conflict.
func (s *Store) RemoveTargetGroup(ctx context.Context, in task.Realm, ref string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		g, err := targetGroup(ctx, tx, in, ref)
		if err != nil {
			return err
		}
		var user string
		err = tx.QueryRowContext(ctx, `SELECT tasks.id FROM tasks, json_each(body, '$.loadBalancers') AS balancer
				WHERE status <> 'STOPPED' AND account = ? AND region = ? AND json_extract(balancer.value, '$.targetGroupArn') = ? LIMIT 1`,
			in.Account, in.Region, g.ARN).Scan(&user)
		switch {
		case err == nil:
			return fault.New(fault.Conflict, "Target group '%s' is currently in use by task %s", g.ARN, user)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("look for tasks in target group: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM target_groups WHERE arn = ?`, g.ARN); err != nil {
			return fmt.Errorf("remove target group: %w", err)
		}
		return nil
	})
}
