package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unblocked is a ledger as schema 11 has it: a charge that goes on, two entries of
// it, and one that takes the first back.
func unblocked() []string {
	return []string{
		cursor(someTask), `UPDATE meter_cursors SET seq = 2`, entry(0, someTask, 1, "METER", 3600, 5), entry(1, someTask, 2, "METER", 7200, 7),
		reversal(2, 0, 1),
		`INSERT INTO ledger_accounts VALUES (1, 'x', 'USD')`, `INSERT INTO ledger_postings VALUES (0, 1, 5)`,
		`UPDATE meter_cursors SET closed = 1, end_at = 2`,
	}
}

// reversal takes back what entry made.
func reversal(n, of, seq int) string {
	return fmt.Sprintf(`INSERT INTO ledger_entries (%s) SELECT %d, '%032d', task, account, sku, -%d, 'REVERSAL', from_at, to_at, -units, rate, price_list, -amount,
		booked_at, used, measured_at, '%032d', 'why', hash FROM ledger_entries WHERE n = %d`, entryColumns, n, n, seq, of, of)
}

// blocked is what must be true of it afterwards.
var blocked = map[string]string{
	`SELECT group_concat(n || ' ' || seq || ' ' || amount || ' ' || coalesce(ref, '-'), ', ' ORDER BY n) FROM ledger_entries`: "0 1 5 -, 1 2 7 -, 2 -1 -5 00000000000000000000000000000000",
	`SELECT entered || ' ' || seq || ' ' || closed FROM meter_cursors`:                                                        "2 2 1",
	`SELECT sql LIKE '%REFERENCES ledger_entries (n)%' FROM sqlite_schema WHERE name = 'ledger_postings'`:                     "1",
	`SELECT entry || ' ' || amount FROM ledger_postings`:                                                                      "0 5",
	`SELECT count(*) FROM sqlite_schema WHERE name LIKE 'new%'`:                                                               "0",
	`PRAGMA foreign_keys`: "1",
}

// Ensure the database itself refuses an entry that is there already, one that comes
// too early, one of no charge, and a reversal of nothing or for the second time.
func TestEntriesOnce(t *testing.T) {
	db := rawDB(t, filepath.Join(t.TempDir(), "berth.db"))
	must(t, migrate(t.Context(), db, migrations))
	open := strings.Replace(cursor(someTask), "meter_cursors", "meter_cursors ("+cursorColumns+")", 1)
	for _, q := range []string{open, `UPDATE meter_cursors SET seq = 3`, entry(0, someTask, 1, "METER", 3600, 5), entry(1, someTask, 2, "METER", 7200, 5)} {
		exec(t, db, q)
	}
	refused := func(why string, qs ...string) {
		t.Helper()
		for _, q := range qs {
			if _, err := db.ExecContext(t.Context(), q); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want it refused because %s", q, err, why)
			}
		}
	}
	refused("come one after another", entry(2, someTask, 1, "METER", 9000, 5), entry(2, someTask, 2, "METER", 9000, 5), entry(2, someTask, 4, "METER", 9000, 5),
		`UPDATE meter_cursors SET entered = 1`, `UPDATE meter_cursors SET entered = 0`)
	refused("FOREIGN KEY", entry(2, otherTask, 1, "METER", 9000, 5))
	refused("takes back an entry", reversal(2, 0, 2), strings.Replace(reversal(2, 0, 1), "'"+fmt.Sprintf("%032d", 0)+"'", "'"+fmt.Sprintf("%032d", 7)+"'", 1))
	exec(t, db, entry(2, someTask, 3, "METER", 9000, 5))
	refused("CHECK", entry(3, someTask, 4, "METER", 9900, 5)) // The cursor knows of three.
	exec(t, db, reversal(3, 0, 1))
	refused("UNIQUE", strings.Replace(reversal(4, 0, 1), "'why'", "'again'", 1))
}

// Ensure entries are found by ID and by task over many blocks, by an index of each
// block and not by reading the ledger.
func TestBlocks(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, noon)
	charge(t, s, noon, 3, true)
	ctx := context.WithoutCancel(t.Context())
	first := list(t, s.reads, `SELECT task FROM ledger_entries WHERE n = 0`)[0]
	for range 3 * 4096 / 100 { // of other tasks, in between
		charge(t, s, noon.Add(time.Minute), 50, true)
	}
	charge(t, s, noon, 1, true)
	if n := len(list(t, s.reads, `SELECT block FROM ledger_blocks`)); n < 3 {
		t.Fatalf("there are %d blocks, and that says little", n)
	}
	for _, n := range []string{"0", "5", "4095", "4096", "9000", "(SELECT max(n) FROM ledger_entries)"} {
		want := list(t, s.reads, `SELECT id || ' ' || task FROM ledger_entries WHERE n = `+n)[0]
		id, task, _ := strings.Cut(want, " ")
		r, err := record(ctx, s.reads, id)
		if err != nil || r.ID+" "+string(r.Task) != want {
			t.Errorf("entry %s is %s and was found as %s, %v", n, want, r.ID, err)
		}
		got, err := s.Entries(ctx, r.Task)
		all := list(t, s.reads, `SELECT id FROM ledger_entries NOT INDEXED WHERE task = '`+task+`' ORDER BY sku, seq < 0, abs(seq)`)
		ids := make([]string, 0, len(got))
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		if err != nil || !slices.Equal(ids, all) {
			t.Errorf("task %s has the entries %v and must have %v, %v", task, ids, all, err)
		}
	}
	if _, err := record(ctx, s.reads, strings.Repeat("0", 32)); err == nil {
		t.Error("an entry that is not there was found")
	}
	for _, q := range []string{placeOf("'" + strings.Repeat("0", 32) + "'"), placesOf("'" + first + "'")} {
		plan := plan(t, s.reads, q[1:len(q)-1])
		if !strings.Contains(plan, "SEARCH i USING COVERING INDEX ledger_entries_") && !strings.Contains(plan, "SEARCH i USING INDEX ledger_entries_") || !strings.Contains(plan, "(<expr>=? AND <expr>=?)") {
			t.Errorf("%s is answered by\n%s", q, plan)
		}
	}
	records := withARN + ` WHERE n > 0 AND n IN ` + placesOf("'"+first+"'") + ` ORDER BY n LIMIT 5`
	if plan := plan(t, s.reads, records); !strings.Contains(plan, "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)") {
		t.Errorf("entries of a task are read by\n%s", plan)
	}
}

// plan returns how SQLite answers a query.
func plan(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.QueryContext(context.WithoutCancel(t.Context()), `EXPLAIN QUERY PLAN `+query)
	must(t, err)
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var id, parent, unused int
		var line string
		must(t, rows.Scan(&id, &parent, &unused, &line))
		lines = append(lines, line)
	}
	must(t, rows.Err())
	return strings.Join(lines, "\n")
}
