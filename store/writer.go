package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
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
	ctx  context.Context
	do   func(tx *sql.Tx) error
	err  error
	done chan struct{}
}

// write runs f in a transaction, together with what others write at the same
// time, and returns when that is durable. If f fails, only what f did is undone.
// f may run again after an earlier try of it was rolled back, so it must not
// change anything but the database and what it has set afresh.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	w := &write{ctx: ctx, do: f, done: make(chan struct{})}
	select {
	case s.queue <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return fault.New(fault.Unavailable, "the store is closed")
	}
	select {
	case <-w.done: // also when ctx has ended: what is under way will be told
		return w.err
	case <-s.ended:
		select {
		case <-w.done:
			return w.err
		default:
			return fault.New(fault.Unavailable, "the store is closed")
		}
	}
}

// writer commits groups of writes until ctx ends and the queue is empty.
func (s *Store) writer(ctx context.Context) {
	defer close(s.ended)
	for {
		select {
		case w := <-s.queue:
			s.commit(s.group(w))
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

// group returns w and what waits behind it.
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

// commit runs a group as one transaction and answers its callers. When the disk
// fails, nobody is told that anything was written, and the next group begins on a
// connection that has read the database afresh: a failed sync is never repeated,
// since the kernel may have thrown away what it could not write (Rebello et al.,
// "Can Applications Recover from fsync Failures?", ATC 2020).
func (s *Store) commit(group []*write) {
	err := s.transact(group)
	if err != nil {
		s.Log.Error("group of writes not committed", zap.Int("writes", len(group)), zap.Error(err))
		err = fault.Wrap(fault.Unavailable, err, "the server cannot write to its disk now; nothing was changed")
		s.reconnect()
	}
	for _, w := range group {
		if err != nil {
			w.err = err
		}
		close(w.done)
	}
	if err == nil {
		s.grown.broadcast()
	}
}

func (s *Store) transact(group []*write) error {
	ctx := context.WithoutCancel(group[0].ctx)
	tx, err := s.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback() // does nothing after Commit
	for _, w := range group {
		if w.err = w.ctx.Err(); w.err != nil {
			continue
		}
		if _, err := tx.ExecContext(ctx, `SAVEPOINT one`); err != nil {
			return fmt.Errorf("savepoint: %w", err)
		}
		if w.err = w.do(tx); w.err != nil {
			if _, err := tx.ExecContext(ctx, `ROLLBACK TO one`); err != nil {
				return fmt.Errorf("roll back: %w", errors.Join(err, w.err))
			}
		}
		if _, err := tx.ExecContext(ctx, `RELEASE one`); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// reconnect drops the writing connection, so that the next group opens the
// database anew and replays only what is really in its log.
func (s *Store) reconnect() {
	s.writes.SetMaxIdleConns(0) // closes the idle connection
	s.writes.SetMaxIdleConns(1)
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

// at is now, as the database keeps times.
func (s *Store) at() int64 { return nanos(s.Now()) }

// timeOf is the inverse of nanos.
func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
