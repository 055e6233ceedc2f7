package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// rollColumns are those of a roll's numbers, in the order of rollFields.
var rollColumns = []string{
	"covered", "samples", "cpu", "throttled", "periods", "throttled_periods", "oom_kills",
	"read_bytes", "write_bytes", "read_ops", "write_ops", "rx_bytes", "tx_bytes", "memory_over_time", "storage_over_time",
	"working_set_peak", "memory_peak", "pids_peak", "storage_peak",
	"memory_last", "working_set_last", "pids_last", "storage_last",
}

// Of rollColumns, those from firstPeak on are highest values and those from firstLast
// on last ones; those before are sums.
const firstPeak, firstLast = 15, 19

var (
	rollNames = strings.Join(rollColumns, ", ")
	putMinute = `INSERT INTO usage_rolls (step, at, task, ` + rollNames + `) SELECT ?, ?, n` + strings.Repeat(", ?", len(rollColumns)) +
		` FROM usage_tasks WHERE task = ? AND closed = 0 AND upto_at <= ? AND upto_at < ?`
	addToHour = putMinute + ` ON CONFLICT DO UPDATE SET ` + additions()
	sumRolls  = `SELECT sum(` + strings.Join(rollColumns[:firstPeak], `), sum(`) + `), max(` + strings.Join(rollColumns[firstPeak:firstLast], `), max(`) +
		strings.Repeat(`), max(0`, len(rollColumns)-firstLast) + `) FROM usage_rolls WHERE task = ? AND step = ? AND at >= ? AND at < ?`
	selectRolls = `SELECT at, ` + rollNames + ` FROM usage_rolls WHERE task = ? AND step = ? AND at >= ? AND at < ? ORDER BY at LIMIT ?`
)

// additions add a row to the one that is there.
func additions() string {
	out := make([]string, len(rollColumns))
	for i, c := range rollColumns {
		switch {
		case i < firstPeak:
			out[i] = c + " = " + c + " + excluded." + c
		case i < firstLast:
			out[i] = c + " = max(" + c + ", excluded." + c + ")"
		default:
			out[i] = c + " = excluded." + c
		}
	}
	return strings.Join(out, ", ")
}

// rollFields returns where the numbers of r are, in the order of rollColumns, but
// for Covered, which comes first.
func rollFields(r *billing.Roll) []*uint64 {
	return []*uint64{
		&r.CPUNanos, &r.ThrottledNanos, &r.Periods, &r.ThrottledPeriods, &r.OOMKills,
		&r.ReadBytes, &r.WriteBytes, &r.ReadOps, &r.WriteOps, &r.RxBytes, &r.TxBytes, &r.MemoryByteMillis, &r.StorageByteMillis,
		&r.WorkingSetPeak, &r.MemoryPeak, &r.PIDsPeak, &r.StoragePeak,
		&r.MemoryBytes, &r.WorkingSetBytes, &r.PIDs, &r.StorageBytes,
	}
}

// rollUp stores the minutes of up that are new, adds them to the hours that they are
// in, and notes how far it has come. It consists of statements that are executed only,
// since those are kept prepared.
func rollUp(ctx context.Context, tx *sql.Tx, up billing.RollUp) error {
	exec := func(what, query string, args ...any) error {
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("%s of task %s: %w", what, up.Task, err)
		}
		return nil
	}
	if err := exec("begin usage", beginSubject, up.Task); err != nil {
		return err
	}
	for _, r := range up.Rolls {
		// Only of a task that is not rolled up so far.
		condition := []any{up.Task, r.At.UnixMilli(), up.Upto.At.UnixMilli()}
		if err := exec("write a minute", putMinute, append(rollArgs(billing.Minute, r), condition...)...); err != nil {
			return err
		}
		r.At = r.At.Truncate(billing.Hour)
		if err := exec("add to an hour", addToHour, append(rollArgs(billing.Hour, r), condition...)...); err != nil {
			return err
		}
	}
	tags := make(map[string]string)
	for _, t := range up.Tags {
		tags[t.Key] = t.Value
	}
	text, err := json.Marshal(tags)
	if err != nil {
		return fmt.Errorf("encode tags: %w", err)
	}
	at := up.Upto.At.UnixMilli()
	return exec("note usage", noteSubject, up.ARN, up.Family, up.Revision, up.Group, string(text), up.Size.CPU, up.Size.Memory, up.Storage,
		at, billing.Pack([]task.Sample{up.Upto}), up.Closed, up.Task, at)
}

const (
	beginSubject = `INSERT INTO usage_tasks (task, arn, family, revision, task_group, tags, cpu, memory, storage, upto_at, upto, closed)
		VALUES (?, '', '', 0, '', '{}', 0, 0, 0, -9223372036854775808, x'', 0) ON CONFLICT DO NOTHING`
	noteSubject = `UPDATE usage_tasks SET arn = ?, family = ?, revision = ?, task_group = ?, tags = ?, cpu = ?, memory = ?, storage = ?,
		upto_at = ?, upto = ?, closed = ? WHERE task = ? AND closed = 0 AND upto_at < ?`
)

func rollArgs(step time.Duration, r billing.Roll) []any {
	args := []any{int64(step / time.Second), r.At.Unix(), r.Covered.Milliseconds(), r.Samples}
	for _, v := range rollFields(&r) {
		args = append(args, int64(min(*v, math.MaxInt64)))
	}
	return args
}

// RolledUp is part of billing.History.
func (s *Store) RolledUp(ctx context.Context, id task.ID) (billing.RollUp, error) {
	up := billing.RollUp{Subject: billing.Subject{Task: id}}
	var tags string
	var upto []byte
	err := s.reader().QueryRowContext(ctx, `SELECT arn, family, revision, task_group, tags, cpu, memory, storage, upto, closed FROM usage_tasks WHERE task = ?`, id).
		Scan(&up.ARN, &up.Family, &up.Revision, &up.Group, &tags, &up.Size.CPU, &up.Size.Memory, &up.Storage, &upto, &up.Closed)
	if errors.Is(err, sql.ErrNoRows) {
		return up, fault.New(fault.NotFound, "nothing is rolled up of task %s", id)
	}
	if err != nil {
		return up, fmt.Errorf("read usage of task %s: %w", id, err)
	}
	if up.Tags, err = tagsOf(tags); err != nil {
		return up, err
	}
	samples, err := billing.Unpack(upto)
	if err != nil || len(samples) != 1 {
		return up, fmt.Errorf("read how far task %s is rolled up: %d samples, %w", id, len(samples), err)
	}
	up.Upto = samples[0]
	return up, nil
}

// tagsOf reads an object of tags, in the order in which it was written.
func tagsOf(text string) (tags []task.Tag, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("decode tags: %w", err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("decode tags: %w", err)
		}
		var value string
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("decode tags: %w", err)
		}
		tags = append(tags, task.Tag{Key: fmt.Sprint(key), Value: value})
	}
	return tags, nil
}

// Rolls is part of billing.History.
func (s *Store) Rolls(ctx context.Context, id task.ID, step time.Duration, from, to time.Time, limit int) ([]billing.Roll, error) {
	n, err := s.usageTask(ctx, id)
	if err != nil || n == 0 {
		return nil, err
	}
	all, err := readRolls(ctx, s.reader(), n, step, from, to, limit)
	if err != nil {
		return nil, fmt.Errorf("read usage of task %s: %w", id, err)
	}
	return all, nil
}

// usageTask returns the number under which there are rolls of a task, 0 if there are
// none.
func (s *Store) usageTask(ctx context.Context, id task.ID) (n int64, err error) {
	err = s.reader().QueryRowContext(ctx, `SELECT n FROM usage_tasks WHERE task = ?`, id).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("find usage of task %s: %w", id, err)
	}
	return n, nil
}

func readRolls(ctx context.Context, q querier, n int64, step time.Duration, from, to time.Time, limit int) ([]billing.Roll, error) {
	if limit <= 0 {
		limit = -1
	}
	first, last := stepsBetween(from, to)
	rows, err := q.QueryContext(ctx, selectRolls, n, int64(step/time.Second), first, last, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []billing.Roll
	for rows.Next() {
		var at int64
		r, err := scanRoll(func(to ...any) error { return rows.Scan(append([]any{&at}, to...)...) })
		if err != nil {
			return nil, err
		}
		r.At = time.Unix(at, 0).UTC()
		all = append(all, r)
	}
	return all, rows.Err()
}

func scanRoll(scan func(...any) error) (r billing.Roll, err error) {
	var covered int64
	to := []any{&covered, &r.Samples}
	for _, v := range rollFields(&r) {
		to = append(to, v)
	}
	err = scan(to...)
	r.Covered = time.Duration(covered) * time.Millisecond
	return r, err
}

// stepsBetween returns bounds in seconds; a zero time is none.
func stepsBetween(from, to time.Time) (first, last int64) {
	first, last = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		first = from.Unix()
	}
	if !to.IsZero() {
		last = to.Unix()
	}
	return first, last
}

// RollSum is part of billing.History.
func (s *Store) RollSum(ctx context.Context, id task.ID, step time.Duration, from, to time.Time) (billing.Roll, error) {
	n, err := s.usageTask(ctx, id)
	if err != nil || n == 0 {
		return billing.Roll{}, err
	}
	first, last := stepsBetween(from, to)
	r, err := scanRoll(func(to ...any) error {
		sums := make([]sql.NullInt64, len(to)) // NULL: there are no rows
		all := make([]any, len(to))
		for i := range sums {
			all[i] = &sums[i]
		}
		err := s.reader().QueryRowContext(ctx, sumRolls, n, int64(step/time.Second), first, last).Scan(all...)
		for i, v := range sums {
			switch to := to[i].(type) {
			case *int64:
				*to = v.Int64
			case *uint64:
				*to = uint64(v.Int64)
			}
		}
		return err
	})
	if err != nil {
		return billing.Roll{}, fmt.Errorf("add up usage of task %s: %w", id, err)
	}
	return r, nil
}

// Forget is part of billing.History.
func (s *Store) Forget(ctx context.Context, step time.Duration, before time.Time, limit int) (int, error) {
	var n int64
	err := s.write(ctx, func(tx *sql.Tx) error {
		query, args := `DELETE FROM usage_rolls WHERE (step, at, task) IN (SELECT step, at, task FROM usage_rolls WHERE step = ? AND at < ? LIMIT ?)`,
			[]any{int64(step / time.Second), before.Add(-step).Unix(), limit}
		if step == billing.Second {
			query, args = `DELETE FROM usage_chunks WHERE n IN (SELECT n FROM usage_chunks WHERE from_at < ? AND to_at < ? LIMIT ?)`,
				[]any{nanos(before), nanos(before), limit}
		}
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("forget usage: %w", err)
		}
		if n, err = result.RowsAffected(); err != nil {
			return fmt.Errorf("forget usage: %w", err)
		}
		if step == billing.Hour { // Minutes are kept no longer than hours.
			if _, err := tx.ExecContext(ctx, `DELETE FROM usage_tasks WHERE upto_at < ? AND NOT EXISTS (SELECT 1 FROM usage_rolls r WHERE r.task = usage_tasks.n)`,
				before.UnixMilli()); err != nil {
				return fmt.Errorf("forget whose usage it was: %w", err)
			}
		}
		kept, err := keptSince(ctx, tx, step)
		if err != nil || !before.After(kept) {
			return err
		}
		return writeSetting(ctx, tx, settingKept(step), before.UTC().Format(time.RFC3339Nano))
	})
	return int(n), err
}

// Kept is part of billing.History.
func (s *Store) Kept(ctx context.Context, step time.Duration) (time.Time, error) {
	return keptSince(ctx, s.reader(), step)
}

// settingKept is since when a series of usage is whole.
func settingKept(step time.Duration) string { return "usage kept since " + step.String() }

func keptSince(ctx context.Context, q querier, step time.Duration) (time.Time, error) {
	text, err := readSetting(ctx, q, settingKept(step))
	if err != nil || text == "" {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, text)
}
