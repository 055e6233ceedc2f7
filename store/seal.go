package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/note"

	"berth/billing/proof"
)

// seal signs what the ledger is after each commit that added to it.
type seal struct {
	signer   note.Signer
	verifier note.Verifier
	public   string   // what makes a verifier
	file     *os.File // checkpoints
	behind   bool     // the file lacks some that the database has
}

// openSeal opens the key and the checkpoints beside a database. What the file of
// checkpoints lacks, because the server died, is appended to it.
func openSeal(ctx context.Context, db *sql.DB, path string) (*seal, error) {
	var signed bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM ledger_checkpoints)`).Scan(&signed); err != nil {
		return nil, fmt.Errorf("look for checkpoints: %w", err)
	}
	dir := filepath.Dir(path)
	signer, public, err := openKey(dir, signed)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("open key of ledger: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, checkpointsFile), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	return &seal{signer: signer, verifier: verifier, public: public, file: f, behind: true}, nil
}

// checkpoint signs the ledger as it will be when tx is committed, and returns the
// note; nothing if the group adds nothing.
func (s *Store) checkpoint(ctx context.Context, tx *sql.Tx) (signed []byte, next *proof.Frontier, err error) {
	if s.book == nil || len(s.book.leaves) == 0 {
		return nil, nil, nil
	}
	next = s.book.frontier.Clone()
	for _, leaf := range s.book.leaves {
		for _, t := range next.Append(leaf) {
			if err := insertTile(ctx, tx, t); err != nil {
				return nil, nil, err
			}
		}
	}
	signed, err = s.sign(ctx, tx, next)
	return signed, next, err
}

func insertTile(ctx context.Context, tx *sql.Tx, t proof.Tile) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO ledger_tiles (level, n, data) VALUES (?, ?, ?)`, t.Level, t.N, t.Data); err != nil {
		return fmt.Errorf("insert tile %d of level %d: %w", t.N, t.Level, err)
	}
	return nil
}

// sign writes the checkpoint of a tree.
func (s *Store) sign(ctx context.Context, tx *sql.Tx, f *proof.Frontier) ([]byte, error) {
	c := proof.Checkpoint{Origin: s.seal.verifier.Name(), Size: f.Size(), Root: f.Root()}
	signed, err := c.Sign(s.seal.signer)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO ledger_checkpoints (size, root, note) VALUES (?, ?, ?)`, c.Size, c.Root[:], string(signed)); err != nil {
		return nil, fmt.Errorf("insert checkpoint: %w", err)
	}
	return signed, nil
}

// sealCarried signs entries that were carried over from before there was a key,
// and makes their tiles. If all is signed, it does nothing.
func (s *Store) sealCarried(ctx context.Context) error {
	return s.write(ctx, func(tx *sql.Tx) error {
		var size, signed int64
		err := tx.QueryRowContext(ctx, `SELECT coalesce((SELECT max(n) + 1 FROM ledger_entries), 0), coalesce((SELECT max(size) FROM ledger_checkpoints), 0)`).Scan(&size, &signed)
		if err != nil {
			return fmt.Errorf("read size of ledger: %w", err)
		}
		if size == 0 || signed > 0 {
			return nil
		}
		f := new(proof.Frontier)
		if err := appendLeaves(ctx, tx, f, func(t proof.Tile) error { return insertTile(ctx, tx, t) }); err != nil {
			return err
		}
		_, err = s.sign(ctx, tx, f)
		return err
	})
}

// appendLeaves appends all entries that f does not have.
func appendLeaves(ctx context.Context, tx *sql.Tx, f *proof.Frontier, full func(proof.Tile) error) error {
	rows, err := tx.QueryContext(ctx, `SELECT hash FROM ledger_entries WHERE n >= ? ORDER BY n`, f.Size())
	if err != nil {
		return fmt.Errorf("read leaves: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var hash sql.RawBytes
		if err := rows.Scan(&hash); err != nil {
			return fmt.Errorf("scan leaf: %w", err)
		}
		for _, t := range f.Append(proof.Hash(hash)) {
			if err := full(t); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// openFrontier reads the right edge of the tree: full tiles, and the leaves
// behind them.
func openFrontier(ctx context.Context, tx *sql.Tx) (*proof.Frontier, error) {
	f := new(proof.Frontier)
	rows, err := tx.QueryContext(ctx, `SELECT n, data FROM ledger_tiles WHERE level = 1 ORDER BY n`)
	if err != nil {
		return nil, fmt.Errorf("read tiles: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		t := proof.Tile{Level: 1}
		if err := rows.Scan(&t.N, &t.Data); err != nil {
			return nil, fmt.Errorf("scan tile: %w", err)
		}
		if err := f.AppendTile(t); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read tiles: %w", err)
	}
	return f, appendLeaves(ctx, tx, f, func(t proof.Tile) error {
		return fmt.Errorf("tile %d of level %d is missing", t.N, t.Level)
	})
}

// published appends a note to the file of checkpoints. It is not synced: what a
// power cut takes of the file is in the database, and comes back when it is opened.
func (s *Store) published(ctx context.Context, signed []byte) {
	if signed == nil {
		return
	}
	if !s.seal.behind {
		if _, err := s.seal.file.Write(proof.Record(signed)); err == nil {
			return
		}
		s.seal.behind = true
	}
	if err := s.seal.catchUp(ctx, s.reads); err != nil {
		s.Log.Error("checkpoint not written beside the database, will be tried again", zap.Error(err))
	}
}

// tailSize holds more than one record of the file of checkpoints.
const tailSize = 8 << 10

// catchUp appends to the file what it lacks, and cuts a torn record off before.
func (s *seal) catchUp(ctx context.Context, db *sql.DB) error {
	end, err := s.file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	tail := make([]byte, min(end, tailSize))
	if _, err := s.file.ReadAt(tail, end-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	if int64(len(tail)) < end { // It begins in the middle of a record.
		if i := bytes.Index(tail, []byte("\n\n"+s.verifier.Name()+"\n")); i >= 0 {
			tail = tail[i+2:]
		}
	}
	var last proof.Checkpoint
	for {
		signed, rest, ok := proof.Next(tail)
		if !ok {
			break
		}
		if last, err = proof.Open(signed, s.verifier); err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		tail = rest
	}
	if len(tail) > 0 {
		if err := s.file.Truncate(end - int64(len(tail))); err != nil {
			return fmt.Errorf("cut torn checkpoint off: %w", err)
		}
	}
	rows, err := db.QueryContext(ctx, `SELECT note FROM ledger_checkpoints WHERE size > ? ORDER BY size`, last.Size)
	if err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	defer rows.Close()
	var missing []byte
	for rows.Next() {
		var signed []byte
		if err := rows.Scan(&signed); err != nil {
			return fmt.Errorf("scan checkpoint: %w", err)
		}
		missing = append(missing, proof.Record(signed)...)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	if _, err := s.file.Write(missing); err != nil {
		return fmt.Errorf("write checkpoints: %w", err)
	}
	s.behind = false
	return nil
}
