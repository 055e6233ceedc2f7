package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/store/storetest"
)

func TestLedger(t *testing.T) {
	billingtest.Suite(t, func(t *testing.T) billing.Ledger {
		s := storetest.Open(t, t.TempDir())
		t.Cleanup(func() {
			if err := s.VerifyLedger(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

// Ensure that what is in the books cannot be changed through SQL, and that a
// change made behind its back is found and the row named.
func TestTamper(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	ctx := context.Background()
	tk := billingtest.Task(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
	var moves []billing.Move
	var first billing.Entry
	for _, c := range billing.Open(tk, billing.BuiltIn()) {
		closed, entries := c.Close(tk.PullStartedAt.Add(3*time.Hour+time.Millisecond), billing.Terms{Prices: billing.BuiltIn()}, nil)
		moves = append(moves, billing.Move{New: closed, Entries: entries})
		first = entries[0]
	}
	if err := s.Post(ctx, 1, moves); err != nil {
		t.Fatal(err)
	}
	if err := s.VerifyLedger(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	for _, forgery := range []struct{ triggers, change, undo, culprit string }{
		{"ledger_entries_no_update", `UPDATE ledger_entries SET amount = amount + 1 WHERE id = '` + first.ID + `'`,
			`UPDATE ledger_entries SET amount = amount - 1 WHERE id = '` + first.ID + `'`, first.ID},
		{"ledger_entries_no_update", `UPDATE ledger_entries SET to_at = to_at + 1 WHERE id = '` + first.ID + `'`,
			`UPDATE ledger_entries SET to_at = to_at - 1 WHERE id = '` + first.ID + `'`, first.ID},
		{"ledger_postings_no_update", `UPDATE ledger_postings SET amount = amount + 1 WHERE entry = (SELECT n FROM ledger_entries WHERE id = '` + first.ID + `') AND account = 1`,
			`UPDATE ledger_postings SET amount = amount - 1 WHERE entry = (SELECT n FROM ledger_entries WHERE id = '` + first.ID + `') AND account = 1`, first.ID},
		{"meter_cursors_forward", `UPDATE meter_cursors SET amount = amount + 1 WHERE sku = '` + string(first.SKU) + `'`,
			`UPDATE meter_cursors SET amount = amount - 1 WHERE sku = '` + string(first.SKU) + `'`, string(tk.ID)},
		{"meter_cursors_forward", `UPDATE meter_cursors SET end_at = end_at - 2000000 WHERE sku = '` + string(first.SKU) + `'`,
			`UPDATE meter_cursors SET end_at = end_at + 2000000 WHERE sku = '` + string(first.SKU) + `'`, string(tk.ID)},
	} {
		db, err := sql.Open("sqlite", filepath.Join(dir, "berth.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(forgery.change); err == nil {
			t.Errorf("%s: the database allowed it", forgery.change)
		}
		if _, err := db.Exec(`DELETE FROM ledger_entries`); err == nil {
			t.Error("the database let entries be deleted")
		}
		var trigger string
		if err := db.QueryRow(`SELECT sql FROM sqlite_schema WHERE name = ?`, forgery.triggers).Scan(&trigger); err != nil {
			t.Fatal(err)
		}
		run := func(statements ...string) {
			for _, q := range statements {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("%s: %v", q, err)
				}
			}
		}
		verify := func() error {
			s := storetest.OpenUnclosed(t, dir)
			defer s.Close()
			return s.VerifyLedger(ctx)
		}
		run(`DROP TRIGGER `+forgery.triggers, forgery.change)
		if err := verify(); err == nil || !strings.Contains(err.Error(), forgery.culprit) {
			t.Errorf("%s: verify says %v and must name %s", forgery.change, err, forgery.culprit)
		}
		run(forgery.undo, trigger)
		if err := verify(); err != nil {
			t.Errorf("after %s: %v", forgery.undo, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
