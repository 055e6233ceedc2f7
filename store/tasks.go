package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Create remembers new tasks, all or none, and returns them once they are
// durable. With a token, the tasks of an earlier call with the same token are
// returned instead, or fault.Conflict if hash, which stands for the rest of the
// request, is another.
func (s *Store) Create(ctx context.Context, ts []task.Task, token, hash string) ([]task.Task, error) {
	made := ts
	err := s.write(ctx, func(tx *sql.Tx) error {
		made = ts
		if token != "" {
			earlier, err := requested(ctx, tx, token, hash)
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
			if _, err := tx.ExecContext(ctx, `INSERT INTO requests (token, hash, tasks, created_at) VALUES (?, ?, ?, ?)`,
				token, hash, string(list), s.at()); err != nil {
				return fmt.Errorf("insert request: %w", err)
			}
		}
		for _, t := range ts {
			if err := s.insert(ctx, tx, t); err != nil {
				return err
			}
		}
		return nil
	})
	return made, err
}

// requested returns the tasks that a request with that token made, nil if there
// was none.
func requested(ctx context.Context, tx *sql.Tx, token, hash string) ([]task.Task, error) {
	var known, list string
	err := tx.QueryRowContext(ctx, `SELECT hash, tasks FROM requests WHERE token = ?`, token).Scan(&known, &list)
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
		t, err := find(ctx, tx, id)
		if fault.KindOf(err) == fault.NotFound {
			continue // It was kept long enough and is gone.
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
	if _, err := tx.ExecContext(ctx, `INSERT INTO tasks (id, status, desired_status, family, task_group, started_by, version,
			created_at, stopped_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, t.LastStatus, t.DesiredStatus, family, t.Group, t.StartedBy, t.Version, nanos(t.CreatedAt), nanos(t.StoppedAt), string(body)); err != nil {
		return fmt.Errorf("insert task %s: %w", t.ID, err)
	}
	for _, tag := range t.Tags {
		if _, err := tx.ExecContext(ctx, `INSERT INTO task_tags (task, key, value) VALUES (?, ?, ?)`, t.ID, tag.Key, tag.Value); err != nil {
			return fmt.Errorf("insert tag: %w", err)
		}
	}
	return s.tell(ctx, tx, t.ID, string(body))
}

// tell appends an event.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, id task.ID, body string) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO events (at, task, body) VALUES (?, ?, ?)`, s.at(), id, body); err != nil {
		return fmt.Errorf("append event: %w", err)
	}
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
		body, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("encode task: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tasks SET status = ?, desired_status = ?, version = ?, stopped_at = ?, body = ? WHERE id = ?`,
			next.LastStatus, next.DesiredStatus, next.Version, nanos(next.StoppedAt), string(body), id); err != nil {
			return fmt.Errorf("update task: %w", err)
		}
		return s.tell(ctx, tx, id, string(body))
	})
	return result, err
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

// Filter says which tasks to list. Zero fields do not filter.
type Filter struct {
	Status        task.Status
	DesiredStatus task.Status
	Family        string
	Group         string
	StartedBy     string
	Tag           *task.Tag // an empty Value means any
}

// Page says which part of a list to return.
type Page struct {
	Limit int    // at least 1
	Token string // what the page before returned; empty for the first
}

// Tasks lists tasks, newest first, and returns a token for the next page, empty
// after the last. A token that no page returned is fault.Invalid.
func (s *Store) Tasks(ctx context.Context, f Filter, p Page) ([]task.Task, string, error) {
	where, args := []string{"1"}, []any{}
	add := func(cond string, v ...any) { where, args = append(where, cond), append(args, v...) }
	if f.Status != "" {
		add("status = ?", f.Status)
	}
	if f.DesiredStatus != "" {
		add("desired_status = ?", f.DesiredStatus)
	}
	if f.Family != "" {
		add("family = ?", f.Family)
	}
	if f.Group != "" {
		add("task_group = ?", f.Group)
	}
	if f.StartedBy != "" {
		add("started_by = ?", f.StartedBy)
	}
	if f.Tag != nil {
		add("EXISTS (SELECT 1 FROM task_tags WHERE task = tasks.id AND key = ? AND (? = '' OR value = ?))", f.Tag.Key, f.Tag.Value, f.Tag.Value)
	}
	if p.Token != "" {
		after, err := openToken(p.Token)
		if err != nil {
			return nil, "", err
		}
		add("id < ?", after)
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM tasks WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`,
		append(args, p.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("list tasks: %w", err)
	}
	ts, err := scanTasks(rows)
	if err != nil || len(ts) <= p.Limit {
		return ts, "", err
	}
	ts = ts[:p.Limit]
	return ts, sealToken(string(ts[p.Limit-1].ID)), nil
}

func scanTasks(rows *sql.Rows) ([]task.Task, error) {
	defer rows.Close()
	ts := []task.Task{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan task: %w", err)
		}
		t, err := decode(body)
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return ts, rows.Err()
}

// Tokens are opaque to clients: the place where the page before ended.
const tokenMark = "berth1:"

func sealToken(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + after))
}

func openToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(b), tokenMark)
	if err != nil || !ok || after == "" {
		return "", fault.At("nextToken", "is not a token that a list returned")
	}
	return after, nil
}

// Unfinished returns the tasks that have not stopped, oldest first, and the
// position in the journal that this answer is true for.
func (s *Store) Unfinished(ctx context.Context) ([]task.Task, task.Seq, error) {
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one snapshot for both
	if err != nil {
		return nil, 0, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	seq, err := lastSeq(ctx, tx)
	if err != nil {
		return nil, 0, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT body FROM tasks WHERE status <> 'STOPPED' ORDER BY id`)
	if err != nil {
		return nil, 0, fmt.Errorf("list unfinished tasks: %w", err)
	}
	ts, err := scanTasks(rows)
	return ts, seq, err
}

// Count returns how many tasks are in each status.
func (s *Store) Count(ctx context.Context) (map[task.Status]int, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT status, count(*) FROM tasks GROUP BY status`)
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	defer rows.Close()
	counts := make(map[task.Status]int)
	for rows.Next() {
		var status task.Status
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("scan count: %w", err)
		}
		counts[status] = n
	}
	return counts, rows.Err()
}

// Prune forgets tasks that stopped before then, at most limit of them, with
// their events, and returns their IDs. Ledger entries stay. It also forgets
// idempotency tokens that old, which must be at least a day.
func (s *Store) Prune(ctx context.Context, before time.Time, limit int) ([]task.ID, error) {
	var gone []task.ID
	err := s.write(ctx, func(tx *sql.Tx) error {
		gone = nil
		rows, err := tx.QueryContext(ctx, `SELECT id FROM tasks WHERE status = 'STOPPED' AND stopped_at < ? ORDER BY stopped_at LIMIT ?`, nanos(before), limit)
		if err != nil {
			return fmt.Errorf("list old tasks: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id task.ID
			if err := rows.Scan(&id); err != nil {
				return fmt.Errorf("scan ID: %w", err)
			}
			gone = append(gone, id)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, id := range gone {
			for _, q := range []string{`DELETE FROM tasks WHERE id = ?`, `DELETE FROM events WHERE task = ?`} {
				if _, err := tx.ExecContext(ctx, q, id); err != nil {
					return fmt.Errorf("forget task %s: %w", id, err)
				}
			}
		}
		oldest := min(nanos(before), nanos(s.Now().Add(-tokenLife)))
		if _, err := tx.ExecContext(ctx, `DELETE FROM requests WHERE created_at < ?`, oldest); err != nil {
			return fmt.Errorf("forget requests: %w", err)
		}
		return nil
	})
	return gone, err
}

// tokenLife is how long a client token is known at least (ECS developer guide,
// "Ensuring idempotency").
const tokenLife = 24 * time.Hour
