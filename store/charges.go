package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"berth/billing"
	"berth/billing/proof"
	"berth/fault"
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
		var size int64
		if err := s.reader().QueryRowContext(ctx, `SELECT coalesce(max(n) + 1, 0) FROM ledger_entries`).Scan(&size); err != nil {
			yield(billing.Charge{}, fmt.Errorf("read size of ledger: %w", err))
			return
		}
		s.chargesOf(ctx, size, from, to)(yield)
	}
}

// Export returns the newest checkpoint, and the Charges that are under it. Its size is
// 0 if nothing was posted yet.
func (s *Store) Export(ctx context.Context, from, to time.Time) (asOf proof.Checkpoint, charges iter.Seq2[billing.Charge, error], err error) {
	signed, err := s.Checkpoint(ctx, 0)
	if fault.KindOf(err) == fault.NotFound {
		return asOf, s.chargesOf(ctx, 0, from, to), nil
	}
	if err == nil {
		asOf, err = proof.Open([]byte(signed), s.seal.verifier)
	}
	if err != nil {
		return asOf, nil, err
	}
	return asOf, s.chargesOf(ctx, asOf.Size, from, to), nil
}

// chargesOf is Charges of the first entries of the ledger.
func (s *Store) chargesOf(ctx context.Context, size int64, from, to time.Time) iter.Seq2[billing.Charge, error] {
	return func(yield func(billing.Charge, error) bool) {
		fail := func(err error) { yield(billing.Charge{}, err) }
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
