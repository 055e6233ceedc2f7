package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/billing"
	"berth/billing/proof"
	"berth/task"
)

// rawEntry returns an entry without its ARN, its place and its hash.
func rawEntry(r *rawRows) (e billing.Entry, n int64, hash []byte) {
	e = billing.Entry{
		ID: r.text(1), Task: task.ID(r.text(2)), Account: r.text(3), SKU: billing.SKU(r.text(4)), Seq: r.number(5), Kind: billing.Kind(r.text(6)),
		From: timeOf(r.number(7)), To: timeOf(r.number(8)), Units: r.number(9), Rate: billing.Rate(r.number(10)), PriceList: r.text(11),
		Amount: billing.Money(r.number(12)), Booked: timeOf(r.number(13)), Measured: timeOf(r.number(15)), Reason: r.text(17),
	}
	if r.values[14] != nil {
		e.Used = billing.UsedUnits{Units: r.number(14), Known: true}
	}
	if r.values[16] != nil {
		e.Ref = r.text(16)
	}
	if hash = r.blob(18); len(hash) != len(proof.Hash{}) {
		r.check(18, false)
		hash = make([]byte, len(proof.Hash{}))
	}
	return e, r.number(0), hash
}

// rawCursor returns a cursor.
func rawCursor(r *rawRows) billing.Cursor {
	return billing.Cursor{
		Task: task.ID(r.text(0)), SKU: billing.SKU(r.text(1)), ARN: r.text(2), Size: r.number(3), From: timeOf(r.number(4)),
		Rate: billing.Rate(r.number(5)), PriceList: r.text(6), SegmentFrom: timeOf(r.number(7)), SegmentAmount: billing.Money(r.number(8)),
		Seq: r.number(9), To: timeOf(r.number(10)), Amount: billing.Money(r.number(11)), Measured: timeOf(r.number(12)),
		Closed: r.number(13) != 0, End: timeOf(r.number(14)),
	}
}

// arn returns the ARN in the cursor that the entry of a reversal moved.
func (a *audit) arn(ctx context.Context, n int64, e billing.Entry) (string, error) {
	r, err := query(ctx, a.q, `SELECT arn FROM meter_cursors WHERE task = ? AND sku = ?`, string(e.Task), string(e.SKU))
	if err != nil {
		return "", err
	}
	defer r.close()
	if ok, err := r.next(); err != nil {
		return "", err
	} else if !ok {
		return "", badEntry(n, "it has no cursor")
	}
	return r.text(0), r.wrong
}

// placeBefore is placeOf for entry ?1, which must be before ?2. It looks at no blocks
// beyond that: how many there are is not known of a ledger that is not sound.
const placeBefore = `(WITH RECURSIVE blocks (block) AS (SELECT ?2 >> 12 UNION ALL SELECT block - 1 FROM blocks WHERE block > 0)
	SELECT i.n FROM blocks CROSS JOIN ledger_entries i ON i.n >> 12 = block AND substr(i.id, 21) = substr(?1, 21) AND i.id = ?1 LIMIT 1)`

// original returns the entry that e takes back, whole.
func (a *audit) original(ctx context.Context, n int64, e billing.Entry) (billing.Entry, error) {
	r, err := query(ctx, a.q, `SELECT `+entryColumns+` FROM ledger_entries WHERE n = `+placeBefore, e.Ref, n)
	if err != nil {
		return billing.Entry{}, err
	}
	defer r.close()
	if ok, err := r.next(); err != nil {
		return billing.Entry{}, err
	} else if !ok {
		return billing.Entry{}, badEntry(n, "it takes back entry %s, which is not there", e.Ref)
	}
	o, at, _ := rawEntry(r)
	o.ARN = e.ARN
	if at >= n || !e.IsReversalOf(o) {
		return o, badEntry(n, "it does not take back the whole of entry %s, which is %d", e.Ref, at)
	}
	return o, nil
}

// period is a closed period, and what is booked in it.
type period struct {
	billing.Period
	entries int64
	amount  billing.Money
}

// readPeriods reads the closed periods and checks what was signed of each.
func (a *audit) readPeriods(ctx context.Context) error {
	return all(ctx, a.q, `SELECT `+periodColumns+` FROM ledger_periods ORDER BY to_at`, func(r *rawRows) error {
		p := billing.Period{
			Name: r.text(0), From: timeOf(r.number(1)), To: timeOf(r.number(2)), Status: billing.PeriodClosed, ClosedAt: timeOf(r.number(3)),
			Size: r.number(4), Entries: r.number(5), Amount: billing.Money(r.number(6)), Note: r.text(7),
		}
		if r.wrong != nil {
			return bad("ledger_periods", p.Name, "%v", r.wrong)
		}
		text, err := proof.OpenText([]byte(p.Note), a.verifier)
		if err == nil && text != periodText(a.verifier.Name(), p) {
			err = errors.New("the row says other than the note")
		}
		if n := len(a.periods); err == nil && n > 0 && (a.periods[n-1].To.After(p.From) || a.periods[n-1].Size > p.Size) {
			err = errors.New("it was closed before the one before it")
		}
		if err != nil {
			return bad("ledger_periods", p.Name, "%v", err)
		}
		a.periods = append(a.periods, period{Period: p})
		a.rows["ledger_periods"]++
		return nil
	})
}

// book checks that an entry is booked when it was natural, or later if that was
// closed when the entry was made.
func (a *audit) book(n int64, e billing.Entry, natural time.Time) error {
	var closed time.Time
	found := len(a.periods) == 0 || !e.Booked.Before(a.periods[len(a.periods)-1].To)
	for i := range a.periods {
		p := &a.periods[i]
		if p.Size <= n {
			closed = p.To
		}
		if !e.Booked.Before(p.From) && e.Booked.Before(p.To) {
			if p.Size <= n {
				return badEntry(n, "it is booked in %s, which was closed after %d entries", p.Name, p.Size)
			}
			p.entries, p.amount, found = p.entries+1, p.amount+e.Amount, true
		}
	}
	if !found {
		return badEntry(n, "it is booked at %s, and that period is not closed though later ones are", e.Booked)
	}
	if !natural.Before(closed) && !e.Booked.Equal(natural) || e.Booked.Before(closed) {
		return badEntry(n, "it is booked at %s, and what it is about was at %s", e.Booked, natural)
	}
	return nil
}

// verifyPeriods compares the sums of closed periods.
func (a *audit) verifyPeriods() error {
	for _, p := range a.periods {
		if p.Size > a.size || p.entries != p.Entries || p.amount != p.Amount {
			return bad("ledger_periods", p.Name, "it was closed with %d entries of %s USD among %d, and has %d of %s", p.Entries, p.Amount, p.Size, p.entries, p.amount)
		}
	}
	return nil
}

// periodText is what is signed of a closed period.
func periodText(origin string, p billing.Period) string {
	return fmt.Sprintf("%s/periods/%s\n%d\n%d\n%d\n%d\n%d\n%d\n", origin, p.Name, nanos(p.From), nanos(p.To), nanos(p.ClosedAt), p.Size, p.Entries, int64(p.Amount))
}

const periodColumns = `name, from_at, to_at, closed_at, size, entries, amount, note`
