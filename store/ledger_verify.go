package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	sqlitelib "modernc.org/sqlite/lib"

	"berth/billing"
	"berth/fault"
)

// VerifyLedger works the whole ledger out again and compares it with what is
// written: that the pages of the file are sound and the triggers in place; that
// every entry is what its hash says, in its place, the one that its cursor would
// have made, at the rate of its price list where rates know it, and booked where it
// belongs; that it has its postings and no others; the tree over the entries and
// every checkpoint of it, in the database and in the file beside it; closed periods
// and reversals; and the sums of costs. What the facts of a task are cannot be worked
// out again: its row is gone when it is forgotten, and no hash is of them. The Audit names the first thing that is wrong. An error says that
// it could not be verified.
//
// It reads one snapshot, holds nobody up, and uses two CPUs. Memory grows with the
// tasks that run at once, not with the ledger. rates that are nil are those of the price
// lists in the database.
func (s *Store) VerifyLedger(ctx context.Context, rates billing.RateBook) (billing.Audit, error) {
	v, err := readPublicKey(filepath.Dir(s.Path))
	if err != nil {
		return billing.Audit{}, err
	}
	file, err := os.ReadFile(filepath.Join(filepath.Dir(s.Path), checkpointsFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return billing.Audit{}, fmt.Errorf("read checkpoints: %w", err)
	}
	if rates == nil {
		stored, err := s.StoredRates(ctx)
		if err != nil && ctx.Err() == nil {
			return billing.Audit{Bad: &billing.BadRow{Table: "price_lists", Row: "-", Why: err.Error()}}, nil
		}
		rates = func(list string, k billing.SKU) (billing.Rate, bool) {
			of, known := stored[list]
			return of[k], known
		}
	}
	a := &audit{db: s.reads, verifier: v, file: file, rates: rates, schema: true, rows: make(map[string]int64)}
	return a.verify(ctx, s.Path)
}

// verify runs the audit of the database at a path.
func (a *audit) verify(ctx context.Context, path string) (billing.Audit, error) {
	err := a.run(ctx)
	var bad *billing.BadRow
	switch {
	case ctx.Err() != nil:
		return billing.Audit{}, ctx.Err()
	case errors.As(err, &bad):
	case code(err) == sqlitelib.SQLITE_CORRUPT, code(err) == sqlitelib.SQLITE_NOTADB:
		bad = &billing.BadRow{Table: "file", Row: filepath.Base(path), Why: err.Error()}
	case err != nil:
		return billing.Audit{}, fmt.Errorf("verify ledger: %w", err)
	}
	return a.report(bad), nil
}

// VerifyLedgerIn verifies the ledger of the database at a path that no server uses,
// without changing it.
func VerifyLedgerIn(ctx context.Context, path string, rates billing.RateBook) (billing.Audit, error) {
	if _, err := os.Stat(path); err != nil {
		return billing.Audit{}, fault.Wrap(fault.NotFound, err, "there is no database: %v", err)
	}
	mode := "&mode=ro"
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() == 0 {
		mode += "&immutable=1" // Nothing is beside it, and nothing will be.
	}
	db, err := sql.Open("sqlite", fileURL(path)+pragmas+"&_pragma=query_only(ON)"+mode)
	if err != nil {
		return billing.Audit{}, fmt.Errorf("open %s: %w", path, err)
	}
	defer db.Close()
	var have int
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&have); err != nil {
		return billing.Audit{}, fault.Wrap(fault.Invalid, err, "%s cannot be read as a database: %v", path, err)
	}
	if want := schemaVersion(); have != want {
		return billing.Audit{}, fault.New(fault.Invalid, "the database has schema %d and this program verifies %d: use the Berth that wrote it, or start the server once", have, want)
	}
	s := &Store{Config: Config{Path: path}, reads: db}
	return s.VerifyLedger(ctx, rates)
}

// ledgerTables are the tables of the ledger, in the order of a report.
var ledgerTables = []string{"ledger_entries", "ledger_postings", "ledger_accounts", "meter_cursors", "ledger_periods", "ledger_tiles", "ledger_checkpoints"}

// verifySchema checks that the tables of the ledger and of costs, their indexes and
// triggers are those that the migrations make.
func verifySchema(ctx context.Context, q driver.QueryerContext) error {
	memory, err := sql.Open("sqlite", "file::memory:"+pragmas)
	if err != nil {
		return fmt.Errorf("open schema: %w", err)
	}
	defer memory.Close()
	memory.SetMaxOpenConns(1)
	if err := migrate(ctx, memory, migrations); err != nil {
		return fmt.Errorf("make schema: %w", err)
	}
	const query = `SELECT name, type || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY name`
	want := make(map[string]string)
	rows, err := memory.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return fmt.Errorf("scan schema: %w", err)
		}
		if ofLedger(text) {
			want[name] = text
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	err = all(ctx, q, query, func(r *rawRows) error {
		name, text := r.text(0), r.text(1)
		if !ofLedger(text) {
			return nil
		}
		if want[name] != text {
			return &billing.BadRow{Table: "schema", Row: name, Why: "it is not what Berth made"}
		}
		delete(want, name)
		return nil
	})
	if err != nil {
		return err
	}
	for name := range want {
		return &billing.BadRow{Table: "schema", Row: name, Why: "it is missing"}
	}
	return nil
}

// ofLedger reports whether a line of the schema is about a table of the ledger or of
// costs.
func ofLedger(text string) bool {
	fields := strings.Fields(text)
	for _, table := range slices.Concat(ledgerTables, costTables, []string{"ledger_blocks"}) {
		if len(fields) > 1 && fields[1] == table {
			return true
		}
	}
	return false
}

// schemaVersion is how many migrations there are.
func schemaVersion() int {
	files, _ := migrations.ReadDir("migrations")
	return len(files)
}
