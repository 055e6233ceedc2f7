package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"

	"berth/billing"
)

// carryLedger carries the entries of a ledger of schema 4 over to that of 5, in
// the order of their time. What they say, and so their bodies, stay as they are.
// An entry that is not what its hash says is not carried over: nothing may vouch
// for it again. The migration fails then and changes nothing.
func carryLedger(ctx context.Context, tx *sql.Tx) error {
	b, err := openBook(ctx, tx)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, task, account, sku, seq, kind, from_at, to_at, units, rate, price_list, amount, hash
			FROM old_entries ORDER BY from_at, id`)
	if err != nil {
		return fmt.Errorf("read old entries: %w", err)
	}
	defer rows.Close()
	batch := make([]billing.Entry, 0, 1000)
	for rows.Next() {
		e, err := scanOldEntry(rows)
		if err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) == cap(batch) {
			if err := b.enter(ctx, tx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read old entries: %w", err)
	}
	rows.Close() // A table that is read cannot be dropped.
	if err := b.enter(ctx, tx, batch); err != nil {
		return err
	}
	for _, q := range []string{`DROP TABLE old_postings`, `DROP TABLE old_entries`, `DROP TABLE old_cursors`} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

func scanOldEntry(rows *sql.Rows) (e billing.Entry, err error) {
	var from, to int64
	var hash string
	if err := rows.Scan(&e.ID, &e.Task, &e.Account, &e.SKU, &e.Seq, &e.Kind, &from, &to, &e.Units, &e.Rate, &e.PriceList, &e.Amount, &hash); err != nil {
		return e, fmt.Errorf("scan old entry: %w", err)
	}
	e.From, e.To, e.Measured = timeOf(from), timeOf(to), timeOf(to)
	e.Booked = e.Natural()
	if sum := sha256.Sum256(e.Body()); hex.EncodeToString(sum[:]) != hash {
		return e, fmt.Errorf("ledger entry %s is not what its hash says; the release that wrote it verifies the ledger", e.ID)
	}
	return e, nil
}
