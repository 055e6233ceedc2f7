package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/fault"
	"berth/scaling"
	"berth/task"
)

var _ scaling.Book = (*Store)(nil)
var _ scaling.Meter = (*Store)(nil)

// EditScalableTarget makes or changes a scalable target: f gets the one that is there, nil if there
// is none, and returns it as it shall be; its state stays. An error of f changes nothing.
func (s *Store) EditScalableTarget(ctx context.Context, r scaling.Resource, f func(old *scaling.Target) (scaling.Target, error)) (t scaling.Target, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		plans, err := scalingPlans(ctx, tx, `AND t.resource = ?`, r.Realm, r.ID())
		if err != nil {
			return err
		}
		var old *scaling.Target
		if len(plans) > 0 {
			old = &plans[0].Target
		}
		if t, err = f(old); err != nil {
			return err
		}
		body, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("encode scalable target: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO scaling_targets (account, region, resource, body, state) VALUES (?, ?, ?, ?, '{}')
				ON CONFLICT (account, region, resource) DO UPDATE SET body = excluded.body`, r.Realm.Account, r.Realm.Region, r.ID(), string(body)); err != nil {
			return fmt.Errorf("write scalable target: %w", err)
		}
		return nil
	})
	if err == nil {
		s.scaled.broadcast()
	}
	return t, err
}

// noTarget has the words of Application Auto Scaling.
func noTarget(r scaling.Resource) error {
	return fault.New(fault.NotFound, "No scalable target registered for service namespace: %s, resource ID: %s, scalable dimension: %s", scaling.Namespace, r.ID(), scaling.Dimension)
}

// DeregisterScalableTarget is part of scaling.Book.
func (s *Store) DeregisterScalableTarget(ctx context.Context, r scaling.Resource) error {
	return s.removeScaling(ctx, noTarget(r), `DELETE FROM scaling_targets WHERE account = ? AND region = ? AND resource = ?`, r.Realm.Account, r.Realm.Region, r.ID())
}

// RemoveScalingPolicy forgets a scaling policy. One that is not there is fault.NotFound.
func (s *Store) RemoveScalingPolicy(ctx context.Context, r scaling.Resource, name string) error {
	missing := fault.New(fault.NotFound, "No scaling policy found for service namespace: %s, resource ID: %s, scalable dimension: %s, policy name: %s", scaling.Namespace, r.ID(), scaling.Dimension, name)
	return s.removeScaling(ctx, missing, `DELETE FROM scaling_policies WHERE account = ? AND region = ? AND resource = ? AND name = ?`, r.Realm.Account, r.Realm.Region, r.ID(), name)
}

func (s *Store) removeScaling(ctx context.Context, missing error, query string, args ...any) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("remove from scaling: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, missing)
		}
		return nil
	})
	if err == nil {
		s.scaled.broadcast()
	}
	return err
}

// EditScalingPolicy is EditScalableTarget for a policy of a target. If there is no target it is
// fault.NotFound.
func (s *Store) EditScalingPolicy(ctx context.Context, r scaling.Resource, name string, f func(old *scaling.Policy) (scaling.Policy, error)) (p scaling.Policy, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		plans, err := scalingPlans(ctx, tx, `AND t.resource = ?`, r.Realm, r.ID())
		if err != nil {
			return err
		}
		if len(plans) == 0 {
			return noTarget(r)
		}
		var old *scaling.Policy
		for i := range plans[0].Policies {
			if plans[0].Policies[i].Name == name {
				old = &plans[0].Policies[i]
			}
		}
		if p, err = f(old); err != nil {
			return err
		}
		body, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encode scaling policy: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO scaling_policies (account, region, resource, name, body) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (account, region, resource, name) DO UPDATE SET body = excluded.body`, r.Realm.Account, r.Realm.Region, r.ID(), name, string(body)); err != nil {
			return fmt.Errorf("write scaling policy: %w", err)
		}
		return nil
	})
	if err == nil {
		s.scaled.broadcast()
	}
	return p, err
}

// ScalingPlans is part of scaling.Book.
func (s *Store) ScalingPlans(ctx context.Context) ([]scaling.Plan, error) {
	return scalingPlans(ctx, s.reader(), ``, task.Realm{})
}

// ScalingPlansOf returns the targets of an account and region, by resource, with their
// policies, by name.
func (s *Store) ScalingPlansOf(ctx context.Context, in task.Realm) ([]scaling.Plan, error) {
	return scalingPlans(ctx, s.reader(), ``, in)
}

// ScalingChanged is part of scaling.Book.
func (s *Store) ScalingChanged() <-chan struct{} { return s.scaled.next() }

func scalingPlans(ctx context.Context, q querier, and string, in task.Realm, args ...any) ([]scaling.Plan, error) {
	rows, err := q.QueryContext(ctx, `SELECT t.resource, t.body, t.state, p.body FROM scaling_targets t
			LEFT JOIN scaling_policies p ON p.account = t.account AND p.region = t.region AND p.resource = t.resource
			WHERE (? = '' OR t.account = ? AND t.region = ?) `+and+` ORDER BY t.account, t.region, t.resource, p.name`,
		append([]any{in.Account, in.Account, in.Region}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read scalable targets: %w", err)
	}
	defer rows.Close()
	var all []scaling.Plan
	for rows.Next() {
		var resource, body, state string
		var policy sql.NullString
		if err := rows.Scan(&resource, &body, &state, &policy); err != nil {
			return nil, fmt.Errorf("scan scalable target: %w", err)
		}
		var t scaling.Target
		if err := errors.Join(json.Unmarshal([]byte(body), &t), json.Unmarshal([]byte(state), &t.State)); err != nil {
			return nil, fmt.Errorf("decode scalable target %s: %w", resource, err)
		}
		if n := len(all); n == 0 || all[n-1].Target.Resource != t.Resource {
			all = append(all, scaling.Plan{Target: t})
		}
		if !policy.Valid {
			continue
		}
		var p scaling.Policy
		if err := json.Unmarshal([]byte(policy.String), &p); err != nil {
			return nil, fmt.Errorf("decode scaling policy of %s: %w", resource, err)
		}
		last := &all[len(all)-1]
		last.Policies = append(last.Policies, p)
	}
	return all, rows.Err()
}

// NoteScaling is part of scaling.Book. Activities that are older than
// scaling.KeepActivities are forgotten.
func (s *Store) NoteScaling(ctx context.Context, a scaling.Activity, state scaling.State) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode scaling activity: %w", err)
	}
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("encode state of scalable target: %w", err)
	}
	r := a.Resource
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO scaling_activities (id, account, region, resource, at, body) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET body = excluded.body`, a.ID, r.Realm.Account, r.Realm.Region, r.ID(), nanos(a.Start), string(body)); err != nil {
			return fmt.Errorf("write scaling activity: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE scaling_targets SET state = ? WHERE account = ? AND region = ? AND resource = ?`,
			string(text), r.Realm.Account, r.Realm.Region, r.ID()); err != nil {
			return fmt.Errorf("write state of scalable target: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM scaling_activities WHERE at < ?`, nanos(s.Now().Add(-scaling.KeepActivities))); err != nil {
			return fmt.Errorf("forget scaling activities: %w", err)
		}
		return nil
	})
}

// ScalingActivities returns at most limit activities of an account and region, the newest
// first, of one resource if its ID is given, that are older than the one at position before,
// if that is not 0. next is the position of the last one, 0 if there are no more.
func (s *Store) ScalingActivities(ctx context.Context, in task.Realm, resource string, before int64, limit int) (all []scaling.Activity, next int64, err error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT seq, body FROM scaling_activities WHERE account = ?1 AND region = ?2 AND (?3 = '' OR resource = ?3)
			AND (?4 = 0 OR seq < ?4) ORDER BY seq DESC LIMIT ?5`, in.Account, in.Region, resource, before, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("read scaling activities: %w", err)
	}
	defer rows.Close()
	var last int64
	for rows.Next() {
		if len(all) == limit {
			next = last
			break
		}
		var body string
		var a scaling.Activity
		if err := rows.Scan(&last, &body); err != nil {
			return nil, 0, fmt.Errorf("scan scaling activity: %w", err)
		}
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			return nil, 0, fmt.Errorf("decode scaling activity: %w", err)
		}
		all = append(all, a)
	}
	return all, next, rows.Err()
}

// LoadOf is part of scaling.Meter. Memory is the working set over time.
func (s *Store) LoadOf(ctx context.Context, minute time.Time) (map[scaling.Resource]scaling.Load, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT max(t.arn), t.task_group, total(r.covered) / 60000.0,
			100.0 * total(r.cpu) * 1024 / (total(r.covered * t.cpu) * 1000000.0),
			100.0 * total(r.memory_over_time) / (total(r.covered * t.memory) * 1048576.0)
		FROM usage_rolls r JOIN usage_tasks t ON t.n = r.task
		WHERE r.step = 60 AND r.at = ? AND r.covered > 0 AND substr(t.task_group, 1, 8) = 'service:' AND t.cpu > 0 AND t.memory > 0
		GROUP BY substr(t.arn, 1, length(t.arn) - 33), t.task_group`, minute.Unix())
	if err != nil {
		return nil, fmt.Errorf("read load of services: %w", err)
	}
	defer rows.Close()
	all := make(map[scaling.Resource]scaling.Load)
	for rows.Next() {
		var arn, group string
		l := scaling.Load{At: minute}
		if err := rows.Scan(&arn, &group, &l.Tasks, &l.CPU, &l.Memory); err != nil {
			return nil, fmt.Errorf("scan load of service: %w", err)
		}
		all[scaling.Resource{Realm: (task.Task{ARN: arn}).Realm(), Service: group[len("service:"):]}] = l
	}
	return all, rows.Err()
}
