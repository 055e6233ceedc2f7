package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"berth/billing"
	"berth/billing/budget"
	"berth/fault"
	"berth/task"
)

var _ budget.Book = (*Store)(nil)

// PutBudget is part of budget.Book.
func (s *Store) PutBudget(ctx context.Context, b budget.Budget) (budget.Budget, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		p, err := s.openPurse(ctx, tx)
		if err != nil {
			return err
		}
		b.UpdatedAt = s.Now().UTC()
		b.CreatedAt = b.UpdatedAt
		for _, old := range p.budgets {
			if old.Name == b.Name {
				b.CreatedAt = old.CreatedAt
			}
		}
		body, err := json.Marshal(b)
		if err != nil {
			return fmt.Errorf("encode budget: %w", err)
		}
		s.purse = nil
		if _, err := tx.ExecContext(ctx, `INSERT INTO budgets (name, body) VALUES (?, ?)
				ON CONFLICT (name) DO UPDATE SET body = excluded.body`, b.Name, string(body)); err != nil {
			return fmt.Errorf("write budget: %w", err)
		}
		return nil
	})
	return b, err
}

// RemoveBudget is part of budget.Book.
func (s *Store) RemoveBudget(ctx context.Context, name string) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		s.purse = nil
		res, err := tx.ExecContext(ctx, `DELETE FROM budgets WHERE name = ?`, name)
		if err != nil {
			return fmt.Errorf("delete budget: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return noBudget(name, err)
		}
		return nil
	})
}

func noBudget(name string, err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.NotFound, "no budget %s", name)
}

// Budgets is part of budget.Book.
func (s *Store) Budgets(ctx context.Context) ([]budget.Budget, error) {
	return budgets(ctx, s.reader())
}

func budgets(ctx context.Context, q querier) ([]budget.Budget, error) {
	rows, err := q.QueryContext(ctx, `SELECT body FROM budgets ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read budgets: %w", err)
	}
	defer rows.Close()
	var all []budget.Budget
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("scan budget: %w", err)
		}
		var b budget.Budget
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			return nil, fmt.Errorf("decode budget: %w", err)
		}
		all = append(all, b)
	}
	return all, rows.Err()
}

// Spending is part of budget.Book.
func (s *Store) Spending(ctx context.Context, bs []budget.Budget, now time.Time) ([]budget.Spending, error) {
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // one snapshot: what moves from a hold to the ledger counts once
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	p, err := readPurse(ctx, tx)
	if err != nil {
		return nil, err
	}
	facts := make(map[int64]*billing.Facts)
	for _, h := range p.holds {
		if _, ok := facts[h.facts]; !ok {
			if facts[h.facts], err = readFacts(ctx, tx, h.facts); err != nil {
				return nil, err
			}
		}
	}
	hour := now.UTC().Truncate(time.Hour).Add(time.Hour)
	all := make([]budget.Spending, len(bs))
	for i := range bs {
		b, sp := &bs[i], &all[i]
		from, to := b.Period.Days(budget.DayOf(now))
		if sp.Posted, err = spentOn(ctx, tx, b.Scope, from.Time(), to.Time()); err != nil {
			return nil, err
		}
		if sp.Recent, sp.Since, err = recently(ctx, tx, b.Scope, hour.Add(-24*time.Hour), hour); err != nil {
			return nil, err
		}
		for _, h := range p.holds {
			f := facts[h.facts]
			for _, part := range h.parts {
				if part.Day >= from && part.Day < to && b.Covers(*f) {
					sp.Accrued += part.Accrued
					sp.Ahead += part.Ahead
				}
			}
		}
	}
	return all, nil
}

// recently returns what was charged in a scope from an hour to another, and the first hour
// in which something was.
func recently(ctx context.Context, tx *sql.Tx, scope map[string][]string, from, to time.Time) (m billing.Money, since time.Time, err error) {
	groups := make(map[string]*billing.CostSum)
	q := billing.CostQuery{From: from, To: to, Granularity: billing.Hourly, Filters: scope}
	if err := sumCosts(ctx, tx, q, groups); err != nil {
		return 0, since, err
	}
	for _, step := range sortedKeys(groups) {
		at, err := time.Parse(stepFormat, step)
		if err != nil {
			return 0, since, fmt.Errorf("read step: %w", err)
		}
		if since.IsZero() {
			since = at
		}
		m += groups[step].Amount
	}
	return m, since, nil
}

// Holding is part of budget.Book.
func (s *Store) Holding(ctx context.Context) ([]task.ID, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT id FROM tasks WHERE status <> 'STOPPED' AND EXISTS (SELECT 1 FROM budgets)
			UNION SELECT task FROM budget_holds ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list tasks that money is held for: %w", err)
	}
	defer rows.Close()
	var ids []task.ID
	for rows.Next() {
		var id task.ID
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("scan task: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
