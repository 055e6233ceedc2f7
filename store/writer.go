package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"berth/fault"
)

const (
	queueMax = 1024 // writes that wait; more callers wait for room
	groupMax = 512  // writes in one commit
)

// write is one caller's part of a group.
type write struct {
	ctx   context.Context
	do    func(tx *sql.Tx) error
	taken atomic.Bool // by the writer, or by the caller, who went away
	err   error
	done  chan struct{}
}

// write runs f in a transaction, together with what others write at the same
// time, and returns when that is durable. If f fails or panics, only what f did
// is undone. If ctx ends before f begins, f does not run and the error is
// fault.Unavailable; once f has begun, write waits for the outcome. f runs at
// most once, on the goroutine that does everybody's writing, so it must neither
// wait for anything nor commit.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	w := &write{ctx: ctx, do: f, done: make(chan struct{})}
	select {
	case s.queue <- w:
	case <-ctx.Done():
		return tooLate(ctx)
	case <-s.ended:
		return errClosed()
	}
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		if w.taken.CompareAndSwap(false, true) {
			return tooLate(ctx)
		}
	case <-s.ended:
		if w.taken.CompareAndSwap(false, true) {
			return errClosed()
		}
	}
	<-w.done
	return w.err
}

func tooLate(ctx context.Context) error {
	return fault.Wrap(fault.Unavailable, ctx.Err(), "the server did not come to it in time; nothing was changed")
}

func errClosed() error {
	return fault.New(fault.Unavailable, "the server is stopping; nothing was changed")
}

// writer commits groups of writes until ctx ends and the queue is empty.
func (s *Store) writer(ctx context.Context) {
	defer close(s.ended)
	var retry <-chan time.Time
	for {
		if retry == nil && s.Refusing() != nil {
			retry = time.After(retryEvery)
		}
		select {
		case w := <-s.queue:
			s.commit(s.group(w))
		case <-retry:
			retry = nil
			s.recover(ctx)
		case <-ctx.Done():
			select {
			case w := <-s.queue:
				s.commit(s.group(w))
				continue
			default:
				return
			}
		}
	}
}

// group returns w and what waits behind it. It does not wait for more: while one
// group is synced, the next gathers by itself.
func (s *Store) group(w *write) []*write {
	group := []*write{w}
	for len(group) < groupMax {
		select {
		case w := <-s.queue:
			group = append(group, w)
		default:
			return group
		}
	}
	return group
}

// commit runs a group as one transaction and answers its callers.
func (s *Store) commit(group []*write) {
	s.telling, s.noting = nil, false
	err := s.Refusing()
	if err == nil {
		err = s.transact(group)
	}
	for _, w := range group {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
	if err == nil && len(s.telling) > 0 {
		s.recent.add(s.telling)
		s.grown.broadcast()
	}
	if err == nil && s.noting {
		s.noted.broadcast()
	}
}

// transact runs a group as one transaction. Its error is everybody's.
func (s *Store) transact(group []*write) error {
	tx, err := s.run(group)
	switch {
	case err == nil:
		ctx := context.WithoutCancel(group[0].ctx)
		signed, next, sealing := s.checkpoint(ctx, tx)
		if sealing != nil {
			err = fault.Wrap(fault.Unavailable, sealing, "the server cannot write to its ledger now; nothing was changed")
			if rolled := tx.Rollback(); rolled != nil || diskFailed(sealing) {
				s.refuse(err)
			}
			break
		}
		if err = tx.Commit(); err == nil {
			s.book.committed(next)
			s.published(ctx, signed)
			return nil
		}
		err = fault.Wrap(fault.Unavailable, fmt.Errorf("commit: %w", err),
			"the server's disk failed, and whether this was done is not known; look before you repeat it")
		s.refuse(err)
	case locked(err):
		err = fault.Wrap(fault.Unavailable, err, "another program has locked the server's database; nothing was changed")
	default:
		err = fault.Wrap(fault.Unavailable, err, "the server cannot write to its disk now; nothing was changed")
		s.refuse(err)
	}
	s.book, s.tally, s.purse, s.seal.behind = nil, nil, nil, true // What is there is to be seen.
	s.Log.Error("group of writes not committed", zap.Int("writes", len(group)), zap.Error(err))
	return err
}

// run runs a group in a transaction, each write in a savepoint of its own, and
// returns the transaction. After an error nothing of the group has happened.
func (s *Store) run(group []*write) (_ *sql.Tx, err error) {
	ctx := context.WithoutCancel(group[0].ctx)
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			tx.Rollback() // If it cannot, SQLite has rolled back by itself.
		}
	}()
	for _, w := range group {
		if !w.taken.CompareAndSwap(false, true) {
			continue
		}
		if _, err := tx.ExecContext(ctx, `SAVEPOINT one`); err != nil {
			return nil, fmt.Errorf("savepoint: %w", err)
		}
		told, mark, spent := len(s.telling), s.book.mark(), s.purse.mark()
		if w.err = w.try(tx); w.err != nil {
			s.telling = s.telling[:told]
			s.book.rollBack(mark)
			s.tally = nil
			if s.purse.mark() != spent {
				s.purse = nil
			}
			if diskFailed(w.err) {
				return nil, w.err
			}
			if _, err := tx.ExecContext(ctx, `ROLLBACK TO one`); err != nil {
				return nil, fmt.Errorf("roll back: %w", errors.Join(err, w.err))
			}
		}
		if _, err := tx.ExecContext(ctx, `RELEASE one`); err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
	}
	return tx, nil
}

// try does w. A panic is the error of that write alone: the others in its group,
// and the server, have nothing to do with it.
func (w *write) try(tx *sql.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.do(tx)
}

// signal wakes everybody who waits for something to grow.
type signal struct {
	mu sync.Mutex
	c  chan struct{}
}

func newSignal() *signal { return &signal{c: make(chan struct{})} }

// next returns a channel that is closed at the next broadcast.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c
}

func (s *signal) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.c)
	s.c = make(chan struct{})
}
