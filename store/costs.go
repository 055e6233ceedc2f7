package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// tally is what the writer remembers of cost tables so that it need not ask.
type tally struct {
	facts map[string]int64 // by what they say
	tasks map[task.ID]tallied
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

// count adds entries to the sums. first is the number of the first in the ledger.
// The writer calls it, in the transaction that writes the entries.
func (s *Store) count(ctx context.Context, tx *sql.Tx, first int64, entries []billing.Entry) error {
	if s.tally == nil || len(s.tally.facts) > tallyMax || len(s.tally.tasks) > tallyMax {
		s.tally = &tally{facts: make(map[string]int64), tasks: make(map[task.ID]tallied)}
	}
	return s.tally.count(ctx, tx, first, entries)
}

func (t *tally) count(ctx context.Context, tx *sql.Tx, first int64, entries []billing.Entry) error {
	versions, err := versionsOf(ctx, tx, entries)
	if err != nil {
		return err
	}
	sums := make(map[costKey]costSum)
	for i, e := range entries {
		facts, err := t.factsOf(ctx, tx, first+int64(i), e, versions[e.Task])
		if err != nil {
			return err
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
				return fmt.Errorf("add to costs: %w", err)
			}
		}
	}
	return nil
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
		err := tx.QueryRowContext(ctx, `SELECT c.facts FROM ledger_entries r JOIN cost_tasks c ON c.task = r.task AND c.since <= r.n
				WHERE r.id = ? ORDER BY c.since DESC LIMIT 1`, e.Ref).Scan(&facts)
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
	t := &tally{facts: make(map[string]int64), tasks: make(map[task.ID]tallied)}
	for first := int64(0); ; {
		entries, err := entriesFrom(ctx, tx, first, batch)
		if err != nil || len(entries) == 0 {
			return err
		}
		if err := t.count(ctx, tx, first, entries); err != nil {
			return err
		}
		if first += int64(len(entries)); len(t.tasks) > tallyMax {
			t = &tally{facts: make(map[string]int64), tasks: make(map[task.ID]tallied)}
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
const factsAt = `(SELECT c.facts FROM cost_tasks c WHERE c.task = e.task AND c.since <= coalesce((SELECT r.n FROM ledger_entries r WHERE r.id = e.ref), e.n)
	ORDER BY c.since DESC LIMIT 1)`

// groupsMax is how many groups one answer may be made of.
const groupsMax = 200_000

// Costs answers q: the groups of a page, by time and keys, and the total of all.
// limit is how many groups at most; token is where the page before ended. A query
// that has something wrong is fault.Invalid, and one with too many groups is
// fault.TooLarge.
func (s *Store) Costs(ctx context.Context, q billing.CostQuery, limit int, token string) (billing.CostReport, error) {
	report := billing.CostReport{
		From: q.From.UTC(), To: q.To.UTC(), Granularity: q.Granularity, GroupBy: q.GroupBy, Currency: "USD", Groups: []billing.Group{},
	}
	if err := q.Check(); err != nil {
		return report, err
	}
	after := ""
	if token != "" {
		var err error
		if after, err = openToken(costsToken, token); err != nil {
			return report, err
		}
	}
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one snapshot for all parts
	if err != nil {
		return report, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	groups := make(map[string]*billing.CostSum)
	if err := sumCosts(ctx, tx, q, groups); err != nil {
		return report, err
	}
	var total billing.CostSum
	for _, sum := range groups {
		total.Plus(*sum)
	}
	report.Total = total.Cost()
	last := ""
	for _, key := range sortedKeys(groups) {
		if key <= after {
			continue
		}
		if len(report.Groups) == limit {
			report.NextToken = sealToken(costsToken, last)
			break
		}
		parts := strings.Split(key, keySeparator)
		at, err := time.Parse(stepFormat, parts[0])
		if err != nil {
			return report, fmt.Errorf("read step: %w", err)
		}
		g := billing.Group{Keys: parts[1:], Cost: groups[key].Cost()}
		g.From, g.To = q.Step(at)
		report.Groups, last = append(report.Groups, g), key
	}
	return report, nil
}

// costsToken begins the tokens of Costs.
const costsToken = "berth1-costs:"

// The key of a group is the beginning of its step and its keys, which sort in
// that order.
const (
	keySeparator = "\x00"
	stepFormat   = "2006-01-02T15"
)

// sumCosts adds to groups, by their keys, what q asks for. Whole days come from the
// sums by day, what is left at the ends from those by hour, and single tasks from
// the ledger.
func sumCosts(ctx context.Context, tx *sql.Tx, q billing.CostQuery, groups map[string]*billing.CostSum) error {
	for from := q.From.UTC(); from.Before(q.To); {
		to := q.To.UTC()
		if q.Granularity == billing.Monthly {
			_, to = q.Step(from)
		}
		part := q
		part.From, part.To = from, to
		first, last := from.Unix()/3600, to.Unix()/3600
		var err error
		switch firstDay, lastDay := (first+23)/24, last/24; {
		case q.NeedsTasks():
			err = sumFrom(ctx, tx, part, "ledger", first, last, q, groups)
		case q.Granularity == billing.Hourly || firstDay >= lastDay:
			err = sumFrom(ctx, tx, part, "hour", first, last, q, groups)
		default:
			err = errors.Join(sumFrom(ctx, tx, part, "hour", first, firstDay*24, q, groups),
				sumFrom(ctx, tx, part, "day", firstDay, lastDay, q, groups),
				sumFrom(ctx, tx, part, "hour", lastDay*24, last, q, groups))
		}
		if err != nil {
			return err
		}
		from = to
	}
	return nil
}

// sumFrom adds what one table says of a range of its steps.
func sumFrom(ctx context.Context, tx *sql.Tx, part billing.CostQuery, table string, first, last int64, q billing.CostQuery, groups map[string]*billing.CostSum) error {
	if first >= last {
		return nil
	}
	query, args := costSQL(part, table, first, last)
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("sum costs: %w", err)
	}
	defer rows.Close()
	keys := make([]string, len(q.GroupBy))
	var hour, amount int64
	var sku billing.SKU
	var units, used billing.Units
	into := []any{&hour, &sku, &amount, &units.Seconds, &units.Nanos, &used.Seconds, &used.Nanos}
	for i := range keys {
		into = append(into, &keys[i])
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("scan costs: %w", err)
		}
		at, _ := part.Step(time.Unix(hour*3600, 0))
		key := at.UTC().Format(stepFormat)
		for _, k := range keys {
			key += keySeparator + k
		}
		sum := groups[key]
		if sum == nil {
			if len(groups) == groupsMax {
				return fault.New(fault.TooLarge, "there are more than %d groups; ask for a shorter time, or for fewer things", groupsMax)
			}
			sum = new(billing.CostSum)
			groups[key] = sum
		}
		sum.Add(sku, billing.Money(amount), units, used)
	}
	return rows.Err()
}

// costSQL writes the query for the sums of one table: those of each step, SKU and
// set of facts first, and then of those that have the same keys.
func costSQL(q billing.CostQuery, table string, first, last int64) (string, []any) {
	var inner, where, keys, joins []string
	var args, joinArgs []any
	column := map[string]string{
		billing.ByFamily: "f.family", billing.ByDefinition: "f.definition", billing.ByGroup: "f.task_group", billing.ByUser: "f.started_by",
		billing.ByAccount: "f.account", billing.ByRegion: "f.region", billing.BySKU: "g.sku", billing.ByTask: "g.task",
	}

	// The outer query: keys and filters that are facts.
	facts := false
	for i, by := range q.GroupBy {
		if key, ok := strings.CutPrefix(by, billing.TagKey); ok {
			alias := fmt.Sprintf("t%d", i)
			joins = append(joins, fmt.Sprintf(`LEFT JOIN cost_tags %s ON %s.facts = g.facts AND %s.key = ?`, alias, alias, alias))
			joinArgs = append(joinArgs, key)
			keys = append(keys, fmt.Sprintf(`coalesce(%s.value, '')`, alias))
			facts = true
			continue
		}
		keys = append(keys, column[by])
		facts = facts || strings.HasPrefix(column[by], "f.")
	}
	var outer []string
	var outerArgs []any
	for _, by := range sortedKeys(q.Filters) {
		list, _ := json.Marshal(q.Filters[by]) // strings
		values := `(SELECT value FROM json_each(?))`
		switch key, tag := strings.CutPrefix(by, billing.TagKey); {
		case tag && len(q.Filters[by]) == 0:
			outer, outerArgs = append(outer, `EXISTS (SELECT 1 FROM cost_tags WHERE facts = g.facts AND key = ?)`), append(outerArgs, key)
		case tag:
			outer = append(outer, `EXISTS (SELECT 1 FROM cost_tags WHERE facts = g.facts AND key = ? AND value IN `+values+`)`)
			outerArgs = append(outerArgs, key, string(list))
		case by == billing.BySKU || by == billing.ByTask:
			where, args = append(where, by+` IN `+values), append(args, string(list))
			continue
		default:
			outer, outerArgs = append(outer, column[by]+` IN `+values), append(outerArgs, string(list))
		}
		facts = true
	}

	// The inner one: the sums of a table.
	step := map[string]string{billing.Hourly: "at", billing.Daily: "at / 24 * 24"}[q.Granularity]
	if step == "" {
		step = fmt.Sprint(q.From.Unix() / 3600)
	}
	sums := `sum(amount) AS amount, sum(units) AS units, sum(units_ns) AS units_ns, sum(used) AS used, sum(used_ns) AS used_ns`
	inner = []string{"sku"}
	if facts {
		inner = append(inner, "facts")
	}
	var source string
	switch table {
	case "hour":
		source, where, args = `SELECT hour AS at, * FROM cost_hours`, append([]string{`hour >= ? AND hour < ?`}, where...), append([]any{first, last}, args...)
	case "day":
		source, where, args = `SELECT day * 24 AS at, * FROM cost_days`, append([]string{`day >= ? AND day < ?`}, where...), append([]any{first, last}, args...)
	default:
		of := "0"
		if facts {
			of = factsAt
		}
		source = `SELECT e.booked_at / 3600000000000 AS at, e.sku, e.task, ` + of + ` AS facts, e.amount, e.units / 1000000000 AS units, e.units % 1000000000 AS units_ns,
			coalesce(e.used, 0) / 1000000000 AS used, coalesce(e.used, 0) % 1000000000 AS used_ns FROM ledger_entries e`
		where = append([]string{`e.booked_at >= ? AND e.booked_at < ?`}, where...)
		args = append([]any{first * int64(time.Hour), last * int64(time.Hour)}, args...)
		inner = append(inner, "task")
	}
	g := `SELECT ` + step + ` AS step, ` + strings.Join(inner, ", ") + `, ` + sums + ` FROM (` + source + ` WHERE ` + strings.Join(where, " AND ") + `)
		GROUP BY step, ` + strings.Join(inner, ", ")
	if facts {
		joins = append(joins, `JOIN cost_facts f ON f.id = g.facts`)
	}
	query := `SELECT g.step, g.sku, sum(g.amount), sum(g.units), sum(g.units_ns), sum(g.used), sum(g.used_ns)`
	by := append([]string{"g.step", "g.sku"}, keys...)
	if len(keys) > 0 {
		query += ", " + strings.Join(keys, ", ")
	}
	query += ` FROM (` + g + `) g ` + strings.Join(joins, " ")
	if len(outer) > 0 {
		query += ` WHERE ` + strings.Join(outer, " AND ")
	}
	query += ` GROUP BY ` + strings.Join(by, ", ")
	return query, append(append(args, joinArgs...), outerArgs...)
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
