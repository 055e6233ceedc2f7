package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"berth/billing/history"
	"berth/billing/rightsize"
	"berth/fault"
	"berth/task"
)

var (
	_ history.Book   = (*Store)(nil)
	_ rightsize.Runs = (*Store)(nil)
)

// settingRecorder is the position of the recorder of runs in the journal.
const settingRecorder = "recorder"

// PutQuote is part of history.Book.
func (s *Store) PutQuote(ctx context.Context, seq task.Seq, q history.Quote) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode quote: %w", err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO quotes (task, at, body) VALUES (?, ?, ?) ON CONFLICT (task) DO NOTHING`,
			q.Task, nanos(q.At), string(body)); err != nil {
			return fmt.Errorf("insert quote of task %s: %w", q.Task, err)
		}
		return noteRecorded(ctx, tx, seq)
	})
}

// PutRun is part of history.Book.
func (s *Store) PutRun(ctx context.Context, seq task.Seq, r history.Run, keep time.Time) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO runs (task, account, family, revision, stopped_at, body) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT (task) DO NOTHING`, r.Task, r.Account, r.Family, r.Revision, nanos(r.StoppedAt), string(body)); err != nil {
			return fmt.Errorf("insert run of task %s: %w", r.Task, err)
		}
		for _, q := range []string{`DELETE FROM runs WHERE stopped_at < ?`, `DELETE FROM quotes WHERE at < ?`} {
			if _, err := tx.ExecContext(ctx, q, nanos(keep)); err != nil {
				return fmt.Errorf("forget runs: %w", err)
			}
		}
		return noteRecorded(ctx, tx, seq)
	})
}

// noteRecorded notes that the journal was read up to seq, unless it was read
// further already.
func noteRecorded(ctx context.Context, tx *sql.Tx, seq task.Seq) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE
			SET value = excluded.value WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)`,
		settingRecorder, strconv.FormatUint(uint64(seq), 10))
	if err != nil {
		return fmt.Errorf("write recorder's position: %w", err)
	}
	return nil
}

// Recorded is part of history.Book.
func (s *Store) Recorded(ctx context.Context) (task.Seq, error) {
	v, err := s.setting(ctx, settingRecorder)
	if err != nil || v == "" {
		return 0, err
	}
	seq, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read recorder's position: %w", err)
	}
	return task.Seq(seq), nil
}

// Quote returns the estimate that was made when a task was submitted. One that
// has none is fault.NotFound.
func (s *Store) Quote(ctx context.Context, id task.ID) (history.Quote, error) {
	var body string
	err := s.reader().QueryRowContext(ctx, `SELECT body FROM quotes WHERE task = ?`, id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return history.Quote{}, fault.New(fault.NotFound, "task %s has no estimate", id)
	}
	if err != nil {
		return history.Quote{}, fmt.Errorf("read quote of task %s: %w", id, err)
	}
	q := history.Quote{Task: id}
	if err := json.Unmarshal([]byte(body), &q); err != nil {
		return q, fmt.Errorf("decode quote of task %s: %w", id, err)
	}
	return q, nil
}

// Runs returns the runs that q selects, the latest first.
func (s *Store) Runs(ctx context.Context, q history.Query) (all []history.Run, err error) {
	for r, err := range s.EachRun(ctx, q) {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// EachRun yields the runs that q selects, the latest first. It reads one snapshot, which
// is held until it ends. An error is the last thing that it yields.
func (s *Store) EachRun(ctx context.Context, q history.Query) iter.Seq2[history.Run, error] {
	limit, until := int64(q.Limit), nanos(q.Until)
	if limit == 0 {
		limit = -1
	}
	if until == 0 {
		until = math.MaxInt64
	}
	where, args := []string{"stopped_at >= ?", "stopped_at < ?"}, []any{nanos(q.Since), until}
	if q.Account != "" {
		where, args = append(where, "account = ?"), append(args, q.Account)
	}
	if q.Family != "" {
		where, args = append(where, "family = ?", "(? = 0 OR revision = ?)"), append(args, q.Family, q.Revision, q.Revision)
	}
	query := `SELECT body FROM runs WHERE ` + strings.Join(where, " AND ") + ` ORDER BY stopped_at DESC, task DESC LIMIT ?`
	args = append(args, limit)
	return func(yield func(history.Run, error) bool) {
		rows, err := s.reader().QueryContext(ctx, query, args...)
		if err != nil {
			yield(history.Run{}, fmt.Errorf("read runs: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			if r, err := scanRun(rows); !yield(r, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(history.Run{}, fmt.Errorf("read runs: %w", err))
		}
	}
}

// RunsOf returns the records of those of some tasks that have one.
func (s *Store) RunsOf(ctx context.Context, ids []task.ID) (map[task.ID]history.Run, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("encode IDs: %w", err)
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT body FROM runs WHERE task IN (SELECT value FROM json_each(?))`, string(list))
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	defer rows.Close()
	all := make(map[task.ID]history.Run)
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, err
		}
		all[r.Task] = r
	}
	return all, rows.Err()
}

// Families returns the families of which runs of an account, or of all if it is "", have
// stopped since a time, by name.
func (s *Store) Families(ctx context.Context, account string, since time.Time) ([]string, error) {
	// From each family to the next by the index, and not through all runs.
	query, args := `WITH RECURSIVE f (family) AS (
				SELECT min(family) FROM runs WHERE account = ?1
				UNION ALL SELECT (SELECT min(family) FROM runs WHERE account = ?1 AND family > f.family) FROM f WHERE f.family IS NOT NULL)
			SELECT family FROM f WHERE family IS NOT NULL
				AND EXISTS (SELECT 1 FROM runs WHERE account = ?1 AND runs.family = f.family AND stopped_at >= ?2)`, []any{account, nanos(since)}
	if account == "" {
		query, args = `SELECT DISTINCT family FROM runs WHERE stopped_at >= ? ORDER BY family`, []any{nanos(since)}
	}
	rows, err := s.reader().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read families: %w", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var family string
		if err := rows.Scan(&family); err != nil {
			return nil, fmt.Errorf("scan family: %w", err)
		}
		all = append(all, family)
	}
	return all, rows.Err()
}

func scanRun(rows *sql.Rows) (r history.Run, err error) {
	var body string
	if err := rows.Scan(&body); err != nil {
		return r, fmt.Errorf("scan run: %w", err)
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return r, fmt.Errorf("decode run: %w", err)
	}
	return r, nil
}

// UsedByMinute returns what a task has used since a time, as far as minutes of it were rolled
// up and are kept; nil if none are. Of CPUNanos and the like only what grew in those.
func (s *Store) UsedByMinute(ctx context.Context, id task.ID, since time.Time) (*history.Use, error) {
	n, err := s.usageTask(ctx, id)
	if err != nil || n == 0 {
		return nil, err
	}
	first, _ := stepsBetween(since, time.Time{})
	// One row for every so many CPU units and not for every minute, which takes an eighth of
	// the time. A minute in which nothing was sampled is in none of history.Use.Minutes.
	rows, err := s.reader().QueryContext(ctx, `SELECT iif(samples > 0 AND covered > 0, max((cpu * 1024 - 1) / (covered * 1000000 * ?) + 1, 1), 0) AS used, count(*),
			sum(cpu), sum(periods), sum(throttled_periods), sum(oom_kills), max(memory_peak), max(working_set_peak)
			FROM usage_rolls WHERE task = ? AND step = 60 AND at >= ? GROUP BY used`, history.CPUStep, n, first)
	if err != nil {
		return nil, fmt.Errorf("read minutes of task %s: %w", id, err)
	}
	defer rows.Close()
	var all *history.Use
	for rows.Next() {
		var step, minutes int
		var u history.Use
		if err := rows.Scan(&step, &minutes, &u.CPUNanos, &u.Periods, &u.ThrottledPeriods, &u.OOMKills, &u.PeakBytes, &u.WorkingSetBytes); err != nil {
			return nil, fmt.Errorf("scan minutes of task %s: %w", id, err)
		}
		if all == nil {
			all = &history.Use{Minutes: make(map[int]int)}
		}
		if step > 0 {
			all.Minutes[step] = minutes
		}
		all.CPUNanos, all.Periods, all.ThrottledPeriods = all.CPUNanos+u.CPUNanos, all.Periods+u.Periods, all.ThrottledPeriods+u.ThrottledPeriods
		all.OOMKills += u.OOMKills
		all.PeakBytes, all.WorkingSetBytes = max(all.PeakBytes, u.PeakBytes), max(all.WorkingSetBytes, u.WorkingSetBytes)
	}
	return all, rows.Err()
}
