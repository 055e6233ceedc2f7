package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"berth/billing"
	"berth/task"
)

// tally is what the writer remembers of cost tables so that it need not ask.
type tally struct {
	facts map[string]int64 // by what they say
	tasks map[task.ID]tallied
	old   bool // the schema is that in which costs began
}

// tallied is a task as it was when its facts were looked at.
type tallied struct {
	version int64 // 0: it is forgotten
	facts   int64
}

// tallyMax is how many tasks, and sets of facts, are remembered.
const tallyMax = 1 << 16

// costKey is where an entry counts.
type costKey struct {
	hour, facts int64
	sku         billing.SKU
}

// costSum is what is added there.
type costSum struct {
	entries, amount int64
	units, used     billing.Units
}

// remember returns what the writer remembers.
func (s *Store) remember() *tally {
	if s.tally == nil || len(s.tally.facts) > tallyMax || len(s.tally.tasks) > tallyMax {
		s.tally = &tally{facts: make(map[string]int64), tasks: make(map[task.ID]tallied)}
	}
	return s.tally
}

// count adds entries to the sums of costs, and takes them off what is held for their
// tasks. first is the number of the first in the ledger. The writer calls it, in the
// transaction that writes the entries.
func (s *Store) count(ctx context.Context, tx *sql.Tx, first int64, entries []billing.Entry) error {
	sums, err := s.remember().count(ctx, tx, first, entries)
	if err != nil {
		return err
	}
	p, err := s.openPurse(ctx, tx)
	if err != nil {
		return err
	}
	return p.posted(ctx, tx, sums, entries)
}

// count returns what it has added.
func (t *tally) count(ctx context.Context, tx *sql.Tx, first int64, entries []billing.Entry) (map[costKey]costSum, error) {
	versions, err := versionsOf(ctx, tx, entries)
	if err != nil {
		return nil, err
	}
	sums := make(map[costKey]costSum)
	for i, e := range entries {
		facts, err := t.factsOf(ctx, tx, first+int64(i), e, versions[e.Task])
		if err != nil {
			return nil, err
		}
		key := costKey{e.Booked.Unix() / 3600, facts, e.SKU}
		sum := sums[key]
		units, used := billing.UnitsOf(e.Units), billing.UnitsOf(e.Used.Units)
		sum.entries++
		sum.amount += int64(e.Amount)
		sum.units = billing.Units{Seconds: sum.units.Seconds + units.Seconds, Nanos: sum.units.Nanos + units.Nanos}
		sum.used = billing.Units{Seconds: sum.used.Seconds + used.Seconds, Nanos: sum.used.Nanos + used.Nanos}
		sums[key] = sum
	}
	for key, sum := range sums {
		for _, into := range []struct {
			query string
			at    int64
		}{{addHour, key.hour}, {addDay, key.hour / 24}} {
			if _, err := tx.ExecContext(ctx, into.query, into.at, key.facts, string(key.sku), sum.entries, sum.amount,
				sum.units.Seconds, sum.units.Nanos, sum.used.Seconds, sum.used.Nanos); err != nil {
				return nil, fmt.Errorf("add to costs: %w", err)
			}
		}
	}
	return sums, nil
}

const (
	addTo = ` VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET entries = entries + excluded.entries, amount = amount + excluded.amount, units = units + excluded.units,
			units_ns = units_ns + excluded.units_ns, used = used + excluded.used, used_ns = used_ns + excluded.used_ns`
	addHour = `INSERT INTO cost_hours (hour, facts, sku, entries, amount, units, units_ns, used, used_ns)` + addTo
	addDay  = `INSERT INTO cost_days (day, facts, sku, entries, amount, units, units_ns, used, used_ns)` + addTo
)

// versionsOf returns the versions of the tasks of entries; 0 of those that are forgotten.
func versionsOf(ctx context.Context, tx *sql.Tx, entries []billing.Entry) (map[task.ID]int64, error) {
	versions := make(map[task.ID]int64)
	var ids []task.ID
	for _, e := range entries {
		if _, ok := versions[e.Task]; !ok {
			versions[e.Task] = 0
			ids = append(ids, e.Task)
		}
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, fmt.Errorf("encode IDs: %w", err)
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, version FROM tasks WHERE id IN (SELECT value FROM json_each(?))`, string(list))
	if err != nil {
		return nil, fmt.Errorf("read versions of tasks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id task.ID
		var version int64
		if err := rows.Scan(&id, &version); err != nil {
			return nil, fmt.Errorf("scan version: %w", err)
		}
		versions[id] = version
	}
	return versions, rows.Err()
}

// factsOf returns which facts entry n counts for, and notes them if they are new.
func (t *tally) factsOf(ctx context.Context, tx *sql.Tx, n int64, e billing.Entry, version int64) (facts int64, err error) {
	if e.Kind == billing.Reversal {
		original := `r.n = ` + placeOf("?1")
		if t.old {
			original = `r.id = ?1`
		}
		err := tx.QueryRowContext(ctx, `SELECT c.facts FROM ledger_entries r JOIN cost_tasks c ON c.task = r.task AND c.since <= r.n
				WHERE `+original+` ORDER BY c.since DESC LIMIT 1`, e.Ref).Scan(&facts)
		if err != nil {
			return 0, fmt.Errorf("read facts of entry %s: %w", e.Ref, err)
		}
		return facts, nil
	}
	known, ok := t.tasks[e.Task]
	if ok && (known.version == version || version == 0) {
		return known.facts, nil
	}
	var before sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT facts FROM cost_tasks WHERE task = ? ORDER BY since DESC LIMIT 1`, string(e.Task)).Scan(&before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read facts of task %s: %w", e.Task, err)
	}
	facts = before.Int64
	if version != 0 || !before.Valid {
		f, err := lookAt(ctx, tx, e.Task, version)
		if err != nil {
			return 0, err
		}
		if facts, err = t.intern(ctx, tx, f); err != nil {
			return 0, err
		}
	}
	if !before.Valid || before.Int64 != facts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO cost_tasks (task, since, facts) VALUES (?, ?, ?)`, string(e.Task), n, facts); err != nil {
			return 0, fmt.Errorf("note facts of task %s: %w", e.Task, err)
		}
	}
	t.tasks[e.Task] = tallied{version, facts}
	return facts, nil
}

// lookAt returns the facts of a task; of a forgotten one, what its cursor knows.
func lookAt(ctx context.Context, tx *sql.Tx, id task.ID, version int64) (billing.Facts, error) {
	if version != 0 {
		t, err := find(ctx, tx, id)
		return billing.FactsOf(t), err
	}
	var arn string
	err := tx.QueryRowContext(ctx, `SELECT arn FROM meter_cursors WHERE task = ? LIMIT 1`, string(id)).Scan(&arn)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return billing.Facts{}, fmt.Errorf("read ARN of task %s: %w", id, err)
	}
	return billing.ForgottenFacts(arn), nil
}

// intern returns the number of a set of facts, which it gets if it is new.
func (t *tally) intern(ctx context.Context, tx *sql.Tx, f billing.Facts) (int64, error) {
	pairs := make([][2]string, 0, len(f.Tags))
	for _, tag := range f.Tags {
		pairs = append(pairs, [2]string{tag.Key, tag.Value})
	}
	tags, err := json.Marshal(pairs)
	if err != nil {
		return 0, fmt.Errorf("encode tags: %w", err)
	}
	args := []any{f.Account, f.Region, f.Cluster, f.Definition, f.Group, f.StartedBy, string(tags)}
	whole, err := json.Marshal(args)
	if err != nil {
		return 0, fmt.Errorf("encode facts: %w", err)
	}
	key := string(whole)
	if id, ok := t.facts[key]; ok {
		return id, nil
	}
	var id int64
	err = tx.QueryRowContext(ctx, `SELECT id FROM cost_facts WHERE account = ? AND region = ? AND cluster = ? AND definition = ?
			AND task_group = ? AND started_by = ? AND tags = ?`, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		res, err := tx.ExecContext(ctx, `INSERT INTO cost_facts (account, region, cluster, definition, task_group, started_by, tags, family)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, append(args, f.Family())...)
		if err != nil {
			return 0, fmt.Errorf("insert facts: %w", err)
		}
		if id, err = res.LastInsertId(); err != nil {
			return 0, fmt.Errorf("insert facts: %w", err)
		}
		for _, tag := range f.Tags {
			if _, err := tx.ExecContext(ctx, `INSERT INTO cost_tags (facts, key, value) VALUES (?, ?, ?)`, id, tag.Key, tag.Value); err != nil {
				return 0, fmt.Errorf("insert tag: %w", err)
			}
		}
	} else if err != nil {
		return 0, fmt.Errorf("read facts: %w", err)
	}
	t.facts[key] = id
	return id, nil
}

// countAll sums up a ledger that was there before costs were. It is part of the
// migration that makes their tables.
func countAll(ctx context.Context, tx *sql.Tx) error {
	const batch = 1000
	t := &tally{facts: make(map[string]int64), tasks: make(map[task.ID]tallied), old: true}
	for first := int64(0); ; {
		entries, err := entriesFrom(ctx, tx, first, batch)
		if err != nil || len(entries) == 0 {
			return err
		}
		if _, err := t.count(ctx, tx, first, entries); err != nil {
			return err
		}
		if first += int64(len(entries)); len(t.tasks) > tallyMax {
			t = &tally{facts: make(map[string]int64), tasks: make(map[task.ID]tallied), old: true}
		}
	}
}

func entriesFrom(ctx context.Context, tx *sql.Tx, first int64, limit int) ([]billing.Entry, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+entryColumns+` FROM ledger_entries WHERE n >= ? ORDER BY n LIMIT ?`, first, limit)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	defer rows.Close()
	var entries []billing.Entry
	for rows.Next() {
		e, _, _, err := scanEntry(rows)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// factsAt is the SQL for which facts entry e counts for.
var factsAt = `(SELECT c.facts FROM cost_tasks c WHERE c.task = e.task AND c.since <= iif(e.ref IS NULL, e.n, ` + placeOf("e.ref") + `)
	ORDER BY c.since DESC LIMIT 1)`
