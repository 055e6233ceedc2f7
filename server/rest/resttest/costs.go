package resttest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/billing/proof"
)

// Charges yields the entries of tasks that have stopped.
func (f *Fake) Charges(_ context.Context, from, to time.Time) iter.Seq2[billing.Charge, error] {
	return func(yield func(billing.Charge, error) bool) {
		f.mu.Lock()
		var all []billing.Charge
		for _, t := range f.tasks {
			if t.StoppedAt.IsZero() {
				continue
			}
			facts := billing.FactsOf(t)
			for _, c := range billing.Open(t, billing.BuiltIn()) {
				_, entries := c.Close(t.StoppedAt, billing.Terms{Prices: billing.BuiltIn()}, nil)
				for _, e := range entries {
					if !e.Booked.Before(from) && e.Booked.Before(to) {
						all = append(all, billing.Charge{Entry: e, Facts: &facts})
					}
				}
			}
		}
		f.mu.Unlock()
		slices.SortFunc(all, func(a, b billing.Charge) int {
			return cmp.Or(a.Booked.Truncate(time.Hour).Compare(b.Booked.Truncate(time.Hour)), cmp.Compare(a.Task, b.Task), cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.Seq, b.Seq))
		})
		for _, c := range all {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Export is Charges, and no checkpoint.
func (f *Fake) Export(ctx context.Context, from, to time.Time) (proof.Checkpoint, iter.Seq2[billing.Charge, error], error) {
	return proof.Checkpoint{}, f.Charges(ctx, from, to), nil
}

// OnDemand knows nothing.
func (f *Fake) OnDemand(context.Context) (billing.RateBook, error) { return nil, nil }

// Costs sums up Charges, all on one page, and knows no filters.
func (f *Fake) Costs(ctx context.Context, q billing.CostQuery, _ int, _ string) (billing.CostReport, error) {
	r := billing.CostReport{From: q.From, To: q.To, Granularity: q.Granularity, GroupBy: q.GroupBy, Currency: "USD", Groups: []billing.Group{}}
	sums := make(map[string]*billing.CostSum)
	groups := make(map[string]billing.Group)
	var total billing.CostSum
	for c, err := range f.Charges(ctx, q.From, q.To) {
		if err != nil {
			return r, err
		}
		g := billing.Group{Keys: []string{}}
		g.From, g.To = q.Step(c.Booked)
		for _, by := range q.GroupBy {
			key, _ := c.Value(by)
			g.Keys = append(g.Keys, key)
		}
		key := g.From.Format(time.RFC3339) + strings.Join(g.Keys, "\x00")
		if sums[key] == nil {
			sums[key], groups[key] = new(billing.CostSum), g
		}
		for _, sum := range []*billing.CostSum{sums[key], &total} {
			sum.Add(c.SKU, c.Amount, billing.UnitsOf(c.Units), billing.UnitsOf(c.Used.Units))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		g := groups[key]
		g.Cost = sums[key].Cost()
		r.Groups = append(r.Groups, g)
	}
	r.Total = total.Cost()
	return r, nil
}

// Chargeback is of an open period, without lines.
func (f *Fake) Chargeback(ctx context.Context, month time.Time, by string) (billing.Chargeback, error) {
	q := billing.CostQuery{From: month, To: month.AddDate(0, 1, 0), Granularity: billing.Total, GroupBy: []string{by}}
	c := billing.Chargeback{Period: month.Format("2006-01"), From: q.From, To: q.To, Status: billing.PeriodOpen, By: by, Currency: "USD"}
	r, err := f.Costs(ctx, q, 0, "")
	for _, g := range r.Groups {
		c.Statements = append(c.Statements, billing.Statement{Key: g.Keys[0], Lines: []billing.StatementLine{}, Cost: g.Cost})
	}
	c.Total = r.Total
	return c, errors.Join(err, c.Seal())
}
