package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"berth/billing/budget"
	"berth/fault"
	"berth/task"
)

// Create remembers new tasks of one realm, at least one, all or none, and returns them once they are
// durable. If d is not nil they are of the latest ACTIVE revision of its family
// that says the same, or of a new one: running a file twice is one revision.
//
// With a token, the tasks of an earlier call with the same token are returned
// instead, or fault.Conflict if hash, which stands for the rest of the request,
// is another; neither changes anything.
func (s *Store) Create(ctx context.Context, ts []task.Task, d *task.Definition, token, hash string) ([]task.Task, error) {
	return s.CreateHeld(ctx, ts, nil, d, token, hash)
}

// CreateHeld is Create for tasks that money is set aside for, if a budget covers them or
// they have a limit of their own: holds has one for each. If a budget has not enough left,
// no task is made and the error is fault.OverBudget with a *budget.Refusal in it.
func (s *Store) CreateHeld(ctx context.Context, ts []task.Task, holds []budget.Hold, d *task.Definition, token, hash string) ([]task.Task, error) {
	var made []task.Task
	err := s.write(ctx, func(tx *sql.Tx) error {
		made = slices.Clone(ts)
		in := ts[0].Realm()
		if token != "" {
			earlier, err := requested(ctx, tx, in, token, hash)
			if err != nil {
				return err
			}
			if earlier != nil {
				made = earlier
				return nil
			}
			ids := make([]task.ID, len(ts))
			for i, t := range ts {
				ids[i] = t.ID
			}
			list, err := json.Marshal(ids)
			if err != nil {
				return fmt.Errorf("encode IDs: %w", err)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO requests (account, region, token, hash, tasks, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
				in.Account, in.Region, token, hash, string(list), s.at()); err != nil {
				return fmt.Errorf("insert request: %w", err)
			}
		}
		if err := activeCluster(ctx, tx, in); err != nil {
			return err
		}
		if err := withinQuota(ctx, tx, in.Account, ts); err != nil {
			return err
		}
		if d != nil {
			known, err := s.ensure(ctx, tx, in, *d)
			if err != nil {
				return err
			}
			for i := range made {
				made[i].DefinitionARN = known.ARN
			}
		}
		for _, t := range made {
			if err := s.insert(ctx, tx, t); err != nil {
				return err
			}
		}
		return s.hold(ctx, tx, made, holds)
	})
	return made, err
}

// Requested returns the tasks that a request of that account and region with that token made, nil if there
// was none, or fault.Conflict if its hash was another.
func (s *Store) Requested(ctx context.Context, in task.Realm, token, hash string) ([]task.Task, error) {
	return requested(ctx, s.reader(), in, token, hash)
}

func requested(ctx context.Context, q querier, in task.Realm, token, hash string) ([]task.Task, error) {
	var known, list string
	err := q.QueryRowContext(ctx, `SELECT hash, tasks FROM requests WHERE account = ? AND region = ? AND token = ?`, in.Account, in.Region, token).Scan(&known, &list)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if known != hash {
		return nil, fault.New(fault.Conflict, "the client token %q was used with another request, which made the tasks %s", token, list)
	}
	var ids []task.ID
	if err := json.Unmarshal([]byte(list), &ids); err != nil {
		return nil, fmt.Errorf("decode IDs: %w", err)
	}
	ts := make([]task.Task, 0, len(ids))
	for _, id := range ids {
		t, err := find(ctx, q, id)
		if fault.KindOf(err) == fault.NotFound {
			return nil, fault.New(fault.Conflict, "the client token %q made the tasks %s, which were kept long enough and are forgotten; use another one", token, list)
		}
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// insert adds a task and its first event.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, t task.Task) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode task: %w", err)
	}
	family, _, err := task.ParseDefinitionRef(t.DefinitionARN)
	if err != nil {
		return err
	}
	in := t.Realm()
	if _, err := tx.ExecContext(ctx, `INSERT INTO tasks (id, account, region, cluster, status, desired_status, family, task_group,
			started_by, version, created_at, stopped_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, in.Account, in.Region, in.Cluster, t.LastStatus, t.DesiredStatus, family, t.Group, t.StartedBy, t.Version, nanos(t.CreatedAt), nanos(t.StoppedAt), string(body)); err != nil {
		return fmt.Errorf("insert task %s: %w", t.ID, err)
	}
	if err := insertTags(ctx, tx, t); err != nil {
		return err
	}
	return s.tell(ctx, tx, t.ID, string(body))
}

// tell appends an event. Only writes may call it.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, id task.ID, body string) error {
	at := s.at()
	done, err := tx.ExecContext(ctx, `INSERT INTO events (at, task, body) VALUES (?, ?, ?)`, at, id, body)
	if err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	seq, err := done.LastInsertId()
	if err != nil {
		return fmt.Errorf("append event: %w", err)
	}
	s.telling = append(s.telling, newTold(task.Seq(seq), at, body))
	return nil
}

// Advance applies tr to the task as it is now and returns the result once it and
// its event are durable.
func (s *Store) Advance(ctx context.Context, id task.ID, tr task.Transition) (task.Task, error) {
	return s.change(ctx, id, func(t task.Task) (task.Task, bool, error) {
		next, err := t.Apply(tr)
		return next, err == nil, err
	})
}

// AskStop writes the wish to stop on the task. The first wish counts; on a task
// that is on its way out, or has stopped, it changes nothing.
func (s *Store) AskStop(ctx context.Context, id task.ID, code, reason string) (task.Task, error) {
	return s.change(ctx, id, func(t task.Task) (task.Task, bool, error) {
		next, changed := t.AskStop(code, reason)
		return next, changed, nil
	})
}

// change replaces the task by what f makes of it, if f says so, and tells of it.
func (s *Store) change(ctx context.Context, id task.ID, f func(task.Task) (task.Task, bool, error)) (task.Task, error) {
	var result task.Task
	err := s.write(ctx, func(tx *sql.Tx) error {
		t, err := find(ctx, tx, id)
		if err != nil {
			return err
		}
		next, changed, err := f(t)
		if err != nil {
			return err
		}
		if result = next; !changed {
			return nil
		}
		return s.replace(ctx, tx, next)
	})
	return result, err
}

// replace writes a task that has changed, and the event that tells of it.
func (s *Store) replace(ctx context.Context, tx *sql.Tx, t task.Task) error {
	body, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode task: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE tasks SET status = ?, desired_status = ?, version = ?, stopped_at = ?, body = ? WHERE id = ?`,
		t.LastStatus, t.DesiredStatus, t.Version, nanos(t.StoppedAt), string(body), t.ID); err != nil {
		return fmt.Errorf("update task %s: %w", t.ID, err)
	}
	if t.LastStatus.Final() && t.PullStartedAt.IsZero() { // Nobody will close its charge.
		if err := s.releaseHolds(ctx, tx, []task.ID{t.ID}); err != nil {
			return err
		}
	}
	return s.tell(ctx, tx, t.ID, string(body))
}

// querier is a connection or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func find(ctx context.Context, q querier, id task.ID) (task.Task, error) {
	var body string
	err := q.QueryRowContext(ctx, `SELECT body FROM tasks WHERE id = ?`, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
	}
	if err != nil {
		return task.Task{}, fmt.Errorf("read task %s: %w", id, err)
	}
	return decode(body)
}

func decode(body string) (task.Task, error) {
	var t task.Task
	if err := json.Unmarshal([]byte(body), &t); err != nil {
		return t, fmt.Errorf("decode task: %w", err)
	}
	return t, nil
}

// Task returns a task. One that does not exist is fault.NotFound.
func (s *Store) Task(ctx context.Context, id task.ID) (task.Task, error) {
	return find(ctx, s.reader(), id)
}
