package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/task"
)

// rates is a RateBook of the lists of a Catalog and of the built-in one.
func rates(c *billingtest.Catalog) billing.RateBook {
	return func(list string, k billing.SKU) (billing.Rate, bool) {
		for _, l := range c.Lists() {
			if l.ID() == list {
				return billing.BuiltIn().Rates[k] * billing.Rate(l.Percent) / 100, true
			}
		}
		return 0, false
	}
}

// books makes a small ledger in dir that has everything: entries of before, prices
// that change, what was used, a correction, a closed period, what is taken back
// before and after that, and a cursor without entries. It returns its price lists.
func books(t *testing.T, dir string) *billingtest.Catalog {
	t.Helper()
	path := filepath.Join(dir, "berth.db")
	old := rawDB(t, path)
	must(t, migrate(t.Context(), old, until(t, 4)))
	for _, q := range oldLedger() {
		exec(t, old, q)
	}
	must(t, old.Close())

	begun := time.Date(2026, 10, 31, 21, 30, 0, 0, time.UTC)
	now := begun.Add(4 * time.Hour)
	s, err := Open(t.Context(), Config{Path: path, Log: zap.NewNop(),
		Now: func() time.Time { return now }})
	must(t, err)
	defer s.Close()
	prices := new(billingtest.Catalog)
	prices.Add(begun.Add(45*time.Minute), 150)
	var samples []task.Sample
	for i := range time.Duration(10) {
		samples = append(samples, task.Sample{At: begun.Add(i * 20 * time.Minute), Counters: task.Counters{
			CPUNanos: uint64(i) * 5e12, WorkingSetBytes: 300 << 20, EphemeralStorageBytes: 30 << 30,
		}})
	}
	terms := func() billing.Terms {
		closed, err := s.Closed(t.Context())
		must(t, err)
		return billing.Terms{Prices: prices, Closed: closed, Now: now, Used: func(k billing.SKU, from, to time.Time) (int64, time.Time) {
			return billing.Used(k, begun, samples, from, to)
		}}
	}
	post := func(moves []billing.Move) { t.Helper(); must(t, s.Post(t.Context(), 1, moves)) }
	var open []billing.Cursor
	for i := range 3 {
		tk := billingtest.Task(begun.Add(time.Duration(i/2) * 3 * time.Hour))
		tk.ID = task.ID(fmt.Sprintf("%032x", i+7))
		tk.ARN = "arn:aws:ecs:us-east-1:000000000000:task/default/" + string(tk.ID)
		if i == 1 {
			tk.Ephemeral = &task.EphemeralStorage{SizeInGiB: 25}
		}
		var moves []billing.Move
		for _, c := range billing.Open(tk, prices) {
			moves = append(moves, billing.Move{New: c})
		}
		post(moves)
		if i == 2 { // It has no entry yet.
			made := []task.Task{tk}
			made[0].LastStatus, made[0].DefinitionARN = task.Pending, "arn:aws:ecs:us-east-1:000000000000:task-definition/f:1"
			if _, err := s.Create(t.Context(), made, nil, "", ""); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var next []billing.Move
		for _, mv := range moves {
			c, entries := mv.New.Advance(begun.Add(150*time.Minute), terms()) // to midnight
			next = append(next, billing.Move{Old: mv.New, New: c, Entries: entries})
			open = append(open, c)
		}
		post(next)
	}
	entries, err := s.Entries(t.Context(), open[0].Task)
	must(t, err)
	if _, err := s.Reverse(t.Context(), entries[0].ID, "a gift | of 100 %"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ClosePeriod(t.Context(), "1970-01"); err != nil { // what was carried over
		t.Fatal(err)
	}
	if _, err := s.ClosePeriod(t.Context(), "2026-10"); err != nil {
		t.Fatal(err)
	}
	entries, err = s.Entries(t.Context(), open[0].Task)
	must(t, err)
	var last []billing.Move
	for i, c := range open {
		end := begun.Add(150*time.Minute - time.Second/3) // in what is closed
		if i > 1 {
			end = begun.Add(155*time.Minute + time.Second/3)
		}
		done, entries := c.Close(end, terms(), entries)
		last = append(last, billing.Move{Old: c, New: done, Entries: entries})
	}
	post(last)
	if _, err := s.Reverse(t.Context(), entries[1].ID, "it was closed"); err != nil {
		t.Fatal(err)
	}
	return prices
}

// forger changes a ledger behind the back of its triggers.
type forger struct {
	t       *testing.T
	path    string
	db      *sql.DB
	audit   func() (billing.Audit, error)
	changes int
}

// newForger takes the triggers of the ledger at a path away.
func newForger(t *testing.T, path string, prices *billingtest.Catalog) *forger {
	t.Helper()
	db, err := sql.Open("sqlite", fileURL(path)+"?_pragma=synchronous(OFF)&_pragma=journal_mode(MEMORY)")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	for _, trigger := range list(t, db, `SELECT name FROM sqlite_schema WHERE type = 'trigger'`) {
		exec(t, db, `DROP TRIGGER `+trigger)
	}
	v, err := readPublicKey(filepath.Dir(path))
	must(t, err)
	file, err := os.ReadFile(filepath.Join(filepath.Dir(path), checkpointsFile))
	must(t, err)
	return &forger{t: t, path: path, db: db, audit: func() (billing.Audit, error) {
		a := &audit{db: db, verifier: v, file: file, rates: rates(prices), rows: make(map[string]int64)}
		return a.verify(t.Context(), path)
	}}
}

// forge makes a change, checks that it is found and the row named, and takes it
// back. A change that the database refuses for its form is none.
func (f *forger) forge(what, change string, args []any, undo string, old []any) {
	f.t.Helper()
	if _, err := f.db.ExecContext(f.t.Context(), change, args...); err != nil {
		return
	}
	f.changes++
	switch a, err := f.audit(); {
	case err != nil:
		f.t.Errorf("%s: %v", what, err)
	case a.OK:
		f.t.Errorf("%s: nobody noticed", what)
	case a.Bad.Row == "" || a.Bad.Why == "":
		f.t.Errorf("%s: the row is not named: %+v", what, a.Bad)
	}
	if _, err := f.db.ExecContext(f.t.Context(), undo, old...); err != nil {
		f.t.Fatalf("%s: %v", undo, err)
	}
}

// forgeries returns a value with one byte changed, for each byte; of a long one
// only for some, unless all is set.
func forgeries(value any, all bool) (forged []any) {
	switch v := value.(type) {
	case int64:
		for i := range 8 {
			forged = append(forged, v^(1<<(8*i)))
		}
	case string:
		for i := range v {
			b := []byte(v)
			b[i] ^= 1
			forged = append(forged, string(b))
		}
	case []byte:
		for i := range v {
			b := bytes.Clone(v)
			b[i] ^= 0x10
			forged = append(forged, b)
		}
	case nil:
		forged = append(forged, int64(0), "x")
	}
	if !all && len(forged) > 2 { // The rest says nothing new, and takes long.
		i := rand.IntN(len(forged))
		forged = forged[i : i+1]
	}
	return forged
}

// Ensure that after any change of any byte in any row of the ledger, or in the files
// beside it, VerifyLedger says so and names the row. With BERTH_FLIP_ALL set, every
// byte is tried; else some of each value.
func TestTampered(t *testing.T) {
	all := os.Getenv("BERTH_FLIP_ALL") != ""
	dir := t.TempDir()
	prices := books(t, dir)
	path := filepath.Join(dir, "berth.db")
	verify := func() (billing.Audit, error) { return VerifyLedgerIn(t.Context(), path, rates(prices)) }
	a, err := verify()
	if err != nil || !a.OK {
		t.Fatalf("the ledger as it was made: %+v %v, %v", a, a.Bad, err)
	}
	for _, name := range []string{checkpointsFile, pubFile} { // the files beside it
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		step := 1
		if !all {
			step = 17
		}
		for i := rand.IntN(step); i < len(text); i += step {
			forged := bytes.Clone(text)
			forged[i] ^= 1
			must(t, os.WriteFile(filepath.Join(dir, name), forged, 0o644))
			if a, err := verify(); err == nil && a.OK && !(name == pubFile && i == len(text)-1) {
				t.Errorf("byte %d of %s was changed to %q and nobody noticed", i, name, forged[i])
			}
		}
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	db := rawDB(t, path)
	for _, trigger := range list(t, db, `SELECT name FROM sqlite_schema WHERE type = 'trigger' AND (tbl_name LIKE 'ledger%' OR tbl_name LIKE 'meter%' OR tbl_name LIKE 'cost%')`) {
		made := list(t, db, `SELECT sql FROM sqlite_schema WHERE name = '`+trigger+`'`)
		exec(t, db, `DROP TRIGGER `+trigger)
		if a, err := verify(); err != nil || a.OK || a.Bad.Row != trigger {
			t.Errorf("without %s: %+v, %v", trigger, a.Bad, err)
		}
		exec(t, db, made[0])
	}
	must(t, db.Close())

	f := newForger(t, path, prices)
	for _, table := range slices.Concat(ledgerTables, []string{"cost_tags", "cost_tasks", "cost_hours", "cost_days"}) {
		keys := list(t, f.db, `SELECT name FROM pragma_table_info('`+table+`') WHERE pk > 0 ORDER BY pk`)
		columns := list(t, f.db, `SELECT name FROM pragma_table_info('`+table+`')`)
		rows, err := f.db.QueryContext(t.Context(), `SELECT * FROM `+table)
		must(t, err)
		var values [][]any
		for rows.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			must(t, rows.Scan(into...))
			values = append(values, row)
		}
		must(t, rows.Close())
		if len(values) == 0 && table != "ledger_tiles" && table != "cost_tags" { // which have tests of their own
			t.Errorf("there is nothing in %s", table)
		}
		for _, row := range values {
			f.row(table, columns, keys, row, all)
		}
	}
	if a, err := f.audit(); err != nil || !a.OK {
		t.Errorf("the ledger after all was taken back: %+v, %v", a.Bad, err)
	}
	t.Logf("%d changes; %d entries, rows %v", f.changes, a.Entries, a.Rows)
}

// row forges every column of a row, and then the row away.
func (f *forger) row(table string, columns, keys []string, row []any, all bool) {
	f.t.Helper()
	// Whatever is changed, all other columns say which row it is.
	for i, column := range columns {
		where, others := []string{}, []any{}
		for j, c := range columns {
			if j != i {
				where, others = append(where, c+" IS ?"), append(others, row[j])
			}
		}
		condition := strings.Join(where, " AND ")
		if table == "meter_cursors" && column == "price_list" && row[slices.Index(columns, "seq")] == int64(0) {
			continue // A list that nobody knows: the first entry will ask which list holds.
		}
		if table == "meter_cursors" && column == "arn" && row[0] == someTask {
			continue // No hash of before is of it.
		}
		for _, g := range forgeries(row[i], all) {
			f.forge(fmt.Sprintf("%s %v: %s is %v", table, row[:len(keys)], column, g),
				`UPDATE `+table+` SET `+column+` = ? WHERE `+condition, append([]any{g}, others...),
				`UPDATE `+table+` SET `+column+` = ? WHERE `+condition, append([]any{row[i]}, others...))
		}
	}
	condition := strings.Join(columns, " IS ? AND ") + " IS ?"
	f.forge(fmt.Sprintf("%s %v: it is gone", table, row[:len(keys)]), `DELETE FROM `+table+` WHERE `+condition, row,
		`INSERT INTO `+table+` VALUES (?`+strings.Repeat(", ?", len(row)-1)+`)`, row)
}

// Ensure that no byte that changes in a page of the ledger goes unnoticed, unless it
// is one that means nothing.
func TestRotten(t *testing.T) {
	dir := t.TempDir()
	prices := books(t, dir)
	path := filepath.Join(dir, "berth.db")
	db := rawDB(t, path)
	exec(t, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
	var pages []int64
	for _, page := range list(t, db, `SELECT pageno FROM dbstat WHERE name LIKE 'ledger%' OR name LIKE 'meter%' OR name LIKE 'sqlite_autoindex_ledger%'`) {
		n, err := strconv.ParseInt(page, 10, 64)
		must(t, err)
		pages = append(pages, n)
	}
	want := contents(db)
	must(t, db.Close())
	sound, err := os.ReadFile(path)
	must(t, err)
	found, harmless := 0, 0
	for range 400 {
		rotten := bytes.Clone(sound)
		at := (pages[rand.IntN(len(pages))]-1)*4096 + rand.Int64N(4096)
		rotten[at] ^= byte(1 + rand.IntN(255))
		must(t, os.WriteFile(path, rotten, 0o600))
		a, err := VerifyLedgerIn(t.Context(), path, rates(prices))
		if err != nil || !a.OK {
			found++
			continue
		}
		db, err := sql.Open("sqlite", fileURL(path))
		must(t, err)
		if got := contents(db); got != want {
			t.Errorf("byte %d of the file is %#x, the ledger reads otherwise, and nobody noticed", at, rotten[at])
		}
		must(t, db.Close())
		harmless++
	}
	if found < 50 {
		t.Errorf("only %d changes of 400 meant anything", found)
	}
	t.Logf("%d found, %d in bytes that mean nothing", found, harmless)
}

// contents is everything that the tables of the ledger say, read along the tables
// and not along their indexes.
func contents(db *sql.DB) string {
	var b strings.Builder
	for _, table := range ledgerTables {
		rows, err := db.Query(`SELECT * FROM ` + table + ` NOT INDEXED`)
		if err != nil {
			return err.Error()
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				return err.Error()
			}
			if table == "meter_cursors" && row[0] == someTask {
				row[2] = "an ARN that is under no hash"
			}
			fmt.Fprintln(&b, table, row)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err.Error()
		}
	}
	return b.String()
}

func list(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(context.WithoutCancel(t.Context()), query)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		var s string
		must(t, rows.Scan(&s))
		all = append(all, s)
	}
	must(t, rows.Err())
	return all
}
