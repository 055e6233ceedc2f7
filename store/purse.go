package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/billing"
	"berth/billing/budget"
	"berth/task"
)

// purse is what the writer knows of budgets: what is in their tables, and the sums that a
// hold is checked against.
type purse struct {
	budgets []budget.Budget // by name
	holds   map[task.ID]held
	sums    map[sumKey]*sum // as far as they were asked for
	covers  map[int64][]int // facts → which budgets
	changes int             // of the tables, so that who goes back knows that there is something to go back on
}

// held is a hold as it is kept.
type held struct {
	facts int64
	until time.Time
	parts []budget.Part
}

// sumKey is a period of a budget.
type sumKey struct {
	budget int
	from   budget.Day
}

// sum is what is gone from a budget in a period.
type sum struct{ spent, held billing.Money }

// openPurse returns what is known of budgets, in the transaction of the writer.
func (s *Store) openPurse(ctx context.Context, tx *sql.Tx) (*purse, error) {
	if s.purse != nil {
		return s.purse, nil
	}
	p, err := readPurse(ctx, tx)
	if err != nil {
		return nil, err
	}
	s.purse = p
	return p, nil
}

func readPurse(ctx context.Context, tx *sql.Tx) (*purse, error) {
	p := &purse{holds: make(map[task.ID]held), sums: make(map[sumKey]*sum), covers: make(map[int64][]int)}
	var err error
	if p.budgets, err = budgets(ctx, tx); err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT task, day, facts, until_at, accrued, ahead FROM budget_holds ORDER BY task, day`)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id task.ID
		var part budget.Part
		var facts, until int64
		if err := rows.Scan(&id, &part.Day, &facts, &until, &part.Accrued, &part.Ahead); err != nil {
			return nil, fmt.Errorf("scan hold: %w", err)
		}
		h := p.holds[id]
		h.facts, h.until, h.parts = facts, timeOf(until), append(h.parts, part)
		p.holds[id] = h
	}
	return p, rows.Err()
}

// mark returns how often p has changed.
func (p *purse) mark() int {
	if p == nil {
		return 0
	}
	return p.changes
}

// idle reports whether there is nothing to keep.
func (p *purse) idle() bool { return len(p.budgets) == 0 && len(p.holds) == 0 }

// wanted reports whether money is to be held for a task.
func (p *purse) wanted(t task.Task, f billing.Facts) bool {
	if t.MaxCost > 0 {
		return true
	}
	for i := range p.budgets {
		if p.budgets[i].Covers(f) {
			return true
		}
	}
	return false
}

// covering returns which budgets cover the tasks with these facts.
func (p *purse) covering(ctx context.Context, tx *sql.Tx, facts int64) ([]int, error) {
	if c, ok := p.covers[facts]; ok || len(p.budgets) == 0 {
		return c, nil
	}
	f, err := readFacts(ctx, tx, facts)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range p.budgets {
		if p.budgets[i].Covers(*f) {
			all = append(all, i)
		}
	}
	p.covers[facts] = all
	return all, nil
}

// sum returns what is gone from budget i in the period from a day on.
func (p *purse) sum(ctx context.Context, tx *sql.Tx, i int, from, to budget.Day) (*sum, error) {
	key := sumKey{i, from}
	if s, ok := p.sums[key]; ok {
		return s, nil
	}
	spent, err := spentOn(ctx, tx, p.budgets[i].Scope, from.Time(), to.Time())
	if err != nil {
		return nil, err
	}
	s := &sum{spent: spent}
	for _, h := range p.holds {
		covering, err := p.covering(ctx, tx, h.facts)
		if err != nil {
			return nil, err
		}
		for _, j := range covering {
			if j == i {
				s.held += within(h.parts, from, to)
			}
		}
	}
	p.sums[key] = s
	return s, nil
}

// within returns what parts hold of the days from from to before to.
func within(parts []budget.Part, from, to budget.Day) (m billing.Money) {
	for _, part := range parts {
		if part.Day >= from && part.Day < to {
			m += part.Sum()
		}
	}
	return m
}

// refuses returns which budget has not enough left for what hs hold more than is held for
// their tasks already; nil if none. Only those are asked whose action is one of actions.
func (p *purse) refuses(ctx context.Context, tx *sql.Tx, hs []budget.Hold, actions ...budget.Action) (*budget.Refusal, error) {
	for i := range p.budgets {
		b := &p.budgets[i]
		if !slices.Contains(actions, b.Action) {
			continue
		}
		asked := make(map[budget.Day]billing.Money) // by the first day of the period
		ends := make(map[budget.Day]budget.Day)
		for _, h := range hs {
			if !b.Covers(h.Facts) {
				continue
			}
			for _, part := range h.Parts {
				from, to := b.Period.Days(part.Day)
				asked[from] += part.Sum()
				ends[from] = to
			}
			old, ok := p.holds[h.Task]
			if !ok {
				continue
			}
			covering, err := p.covering(ctx, tx, old.facts)
			if err != nil {
				return nil, err
			}
			if slices.Contains(covering, i) {
				for _, part := range old.parts {
					if from, _ := b.Period.Days(part.Day); ends[from] != 0 {
						asked[from] -= part.Sum()
					}
				}
			}
		}
		for from, more := range asked {
			if more <= 0 {
				continue
			}
			s, err := p.sum(ctx, tx, i, from, ends[from])
			if err != nil {
				return nil, err
			}
			if used := s.spent + s.held; more > b.Limit-used {
				return &budget.Refusal{Budget: b.Name, Period: b.Period, Day: from, Limit: b.Limit, Used: used, Asked: more}, nil
			}
		}
	}
	return nil, nil
}

// put holds what h says in place of what is held for its task. facts is the number of h's.
func (p *purse) put(ctx context.Context, tx *sql.Tx, h budget.Hold, facts int64) error {
	if err := p.release(ctx, tx, h.Task); err != nil {
		return err
	}
	p.changes++
	for _, part := range h.Parts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO budget_holds (task, day, facts, until_at, accrued, ahead) VALUES (?, ?, ?, ?, ?, ?)`,
			string(h.Task), int64(part.Day), facts, nanos(h.Until), int64(part.Accrued), int64(part.Ahead)); err != nil {
			return fmt.Errorf("write hold of task %s: %w", h.Task, err)
		}
	}
	now := held{facts, h.Until, h.Parts}
	p.holds[h.Task] = now
	return p.count(ctx, tx, now, 1)
}

// release holds nothing for a task any more.
func (p *purse) release(ctx context.Context, tx *sql.Tx, id task.ID) error {
	old, ok := p.holds[id]
	if !ok {
		return nil
	}
	p.changes++
	if _, err := tx.ExecContext(ctx, `DELETE FROM budget_holds WHERE task = ?`, string(id)); err != nil {
		return fmt.Errorf("release hold of task %s: %w", id, err)
	}
	delete(p.holds, id)
	return p.count(ctx, tx, old, -1)
}

// count adds a hold to the sums that are known, or takes it off them.
func (p *purse) count(ctx context.Context, tx *sql.Tx, h held, sign billing.Money) error {
	covering, err := p.covering(ctx, tx, h.facts)
	if err != nil {
		return err
	}
	for _, i := range covering {
		for _, part := range h.parts {
			from, _ := p.budgets[i].Period.Days(part.Day)
			if s := p.sums[sumKey{i, from}]; s != nil {
				s.held += sign * part.Sum()
			}
		}
	}
	return nil
}

// posted notes what went into the ledger: it is spent, and not held any more.
func (p *purse) posted(ctx context.Context, tx *sql.Tx, sums map[costKey]costSum, entries []billing.Entry) error {
	if p.idle() {
		return nil
	}
	p.changes++
	for key, add := range sums {
		covering, err := p.covering(ctx, tx, key.facts)
		if err != nil {
			return err
		}
		for _, i := range covering {
			from, _ := p.budgets[i].Period.Days(budget.Day(key.hour / 24))
			if s := p.sums[sumKey{i, from}]; s != nil {
				s.spent += billing.Money(add.amount)
			}
		}
	}
	for _, e := range entries {
		h, ok := p.holds[e.Task]
		if !ok || e.Kind == billing.Reversal {
			continue
		}
		less := budget.Hold{Task: e.Task, Until: h.until}
		for _, part := range h.parts {
			if part.Day == budget.DayOf(e.Booked) {
				past := min(e.Amount, part.Accrued)
				part.Accrued, part.Ahead = part.Accrued-past, part.Ahead-(e.Amount-past)
			}
			less.Parts = append(less.Parts, part)
		}
		if err := p.put(ctx, tx, less, h.facts); err != nil {
			return err
		}
	}
	return nil
}

// spentOn returns what was charged from a time to another in a scope. Both are full hours.
func spentOn(ctx context.Context, tx *sql.Tx, scope map[string][]string, from, to time.Time) (billing.Money, error) {
	groups := make(map[string]*billing.CostSum)
	q := billing.CostQuery{From: from, To: to, Granularity: billing.Total, Filters: maps.Clone(scope)}
	if err := sumCosts(ctx, tx, q, groups); err != nil {
		return 0, err
	}
	var m billing.Money
	for _, g := range groups {
		m += g.Amount
	}
	return m, nil
}
