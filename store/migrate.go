package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings db to the newest schema. Each file runs once, in the order of
// its number, in a transaction of its own together with the note that it ran. A
// file that has been released is never edited; add another, and its test.
func migrate(ctx context.Context, db *sql.DB, migrations fs.FS) error {
	files, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	var have int
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&have); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if have > len(files) {
		return fmt.Errorf("the database has schema %d and this program knows %d: it was written by a newer Berth", have, len(files))
	}
	for i, file := range files[have:] {
		script, err := fs.ReadFile(migrations, file)
		if err != nil {
			return err
		}
		version := fmt.Sprintf("PRAGMA user_version = %d", have+i+1)
		run := inTx
		if unbound[path.Base(file)] {
			run = withoutForeignKeys
		}
		if err := run(ctx, db, string(script), carry[path.Base(file)], version); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// carry is what a migration does after its script and SQL cannot say.
var carry = map[string]func(context.Context, *sql.Tx) error{
	"0005_ledger.sql": carryLedger,
	"0009_costs.sql":  countAll,
}

// unbound are the migrations that put another table in the place of one that is
// referred to (sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema
// Changes").
var unbound = map[string]bool{"0013_ledger_blocks.sql": true}

// withoutForeignKeys is inTx with foreign keys off, which are checked at its end.
func withoutForeignKeys(ctx context.Context, db *sql.DB, script string, then func(context.Context, *sql.Tx) error, version string) error {
	if _, err := db.ExecContext(ctx, `PRAGMA foreign_keys = OFF`); err != nil {
		return err
	}
	err := inTx(ctx, db, script, func(ctx context.Context, tx *sql.Tx) error {
		if then != nil {
			if err := then(ctx, tx); err != nil {
				return err
			}
		}
		var table string
		err := tx.QueryRowContext(ctx, `SELECT "table" FROM pragma_foreign_key_check LIMIT 1`).Scan(&table)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("a row of %s refers to one that does not exist", table)
		}
		return err
	}, version)
	_, on := db.ExecContext(ctx, `PRAGMA foreign_keys = ON`)
	return errors.Join(err, on)
}

func inTx(ctx context.Context, db *sql.DB, script string, then func(context.Context, *sql.Tx) error, version string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit

	if _, err := tx.ExecContext(ctx, script); err != nil {
		return err
	}
	if then != nil {
		if err := then(ctx, tx); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, version); err != nil {
		return err
	}
	return tx.Commit()
}
