package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"modernc.org/sqlite"

	"berth/fault"
	"berth/task"
)

// openFlaky opens a store in a fresh directory whose commits f may spoil.
func openFlaky(t *testing.T, f *flaky) *Store {
	t.Helper()
	c := Config{Path: filepath.Join(t.TempDir(), "berth.db"), Log: zap.NewNop(), Now: time.Now}
	s, err := open(t.Context(), c, func(c driver.Connector) driver.Connector { f.Connector = c; return f })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// flaky makes connections whose commits fail when it is told so.
type flaky struct {
	driver.Connector
	mode atomic.Int32
}

const (
	well       = iota
	lost       // nothing is committed, and the commit fails
	unanswered // all is committed, and the commit fails
)

func (f *flaky) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := f.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return flakyConn{c.(*steadyConn), f}, nil
}

type flakyConn struct {
	*steadyConn
	flaky *flaky
}

func (c flakyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.steadyConn.BeginTx(ctx, opts)
	return flakyTx{tx, c.flaky}, err
}

type flakyTx struct {
	driver.Tx
	flaky *flaky
}

func (tx flakyTx) Commit() error {
	switch tx.flaky.mode.Load() {
	case lost:
		return errors.Join(errors.New("input/output error"), tx.Rollback())
	case unanswered:
		return errors.Join(errors.New("input/output error"), tx.Tx.Commit())
	}
	return tx.Tx.Commit()
}

// set is a write of one setting.
func set(ctx context.Context, name string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error { return writeSetting(ctx, tx, name, "set") }
}

// wantSettings fails t unless of names exactly those in want are set.
func wantSettings(t *testing.T, s *Store, names, want string) {
	t.Helper()
	for _, name := range strings.Fields(names) {
		v, err := s.setting(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if is, should := v != "", strings.Contains(" "+want+" ", " "+name+" "); is != should {
			t.Errorf("setting %s is written: %t, want %t", name, is, should)
		}
	}
}

// hold occupies the writer until release is called. Call it in a bubble.
func hold(t *testing.T, s *Store) (release func()) {
	until := make(chan struct{})
	go s.write(t.Context(), func(*sql.Tx) error { <-until; return nil })
	synctest.Wait()
	return func() { close(until) }
}

// hangUp is what the SQL function hang_up calls.
var hangUp atomic.Pointer[context.CancelFunc]

// registerHangUp makes the function known, once in the life of the process.
var registerHangUp = sync.OnceFunc(func() {
	sqlite.MustRegisterScalarFunction("hang_up", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		(*hangUp.Load())()
		return int64(1), nil
	})
})

// Ensure whatever befalls one write of a group befalls no other: an error, a
// panic, and a caller who goes away while its statement runs.
func TestGroup(t *testing.T) {
	registerHangUp()
	for name, bad := range map[string]func(*testing.T, *sql.Tx) error{
		"error": func(t *testing.T, tx *sql.Tx) error {
			return errors.Join(set(t.Context(), "bad")(tx), errors.New("bad"))
		},
		"panic": func(t *testing.T, tx *sql.Tx) error { panic(set(t.Context(), "bad")(tx)) },
		"constraint": func(t *testing.T, tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO settings (name, value) VALUES ('bad', NULL)`)
			return err
		},
		"interrupt": func(t *testing.T, tx *sql.Tx) error {
			ctx, cancel := context.WithCancel(t.Context())
			hangUp.Store(&cancel)
			_, err := tx.ExecContext(ctx, `INSERT INTO settings WITH RECURSIVE n(i) AS (SELECT hang_up() UNION ALL SELECT i+1 FROM n
				WHERE i < 200000) SELECT 'bad' || i, i FROM n`)
			return errors.Join(err, errors.New("bad"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openFlaky(t, new(flaky))
				release := hold(t, s)
				results := make(map[string]chan error)
				for _, w := range []struct {
					name string
					do   func(*sql.Tx) error
				}{{"before", set(t.Context(), "before")}, {"bad", func(tx *sql.Tx) error { return bad(t, tx) }}, {"after", set(t.Context(), "after")}} {
					results[w.name] = make(chan error, 1)
					go func() { results[w.name] <- s.write(t.Context(), w.do) }()
					synctest.Wait()
				}
				release()
				if err := <-results["bad"]; err == nil || fault.KindOf(err) == fault.Unavailable {
					t.Errorf("the bad write: %v, want its own error", err)
				}
				if err := errors.Join(<-results["before"], <-results["after"]); err != nil {
					t.Errorf("its neighbours: %v", err)
				}
				wantSettings(t, s, "before bad bad1 after", "before after")
			})
		})
	}
}

// Ensure a caller whose time is up leaves the queue at once, and that what it
// wanted is not done.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openFlaky(t, new(flaky))
		release := hold(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := s.write(ctx, set(t.Context(), "late"))
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v, want unavailable after a second", time.Since(began), err)
		}
		release()
		if err := s.write(t.Context(), set(t.Context(), "next")); err != nil {
			t.Error(err)
		}
		wantSettings(t, s, "late next", "next")
	})
}

// Ensure a full queue holds callers back only as long as they want to wait.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openFlaky(t, new(flaky))
		release := hold(t, s)
		var done atomic.Int32
		for range queueMax {
			go func() {
				if err := s.write(t.Context(), func(*sql.Tx) error { return nil }); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.write(ctx, set(t.Context(), "excess")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("one more than the queue holds: %v", err)
		}
		release()
		synctest.Wait()
		if done.Load() != queueMax {
			t.Errorf("%d of %d were written", done.Load(), queueMax)
		}
		wantSettings(t, s, "excess", "")
	})
}

// Ensure that after a commit that failed nothing is written until the database
// was opened anew and found well, that reading goes on meanwhile, and that
// followers hear of what turns out to have been committed.
func TestCommitFails(t *testing.T) {
	for name, mode := range map[string]int32{"lost": lost, "unanswered": unanswered} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var disk flaky
				s := openFlaky(t, &disk)
				event := func(tx *sql.Tx) error { return s.tell(t.Context(), tx, "none", "{}") }
				heard := make(chan task.Seq, 8)
				go func() {
					for ev := range s.Follow(t.Context(), 0) {
						heard <- ev.Seq
					}
				}()
				write := func() error { return s.write(t.Context(), event) }
				if err := write(); err != nil {
					t.Fatal(err)
				}
				disk.mode.Store(mode)
				err := write()
				if fault.KindOf(err) != fault.Unavailable || strings.Contains(fault.Message(err), "nothing was changed") {
					t.Errorf("the commit that failed: %v", err)
				}
				disk.mode.Store(lost)
				for range 3 { // the disk stays unwell
					if err := write(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Message(err), "nothing was changed") {
						t.Errorf("a write after it: %v", err)
					}
					if _, err := s.setting(t.Context(), "any"); err != nil {
						t.Errorf("reading: %v", err)
					}
					time.Sleep(retryEvery)
					synctest.Wait()
				}
				if s.Refusing() == nil {
					t.Fatal("writes are accepted, and the disk is unwell")
				}
				disk.mode.Store(well)
				time.Sleep(retryEvery)
				synctest.Wait()
				want := task.Seq(1) // the first
				if mode == unanswered {
					want = 2
				}
				if len(heard) != int(want) {
					t.Errorf("heard of %d events when the disk was well again, want %d", len(heard), want)
				}
				if err := errors.Join(s.Refusing(), write()); err != nil {
					t.Fatalf("the disk is well: %v", err)
				}
				synctest.Wait()
				want++
				close(heard)
				last := task.Seq(0)
				for seq := range heard {
					if last++; seq != last {
						t.Errorf("heard of event %d after %d", seq, last-1)
					}
				}
				if last != want {
					t.Errorf("heard of %d events, want %d", last, want)
				}
			})
		})
	}
}

// Ensure a store that was closed says so, and that Close does what is queued.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "berth.db")
		s, err := Open(t.Context(), Config{Path: path, Log: zap.NewNop(), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		release := hold(t, s)
		queued, closed := make(chan error, 1), make(chan error, 1)
		go func() { queued <- s.write(t.Context(), set(t.Context(), "queued")) }()
		synctest.Wait()
		go func() { closed <- s.Close() }()
		synctest.Wait()
		release()
		if err := errors.Join(<-queued, <-closed); err != nil {
			t.Error(err)
		}
		if err := s.write(t.Context(), set(t.Context(), "late")); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("write after Close: %v", err)
		}
	})
}
