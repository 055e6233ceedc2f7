package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/fault"
	"berth/task"
)

// mortal makes connections that die after some statements that write, and with them
// everything that wants to write afterwards.
type mortal struct {
	driver.Connector
	left      int  // statements and commits until then
	committed bool // dying at a commit, it takes effect
	dead      bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) Connect(ctx context.Context) (driver.Conn, error) {
	if m.dead {
		return nil, errDead
	}
	c, err := m.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return mortalConn{c.(*steadyConn), m}, nil
}

// step reports whether one more may be made.
func (m *mortal) step() bool {
	if m.left--; m.left < 0 {
		m.dead = true
	}
	return !m.dead
}

type mortalConn struct {
	*steadyConn
	m *mortal
}

func (c mortalConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !c.m.step() {
		return nil, errDead
	}
	return c.steadyConn.ExecContext(ctx, query, args)
}

func (c mortalConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.m.dead {
		return nil, errDead
	}
	tx, err := c.steadyConn.BeginTx(ctx, opts)
	return mortalTx{tx, c.m}, err
}

type mortalTx struct {
	driver.Tx
	m *mortal
}

func (tx mortalTx) Commit() error {
	if tx.m.step() {
		return tx.Tx.Commit()
	}
	if tx.m.committed {
		return errors.Join(tx.Tx.Commit(), errDead)
	}
	return errors.Join(tx.Tx.Rollback(), errDead)
}

// Ensure that wherever the process dies, between any two statements that write, the
// next one goes on, everything is charged to the nano and once, and the ledger is
// sound.
func TestDeath(t *testing.T) {
	for _, committed := range []bool{false, true} {
		deaths := 0
		for left := 0; ; left++ {
			l := &life{t: t, mortal: mortal{left: left, committed: committed}}
			died := l.live()
			if t.Failed() {
				t.Fatalf("died after %d writes, committed: %t", left, committed)
			}
			if !died {
				break
			}
			deaths++
		}
		if deaths < 100 {
			t.Errorf("only %d places to die in", deaths)
		}
		t.Logf("%d deaths, committed: %t", deaths, committed)
	}
}

// life is a meter by hand, on a store that dies.
type life struct {
	mortal
	t       *testing.T
	dir     string
	now     time.Time
	store   *Store
	died    bool
	prices  billingtest.Catalog
	samples []task.Sample
	posted  []billingtest.Posted
	tasks   []task.Task
}

func (l *life) open() {
	s, err := open(context.Background(), Config{Path: filepath.Join(l.dir, "berth.db"), Log: zap.NewNop(), Now: func() time.Time { return l.now }},
		func(c driver.Connector) driver.Connector { l.Connector = c; return &l.mortal })
	must(l.t, err)
	l.store = s
}

const immortal = 1 << 30

// try does something until it is done. It may die once on the way.
func (l *life) try(f func() error) {
	l.t.Helper()
	for {
		err := f()
		if err == nil {
			return
		}
		if !l.dead {
			l.t.Fatal(err)
		}
		l.store.Close()
		// A power cut takes the end of what is not synced.
		if path := filepath.Join(l.dir, checkpointsFile); rand.IntN(2) == 0 {
			if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
				must(l.t, os.WriteFile(path, text[:rand.IntN(len(text))], 0o644))
			}
		}
		l.died, l.dead, l.left = true, false, immortal
		l.open()
	}
}

// move moves every cursor of every task, as the meter does: from where the ledger
// says that it is.
func (l *life) move(f func(billing.Cursor, billing.Terms, []billing.Entry) (billing.Cursor, []billing.Entry)) {
	l.t.Helper()
	ctx := context.Background()
	for _, tk := range l.tasks {
		l.try(func() error {
			cursors, err := l.store.Cursors(ctx, tk.ID)
			if err != nil {
				return err
			}
			past, err := l.store.Entries(ctx, tk.ID)
			if err != nil {
				return err
			}
			closed, err := l.store.Closed(ctx)
			if err != nil {
				return err
			}
			terms := billing.Terms{Prices: &l.prices, Closed: closed, Now: l.now, Used: func(k billing.SKU, from, to time.Time) (int64, time.Time) {
				return billing.Used(k, tk.PullStartedAt, l.samples, from, to)
			}}
			var moves []billing.Move
			if len(cursors) == 0 {
				for _, c := range billing.Open(tk, &l.prices) {
					next, entries := f(c, terms, nil)
					moves = append(moves, billing.Move{New: next, Entries: entries})
				}
			}
			for _, c := range cursors {
				if next, entries := f(c, terms, past); next != c {
					moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
				}
			}
			return l.store.Post(ctx, 1, moves)
		})
	}
}

func (l *life) advance(from, to time.Time) {
	l.t.Helper()
	l.now = to
	l.move(func(c billing.Cursor, t billing.Terms, _ []billing.Entry) (billing.Cursor, []billing.Entry) {
		return c.Advance(to, t)
	})
	l.posted = append(l.posted, billingtest.Posted{From: from, To: to, Lists: l.prices.Lists()})
}

// live lives through the charges of two tasks and reports whether it died.
func (l *life) live() bool {
	ctx := context.Background()
	dir, err := os.MkdirTemp(ramdisk(), "berth-death-")
	must(l.t, err)
	defer os.RemoveAll(dir)
	begun := time.Date(2026, 10, 31, 22, 40, 0, 0, time.UTC)
	at := func(m time.Duration) time.Time { return begun.Add(m * time.Minute) }
	left := l.left
	l.dir, l.now, l.left = dir, begun, immortal
	l.open() // Migrations have a test of their own.
	l.left = left

	opening := l.prices.Holding(begun)
	l.prices.Add(at(50), 150)
	for i := range 2 {
		tk := billingtest.Task(begun)
		if i == 1 {
			tk.Ephemeral = &task.EphemeralStorage{SizeInGiB: 30}
		}
		l.tasks = append(l.tasks, tk)
	}
	for i := range 15 {
		l.samples = append(l.samples, task.Sample{At: at(time.Duration(i) * 11), Counters: task.Counters{CPUNanos: uint64(i) * 1e11, WorkingSetBytes: 200 << 20}})
	}
	l.advance(begun, at(20))
	l.advance(at(20), at(80)) // midnight, after the price has changed
	l.now = at(81)
	l.try(func() error { _, err := l.store.ClosePeriod(ctx, "2026-10"); return err })
	l.prices.Add(at(70), 200) // It has begun, and holds from what is posted on.
	l.advance(at(80), at(140))
	end := at(75) // long before, in what is closed
	l.now = at(150)
	l.move(func(c billing.Cursor, t billing.Terms, past []billing.Entry) (billing.Cursor, []billing.Entry) {
		return c.Close(end, t, past)
	})
	var first billing.Entry
	l.try(func() error {
		es, err := l.store.Entries(ctx, l.tasks[0].ID)
		if err != nil {
			return err
		}
		first = es[0]
		_, err = l.store.Reverse(ctx, first.ID, "it was a trial")
		if fault.KindOf(err) == fault.Conflict { // It was done, and the answer was lost.
			err = nil
		}
		return err
	})
	for i, tk := range l.tasks {
		entries, err := l.store.Entries(ctx, tk.ID)
		must(l.t, err)
		for _, r := range billing.Reserved(tk) {
			var sum billing.Money
			for _, e := range entries {
				if e.SKU == r.SKU {
					sum += e.Amount
				}
			}
			want := billingtest.Worth(r.SKU, r.Size, begun, end, opening, l.posted)
			if i == 0 && r.SKU == first.SKU {
				want -= first.Amount
			}
			if sum != want {
				l.t.Errorf("%s of task %d: the ledger says %s, the oracle %s", r.SKU, i, sum, want)
			}
		}
	}
	l.left, l.dead = immortal, false
	a, err := l.store.VerifyLedger(ctx, nil)
	if err != nil || !a.OK {
		l.t.Errorf("the ledger: %+v, %v", a.Bad, err)
	}
	must(l.t, l.store.Verify(ctx))
	must(l.t, l.store.Close())
	return l.died
}

// ramdisk is where syncing costs nothing. That a sync is a sync is another test's
// matter.
func ramdisk() string {
	if s, err := os.Stat("/dev/shm"); err == nil && s.IsDir() {
		return "/dev/shm"
	}
	return ""
}
