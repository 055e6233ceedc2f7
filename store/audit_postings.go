package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"berth/billing"
)

// postings verifies the postings, and the sums of costs, against what entries call for.
type postings struct {
	db       *sql.DB
	size     int64
	accounts map[account]int64
	sides    <-chan sent
	numbers  map[sidesKey]*[billing.Sides]int64
	used     map[int64]bool
	sums     sums
	rows     int64
}

// run reads what is expected to the end, whatever it finds.
func (p *postings) run(ctx context.Context) (err error) {
	p.numbers, p.used, p.sums = make(map[sidesKey]*[billing.Sides]int64), make(map[int64]bool), make(sums)
	defer func() {
		for range p.sides {
		}
	}()
	return raw(ctx, p.db, func(q driver.QueryerContext) error {
		r, err := query(ctx, q, `SELECT entry, account, amount FROM ledger_postings WHERE entry < ? ORDER BY entry, account`, p.size)
		if err != nil {
			return err
		}
		defer r.close()
		more, err := r.next()
		for sent := range p.sides {
			p.sums.add(sent.hours)
			for i := range sent.entries {
				x := &sent.entries[i]
				for more && err == nil && r.number(0) < x.n {
					return bad("ledger_postings", fmt.Sprint(r.number(0), " ", r.number(1)), "there is no such entry")
				}
				if more, err = p.verify(r, more, err, x); err != nil {
					return err
				}
				if err := p.sums.less(x); err != nil {
					return err
				}
			}
		}
		if err == nil && more {
			err = bad("ledger_postings", fmt.Sprint(r.number(0), " ", r.number(1)), "there is no such entry, or it is wrong")
		}
		return err
	})
}

// verify reads the postings of one entry.
func (p *postings) verify(r *rawRows, more bool, err error, x *expected) (bool, error) {
	numbers := p.numbersOf(&x.entry)
	left := 0
	for _, ok := range x.posted {
		if ok {
			left++
		}
	}
	wrong := func(row any, format string, args ...any) error {
		return at{x.n, &billing.BadRow{Table: "ledger_postings", Row: fmt.Sprint(x.n, " ", row), Why: fmt.Sprintf(format, args...)}}
	}
	for ; more && err == nil && r.number(0) == x.n; more, err = r.next() {
		id, amount := r.number(1), r.number(2)
		side := -1
		for i, n := range numbers {
			if n == id && x.posted[i] {
				side = i
			}
		}
		if side < 0 || amount != x.amounts[side] || r.wrong != nil {
			return more, wrong(id, "the posting of %d is not a side of the entry", amount)
		}
		left--
		p.rows++
		p.used[id] = true
	}
	if err == nil && left != 0 {
		return more, wrong("-", "%d of the sides of the entry are missing", left)
	}
	return more, err
}

func (p *postings) numbersOf(e *billing.Entry) *[billing.Sides]int64 {
	k := sidesKey{e.Account, e.SKU}
	numbers := p.numbers[k]
	if numbers == nil {
		numbers = new([billing.Sides]int64)
		for i, side := range e.Accounts() {
			numbers[i] = p.accounts[account{side.Account, side.Unit}]
		}
		p.numbers[k] = numbers
	}
	return numbers
}

// unused names an account that nothing was posted to: none is opened for nothing.
func (p *postings) unused() error {
	for a, id := range p.accounts {
		if !p.used[id] {
			return bad("ledger_accounts", id, "nothing is posted to %s in %s", a.name, a.unit)
		}
	}
	return nil
}
