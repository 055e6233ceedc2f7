package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
)

// Chargeback returns what each of what month is told apart by has to pay for it;
// by is what costs can be grouped by. Of a closed period it is the same for ever;
// if it is not what was written down when the period was closed, that is an error.
func (s *Store) Chargeback(ctx context.Context, month time.Time, by string) (billing.Chargeback, error) {
	month = month.UTC()
	c := billing.Chargeback{
		Period: month.Format("2006-01"), From: month, To: month.AddDate(0, 1, 0), Status: billing.PeriodOpen, By: by, Currency: "USD",
		Statements: []billing.Statement{},
	}
	q := billing.CostQuery{From: c.From, To: c.To, Granularity: billing.Total, GroupBy: []string{by, billing.BySKU}}
	if by == billing.BySKU {
		return c, fault.At("by", "a statement has its lines by SKU; it is not by one")
	}
	if err := q.Check(); err != nil {
		if fault.FieldOf(err) == "groupBy" {
			return c, fault.At("by", "%s", fault.Message(err))
		}
		return c, err
	}
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return c, fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	groups := make(map[string]*billing.CostSum)
	if err := sumCosts(ctx, tx, q, groups); err != nil {
		return c, err
	}
	var total, one billing.CostSum
	for _, key := range sortedKeys(groups) {
		parts := strings.Split(key, keySeparator) // the step, by, the SKU
		n := len(c.Statements) - 1
		if n < 0 || c.Statements[n].Key != parts[1] {
			c.Statements, one = append(c.Statements, billing.Statement{Key: parts[1]}), billing.CostSum{}
			n++
		}
		one.Plus(*groups[key])
		total.Plus(*groups[key])
		st := &c.Statements[n]
		st.Lines, st.Cost = append(st.Lines, groups[key].Line(billing.SKU(parts[2]))), one.Cost()
	}
	c.Total = total.Cost()
	var closed, amount int64
	err = tx.QueryRowContext(ctx, `SELECT closed_at, size, amount FROM ledger_periods WHERE from_at = ? AND to_at = ?`, nanos(c.From), nanos(c.To)).
		Scan(&closed, &c.LedgerSize, &amount)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return c, fmt.Errorf("read period: %w", err)
	case amount != int64(total.Amount):
		return c, fmt.Errorf("costs of %s are %s USD and were %s when the period was closed", c.Period, total.Amount, billing.Money(amount))
	default:
		c.Status, c.ClosedAt = billing.PeriodClosed, timeOf(closed)
	}
	if err := c.Seal(); err != nil {
		return c, fmt.Errorf("seal chargeback: %w", err)
	}
	return c, nil
}
