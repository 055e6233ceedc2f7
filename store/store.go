// Package store remembers, in order: it is the one database, and no other
// package knows SQL.
//
// Each change to a task and the event that tells of it are one transaction, so
// the journal is complete and in order, and an event that a reader sees has
// really happened and will still have happened after a power cut. All writing
// goes through one goroutine, which commits what has queued up as one group;
// reading goes past it, from snapshots. When the disk fails, the store refuses to
// write, goes on reading, and tries by itself to get well again (see recovery.go).
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config is what Open needs. All fields are required.
type Config struct {
	Path string // of the database file; its directory must exist
	Log  *zap.Logger
	Now  func() time.Time
}

// Store is an open database. Methods are safe for concurrent use. What they wait
// for ends when their context does.
type Store struct {
	Config
	connect  func() (*sql.DB, error) // opens writes
	writes   *sql.DB                 // one connection, used by the writer goroutine only
	reads    *sql.DB
	queue    chan *write
	recent   recent
	telling  []told // events of the group that is being written; the writer's own
	book     *book  // nil: not read yet; the writer's own
	tally    *tally // nil: nothing is remembered; the writer's own
	purse    *purse // nil: not read yet; the writer's own
	seal     *seal
	grown    *signal // the journal has grown
	noted    *signal // notices were kept
	served   *signal // events of services were kept
	ruled    *signal // event rules were set or removed
	scaled   *signal // scalable targets or policies were changed
	noting   bool    // by the group that is being written; the writer's own
	refusing atomic.Pointer[error]
	ended    chan struct{}
	closing  context.CancelFunc
}

// leastVersion has the cure for the WAL-reset bug, which can corrupt databases
// that are written and checkpointed at once (sqlite.org, release 3.51.3).
const leastVersion = "3.51.3"

// readers is how many connections read side by side.
const readers = 4

// Open opens the database, brings it to the newest schema and starts its writer.
// A database that a newer program wrote is refused. A fresh one can be read by
// its owner only, since tasks carry secrets in their environment.
func Open(ctx context.Context, c Config) (*Store, error) {
	return open(ctx, c, func(c driver.Connector) driver.Connector { return c })
}

// open is Open with a wrapper around the connection that writes, for tests.
func open(ctx context.Context, c Config, wrap func(driver.Connector) driver.Connector) (*Store, error) {
	f, err := os.OpenFile(c.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	connect := func() (*sql.DB, error) { return connectWriter(c.Path, wrap) }
	writes, err := connect()
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, writes); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), writes.Close())
	}
	reads, err := connectReaders(c.Path)
	if err != nil {
		return nil, errors.Join(err, writes.Close())
	}
	seal, err := openSeal(ctx, writes, c.Path)
	if err != nil {
		return nil, errors.Join(err, reads.Close(), writes.Close())
	}
	life, closing := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		Config: c, connect: connect, writes: writes, reads: reads, seal: seal,
		queue: make(chan *write, queueMax), grown: newSignal(), noted: newSignal(), served: newSignal(),
		ruled: newSignal(), scaled: newSignal(),
		ended: make(chan struct{}), closing: closing,
	}
	if err := checkpoint(ctx, writes); err != nil && !errors.Is(err, errInUse) {
		s.refuse(err)
	}
	go s.writer(life)
	if err := s.sealCarried(ctx); err != nil && s.Refusing() == nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := seal.catchUp(ctx, reads); err != nil {
		c.Log.Error("checkpoints beside the database are not in order; verify the ledger", zap.Error(err))
	}
	return s, nil
}

// Close waits for what is queued and closes the database.
func (s *Store) Close() error {
	s.closing()
	<-s.ended
	return errors.Join(s.reads.Close(), s.writes.Close(), s.seal.file.Close())
}

func prepare(ctx context.Context, db *sql.DB) error {
	var version, mode string
	if err := db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version); err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	if olderThan(version, leastVersion) {
		return fmt.Errorf("SQLite is %s and must be at least %s", version, leastVersion)
	}
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return fmt.Errorf("read journal mode: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("the journal mode is %s and must be wal: does the file system have shared memory maps?", mode)
	}
	return migrate(ctx, db, migrations)
}

// olderThan compares versions of three numbers.
func olderThan(v, least string) bool {
	var a, b [3]int
	fmt.Sscanf(v, "%d.%d.%d", &a[0], &a[1], &a[2])
	fmt.Sscanf(least, "%d.%d.%d", &b[0], &b[1], &b[2])
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// reader returns the pool of connections that read.
func (s *Store) reader() *sql.DB { return s.reads }

// at is now, as the database keeps times.
func (s *Store) at() int64 { return nanos(s.Now()) }

// Times are kept as integers, nanoseconds since 1970 in UTC; zero is no time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// timeOf is the inverse of nanos.
func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
