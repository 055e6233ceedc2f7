package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/store/storetest"
	"berth/task"
)

// Ensure that a statement adds up, and stays as it is once its period is closed.
func TestChargeback(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := storetest.Open(t, dir)
	run := func(i int, at time.Time, d time.Duration, tags ...task.Tag) {
		tk := costTask(i, "web", "family:web", "ann", tags...)
		tk.PullStartedAt = at
		if _, err := s.Create(ctx, []task.Task{tk}, nil, "", ""); err != nil {
			t.Fatal(err)
		}
		spend(t, s, tk, []time.Duration{d}, func() {})
	}
	october := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	red := task.Tag{Key: "team", Value: "red"}
	run(1, october.Add(-30*time.Minute), time.Hour, red) // half of it is September's
	run(2, october.AddDate(0, 0, 3), 90*time.Minute, red)
	run(3, october.AddDate(0, 1, 0).Add(-time.Hour), 2*time.Hour) // half of it is November's
	ask := func() billing.Chargeback {
		c, err := s.Chargeback(ctx, october, "tag:team")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := ask()
	if c.Status != billing.PeriodOpen || len(c.Statements) != 2 || c.Statements[0].Key != "" || c.Statements[1].Key != "red" {
		t.Fatalf("%+v", c)
	}
	var sum, lines billing.Money
	for _, st := range c.Statements {
		sum += st.Amount
		for _, l := range st.Lines {
			lines += l.Amount
		}
	}
	if sum != c.Total.Amount || lines != sum {
		t.Errorf("statements add up to %s, lines to %s, and the total is %s", sum, lines, c.Total.Amount)
	}
	if l := c.Statements[1].Lines; len(l) != 2 || l[1].SKU != billing.VCPU || l[1].Quantity != "0.5000000000" || l[1].Amount != 20_240_000 || l[1].Unit != "vCPU-Hours" {
		t.Errorf("two hours of 0.25 vCPU are %+v", l) // 0.5 and 1.5 hours
	}

	db, err := sql.Open("sqlite", filepath.Join(dir, "berth.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	end := october.AddDate(0, 1, 0)
	if _, err := db.Exec(fmt.Sprintf(`INSERT INTO ledger_periods VALUES (%d, %d, '2026-10', %d, 99, 9, %d, '')`,
		end.UnixNano(), october.UnixNano(), end.Add(time.Hour).UnixNano(), int64(c.Total.Amount))); err != nil {
		t.Fatal(err)
	}
	closed := ask()
	if closed.Status != billing.PeriodClosed || !closed.ClosedAt.Equal(end.Add(time.Hour)) || closed.LedgerSize != 99 {
		t.Errorf("%+v", closed)
	}
	run(4, end.Add(5*time.Hour), time.Hour, red) // November
	if _, err := s.Prune(ctx, time.Now().AddDate(1, 0, 0), 100); err != nil {
		t.Fatal(err)
	}
	if again := ask(); again.Digest != closed.Digest {
		t.Errorf("a closed statement has changed:\n%+v\n%+v", closed, again)
	}

	// What was written down when the period was closed is insisted on.
	if _, err := db.Exec(`UPDATE cost_days SET amount = amount + 1 WHERE day = ?`, october.Unix()/86400+3); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Chargeback(ctx, october, "tag:team"); err == nil || !strings.Contains(err.Error(), "when the period was closed") {
		t.Errorf("a forged sum: %v", err)
	}
	for _, by := range []string{"sku", "team", ""} {
		if _, err := s.Chargeback(ctx, october, by); fault.FieldOf(err) != "by" {
			t.Errorf("by %q: %v", by, err)
		}
	}
}
