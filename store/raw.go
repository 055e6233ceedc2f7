package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// rawRows are rows as the driver gives them. database/sql would spend as much on
// each value again to convert it.
type rawRows struct {
	rows   driver.Rows
	values []driver.Value
	wrong  error // a value that was not of its type
}

// raw runs f with the driver's connection in a transaction that reads one snapshot.
func raw(ctx context.Context, db *sql.DB, f func(driver.QueryerContext) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
	return conn.Raw(func(c any) error {
		q, ok := c.(driver.QueryerContext)
		if !ok {
			return fmt.Errorf("a connection of the driver is a %T, which cannot be asked", c)
		}
		return f(q)
	})
}

// query runs a query. Its rows must be closed.
func query(ctx context.Context, q driver.QueryerContext, text string, args ...any) (*rawRows, error) {
	named := make([]driver.NamedValue, len(args))
	for i, a := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	rows, err := q.QueryContext(ctx, text, named)
	if err != nil {
		return nil, err
	}
	return &rawRows{rows: rows, values: make([]driver.Value, len(rows.Columns()))}, nil
}

// next goes to the next row; false after the last.
func (r *rawRows) next() (bool, error) {
	err := r.rows.Next(r.values)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

func (r *rawRows) close() { r.rows.Close() }

// number, text and blob return a value. If it is of another type, they note it.
func (r *rawRows) number(i int) int64 {
	n, ok := r.values[i].(int64)
	r.check(i, ok)
	return n
}

func (r *rawRows) text(i int) string {
	s, ok := r.values[i].(string)
	r.check(i, ok)
	return s
}

func (r *rawRows) blob(i int) []byte {
	b, ok := r.values[i].([]byte)
	r.check(i, ok)
	return b
}

func (r *rawRows) check(i int, ok bool) {
	if !ok && r.wrong == nil {
		r.wrong = fmt.Errorf("the value of %s is a %T", r.rows.Columns()[i], r.values[i])
	}
}

// all calls f for each row of a query.
func all(ctx context.Context, q driver.QueryerContext, text string, f func(r *rawRows) error, args ...any) error {
	r, err := query(ctx, q, text, args...)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
	}
}
