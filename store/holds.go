package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"berth/billing"
	"berth/billing/budget"
	"berth/task"
)

// hold sets money aside for tasks that are about to be made. It is a fault.OverBudget with
// a budget.Refusal if a budget has not enough left. The writer calls it.
func (s *Store) hold(ctx context.Context, tx *sql.Tx, ts []task.Task, hs []budget.Hold) error {
	if len(hs) == 0 {
		return nil
	}
	p, err := s.openPurse(ctx, tx)
	if err != nil {
		return err
	}
	var wanted []budget.Hold
	for i, h := range hs {
		h.Facts = billing.FactsOf(ts[i]) // of the revision that it became
		if p.wanted(ts[i], h.Facts) {
			wanted = append(wanted, h)
		}
	}
	refusal, err := p.refuses(ctx, tx, wanted, budget.Deny, budget.Stop)
	if err != nil {
		return err
	}
	if refusal != nil {
		return refusal.Fault()
	}
	for _, h := range wanted {
		if err := s.putHold(ctx, tx, p, h); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) putHold(ctx context.Context, tx *sql.Tx, p *purse, h budget.Hold) error {
	facts, err := s.remember().intern(ctx, tx, h.Facts)
	if err != nil {
		return err
	}
	return p.put(ctx, tx, h, facts)
}

// releaseHolds releases what is held for tasks that have ended. The writer calls it.
func (s *Store) releaseHolds(ctx context.Context, tx *sql.Tx, ids []task.ID) error {
	if len(ids) == 0 {
		return nil
	}
	p, err := s.openPurse(ctx, tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := p.release(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// errAllowed undoes what was only tried.
var errAllowed = errors.New("there is enough left")

// Allowed is part of budget.Book.
func (s *Store) Allowed(ctx context.Context, ts []task.Task, hs []budget.Hold) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if err := s.hold(ctx, tx, ts, hs); err != nil {
			return err
		}
		return errAllowed
	})
	if errors.Is(err, errAllowed) {
		return nil
	}
	return err
}

// Renew is part of budget.Book.
func (s *Store) Renew(ctx context.Context, ids []task.ID, of budget.Renewer) ([]budget.Renewal, error) {
	var all []budget.Renewal
	err := s.write(ctx, func(tx *sql.Tx) error {
		p, err := s.openPurse(ctx, tx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, held, err := s.renew(ctx, tx, p, id, of)
			if err != nil {
				return err
			}
			if held {
				all = append(all, r)
			}
		}
		return nil
	})
	return all, err
}

// renew renews the hold of one task; held is false if none is needed any more.
func (s *Store) renew(ctx context.Context, tx *sql.Tx, p *purse, id task.ID, of budget.Renewer) (r budget.Renewal, held bool, err error) {
	t, err := find(ctx, tx, id)
	if err != nil {
		return r, false, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+cursorColumns+` FROM meter_cursors WHERE task = ? ORDER BY sku`, string(id))
	if err != nil {
		return r, false, fmt.Errorf("read cursors of task %s: %w", id, err)
	}
	cursors, err := scanCursors(rows)
	if err != nil {
		return r, false, err
	}
	if billing.Closed(cursors) || t.LastStatus.Final() && t.PullStartedAt.IsZero() {
		return r, false, p.release(ctx, tx, id)
	}
	h, ok := of(t, cursors, time.Time{})
	if !ok {
		return r, false, nil
	}
	if !p.wanted(t, h.Facts) {
		return r, false, p.release(ctx, tx, id)
	}
	r.Task = t
	if r.Refused, err = p.refuses(ctx, tx, []budget.Hold{h}, budget.Stop); err != nil {
		return r, false, err
	}
	if r.Refused != nil { // What is held stays, and what the task has cost is a fact.
		until := p.holds[id].until
		if until.IsZero() {
			until = t.CreatedAt // Nothing was held.
		}
		h, _ = of(t, cursors, until)
	}
	r.Until, r.Spent = h.Until, h.Spent
	return r, true, s.putHold(ctx, tx, p, h)
}
