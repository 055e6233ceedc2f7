package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// pragmas are set on every connection. A mapped file turns an I/O error into a
// SIGBUS, so nothing is mapped.
const pragmas = "?_pragma=busy_timeout(5000)&_pragma=foreign_keys(ON)&_pragma=mmap_size(0)"

// connectWriter opens the connection that writes. synchronous=FULL makes a commit
// survive a power cut; in WAL mode NORMAL would only survive our own death. As
// nothing else writes, nothing else checkpoints. What a savepoint needs to go back is
// kept in memory, since as a file it was a third of the work of posting, and so are
// 32 MiB of pages.
func connectWriter(path string, wrap func(driver.Connector) driver.Connector) (*sql.DB, error) {
	c, err := sqlite.NewConnector(fileURL(path) + pragmas +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)&_txlock=immediate" +
		"&_pragma=temp_store(MEMORY)&_pragma=cache_size(-32768)")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db := sql.OpenDB(wrap(steadyConnector{c}))
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	return db, nil
}

// connectReaders opens the connections that read.
func connectReaders(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", fileURL(path)+pragmas+"&_pragma=query_only(ON)&mode=ro")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return db, nil
}

func fileURL(path string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() }

// steadyConnector makes steady connections.
type steadyConnector struct{ driver.Connector }

func (c steadyConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of the driver is a %T, which cannot do all it must", conn), conn.Close())
	}
	return &steadyConn{sqliteConn: full, prepared: make(map[string]driver.Stmt)}, nil
}

// sqliteConn is what database/sql can use of a connection.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// steadyConn is a connection whose statements run to their end, also when the
// context of the caller ends meanwhile. SQLite undoes the whole transaction when
// a statement that writes is interrupted, and in a group that would undo what
// others wrote (sqlite.org, C interface, sqlite3_interrupt).
//
// It keeps the statements that it has executed, since parsing them is a quarter
// of the work of a write. Their texts are constants of this package, so there are
// few.
type steadyConn struct {
	sqliteConn
	prepared map[string]driver.Stmt
}

func (c *steadyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx = context.WithoutCancel(ctx)
	stmt := c.prepared[query]
	if stmt == nil {
		if len(args) == 0 && len(query) > longestPlain { // A migration: it runs once.
			return c.sqliteConn.ExecContext(ctx, query, args)
		}
		var err error
		if stmt, err = c.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		c.prepared[query] = stmt
	}
	exec, ok := stmt.(driver.StmtExecContext)
	if !ok {
		return nil, fmt.Errorf("a statement of the driver is a %T, which cannot be executed", stmt)
	}
	return exec.ExecContext(ctx, args)
}

// longestPlain is the length of the longest statement without arguments that is
// executed more than once, "ROLLBACK TO one", and then some.
const longestPlain = 32

func (c *steadyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.sqliteConn.QueryContext(context.WithoutCancel(ctx), query, args)
}

func (c *steadyConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.sqliteConn.PrepareContext(context.WithoutCancel(ctx), query)
}

func (c *steadyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.sqliteConn.BeginTx(context.WithoutCancel(ctx), opts)
}

func (c *steadyConn) Close() error {
	var errs []error
	for _, stmt := range c.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// code returns SQLite's primary result code of err, 0 if it has none
// (sqlite.org/rescode.html).
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// diskFailed reports whether err says that the disk, or what is on it, cannot be
// relied on: then it is not only the statement that failed.
func diskFailed(err error) bool {
	switch code(err) {
	case sqlitelib.SQLITE_FULL, sqlitelib.SQLITE_IOERR, sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_READONLY,
		sqlitelib.SQLITE_CORRUPT, sqlitelib.SQLITE_NOTADB, sqlitelib.SQLITE_NOMEM, sqlitelib.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// locked reports whether err says that another program holds the database.
func locked(err error) bool { return code(err) == sqlitelib.SQLITE_BUSY }
