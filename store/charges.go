package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"berth/billing"
	"berth/task"
)

// factsKept is how many sets of facts Charges remembers from one hour to the next.
const factsKept = 10_000

// Charges yields the entries that are booked from one time to another, to not
// included, with the facts of their tasks: hour by hour, and within an hour by
// task, SKU and number. They are those that the ledger has when it begins;
// it holds no snapshot, so however slow its reader is, it is in nobody's way.
// What it has in memory is one hour and facts. An error is the last thing that
// it yields.
func (s *Store) Charges(ctx context.Context, from, to time.Time) iter.Seq2[billing.Charge, error] {
	return func(yield func(billing.Charge, error) bool) {
		fail := func(err error) { yield(billing.Charge{}, err) }
		var size int64
		if err := s.reader().QueryRowContext(ctx, `SELECT coalesce(max(n) + 1, 0) FROM ledger_entries`).Scan(&size); err != nil {
			fail(fmt.Errorf("read size of ledger: %w", err))
			return
		}
		known := make(map[int64]*billing.Facts)
		for at := nanos(from); ; {
			var next sql.NullInt64
			if err := s.reader().QueryRowContext(ctx, `SELECT min(booked_at) FROM ledger_entries WHERE booked_at >= ? AND booked_at < ?`,
				at, nanos(to)).Scan(&next); err != nil {
				fail(fmt.Errorf("read next hour: %w", err))
				return
			}
			if !next.Valid {
				return
			}
			begin := max(at, next.Int64/int64(time.Hour)*int64(time.Hour))
			end := min(next.Int64/int64(time.Hour)*int64(time.Hour)+int64(time.Hour), nanos(to))
			if len(known) > factsKept {
				clear(known)
			}
			hour, err := s.hourOfCharges(ctx, begin, end, size, known)
			if err != nil {
				fail(err)
				return
			}
			for _, c := range hour {
				if !yield(c, nil) {
					return
				}
			}
			at = end
		}
	}
}

// hourOfCharges returns what is booked from one time to another.
func (s *Store) hourOfCharges(ctx context.Context, from, to, size int64, known map[int64]*billing.Facts) ([]billing.Charge, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT `+entryColumns+`, `+factsAt+` FROM ledger_entries e
			WHERE booked_at >= ? AND booked_at < ? AND n < ? ORDER BY task, sku, n`, from, to, size)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	defer rows.Close()
	var hour []billing.Charge
	var facts []int64
	for rows.Next() {
		var id int64
		e, _, _, err := scanEntry(rows, &id)
		if err != nil {
			return nil, err
		}
		hour, facts = append(hour, billing.Charge{Entry: e}), append(facts, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	rows.Close() // Its connection is needed.
	for i, id := range facts {
		f := known[id]
		if f == nil {
			if f, err = readFacts(ctx, s.reader(), id); err != nil {
				return nil, err
			}
			known[id] = f
		}
		hour[i].Facts = f
	}
	return hour, nil
}

// readFacts returns a set of facts.
func readFacts(ctx context.Context, q querier, id int64) (*billing.Facts, error) {
	var f billing.Facts
	var tags string
	err := q.QueryRowContext(ctx, `SELECT account, region, cluster, definition, task_group, started_by, tags FROM cost_facts WHERE id = ?`, id).
		Scan(&f.Account, &f.Region, &f.Cluster, &f.Definition, &f.Group, &f.StartedBy, &tags)
	if err != nil {
		return nil, fmt.Errorf("read facts %d: %w", id, err)
	}
	var pairs [][2]string
	if err := json.Unmarshal([]byte(tags), &pairs); err != nil {
		return nil, fmt.Errorf("decode tags of facts %d: %w", id, err)
	}
	for _, p := range pairs {
		f.Tags = append(f.Tags, task.Tag{Key: p[0], Value: p[1]})
	}
	return &f, nil
}

// costRules are what must be true of the sums of costs; each query returns the
// first row that breaks it.
var costRules = []struct{ rule, query string }{
	{"the sums by hour are those of the ledger", compareCosts("cost_hours", "hour", `SELECT booked_at / 3600000000000 AS hour, `+factsAt+` AS facts, sku,
		1 AS entries, amount, units / 1000000000 AS units, units % 1000000000 AS units_ns,
		coalesce(used, 0) / 1000000000 AS used, coalesce(used, 0) % 1000000000 AS used_ns FROM ledger_entries e`)},
	{"the sums by day are those by hour", compareCosts("cost_days", "day",
		`SELECT hour / 24 AS day, facts, sku, entries, amount, units, units_ns, used, used_ns FROM cost_hours`)},
	{"tags are found by what they are", `SELECT 'facts ' || f.id FROM cost_facts f WHERE (SELECT count(*) FROM cost_tags t WHERE t.facts = f.id) <> json_array_length(f.tags)
		OR EXISTS (SELECT 1 FROM json_each(f.tags) j WHERE NOT EXISTS (SELECT 1 FROM cost_tags t
			WHERE t.facts = f.id AND t.key = j.value ->> 0 AND t.value = j.value ->> 1)) LIMIT 1`},
}

// compareCosts writes the query for the first row of a table that is not the sum
// of what it must be.
func compareCosts(table, step, from string) string {
	return `SELECT '` + table + ` ' || coalesce(w.` + step + `, h.` + step + `) || ', facts ' || coalesce(w.facts, h.facts, 'unknown') || ', ' || coalesce(w.sku, h.sku) FROM
		(SELECT ` + step + `, facts, sku, sum(entries) AS entries, sum(amount) AS amount, sum(units) AS units, sum(units_ns) AS units_ns,
			sum(used) AS used, sum(used_ns) AS used_ns FROM (` + from + `) GROUP BY ` + step + `, facts, sku) w
		FULL JOIN ` + table + ` h ON h.` + step + ` = w.` + step + ` AND h.facts = w.facts AND h.sku = w.sku
		WHERE w.entries IS NOT h.entries OR w.amount IS NOT h.amount OR w.units IS NOT h.units OR w.units_ns IS NOT h.units_ns
			OR w.used IS NOT h.used OR w.used_ns IS NOT h.used_ns LIMIT 1`
}

// VerifyCosts works the sums of costs out again from the ledger and names the
// first row that is not what it must be. What the facts of a task are cannot be
// worked out again: its row is gone when it is forgotten, and the ledger's hashes
// are not over them.
func (s *Store) VerifyCosts(ctx context.Context) error {
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	return verifyCosts(ctx, tx)
}

// verifyCosts is VerifyCosts within a snapshot.
func verifyCosts(ctx context.Context, tx *sql.Tx) error {
	for _, r := range costRules {
		var culprit string
		err := tx.QueryRowContext(ctx, r.query).Scan(&culprit)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return fmt.Errorf("check that %s: %w", r.rule, err)
		default:
			return fmt.Errorf("not true that %s: %s", r.rule, culprit)
		}
	}
	return nil
}
