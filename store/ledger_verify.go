package store

import (
	"bytes"
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

// progress is a cursor, where its entries have led so far, and those that came
// before their turn.
type progress struct {
	stored billing.Cursor
	replay *billing.Replay
	early  map[int64]billing.Entry // by Seq
}

// take takes e and those that waited for it.
func (p *progress) take(e billing.Entry) error {
	if e.Seq != p.replay.Seq()+1 {
		if p.early == nil {
			p.early = make(map[int64]billing.Entry)
		}
		p.early[e.Seq] = e
		return nil
	}
	for ok := true; ok; e, ok = p.early[p.replay.Seq()+1] {
		if err := p.replay.Take(e); err != nil {
			return fmt.Errorf("ledger entry %s: %w", e.ID, err)
		}
		delete(p.early, e.Seq)
	}
	return nil
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
		all[cursorKey{string(c.Task), string(c.SKU)}] = &progress{stored: c, replay: billing.NewReplay(c)}
	}
	return all, nil
}

func verifyEntries(ctx context.Context, tx *sql.Tx, cursors map[cursorKey]*progress) error {
	rows, err := tx.QueryContext(ctx, `SELECT `+entryColumns+` FROM ledger_entries ORDER BY n`)
	if err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, _, stored, err := scanEntry(rows)
		if err != nil {
			return err
		}
		p := cursors[cursorKey{string(e.Task), string(e.SKU)}]
		if p == nil {
			return fmt.Errorf("ledger entry %s has no cursor", e.ID)
		}
		if hash := e.Hash(); !bytes.Equal(hash[:], stored) {
			return fmt.Errorf("ledger entry %s is not what its hash says", e.ID)
		}
		if e.Kind == billing.Reversal {
			continue
		}
		if err := p.take(e); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	for _, p := range cursors {
		if err := p.replay.Check(p.stored); err != nil {
			return fmt.Errorf("cursor of task %s for %s %w", p.stored.Task, p.stored.SKU, err)
		}
	}
	return nil
}

// verifyPostings checks that each entry has the sides that it must have.
func verifyPostings(ctx context.Context, tx *sql.Tx) error {
	var culprit string
	err := tx.QueryRowContext(ctx, `SELECT e.id FROM ledger_entries e WHERE
			EXISTS (SELECT sum(amount) FROM ledger_postings p JOIN ledger_accounts a ON a.id = p.account WHERE p.entry = e.n
				GROUP BY a.unit HAVING sum(amount) <> 0)
			OR NOT EXISTS (SELECT 1 FROM ledger_postings p JOIN ledger_accounts a ON a.id = p.account WHERE p.entry = e.n
				AND a.name = 'asset:unbilled:' || e.account AND p.amount = e.amount)
			ORDER BY e.n LIMIT 1`).Scan(&culprit)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("read postings: %w", err)
	}
	return fmt.Errorf("the postings of ledger entry %s are not its sides", culprit)
}
