package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"berth/fault"
)

// When a commit or the disk under it fails, the outcome is not known and a second
// try would prove nothing: after a failed sync the kernel may have thrown away
// what it could not write and report the next sync as a success (Rebello et al.,
// "Can Applications Recover from fsync Failures?", ATC 2020). So the store refuses
// to write until recover has moved everything it relies on to where it was
// written and synced afresh, and has read the whole database. Reading goes on.

// retryEvery is how often a store that refuses to write tries to get well.
const retryEvery = time.Second

// settingRecovered is written to see whether the disk takes it.
const settingRecovered = "recovered"

// Refusing returns why the store refuses to write now, of kind fault.Unavailable;
// nil if it does not.
func (s *Store) Refusing() error {
	if err := s.refusing.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *Store) refuse(cause error) {
	err := fault.Wrap(fault.Unavailable, cause, "the server cannot write to its disk now; nothing was changed")
	s.refusing.Store(&err)
}

// recover makes the store write again if the disk is well. Otherwise it changes
// nothing and can be repeated.
func (s *Store) recover(ctx context.Context) {
	err := s.reopen(ctx)
	if err != nil {
		s.Log.Warn("disk still unwell, writes are refused", zap.Error(err))
		return
	}
	s.refusing.Store(nil)
	s.recent.forget()
	s.grown.broadcast() // What a failed commit wrote may have turned out to be there.
	s.Log.Info("disk is well again, writes are accepted")
}

func (s *Store) reopen(ctx context.Context) error {
	db, err := s.connect()
	if err != nil {
		return err
	}
	// The new connection is there before the old one goes, so that the files beside
	// the database, which readers need, never go.
	var version int
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return errors.Join(fmt.Errorf("open anew: %w", err), db.Close())
	}
	if err := s.writes.Close(); err != nil {
		s.Log.Warn("failed connection not closed", zap.Error(err))
	}
	s.writes = db
	if err := checkpoint(ctx, db); err != nil {
		return err
	}
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check database: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check database: %s", verdict)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := writeSetting(ctx, tx, settingRecovered, s.Now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

var errInUse = errors.New("checkpoint: another program is using the database")

// checkpoint copies all that was committed from the log into the database, syncs
// it there, and empties the log. After that nothing depends on pages of the log
// that the kernel believes to be on disk and that are not. It is errInUse if others
// read or write.
func checkpoint(ctx context.Context, db *sql.DB) error {
	var busy, frames, copied int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &copied); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if busy != 0 {
		return errInUse
	}
	return nil
}
