package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"berth/fault"
	"berth/service"
	"berth/task"
)

var _ service.Book = (*Store)(nil)

// keptEvents is how many events of a service are kept: many more than are shown, for those
// that read all events in order and may be late.
const keptEvents = 1000

// PutService is part of service.Book. A new service needs a cluster that is ACTIVE; else it
// is fault.NotFound.
func (s *Store) PutService(ctx context.Context, v service.Service, n service.News) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode service: %w", err)
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		var have int64
		err := tx.QueryRowContext(ctx, `SELECT version FROM services WHERE id = ?`, v.ID).Scan(&have)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read version of service %s: %w", v.ID, err)
		}
		if v.Version != have+1 {
			return service.ErrStale
		}
		if have == 0 {
			if err := activeCluster(ctx, tx, v.Realm); err != nil {
				return err
			}
			var taken int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM services WHERE account = ? AND region = ? AND cluster = ? AND name = ? AND status <> 'INACTIVE'`,
				v.Realm.Account, v.Realm.Region, v.Realm.Cluster, v.Name).Scan(&taken); err != nil {
				return fmt.Errorf("look for service %s: %w", v.Name, err)
			}
			if taken > 0 {
				return service.ErrStale
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO services (id, account, region, cluster, name, status, version, created_at, inactive_at, body)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version, inactive_at = excluded.inactive_at, body = excluded.body`,
			v.ID, v.Realm.Account, v.Realm.Region, v.Realm.Cluster, v.Name, v.Status, v.Version, nanos(v.CreatedAt), nanos(v.InactiveAt), string(body)); err != nil {
			return fmt.Errorf("write service %s: %w", v.ID, err)
		}
		return putNews(ctx, tx, v.ID, n)
	})
	if err == nil && len(n.Events) > 0 {
		s.served.broadcast()
	}
	return err
}

// putNews writes what is written down with a service.
func putNews(ctx context.Context, tx *sql.Tx, id service.ID, n service.News) error {
	for _, r := range n.Rollouts {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode service deployment: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO service_deployments (arn, service, status, created_at, body) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (arn) DO UPDATE SET status = excluded.status, body = excluded.body`,
			r.ARN, id, r.Status, nanos(r.CreatedAt), string(b)); err != nil {
			return fmt.Errorf("write service deployment %s: %w", r.ARN, err)
		}
	}
	for _, r := range n.Revisions {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode service revision: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO service_revisions (arn, service, created_at, body) VALUES (?, ?, ?, ?)`,
			r.ARN, id, nanos(r.CreatedAt), string(b)); err != nil {
			return fmt.Errorf("write service revision %s: %w", r.ARN, err)
		}
	}
	for _, e := range n.Events {
		b, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode service event: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO service_events (service, at, body) VALUES (?, ?, ?)`, id, nanos(e.At), string(b)); err != nil {
			return fmt.Errorf("write service event: %w", err)
		}
	}
	if len(n.Events) == 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM service_events WHERE service = ?1 AND seq <
			(SELECT seq FROM service_events WHERE service = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)`, id, keptEvents-1); err != nil {
		return fmt.Errorf("forget service events: %w", err)
	}
	return nil
}

// Service is part of service.Book.
func (s *Store) Service(ctx context.Context, id service.ID) (service.Service, error) {
	return oneService(queryBodies[service.Service](ctx, s.reader(), `SELECT body FROM services WHERE id = ?`, id))
}

// ServiceNamed is part of service.Book.
func (s *Store) ServiceNamed(ctx context.Context, r task.Realm, name string) (service.Service, error) {
	return oneService(queryBodies[service.Service](ctx, s.reader(), `SELECT body FROM services WHERE account = ? AND region = ? AND cluster = ? AND name = ?
			ORDER BY status = 'INACTIVE', created_at DESC LIMIT 1`, r.Account, r.Region, r.Cluster, name))
}

func oneService(all []service.Service, err error) (service.Service, error) {
	if err != nil {
		return service.Service{}, fmt.Errorf("read service: %w", err)
	}
	if len(all) == 0 {
		return service.Service{}, fault.New(fault.NotFound, "Service not found.")
	}
	return all[0], nil
}

// UnfinishedServices is part of service.Book.
func (s *Store) UnfinishedServices(ctx context.Context) ([]service.Service, error) {
	all, err := queryBodies[service.Service](ctx, s.reader(), `SELECT body FROM services WHERE status <> 'INACTIVE' ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return all, nil
}

// ForgetServices is part of service.Book.
func (s *Store) ForgetServices(ctx context.Context, before time.Time) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM services WHERE status = 'INACTIVE' AND inactive_at < ?`, nanos(before)); err != nil {
			return fmt.Errorf("forget services: %w", err)
		}
		return nil
	})
}

// CountServices returns how many services of a cluster are ACTIVE and DRAINING.
func (s *Store) CountServices(ctx context.Context, r task.Realm) (active, draining int, err error) {
	err = s.reader().QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE status = 'ACTIVE'), count(*) FILTER (WHERE status = 'DRAINING')
			FROM services WHERE account = ? AND region = ? AND cluster = ?`, r.Account, r.Region, r.Cluster).Scan(&active, &draining)
	if err != nil {
		return 0, 0, fmt.Errorf("count services: %w", err)
	}
	return active, draining, nil
}

// Known returns those of some tasks that are remembered, by ID.
func (s *Store) Known(ctx context.Context, ids []task.ID) (map[task.ID]task.Task, error) {
	all := make(map[task.ID]task.Task, len(ids))
	if len(ids) == 0 {
		return all, nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("encode IDs: %w", err)
	}
	ts, err := queryBodies[task.Task](ctx, s.reader(), `SELECT body FROM tasks WHERE id IN (SELECT value FROM json_each(?))`, string(list))
	if err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	for _, t := range ts {
		all[t.ID] = t
	}
	return all, nil
}

// Services is part of service.Archive.
func (s *Store) Services(ctx context.Context, f service.Filter, limit int, after service.ID) ([]service.Service, error) {
	all, err := queryBodies[service.Service](ctx, s.reader(), `SELECT body FROM services
			WHERE account = ?1 AND region = ?2 AND (?3 = '' OR cluster = ?3) AND status = 'ACTIVE'
			AND (?4 = '' OR (json_extract(body, '$.Template.ServiceConnect.enabled') AND json_extract(body, '$.Template.ServiceConnect.namespace') = ?4))
			AND (?5 = '' OR json_extract(body, '$.Template.LaunchType') = ?5)
			AND (?6 = '' OR (cluster, name) > (SELECT cluster, name FROM services WHERE id = ?6))
			ORDER BY cluster, name LIMIT ?7`,
		f.Realm.Account, f.Realm.Region, f.Realm.Cluster, f.Namespace, f.Launch, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return all, nil
}

// ServiceEvents is part of service.Archive.
func (s *Store) ServiceEvents(ctx context.Context, id service.ID, limit int) ([]service.Event, error) {
	return s.serviceEvents(ctx, `SELECT seq, body FROM service_events WHERE service = ? AND json_extract(body, '$.Message') <> '' ORDER BY seq DESC LIMIT ?`, id, limit)
}

// EventsAfter is part of service.Archive.
func (s *Store) EventsAfter(ctx context.Context, seq int64, limit int) ([]service.Event, error) {
	return s.serviceEvents(ctx, `SELECT seq, body FROM service_events WHERE seq > ? ORDER BY seq LIMIT ?`, seq, limit)
}

// LastServiceEvent returns the position of the newest event of all services, also when that
// was forgotten; 0 if there never was one.
func (s *Store) LastServiceEvent(ctx context.Context) (seq int64, err error) {
	err = s.reader().QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'service_events'`).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read the end of the events of services: %w", err)
	}
	return seq, nil
}

func (s *Store) serviceEvents(ctx context.Context, query string, args ...any) ([]service.Event, error) {
	rows, err := s.reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read service events: %w", err)
	}
	defer rows.Close()
	all := []service.Event{}
	for rows.Next() {
		var seq int64
		var body string
		if err := rows.Scan(&seq, &body); err != nil {
			return nil, fmt.Errorf("scan service event: %w", err)
		}
		var e service.Event
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return nil, fmt.Errorf("decode service event: %w", err)
		}
		e.Seq = seq
		all = append(all, e)
	}
	return all, rows.Err()
}

// FollowServices yields every event of services after position seq, in order, and then waits
// for more until ctx ends. Positions have gaps where events were forgotten.
func (s *Store) FollowServices(ctx context.Context, seq int64) iter.Seq2[service.Event, error] {
	return func(yield func(service.Event, error) bool) {
		for seq := seq; ctx.Err() == nil; {
			more := s.served.next() // before reading: what comes after is not missed
			events, err := s.EventsAfter(ctx, seq, followBatch)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(service.Event{}, err)
				return
			}
			for _, e := range events {
				if ctx.Err() != nil || !yield(e, nil) {
					return
				}
				seq = e.Seq
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
	}
}

// Rollouts is part of service.Archive.
func (s *Store) Rollouts(ctx context.Context, arns []string) ([]service.Rollout, error) {
	return byARN[service.Rollout](ctx, s, `SELECT body FROM service_deployments WHERE arn IN (SELECT value FROM json_each(?))`, arns)
}

// Revisions is part of service.Archive.
func (s *Store) Revisions(ctx context.Context, arns []string) ([]service.Revision, error) {
	return byARN[service.Revision](ctx, s, `SELECT body FROM service_revisions WHERE arn IN (SELECT value FROM json_each(?))`, arns)
}

func byARN[T any](ctx context.Context, s *Store, query string, arns []string) ([]T, error) {
	list, err := json.Marshal(arns)
	if err != nil {
		return nil, fmt.Errorf("encode ARNs: %w", err)
	}
	all, err := queryBodies[T](ctx, s.reader(), query, string(list))
	if err != nil {
		return nil, fmt.Errorf("read by ARN: %w", err)
	}
	return all, nil
}

// RolloutsOf is part of service.Archive.
func (s *Store) RolloutsOf(ctx context.Context, id service.ID, f service.RolloutFilter, limit int, after string) ([]service.Rollout, error) {
	statuses := f.Status
	if statuses == nil {
		statuses = []service.RolloutStatus{}
	}
	list, err := json.Marshal(statuses)
	if err != nil {
		return nil, fmt.Errorf("encode statuses: %w", err)
	}
	all, err := queryBodies[service.Rollout](ctx, s.reader(), `SELECT body FROM service_deployments WHERE service = ?1
			AND (json_array_length(?2) = 0 OR status IN (SELECT value FROM json_each(?2)))
			AND (?3 = 0 OR created_at < ?3) AND (?4 = 0 OR created_at > ?4)
			AND (?5 = '' OR (created_at, arn) < (SELECT created_at, arn FROM service_deployments WHERE arn = ?5))
			ORDER BY created_at DESC, arn DESC LIMIT ?6`,
		id, string(list), nanos(f.Before), nanos(f.After), after, limit)
	if err != nil {
		return nil, fmt.Errorf("list service deployments: %w", err)
	}
	return all, nil
}
