package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"berth/billing"
	"berth/billing/prices"
	"berth/fault"
)

var _ prices.Book = (*Store)(nil)

// PutPriceList is part of prices.Book.
func (s *Store) PutPriceList(ctx context.Context, l prices.List) error {
	body := l.Body()
	return s.write(ctx, func(tx *sql.Tx) error {
		var have string
		err := tx.QueryRowContext(ctx, `SELECT hash FROM price_lists WHERE id = ?`, l.ID).Scan(&have)
		switch {
		case err == nil && have == hashOf(body):
			return nil
		case err == nil:
			return fault.New(fault.Conflict, "there is another price list %s", l.ID)
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("read price list %s: %w", l.ID, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO price_lists (id, name, effective_from, body, hash, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
			l.ID, l.Name, nanos(l.EffectiveFrom), string(body), hashOf(body), s.at()); err != nil {
			return fmt.Errorf("insert price list %s: %w", l.ID, err)
		}
		return nil
	})
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// PriceLists is part of prices.Book. A list that is not as it was written is an error
// that names it: what it says must not be charged.
func (s *Store) PriceLists(ctx context.Context) ([]prices.List, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT id, name, effective_from, body, hash FROM price_lists ORDER BY n`)
	if err != nil {
		return nil, fmt.Errorf("list price lists: %w", err)
	}
	defer rows.Close()
	var all []prices.List
	for rows.Next() {
		var id, name, body, hash string
		var from int64
		if err := rows.Scan(&id, &name, &from, &body, &hash); err != nil {
			return nil, fmt.Errorf("scan price list: %w", err)
		}
		l, err := prices.ParseBody([]byte(body))
		if err != nil {
			return nil, fmt.Errorf("price_lists row %s: %w", id, err)
		}
		if hash != hashOf([]byte(body)) || l.ID != id || l.Name != name || nanos(l.EffectiveFrom) != from {
			return nil, fmt.Errorf("price_lists row %s is not as it was written", id)
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

// ChangePrices is part of prices.Book.
func (s *Store) ChangePrices(ctx context.Context, c prices.Change) (prices.Change, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		var known bool
		if err := tx.QueryRowContext(ctx, `SELECT count(*) > 0, (SELECT 1 + coalesce(max(n), 0) FROM price_changes) FROM price_lists WHERE id = ?`,
			c.List).Scan(&known, &c.N); err != nil {
			return fmt.Errorf("read changes of prices: %w", err)
		}
		if c.List != "" && !known {
			return fault.New(fault.NotFound, "no price list %q", c.List)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO price_changes (n, at, from_at, list, name, plan, region) VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?)`,
			c.N, nanos(c.At), nanos(c.From), c.List, c.Name, c.Plan, c.Region); err != nil {
			return fmt.Errorf("insert change of prices: %w", err)
		}
		return nil
	})
	return c, err
}

// PriceChanges is part of prices.Book.
func (s *Store) PriceChanges(ctx context.Context) ([]prices.Change, error) {
	rows, err := s.reader().QueryContext(ctx, `SELECT n, at, from_at, coalesce(list, ''), name, plan, region FROM price_changes ORDER BY n`)
	if err != nil {
		return nil, fmt.Errorf("list changes of prices: %w", err)
	}
	defer rows.Close()
	var all []prices.Change
	for rows.Next() {
		var c prices.Change
		var at, from int64
		if err := rows.Scan(&c.N, &at, &from, &c.List, &c.Name, &c.Plan, &c.Region); err != nil {
			return nil, fmt.Errorf("scan change of prices: %w", err)
		}
		c.At, c.From = timeOf(at), timeOf(from)
		all = append(all, c)
	}
	return all, rows.Err()
}

// StoredRates returns the rates of all price lists that were ever used or imported, by
// the name that the ledger's entries bear: the ID, and for each of its plans the ID,
// a plus and the plan. Entries of a list that is not there were made before lists
// were stored.
func (s *Store) StoredRates(ctx context.Context) (map[string]map[billing.SKU]billing.Rate, error) {
	lists, err := s.PriceLists(ctx)
	if err != nil {
		return nil, err
	}
	rates := make(map[string]map[billing.SKU]billing.Rate)
	for _, l := range lists {
		rates[l.ID] = l.RatesOn("")
		for _, p := range l.Plans {
			rates[prices.Charged(l.ID, p.Name)] = l.RatesOn(p.Name)
		}
	}
	return rates, nil
}

// OnDemand returns what the lists that entries name say of what no plan covers.
func (s *Store) OnDemand(ctx context.Context) (billing.RateBook, error) {
	stored, err := s.StoredRates(ctx)
	return func(charged string, k billing.SKU) (billing.Rate, bool) {
		list, _ := prices.SplitCharged(charged)
		rate, known := stored[list][k]
		return rate, known
	}, err
}

// verifyRates checks that every entry was charged at the rate of the price list that
// it names, and names the first that was not. Lists that were never stored, because
// they were charged by before there was a table for them, are not known.
func (s *Store) verifyRates(ctx context.Context) error {
	stored, err := s.StoredRates(ctx)
	if err != nil {
		return err
	}
	rows, err := s.reader().QueryContext(ctx, `SELECT price_list, sku, rate, min(n) FROM ledger_entries GROUP BY price_list, sku, rate ORDER BY min(n)`)
	if err != nil {
		return fmt.Errorf("check rates of entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var list string
		var k billing.SKU
		var r billing.Rate
		var n int64
		if err := rows.Scan(&list, &k, &r, &n); err != nil {
			return fmt.Errorf("check rates of entries: %w", err)
		}
		if rates, known := stored[list]; known && rates[k] != r {
			return fmt.Errorf("ledger_entries row %d charges %s at %s, and price list %s says %s", n, k, r, list, rates[k])
		}
	}
	return rows.Err()
}
