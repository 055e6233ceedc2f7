package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"berth/billing"
	"berth/billing/proof"
	"berth/fault"
)

// withARN is entries with the ARN of their task, as scanEntry wants them.
const withARN = `SELECT ` + entryColumns + `, (SELECT arn FROM meter_cursors c WHERE c.task = e.task AND c.sku = e.sku) FROM ledger_entries e`

// Records returns a page of the ledger in its order, and the token of the next
// page, "" if there is none.
func (s *Store) Records(ctx context.Context, f billing.EntryFilter) ([]billing.Record, string, error) {
	after := int64(-1)
	if f.Token != "" {
		var err error
		if after, err = strconv.ParseInt(f.Token, 10, 64); err != nil {
			return nil, "", fault.At("nextToken", "it is not one that this server gave")
		}
	}
	where, args := []string{`n > ?1`}, []any{after}
	for _, c := range []struct {
		given     bool
		condition string
		arg       any
	}{
		{f.Task != "", `n IN ` + placesOf("?2"), string(f.Task)}, {f.SKU != "", `sku = ?`, string(f.SKU)}, {f.Kind != "", `kind = ?`, string(f.Kind)},
		{!f.From.IsZero(), `booked_at >= ?`, nanos(f.From)}, {!f.To.IsZero(), `booked_at < ?`, nanos(f.To)},
	} {
		if c.given {
			where, args = append(where, c.condition), append(args, c.arg)
		}
	}
	limit := max(1, f.Limit)
	rows, err := s.reader().QueryContext(ctx, withARN+` WHERE `+strings.Join(where, " AND ")+` ORDER BY n LIMIT ?`, append(args, limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("read entries: %w", err)
	}
	all, err := scanRecords(rows)
	if err != nil || len(all) <= limit {
		return all, "", err
	}
	return all[:limit], strconv.FormatInt(all[limit-1].N, 10), nil
}

func scanRecords(rows *sql.Rows) (all []billing.Record, err error) {
	defer rows.Close()
	for rows.Next() {
		var arn string
		e, n, _, err := scanEntry(rows, &arn)
		if err != nil {
			return nil, err
		}
		e.ARN = arn
		all = append(all, billing.Record{N: n, Entry: e})
	}
	return all, rows.Err()
}

// asker is a database or a transaction.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// record returns an entry. One that does not exist is fault.NotFound.
func record(ctx context.Context, q asker, id string) (billing.Record, error) {
	rows, err := q.QueryContext(ctx, withARN+` WHERE n = `+placeOf("?1"), id)
	if err != nil {
		return billing.Record{}, fmt.Errorf("read entry %s: %w", id, err)
	}
	found, err := scanRecords(rows)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no ledger entry %s", id)
	}
	if err != nil {
		return billing.Record{}, err
	}
	return found[0], nil
}

// Checkpoint returns the signed note of the ledger at a size, or the newest if size
// is 0. One that does not exist is fault.NotFound: checkpoints are made when
// something is committed.
func (s *Store) Checkpoint(ctx context.Context, size int64) (string, error) {
	query, args := `SELECT note FROM ledger_checkpoints WHERE size = ?`, []any{size}
	if size == 0 {
		query, args = `SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1`, nil
	}
	var signed string
	err := s.reader().QueryRowContext(ctx, query, args...).Scan(&signed)
	switch {
	case errors.Is(err, sql.ErrNoRows) && size == 0:
		return "", fault.New(fault.NotFound, "nothing was posted yet, so there is no checkpoint")
	case errors.Is(err, sql.ErrNoRows):
		return "", fault.New(fault.NotFound, "there is no checkpoint of size %d", size)
	case err != nil:
		return "", fmt.Errorf("read checkpoint: %w", err)
	}
	return signed, nil
}

// LedgerKey returns the public key of the ledger, as a verifier key of signed notes.
func (s *Store) LedgerKey() string { return s.seal.public }

// Inclusion proves that an entry is in the ledger as the newest checkpoint has it.
func (s *Store) Inclusion(ctx context.Context, id string) (proof.Inclusion, error) {
	e, err := record(ctx, s.reader(), id)
	if err != nil {
		return proof.Inclusion{}, err
	}
	signed, err := s.Checkpoint(ctx, 0)
	if err != nil {
		return proof.Inclusion{}, err
	}
	c, err := proof.Open([]byte(signed), s.seal.verifier)
	if err != nil {
		return proof.Inclusion{}, err
	}
	path, err := proof.ProveInclusion(tree{ctx, s.reader()}, c.Size, e.N)
	if err != nil {
		return proof.Inclusion{}, fmt.Errorf("prove entry %s: %w", id, err)
	}
	return proof.Inclusion{Kind: proof.KindInclusion, N: e.N, Body: string(e.Body()), Proof: path, Checkpoint: signed}, nil
}

// Consistency proves that the ledger has only grown from one checkpoint to another,
// which is the newest if newer is 0.
func (s *Store) Consistency(ctx context.Context, older, newer int64) (proof.Consistency, error) {
	if older < 1 || newer != 0 && newer < older {
		return proof.Consistency{}, fault.At("from", "it is the size of a checkpoint, from 1 to that of the other")
	}
	p := proof.Consistency{Kind: proof.KindConsistency}
	var err error
	if p.Old, err = s.Checkpoint(ctx, older); err != nil {
		return p, err
	}
	if p.New, err = s.Checkpoint(ctx, newer); err != nil {
		return p, err
	}
	c, err := proof.Open([]byte(p.New), s.seal.verifier)
	if err != nil {
		return p, err
	}
	if p.Proof, err = proof.ProveConsistency(tree{ctx, s.reader()}, c.Size, older); err != nil {
		return p, fmt.Errorf("prove growth from %d to %d: %w", older, c.Size, err)
	}
	return p, nil
}

// tree reads what is kept of the tree.
type tree struct {
	ctx context.Context
	db  *sql.DB
}

// Leaves is part of proof.Reader.
func (t tree) Leaves(from, n int64) ([]proof.Hash, error) {
	rows, err := t.db.QueryContext(t.ctx, `SELECT hash FROM ledger_entries WHERE n >= ? AND n < ? ORDER BY n`, from, from+n)
	if err != nil {
		return nil, fmt.Errorf("read leaves: %w", err)
	}
	defer rows.Close()
	all := make([]proof.Hash, 0, n)
	for rows.Next() {
		var hash sql.RawBytes
		if err := rows.Scan(&hash); err != nil {
			return nil, fmt.Errorf("scan leaf: %w", err)
		}
		all = append(all, proof.Hash(hash))
	}
	return all, rows.Err()
}

// Tile is part of proof.Reader.
func (t tree) Tile(level int, n int64) (data []byte, err error) {
	err = t.db.QueryRowContext(t.ctx, `SELECT data FROM ledger_tiles WHERE level = ? AND n = ?`, level, n).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return data, err
}
