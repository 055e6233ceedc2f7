package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"berth/billing"
)

// VerifyLedger works the books out again from what the cursors say and compares
// them with what is written, row by row: bodies and their hashes, both sides of
// every entry, and that the intervals of each task and SKU follow one another
// from the start of the charge to where the cursor stands. It names the first
// row that is wrong. Entries are read from one snapshot and one at a time, so
// it can run beside a busy server.
func (s *Store) VerifyLedger(ctx context.Context) error {
	tx, err := s.reader().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	cursors, err := allCursors(ctx, tx)
	if err != nil {
		return err
	}
	if err := verifyEntries(ctx, tx, cursors); err != nil {
		return err
	}
	return verifyPostings(ctx, tx)
}

type cursorKey struct {
	task, sku string
}

// progress is a cursor, and where its entries have led so far.
type progress struct {
	stored, worked billing.Cursor
}

func allCursors(ctx context.Context, tx *sql.Tx) (map[cursorKey]*progress, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+cursorColumns+` FROM meter_cursors`)
	if err != nil {
		return nil, fmt.Errorf("read cursors: %w", err)
	}
	cs, err := scanCursors(rows)
	if err != nil {
		return nil, err
	}
	all := make(map[cursorKey]*progress, len(cs))
	for _, c := range cs {
		all[cursorKey{string(c.Task), string(c.SKU)}] = &progress{stored: c, worked: c.Rewound()}
	}
	return all, nil
}

func verifyEntries(ctx context.Context, tx *sql.Tx, cursors map[cursorKey]*progress) error {
	rows, err := tx.QueryContext(ctx, `SELECT `+entryColumns+` FROM ledger_entries ORDER BY task, sku, seq`)
	if err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, hash, err := scanEntry(rows)
		if err != nil {
			return err
		}
		p := cursors[cursorKey{string(e.Task), string(e.SKU)}]
		if p == nil {
			return fmt.Errorf("ledger entry %s has no cursor", e.ID)
		}
		if e.Hash() != hash {
			return fmt.Errorf("ledger entry %s is not what its hash says", e.ID)
		}
		if err := p.worked.Replay(e); err != nil {
			return fmt.Errorf("ledger entry %s: %w", e.ID, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	for _, p := range cursors {
		if err := p.stored.Agrees(p.worked); err != nil {
			return fmt.Errorf("cursor of task %s for %s: %w", p.stored.Task, p.stored.SKU, err)
		}
	}
	return nil
}

// verifyPostings checks that each entry has the two sides that it must have.
func verifyPostings(ctx context.Context, tx *sql.Tx) error {
	var culprit string
	err := tx.QueryRowContext(ctx, `SELECT e.id FROM ledger_entries e WHERE
			(SELECT count(*) FROM ledger_postings p WHERE p.entry = e.id) <> 2
			OR (SELECT sum(amount) FROM ledger_postings p WHERE p.entry = e.id) <> 0
			OR NOT EXISTS (SELECT 1 FROM ledger_postings p WHERE p.entry = e.id AND p.unit = 'USD'
				AND p.account = 'asset:unbilled:' || e.account AND p.amount = e.amount)
			OR NOT EXISTS (SELECT 1 FROM ledger_postings p WHERE p.entry = e.id AND p.unit = 'USD'
				AND p.account = 'income:' || e.sku AND p.amount = -e.amount)
			ORDER BY e.id LIMIT 1`).Scan(&culprit)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read postings: %w", err)
	}
	return fmt.Errorf("the postings of ledger entry %s are not its two sides", culprit)
}
