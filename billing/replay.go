package billing

import (
	"errors"
	"fmt"
	"time"
)

// Replay works out from its entries where a cursor must stand.
type Replay struct {
	cursor Cursor
	past   []Cursor  // as they stood at the end of the segments before
	end    time.Time // of the time that was not rounded up
	begun  bool
}

// NewReplay returns the Replay of a cursor, of which it takes only what never
// changes.
func NewReplay(c Cursor) *Replay {
	return &Replay{cursor: Cursor{Task: c.Task, SKU: c.SKU, ARN: c.ARN, Size: c.Size, From: c.From, SegmentFrom: c.From, To: c.From, Measured: c.From}}
}

// Seq returns the Seq of the last entry that was taken.
func (r *Replay) Seq() int64 { return r.cursor.Seq }

// Take moves the cursor as e, the next entry by Seq, says that it moved, and
// fails if e is not the entry that it would make. It takes e's word for what was
// used, for the price, and for a booking that is later than the time that is
// charged; others check these.
func (r *Replay) Take(e Entry) error {
	c := &r.cursor
	other := r.begun && (e.Rate != c.Rate || e.PriceList != c.PriceList)
	switch e.Kind {
	case Metered:
		if !e.To.After(c.To) || e.To.After(c.To.Truncate(time.Hour).Add(time.Hour)) {
			return fmt.Errorf("goes from %s to %s, which is not time that passed within one hour of the clock", e.From, e.To)
		}
		if other {
			r.past = append(r.past, *c)
			c.SegmentFrom, c.SegmentAmount = c.To, 0
		}
	case SecondRoundUp, MinimumTopUp:
		if d := e.To.Sub(c.From); d%time.Second != 0 || e.Kind == MinimumTopUp && d != minimum {
			return fmt.Errorf("rounds up to %s, which is not a whole time", d)
		}
		if other {
			return errors.New("rounds up at another price than that of the time before")
		}
	case Correction:
		if !e.To.Before(c.To) || e.To.Before(c.SegmentFrom) || other || !r.begun {
			return fmt.Errorf("takes back from %s to %s at a price that this time did not have", e.From, e.To)
		}
	}
	c.Rate, c.PriceList, r.begun = e.Rate, e.PriceList, true
	want := c.move(e.Kind, e.To, Terms{})
	if err := checkUsed(e, want); err != nil {
		return err
	}
	c.Measured = e.Measured
	if e.Booked.Before(want.Booked) {
		return fmt.Errorf("is booked at %s, before %s, when the time that it charges begins", e.Booked, want.Booked)
	}
	want.Used, want.Measured, want.Booked = e.Used, e.Measured, e.Booked
	if want != e {
		return fmt.Errorf("is %+v and must be %+v", e, want)
	}
	if e.Kind == Metered || e.Kind == Correction {
		r.end = e.To
	}
	if n := len(r.past); n > 0 && e.Kind == Correction && c.To.Equal(c.SegmentFrom) {
		before := r.past[n-1] // The whole segment is taken back.
		r.past = r.past[:n-1]
		c.Rate, c.PriceList, c.SegmentFrom, c.SegmentAmount = before.Rate, before.PriceList, before.SegmentFrom, before.SegmentAmount
	}
	return nil
}

// checkUsed checks what e says was used against want, which used nothing.
func checkUsed(e, want Entry) error {
	forward := !e.Measured.Before(want.Measured) && !e.Measured.After(later(e.To, want.Measured)) &&
		e.Used.Units >= 0 && (e.Used.Units == 0 || e.Measured.After(want.Measured))
	switch still := e.Used.Units == 0 && e.Measured.Equal(want.Measured); {
	case e.old() && e.Used.Units == 0 && e.Measured.Equal(e.To):
	case e.Used.Known && still:
	case e.Used.Known && e.Kind == Metered && forward:
	case e.Used.Known && e.Kind == Correction && (forward || e.Used.Units <= 0 && e.Measured.Equal(want.Measured)):
	default:
		return fmt.Errorf("used %+v up to %s after what was used up to %s", e.Used, e.Measured, want.Measured)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Natural returns when e would be booked if no period were closed, for entries
// other than reversals.
func (e Entry) Natural() time.Time {
	if e.To.Before(e.From) {
		return e.To
	}
	return e.From
}

// Check checks that c stands where the entries led, and that a closed cursor
// charges for the time that its End says.
func (r *Replay) Check(c Cursor) error {
	w := r.cursor
	if !r.begun { // A cursor without entries says itself what its time will cost.
		w.Rate, w.PriceList = c.Rate, c.PriceList
	}
	w.Closed, w.End = c.Closed, c.End
	if w != c {
		return fmt.Errorf("is %+v and its entries lead to %+v", c, w)
	}
	if c.Closed != !c.End.IsZero() {
		return fmt.Errorf("is closed: %t, and ended at %s", c.Closed, c.End)
	}
	if c.Closed && (!c.End.Equal(later(c.From, r.end)) || c.To.Sub(c.From) != billed(c.End.Sub(c.From))) {
		return fmt.Errorf("is closed after %s and charges for %s", c.End.Sub(c.From), c.To.Sub(c.From))
	}
	return nil
}

// IsReversalOf reports whether e takes back original, whole.
func (e Entry) IsReversalOf(original Entry) bool {
	r, err := original.Reverse(e.Reason, time.Time{}, time.Time{})
	if err != nil || e.Booked.Before(r.Booked) {
		return false
	}
	r.Booked = e.Booked
	return r == e
}
