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
)

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
