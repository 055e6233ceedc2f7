package store_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"berth/billing"
	"berth/store/storetest"
)

var (
	costRows = flag.Int("cost-rows", 10_000_000, "rows of the ledger that BenchmarkCosts asks about")
	costDir  = flag.String("cost-dir", "", "where BenchmarkCosts keeps its database for the next time; if empty, nowhere")
)

// BenchmarkCosts asks a ledger of 10 million rows: 250,000 tasks of 20 hours, with
// two SKUs each, of 200 sets of facts, in 90 days. It reports the median, the
// quickest and the slowest answer, and the heap that an answer takes.
func BenchmarkCosts(b *testing.B) {
	dir := *costDir
	if dir == "" {
		dir = b.TempDir()
	}
	first := fillLedger(b, dir, *costRows)
	s := storetest.Open(b, dir)
	days := 90
	for _, c := range []struct {
		name string
		q    billing.CostQuery
	}{
		{"90dTotalByFamily", billing.CostQuery{To: first.AddDate(0, 0, days), Granularity: billing.Total, GroupBy: []string{"family"}}},
		{"90dDailyByTeam", billing.CostQuery{To: first.AddDate(0, 0, days), Granularity: billing.Daily, GroupBy: []string{"tag:team"}}},
		{"90dDailyByFamilySKUOfOneUser", billing.CostQuery{To: first.AddDate(0, 0, days), Granularity: billing.Daily, GroupBy: []string{"family", "sku"},
			Filters: map[string][]string{"user": {"user-1"}}}},
		{"90dMonthlyByUserAndTeam", billing.CostQuery{To: first.AddDate(0, 0, days), Granularity: billing.Monthly, GroupBy: []string{"user", "tag:team"}}},
		{"7dHourlyByFamily", billing.CostQuery{To: first.AddDate(0, 0, 7), Granularity: billing.Hourly, GroupBy: []string{"family"}}},
		{"1hTotalByTask", billing.CostQuery{To: first.Add(time.Hour), Granularity: billing.Total, GroupBy: []string{"task"}}},
		{"24hTotalByTask", billing.CostQuery{To: first.Add(24 * time.Hour), Granularity: billing.Total, GroupBy: []string{"task"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.q.From = first
			var took []time.Duration
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for b.Loop() {
				at := time.Now()
				r, err := s.Costs(context.Background(), c.q, 1000, "")
				if err != nil {
					b.Fatal(err)
				}
				if took = append(took, time.Since(at)); len(r.Groups) == 0 {
					b.Fatal("nothing was charged")
				}
			}
			runtime.ReadMemStats(&after)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "ms-median")
			b.ReportMetric(float64(took[0].Microseconds())/1e3, "ms-min")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1e3, "ms-max")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(len(took))/(1<<20), "MiB/op")
		})
	}
}

// fillLedger makes a database with a ledger, unless it is there, and returns when
// the ledger begins. It writes entries and their sums by SQL, since posting them
// would take an hour: no postings and hashes are there, and nothing can be proved.
func fillLedger(b *testing.B, dir string, rows int) time.Time {
	first := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(dir, "berth.db")
	if _, err := os.Stat(path); err == nil {
		return first
	}
	if err := storetest.OpenUnclosed(b, dir).Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", path+"?_pragma=synchronous(OFF)&_pragma=cache_size(-500000)&_pragma=temp_store(MEMORY)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	const skus, hours, sets = 2, 20, 200
	tasks := rows / skus / hours
	series := func(name string, n int) string {
		return fmt.Sprintf("%s(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM %s WHERE value < %d)", name, name, n-1)
	}
	for _, q := range []string{
		`DROP TRIGGER ledger_entries_in_order`, `DROP TRIGGER ledger_entries_period`, `DROP TRIGGER ledger_entries_once`,
		`WITH RECURSIVE ` + series("s", sets) + ` INSERT INTO cost_facts SELECT value + 1, '000000000000', 'us-east-1', 'default', 'family-' || (value % 40), 'family-' || (value % 40) || ':' || value,
			'family:' || (value % 40), 'user-' || (value % 25), '[["team","team-' || (value % 8) || '"]]' FROM s`,
		`INSERT INTO cost_tags SELECT id, 'team', 'team-' || ((id - 1) % 8) FROM cost_facts`,
		fmt.Sprintf(`WITH RECURSIVE `+series("s", tasks)+` INSERT INTO cost_tasks SELECT printf('%%032x', value), 0, value %% %d + 1 FROM s`, sets),
		// Entry n is of task n / 40: of its hour n / 2 % 20 and its SKU n % 2. Tasks begin evenly over 90 days.
		fmt.Sprintf(`WITH RECURSIVE `+series("s", tasks*skus*hours)+` INSERT INTO ledger_entries SELECT n, printf('%%032x', n), printf('%%032x', n / 40), '000000000000', sku, n / 2 %% 20 + 1, 'METER',
			at, at + 3600000000000, 256 * 3600000000000, rate, 'list', amount, at, 128 * 3600000000000, at, NULL, '', zeroblob(32) FROM
			(SELECT value AS n, iif(value %% 2, 'Fargate-GB-Hours', 'Fargate-vCPU-Hours:perCPU') AS sku, iif(value %% 2, 44450000, 404800000) AS rate, iif(value %% 2, 2222500, 10120000) AS amount,
			(%d + (value / 40) * %d / %d + value / 2 %% 20) * 3600000000000 AS at FROM s)`, first.Unix()/3600, 90*24-hours, tasks),
		`INSERT INTO cost_hours SELECT booked_at / 3600000000000, facts, sku, count(*), sum(amount), sum(units / 1000000000), 0, sum(used / 1000000000), 0
			FROM ledger_entries e JOIN cost_tasks USING (task) GROUP BY 1, 2, 3`,
		`INSERT INTO cost_days SELECT hour / 24, facts, sku, sum(entries), sum(amount), sum(units), 0, sum(used), 0 FROM cost_hours GROUP BY 1, 2, 3`,
		`ANALYZE`,
	} {
		if _, err := db.Exec(q); err != nil {
			b.Fatalf("%s: %v", q, err)
		}
	}
	return first
}
