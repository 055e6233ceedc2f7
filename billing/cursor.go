package billing

import (
	"slices"
	"strings"
	"time"

	"berth/task"
)

// Cursor is how far the charge of one task for one SKU has been posted. The
// next entry starts where the cursor stands, and the ledger moves a cursor only
// from where the mover saw it; hence no time is charged twice or left out, also
// when two meters race.
//
// Time at one rate is a segment. When another price list begins, the cursor
// stops there and goes on in a new segment; charges are rounded over a segment.
type Cursor struct {
	Task task.ID
	SKU  SKU
	ARN  string
	Size int64     // reserved: CPU units, MiB or GiB
	From time.Time // the charge begins

	Rate          Rate // of the segment, as are the three below
	PriceList     string
	SegmentFrom   time.Time
	SegmentAmount Money // of its entries

	Seq      int64     // of the last entry; 0 if there is none
	To       time.Time // the end of the last entry; From if there is none
	Amount   Money     // of all entries but reversals
	Measured time.Time // up to when used was measured
	Closed   bool      // there will be no more
	End      time.Time // when the task ended, before rounding up; zero until Closed
}

// Terms is what a charge follows from, besides time.
type Terms struct {
	Prices Prices

	// Used returns how many units of a SKU the task used from one time to
	// another, and up to when that is known: at most to. A nil Used knows nothing.
	Used func(k SKU, from, to time.Time) (units int64, until time.Time)

	Closed time.Time // periods that end by then are closed
	Now    time.Time // when something is booked that happened in a closed period
}

// book returns when something is booked that happened at a time.
func (t Terms) book(at time.Time) time.Time {
	switch {
	case !at.Before(t.Closed):
		return canonical(at)
	case t.Now.Before(t.Closed):
		return canonical(t.Closed)
	}
	return canonical(t.Now)
}

// Open returns the cursors of a task whose charge has begun: none is stored yet
// and nothing is charged.
func Open(t task.Task, p Prices) []Cursor {
	if t.PullStartedAt.IsZero() {
		return nil
	}
	from := canonical(t.PullStartedAt)
	var cs []Cursor
	for _, r := range Reserved(t) {
		rate, list, _ := p.At(r.SKU, from)
		cs = append(cs, Cursor{
			Task: t.ID, SKU: r.SKU, ARN: t.ARN, Size: r.Size, From: from,
			Rate: rate, PriceList: list, SegmentFrom: from, To: from, Measured: from,
		})
	}
	return cs
}

// minimum is the least time that a Linux task is charged for (AWS Fargate
// pricing page).
const minimum = time.Minute

// billed returns the time that a task that ran for d is charged for.
func billed(d time.Duration) time.Duration { return max(minimum, whole(d)) }

// whole rounds d up to a second.
func whole(d time.Duration) time.Duration {
	if w := d.Truncate(time.Second); w < d {
		return w + time.Second
	}
	return d
}

// Advance charges for the time up to to, cut at each hour of the clock, as AWS
// does, and where another price list begins. A list that begins before what is
// posted holds from there on. If the cursor is there already or Closed, there is
// nothing to do.
func (c Cursor) Advance(to time.Time, t Terms) (Cursor, []Entry) {
	var entries []Entry
	to = canonical(to)
	for !c.Closed && c.To.Before(to) {
		end := c.To.Truncate(time.Hour).Add(time.Hour)
		if end.After(to) {
			end = to
		}
		rate, list, until := t.Prices.At(c.SKU, c.To)
		if until.After(c.To) && end.After(until) {
			end = canonical(until)
		}
		if rate != c.Rate || list != c.PriceList {
			c.Rate, c.PriceList, c.SegmentFrom, c.SegmentAmount = rate, list, c.To, 0
		}
		entries = append(entries, c.move(Metered, end, t))
	}
	return c, entries
}

// Close charges for the time up to end, when the task stopped, rounds up and
// closes the cursor. The time that is rounded up costs what the last time did
// that the task had, whatever list holds then. Closing again does nothing.
//
// past is the entries of c's task that are posted. They are needed only if
// NeedsPast says so.
func (c Cursor) Close(end time.Time, t Terms, past []Entry) (Cursor, []Entry) {
	if c.Closed {
		return c, nil
	}
	if end = canonical(end); end.Before(c.From) {
		end = c.From
	}
	c, entries := c.Advance(end, t)
	for end.Before(c.To) {
		to := end
		if to.Before(c.SegmentFrom) {
			to = c.SegmentFrom
		}
		entries = append(entries, c.move(Correction, to, t))
		if c.To.Equal(c.SegmentFrom) && c.From.Before(c.SegmentFrom) {
			c.stepBack(past)
		}
	}
	ran := end.Sub(c.From)
	if w := whole(ran); w > ran {
		entries = append(entries, c.move(SecondRoundUp, c.From.Add(w), t))
	}
	if whole(ran) < minimum {
		entries = append(entries, c.move(MinimumTopUp, c.From.Add(minimum), t))
	}
	c.Closed, c.End = true, end
	return c, entries
}

// NeedsPast reports whether closing c at end takes back its whole segment.
func (c Cursor) NeedsPast(end time.Time) bool {
	return !c.Closed && !end.After(c.SegmentFrom) && c.From.Before(c.SegmentFrom)
}

// stepBack makes the segment before c's the one of c, which stands where that
// ended.
func (c *Cursor) stepBack(past []Entry) {
	segments := segmentsOf(c.SKU, past)
	i := slices.IndexFunc(segments, func(s segment) bool { return s.to.Equal(c.SegmentFrom) })
	if i < 0 {
		panic("billing: closed before a segment whose forerunner is not known") // NeedsPast was not asked
	}
	s := segments[i]
	c.Rate, c.PriceList, c.SegmentFrom, c.SegmentAmount = s.rate, s.list, s.from, s.amount
}

// move moves c to to and returns the entry that says so.
func (c *Cursor) move(kind Kind, to time.Time, t Terms) Entry {
	to = canonical(to)
	total := charge(c.SKU, c.Size, c.Rate, to.Sub(c.SegmentFrom))
	booked := c.To
	if to.Before(booked) {
		booked = to
	}
	used, measured := c.measure(kind, to, t)
	c.Seq++
	e := Entry{
		ID: entryID(kind, c.Task, c.SKU, c.Seq), Task: c.Task, ARN: c.ARN, Account: account(c.ARN), SKU: c.SKU, Seq: c.Seq, Kind: kind,
		From: c.To, To: to, Units: c.Size * int64(to.Sub(c.To)), Rate: c.Rate, PriceList: c.PriceList, Amount: total - c.SegmentAmount,
		Booked: t.book(booked), Used: UsedUnits{used, true}, Measured: measured,
	}
	c.To, c.SegmentAmount, c.Amount, c.Measured = to, total, c.Amount+e.Amount, measured
	return e
}

// measure returns what was used on the way to to, and up to when that is known.
// Rounding up uses nothing. Samples that came late count in the next entry, be it
// a Correction.
func (c *Cursor) measure(kind Kind, to time.Time, t Terms) (used int64, measured time.Time) {
	rounding, back := kind != Metered && kind != Correction, to.Before(c.Measured)
	switch {
	case rounding, back && kind == Metered:
		return 0, c.Measured
	case t.Used == nil && back:
		return 0, to
	case t.Used == nil:
		return 0, c.Measured
	case back:
		used, _ := t.Used(c.SKU, to, c.Measured)
		return -used, to
	}
	used, until := t.Used(c.SKU, c.Measured, to)
	return used, canonical(until)
}

// segment is some time at one rate.
type segment struct {
	from, to time.Time
	rate     Rate
	list     string
	amount   Money
}

// segmentsOf returns the segments of the entries of one task for k, in order of
// Seq. Corrections shorten them; one that nothing is left of is left out.
func segmentsOf(k SKU, entries []Entry) []segment {
	var all []segment
	for _, e := range entries {
		if e.SKU != k || e.Kind == Reversal {
			continue
		}
		n := len(all)
		if n == 0 || all[n-1].rate != e.Rate || all[n-1].list != e.PriceList {
			all = append(all, segment{from: e.From, rate: e.Rate, list: e.PriceList})
			n++
		}
		all[n-1].to, all[n-1].amount = e.To, all[n-1].amount+e.Amount
		if n > 1 && e.Kind == Correction && !e.To.After(all[n-1].from) {
			all = all[:n-1] // It is all taken back.
		}
	}
	return all
}

// account returns the account in an ARN, which is its fifth part.
func account(arn string) string {
	for range 4 {
		_, arn, _ = strings.Cut(arn, ":")
	}
	if name, _, ok := strings.Cut(arn, ":"); ok {
		return name
	}
	return "unknown"
}

// canonical returns t so that equal times are equal in every bit: cursors are
// compared with ==.
func canonical(t time.Time) time.Time { return t.Round(0).UTC() }
