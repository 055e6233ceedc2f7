package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"berth/fault"
	"berth/logs/cloudwatch"
	"berth/task"
)

const groupColumns = `id, account, region, name, created_at, retention, class, protected, tags,
		(SELECT coalesce(sum(bytes), 0) FROM log_streams WHERE log_group = log_groups.id)`

// noLogGroup, and the others, have the words of the CloudWatch Logs API.
func noLogGroup() error { return fault.New(fault.NotFound, "The specified log group does not exist.") }

func noLogStream() error {
	return fault.New(fault.NotFound, "The specified log stream does not exist.")
}

func scanLogGroup(scan func(...any) error) (g cloudwatch.Group, err error) {
	var created int64
	var tags string
	if err := scan(&g.ID, &g.Account, &g.Region, &g.Name, &created, &g.Retention, &g.Class, &g.Protected, &tags, &g.Stored); err != nil {
		return g, err
	}
	g.CreatedAt = time.UnixMilli(created).UTC()
	if err := json.Unmarshal([]byte(tags), &g.Tags); err != nil {
		return g, fmt.Errorf("decode tags of log group: %w", err)
	}
	if g.Tags == nil {
		g.Tags = map[string]string{}
	}
	return g, nil
}

// LogGroup returns the group of that name in an account and region, or fault.NotFound.
func (s *Store) LogGroup(ctx context.Context, in task.Realm, name string) (cloudwatch.Group, error) {
	return readLogGroup(ctx, s.reader(), in, name)
}

func readLogGroup(ctx context.Context, q querier, in task.Realm, name string) (cloudwatch.Group, error) {
	g, err := scanLogGroup(q.QueryRowContext(ctx, `SELECT `+groupColumns+` FROM log_groups WHERE account = ? AND region = ? AND name = ?`,
		in.Account, in.Region, name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return g, noLogGroup()
	}
	if err != nil {
		return g, fmt.Errorf("read log group: %w", err)
	}
	return g, nil
}

// LogGroups returns at most limit groups of an account and region whose names begin with
// prefix and come after that name, in their order.
func (s *Store) LogGroups(ctx context.Context, in task.Realm, prefix, after string, limit int) ([]cloudwatch.Group, error) {
	return s.logGroups(ctx, `SELECT `+groupColumns+` FROM log_groups
			WHERE account = ?1 AND region = ?2 AND name > ?4 AND name >= ?3 AND substr(name, 1, length(?3)) = ?3 ORDER BY name LIMIT ?5`,
		in.Account, in.Region, prefix, after, limit)
}

// AllLogGroups returns the groups of all accounts and regions that forget.
func (s *Store) AllLogGroups(ctx context.Context) ([]cloudwatch.Group, error) {
	return s.logGroups(ctx, `SELECT `+groupColumns+` FROM log_groups WHERE retention > 0 ORDER BY id`)
}

func (s *Store) logGroups(ctx context.Context, query string, args ...any) ([]cloudwatch.Group, error) {
	rows, err := s.reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list log groups: %w", err)
	}
	defer rows.Close()
	all := []cloudwatch.Group{}
	for rows.Next() {
		g, err := scanLogGroup(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("scan log group: %w", err)
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

// CreateLogGroup remembers a group. One of that name is fault.Conflict.
func (s *Store) CreateLogGroup(ctx context.Context, g cloudwatch.Group) error {
	tags, err := encodeTags(g.Tags)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO log_groups (account, region, name, created_at, retention, class, protected, tags)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			g.Account, g.Region, g.Name, g.CreatedAt.UnixMilli(), g.Retention, g.Class, g.Protected, tags)
		return made(r, err, "The specified log group already exists")
	})
}

// made turns an insertion that did nothing into fault.Conflict.
func made(r sql.Result, err error, already string) error {
	if err != nil {
		return fmt.Errorf("write logs: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return fault.Wrap(fault.Conflict, err, "%s", already)
	}
	return nil
}

func encodeTags(tags map[string]string) (string, error) {
	if tags == nil {
		tags = map[string]string{}
	}
	b, err := json.Marshal(tags)
	if err != nil {
		return "", fmt.Errorf("encode tags: %w", err)
	}
	return string(b), nil
}

// ChangeLogGroup replaces what can change of a group by what f makes of it, in one
// transaction. An error of f is ChangeLogGroup's, and nothing is changed.
func (s *Store) ChangeLogGroup(ctx context.Context, in task.Realm, name string, f func(*cloudwatch.Group) error) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		g, err := readLogGroup(ctx, tx, in, name)
		if err != nil {
			return err
		}
		if err := f(&g); err != nil {
			return err
		}
		tags, err := encodeTags(g.Tags)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE log_groups SET retention = ?, class = ?, protected = ?, tags = ? WHERE id = ?`,
			g.Retention, g.Class, g.Protected, tags, g.ID); err != nil {
			return fmt.Errorf("write log group: %w", err)
		}
		return nil
	})
}

// DeleteLogGroup forgets a group and its streams; PruneLogStreams deletes their events.
func (s *Store) DeleteLogGroup(ctx context.Context, in task.Realm, name string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		g, err := readLogGroup(ctx, tx, in, name)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE log_streams SET log_group = NULL WHERE log_group = ?`, g.ID); err != nil {
			return fmt.Errorf("delete log streams: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM log_groups WHERE id = ?`, g.ID); err != nil {
			return fmt.Errorf("delete log group: %w", err)
		}
		return nil
	})
}

const streamColumns = `id, log_group, name, created_at, task, container, ingested_at, bytes, puts,
		coalesce((SELECT min(at) FROM log_events WHERE stream = log_streams.id), 0),
		coalesce((SELECT max(at) FROM log_events WHERE stream = log_streams.id), 0)`

func scanLogStream(scan func(...any) error) (t cloudwatch.Stream, err error) {
	var created, ingested, first, last int64
	if err := scan(&t.ID, &t.Group, &t.Name, &created, &t.Task, &t.Container, &ingested, &t.Bytes, &t.Puts, &first, &last); err != nil {
		return t, err
	}
	t.CreatedAt, t.Ingested, t.First, t.Last = moment(created), moment(ingested), moment(first), moment(last)
	return t, nil
}

// moment is the time of milliseconds since 1970, of which 0 is none.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// LogStream returns the stream of that name in a group, or fault.NotFound.
func (s *Store) LogStream(ctx context.Context, group int64, name string) (cloudwatch.Stream, error) {
	t, err := scanLogStream(s.reader().QueryRowContext(ctx, `SELECT `+streamColumns+` FROM log_streams WHERE log_group = ? AND name = ?`, group, name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return t, noLogStream()
	}
	if err != nil {
		return t, fmt.Errorf("read log stream: %w", err)
	}
	return t, nil
}

// LogStreams returns streams of a group in their names' order.
func (s *Store) LogStreams(ctx context.Context, group int64, q cloudwatch.StreamQuery) ([]cloudwatch.Stream, error) {
	compare, order := `name > ?2 AND name >= ?3`, `ASC`
	if q.Descending {
		compare, order = `(?2 = '' OR name < ?2) AND name >= ?3`, `DESC`
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT `+streamColumns+` FROM log_streams
			WHERE log_group = ?1 AND `+compare+` AND substr(name, 1, length(?3)) = ?3 AND (task <> '' OR NOT ?4)
			ORDER BY name `+order+` LIMIT ?5`, group, q.After, q.Prefix, q.OfTasks, max(q.Limit, 1))
	if err != nil {
		return nil, fmt.Errorf("list log streams: %w", err)
	}
	defer rows.Close()
	all := []cloudwatch.Stream{}
	for rows.Next() {
		t, err := scanLogStream(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("scan log stream: %w", err)
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

// CreateLogStream remembers a stream of a group. One of that name is fault.Conflict.
func (s *Store) CreateLogStream(ctx context.Context, t cloudwatch.Stream) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var there bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM log_groups WHERE id = ?)`, t.Group).Scan(&there); err != nil {
			return fmt.Errorf("read log group: %w", err)
		}
		if !there { // deleted this moment
			return noLogGroup()
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO log_streams (log_group, name, created_at, task, container, ingested_at, bytes, puts)
				VALUES (?, ?, ?, ?, ?, 0, 0, 0) ON CONFLICT DO NOTHING`, t.Group, t.Name, t.CreatedAt.UnixMilli(), t.Task, t.Container)
		return made(r, err, "The specified log stream already exists")
	})
}

// DeleteLogStream forgets a stream; PruneLogStreams deletes its events.
func (s *Store) DeleteLogStream(ctx context.Context, group int64, name string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE log_streams SET log_group = NULL WHERE log_group = ? AND name = ?`, group, name)
		if err != nil {
			return fmt.Errorf("delete log stream: %w", err)
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return noLogStream()
		}
		return nil
	})
}

// PutLogEvents appends events to a stream in one transaction.
func (s *Store) PutLogEvents(ctx context.Context, stream int64, es []cloudwatch.Event) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var next int64
		err := tx.QueryRowContext(ctx, `SELECT puts FROM log_streams WHERE id = ? AND log_group IS NOT NULL`, stream).Scan(&next)
		if errors.Is(err, sql.ErrNoRows) {
			return noLogStream()
		}
		if err != nil {
			return fmt.Errorf("read log stream: %w", err)
		}
		var bytes, ingested int64
		for _, e := range es {
			if _, err := tx.ExecContext(ctx, `INSERT INTO log_events (stream, at, number, ingested_at, message) VALUES (?, ?, ?, ?, ?)`,
				stream, e.Time.UnixMilli(), next, e.Ingested.UnixMilli(), e.Message); err != nil {
				return fmt.Errorf("write log event: %w", err)
			}
			next++
			bytes += int64(len(e.Message)) + eventOverhead
			ingested = max(ingested, e.Ingested.UnixMilli())
		}
		if _, err := tx.ExecContext(ctx, `UPDATE log_streams SET puts = ?, bytes = bytes + ?, ingested_at = max(ingested_at, ?) WHERE id = ?`,
			next, bytes, ingested, stream); err != nil {
			return fmt.Errorf("write log stream: %w", err)
		}
		return nil
	})
}

// eventOverhead is what an event counts besides its message (CloudWatch Logs API, PutLogEvents).
const eventOverhead = 26

// LogEvents returns at most limit events of a stream from a place on, or those before it,
// last first.
func (s *Store) LogEvents(ctx context.Context, stream int64, from cloudwatch.Place, backward bool, limit int) ([]cloudwatch.Event, error) {
	where := `(at, number) >= (?, ?) ORDER BY at, number`
	if backward {
		where = `(at, number) < (?, ?) ORDER BY at DESC, number DESC`
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT at, number, ingested_at, message FROM log_events WHERE stream = ? AND `+where+` LIMIT ?`,
		stream, from[0], from[1], limit)
	if err != nil {
		return nil, fmt.Errorf("read log events: %w", err)
	}
	defer rows.Close()
	all := make([]cloudwatch.Event, 0, limit)
	for rows.Next() {
		var at, number, ingested int64
		e := cloudwatch.Event{Stream: stream}
		if err := rows.Scan(&at, &number, &ingested, &e.Message); err != nil {
			return nil, fmt.Errorf("scan log event: %w", err)
		}
		e.Time, e.Ingested = time.UnixMilli(at).UTC(), time.UnixMilli(ingested).UTC()
		e.At, e.After = cloudwatch.Place{at, number}, cloudwatch.Place{at, number + 1}
		all = append(all, e)
	}
	return all, rows.Err()
}

// PruneLogEvents deletes at most limit events of a group that are older than before and
// returns how many it deleted.
func (s *Store) PruneLogEvents(ctx context.Context, group int64, before time.Time, limit int) (int, error) {
	return s.pruneEvents(ctx, `SELECT id FROM log_streams WHERE log_group = ?`, []any{group}, before.UnixMilli(), limit)
}

// pruneEvents deletes events of the streams that query names.
func (s *Store) pruneEvents(ctx context.Context, query string, args []any, before int64, limit int) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		n = 0
		ids, err := numbers(ctx, tx, query, args...)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if n >= limit {
				break
			}
			var gone, bytes int64
			if err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(length(CAST(message AS BLOB)) + ?4), 0) FROM
					(SELECT message FROM log_events WHERE stream = ?1 AND at < ?2 ORDER BY at, number LIMIT ?3)`,
				id, before, limit-n, eventOverhead).Scan(&gone, &bytes); err != nil {
				return fmt.Errorf("count log events: %w", err)
			}
			if gone == 0 {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM log_events WHERE (stream, at, number) IN
					(SELECT stream, at, number FROM log_events WHERE stream = ? AND at < ? ORDER BY at, number LIMIT ?)`, id, before, limit-n); err != nil {
				return fmt.Errorf("delete log events: %w", err)
			}
			if _, err := tx.ExecContext(ctx, `UPDATE log_streams SET bytes = max(0, bytes - ?) WHERE id = ?`, bytes, id); err != nil {
				return fmt.Errorf("write log stream: %w", err)
			}
			n += int(gone)
		}
		return nil
	})
	return n, err
}

func numbers(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list log streams: %w", err)
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, fmt.Errorf("scan log stream: %w", err)
		}
		all = append(all, n)
	}
	return all, rows.Err()
}

// PruneLogStreams deletes at most limit events of streams that were deleted and, when there
// are none of those left, these streams and those of tasks that are forgotten. It returns
// how many events it deleted.
func (s *Store) PruneLogStreams(ctx context.Context, limit int) (int, error) {
	n, err := s.pruneEvents(ctx, `SELECT id FROM log_streams WHERE log_group IS NULL`, nil, math.MaxInt64, limit)
	if err != nil || n == limit {
		return n, err
	}
	return n, s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM log_streams WHERE log_group IS NULL
				AND NOT EXISTS (SELECT 1 FROM log_events WHERE stream = log_streams.id)`); err != nil {
			return fmt.Errorf("delete log streams: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM log_streams WHERE task <> '' AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = log_streams.task)`); err != nil {
			return fmt.Errorf("delete log streams of tasks: %w", err)
		}
		return nil
	})
}
