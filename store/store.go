// Package store remembers, in order: it is the one database, and no other
// package knows SQL.
//
// Each change to a task and the event that tells of it are one transaction, so
// the journal is complete and in order, and an event that a reader sees has
// really happened and will still have happened after a power cut. All writing
// goes through one goroutine, which commits what has queued up as one group;
// reading goes past it, from snapshots.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"berth/task"
)

// Config is what Open needs. All fields are required.
type Config struct {
	Path  string // of the database file; its directory must exist
	Realm task.Realm
	Log   *zap.Logger
	Now   func() time.Time
}

// Store is an open database. Methods are safe for concurrent use.
type Store struct {
	Config
	writes  *sql.DB // one connection, used by the writer goroutine only
	reads   *sql.DB
	queue   chan *write
	grown   *signal // the journal has grown
	ended   chan struct{}
	closing context.CancelFunc
}

// leastVersion has the cure for the WAL-reset bug, which can corrupt databases
// that are written and checkpointed at once (sqlite.org, release 3.51.3).
const leastVersion = "3.51.3"

// readers is how many connections read side by side.
const readers = 4

// Open opens the database, brings it to the newest schema and starts its writer.
// A database that a newer program wrote is refused.
func Open(ctx context.Context, c Config) (*Store, error) {
	writes, err := connect(c.Path, "", 1)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, writes); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", c.Path, err), writes.Close())
	}
	reads, err := connect(c.Path, "&mode=ro", readers)
	if err != nil {
		return nil, errors.Join(err, writes.Close())
	}
	life, closing := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		Config: c, writes: writes, reads: reads,
		queue: make(chan *write, queueMax), grown: newSignal(),
		ended: make(chan struct{}), closing: closing,
	}
	go s.writer(life)
	return s, nil
}

// Close waits for what is queued and closes the database.
func (s *Store) Close() error {
	s.closing()
	<-s.ended
	return errors.Join(s.reads.Close(), s.writes.Close())
}

// connect opens a pool of connections. synchronous=FULL makes a commit survive a
// power cut; in WAL mode NORMAL would only survive our own death.
func connect(path, more string, connections int) (*sql.DB, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)&_pragma=mmap_size(0)&_txlock=immediate" + more
	if more != "" { // A read-only connection cannot set the journal mode, and need not.
		dsn = "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(5000)&_pragma=query_only(ON)" + more
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
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
	return migrate(ctx, db)
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

// Times are kept as integers, nanoseconds since 1970 in UTC; zero is no time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
