package store

import (
	"database/sql"
	"flag"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/anomaly"
	"berth/notice"
)

// chargeHours writes what n families were charged for two SKUs in each of some hours, of
// two sets of facts each.
func chargeHours(t testing.TB, s *Store, families int, first, hours int64) {
	t.Helper()
	err := s.write(t.Context(), func(tx *sql.Tx) error {
		series := func(name string, n int64) string {
			return fmt.Sprintf("%s(v) AS (SELECT 0 UNION ALL SELECT v + 1 FROM %s WHERE v < %d)", name, name, n-1)
		}
		for _, q := range []string{
			`WITH RECURSIVE ` + series("f", int64(2*families)) + ` INSERT INTO cost_facts (account, region, cluster, family, definition, task_group, started_by, tags)
				SELECT '000000000000', 'r', 'c', 'f' || (v / 2), 'f' || (v / 2) || ':' || v, '', '', '[]' FROM f`,
			`WITH RECURSIVE ` + series("h", hours) + ` INSERT INTO cost_hours SELECT h.v + ` + fmt.Sprint(first) + `, id, sku, 2, 1000000000 + id, 7200, 0, 0, 0
				FROM h, cost_facts, (SELECT '` + string(billing.VCPU) + `' AS sku UNION SELECT '` + string(billing.Memory) + `')`,
		} {
			if _, err := tx.ExecContext(t.Context(), q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Ensure series are the sums of their families, hours without a charge are 0, and a spike
// is found in the database, kept and told once.
func TestAnomalies(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2026, 11, 28, 12, 20, 0, 0, time.UTC)
	s := noticeStore(t, func() time.Time { return now })
	last := now.Unix()/3600 - 1
	chargeHours(t, s, 3, last-800, 800)
	exec := func(q string, args ...any) {
		t.Helper()
		must(t, s.write(ctx, func(tx *sql.Tx) error { _, err := tx.ExecContext(ctx, q, args...); return err }))
	}
	exec(`DELETE FROM cost_hours WHERE hour = ? AND facts < 3`, last-10)
	exec(`INSERT INTO cost_hours VALUES (?, 1, ?, 16, 12000000000, 57600, 0, 0, 0)`, last, string(billing.VCPU))

	at := func(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }
	all, err := s.CostSeries(ctx, at(last-20), at(last+1))
	must(t, err)
	if len(all) != 6 || all[1].Key != (anomaly.Key{Account: "000000000000", Family: "f0", SKU: billing.VCPU}) || all[5].Family != "f2" {
		t.Fatalf("%+v", all)
	}
	if h := all[1].Hours; len(h) != 21 || h[0] != 2e9+3 || h[10] != 0 || h[20] != 12e9 {
		t.Errorf("%v", h)
	}
	if h := all[2].Hours; h[10] != 2e9+7 || h[20] != 0 {
		t.Errorf("%v", h)
	}

	w := anomaly.NewWatch(anomaly.Config{Book: s, Rules: anomaly.Defaults, Log: zap.NewNop(), Now: func() time.Time { return now }})
	for range 2 {
		must(t, w.Look(ctx, now))
		must(t, s.set(ctx, settingAnomalies, fmt.Sprint(last-5))) // It forgets, and looks again.
	}
	must(t, w.Look(ctx, now))
	found, err := s.Anomalies(ctx, at(last), at(last+1), 10)
	must(t, err)
	if len(found) != 1 || found[0].Actual != 12e9 || found[0].Expected != 2e9+3 || found[0].Family != "f0" || found[0].Cause.Why != anomaly.MoreTasks || found[0].Cause.Tasks != 4 {
		t.Fatalf("%+v", found)
	}
	for _, span := range [][2]int64{{last + 1, last + 9}, {last - 9, last}} {
		if found, err := s.Anomalies(ctx, at(span[0]), at(span[1]), 10); err != nil || len(found) != 0 {
			t.Errorf("%v: %+v, %v", span, found, err)
		}
	}
	told, err := s.Notices(ctx, notice.Query{Limit: 10})
	must(t, err)
	if len(told) != 1 || told[0].Type != anomaly.NoticeType || told[0].Subject != "family/f0" || !told[0].At.Equal(at(last+1)) {
		t.Errorf("told %+v", told)
	}
	until, err := s.AnomaliesUntil(ctx)
	must(t, err)
	if !until.Equal(at(last + 1)) {
		t.Errorf("looked until %s", until)
	}
	c, err := s.CostCount(ctx, all[1].Key, []time.Time{at(last), at(last - 1)})
	must(t, err)
	if c != (anomaly.Count{Entries: 20, Units: 57600 + 2*7200, Amount: 14e9 + 3}) {
		t.Errorf("%+v", c)
	}
}

var anomalyFamilies = flag.Int("anomaly-families", 5000, "families of BenchmarkAnomalies, each of two SKUs")

// BenchmarkAnomalies looks at the newest hour of 10,000 series of four weeks in the
// database, as the server does each hour.
func BenchmarkAnomalies(b *testing.B) {
	now := time.Date(2026, 11, 28, 12, 20, 0, 0, time.UTC)
	s, err := Open(b.Context(), Config{Path: b.TempDir() + "/berth.db", Log: zap.NewNop(), Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	last := now.Unix()/3600 - 1
	chargeHours(b, s, *anomalyFamilies, last-anomaly.History-1, anomaly.History+2)
	w := anomaly.NewWatch(anomaly.Config{Book: s, Rules: anomaly.Defaults, Log: zap.NewNop(), Now: func() time.Time { return now }})
	for b.Loop() {
		if err := s.set(b.Context(), settingAnomalies, fmt.Sprint(last)); err != nil {
			b.Fatal(err)
		}
		if err := w.Look(b.Context(), now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/hour-looked-at")
}
