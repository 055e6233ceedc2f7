package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/store/storetest"
)

// Ensure the books of a server that does not run can be verified, and are left as
// they are.
func TestVerifyOffline(t *testing.T) {
	dir := t.TempDir()
	verify := func() (string, error) {
		var out strings.Builder
		a := newApp(strings.NewReader(""), &out, &out)
		a.env = func(string) (string, bool) { return "", false }
		root := a.root()
		root.SetArgs([]string{"ledger", "verify", "--state-dir", dir})
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	if _, err := verify(); err == nil || !strings.Contains(err.Error(), "there is no database") {
		t.Errorf("where no server was: %v", err)
	}
	s := storetest.OpenUnclosed(t, dir)
	for _, c := range billing.Open(billingtest.Task(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)), billing.BuiltIn()) {
		next, entries := c.Close(c.From.Add(time.Hour), billing.Terms{Prices: billing.BuiltIn()}, nil)
		if err := s.Post(context.WithoutCancel(t.Context()), 1, []billing.Move{{New: next, Entries: entries}}); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := verify(); err != nil || !strings.Contains(out, "The ledger is sound. Entries: 2.") {
		t.Errorf("while the database is open: %s, %v", out, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err != nil || !strings.Contains(out, "The ledger is sound. Entries: 2.") {
		t.Errorf("a sound ledger: %s, %v", out, err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "berth.db*")); err != nil || len(files) != 1 {
		t.Errorf("verifying left %v, %v", files, err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "berth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`DROP TRIGGER ledger_entries_no_update; UPDATE ledger_entries SET amount = amount + 1 WHERE n = 1`); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err == nil || !strings.Contains(err.Error(), "the ledger is not sound: schema, row ledger_entries_no_update") {
		t.Errorf("a forged ledger: %s, %v", out, err)
	}
}
