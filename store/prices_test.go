package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/prices"
	"berth/billing/prices/pricestest"
	"berth/store/storetest"
)

func TestPrices(t *testing.T) {
	pricestest.Suite(t, func(t *testing.T) prices.Book { return storetest.Open(t, t.TempDir()) })
}

// Ensure prices are what they were after a restart, and that the rates of what
// entries name can be looked up.
func TestPricesRestart(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	open := func() *prices.Catalogue {
		c, err := prices.Open(t.Context(), prices.Config{Book: s, Region: "us-east-1", Log: zap.NewNop(), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	l, err := c.AddDraft(t.Context(), prices.Draft{VCPU: "0.02", Memory: "0.002", Plans: []prices.DraftPlan{{Name: "half", Discount: "50%"}}})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := c.Use(t.Context(), "own", "half", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir)
	c = open()
	if r, list, _ := c.At(billing.VCPU, ch.From); r != 1e8 || list != l.ID+"+half" {
		t.Errorf("%s by %s", r, list)
	}
	rates, err := s.StoredRates(t.Context())
	if err != nil || len(rates) != 5 || rates[l.ID+"+half"][billing.VCPU] != 1e8 || rates[l.ID][billing.VCPU] != 2e8 || rates["aws-us-east-1-2026-09-28"][billing.VCPU] != 404_800_000 {
		t.Errorf("%v, %v", rates, err)
	}
	onDemand, err := s.OnDemand(t.Context())
	if r, known := onDemand(l.ID+"+half", billing.VCPU); err != nil || r != 2e8 || !known {
		t.Errorf("without the plan it is %s, %t, %v", r, known, err)
	}
	if r, known := onDemand("gone+half", billing.VCPU); known {
		t.Errorf("a list that is not there says %s", r)
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// Ensure the database refuses to change prices, and that a change made behind its
// back is found and named.
func TestPricesTamper(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	c, err := prices.Open(t.Context(), prices.Config{Book: s, Region: "us-east-1", Log: zap.NewNop(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Use(t.Context(), "eu-west-1", "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "berth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{
		`UPDATE price_lists SET body = replace(body, '0.04048', '0.00048')`,
		`DELETE FROM price_lists`,
		`UPDATE price_changes SET from_at = 0`,
		`DELETE FROM price_changes WHERE n = 2`,
		`INSERT INTO price_changes SELECT 4, at, from_at, list, name, plan, region FROM price_changes WHERE n = 2`,
		`INSERT INTO price_changes SELECT 3, at, at - 1, list, name, plan, region FROM price_changes WHERE n = 2`,
		`INSERT INTO price_changes SELECT 3, at, 0, list, name, plan, region FROM price_changes WHERE n = 2`,
		`INSERT INTO price_changes SELECT 3, at, from_at, NULL, '', plan, region FROM price_changes WHERE n = 2`,
		`PRAGMA foreign_keys = ON; INSERT INTO price_changes SELECT 3, at, from_at, 'nothing', name, plan, region FROM price_changes WHERE n = 2`,
	} {
		if _, err := db.ExecContext(t.Context(), q); err == nil {
			t.Errorf("allowed: %s", q)
		}
	}
	const id = "aws-eu-west-1-2026-09-28"
	for _, forgery := range []struct{ trigger, change, undo, names string }{
		{"price_lists_no_update", `UPDATE price_lists SET body = replace(body, '0.040480000', '0.000480000') WHERE id = '` + id + `'`,
			`UPDATE price_lists SET body = replace(body, '0.000480000', '0.040480000') WHERE id = '` + id + `'`, id},
		{"price_lists_no_update", `UPDATE price_lists SET name = 'own' WHERE id = '` + id + `'`, `UPDATE price_lists SET name = 'eu-west-1' WHERE id = '` + id + `'`, "2"},
		{"price_lists_no_update", `UPDATE price_lists SET effective_from = effective_from + 1 WHERE id = '` + id + `'`, `UPDATE price_lists SET effective_from = effective_from - 1 WHERE id = '` + id + `'`, id},
		{"price_changes_no_update", `UPDATE price_changes SET name = 'us-east-1' WHERE n = 2`, `UPDATE price_changes SET name = 'eu-west-1' WHERE n = 2`, "2"},
		{"price_changes_no_update", `UPDATE price_changes SET plan = 'half' WHERE n = 2`, `UPDATE price_changes SET plan = '' WHERE n = 2`, "2"},
	} {
		var guard string
		if err := db.QueryRowContext(t.Context(), `SELECT sql FROM sqlite_schema WHERE name = ?`, forgery.trigger).Scan(&guard); err != nil {
			t.Fatal(err)
		}
		exec := func(qs ...string) {
			for _, q := range qs {
				if _, err := db.ExecContext(t.Context(), q); err != nil {
					t.Fatal(q, err)
				}
			}
		}
		exec(`DROP TRIGGER `+forgery.trigger, forgery.change, guard)
		s := storetest.OpenUnclosed(t, dir)
		if err := s.Verify(context.WithoutCancel(t.Context())); err == nil || !strings.Contains(err.Error(), forgery.names) {
			t.Errorf("%s: %v, and must name %s", forgery.change, err, forgery.names)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		exec(`DROP TRIGGER `+forgery.trigger, forgery.undo, guard)
	}
	s = storetest.Open(t, dir)
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// Ensure an entry that was charged at another rate than its list has is found.
func TestRatesOfEntries(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		s := storetest.Open(t, t.TempDir())
		c, err := prices.Open(t.Context(), prices.Config{Book: s, Region: "us-east-1", Log: zap.NewNop(), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		tk := billingtest.Task(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
		var moves []billing.Move
		list := c.PriceList(tk.PullStartedAt)
		if wrong {
			list.Rates[billing.Memory]++
		}
		for _, c := range billing.Open(tk, list) {
			closed, entries := c.Close(tk.PullStartedAt.Add(time.Hour), billing.Terms{Prices: list}, nil)
			moves = append(moves, billing.Move{New: closed, Entries: entries})
		}
		if err := s.Post(t.Context(), 1, moves); err != nil {
			t.Fatal(err)
		}
		err = s.Verify(t.Context())
		if wrong != (err != nil) || wrong && !strings.Contains(err.Error(), "ledger_entries row 1 charges Fargate-GB-Hours") {
			t.Errorf("wrong: %t, found: %v", wrong, err)
		}
	}
}
