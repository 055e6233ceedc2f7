package billing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"berth/task"
)

// Kind says why an entry was made.
type Kind string

const (
	Metered       Kind = "METER"          // time that passed, at most to the end of a clock hour
	SecondRoundUp Kind = "SECOND_ROUNDUP" // up to the next whole second of the whole task
	MinimumTopUp  Kind = "MINIMUM_TOPUP"  // up to the least time that is charged
	Correction    Kind = "CORRECTION"     // back: the task turned out to have ended before the meter thought so
)

// Entry is one line of the ledger. It is never changed. What it charges is the
// difference of two running totals, so that the entries of a task add up to
// its rounded charge to the nano.
type Entry struct {
	ID        string    `json:"id"`
	Task      task.ID   `json:"-"`
	Account   string    `json:"-"`
	SKU       SKU       `json:"sku"`
	Seq       int64     `json:"-"` // within (task, SKU), from 1
	Kind      Kind      `json:"kind"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`           // before From in a Correction
	Units     int64     `json:"units,string"` // size × nanoseconds; size is CPU units, MiB or GiB
	Rate      Rate      `json:"-"`
	PriceList string    `json:"-"`
	Amount    Money     `json:"amount"`
}

// entryID returns the ID of an entry, which follows from its place, so that the
// same entry cannot be made twice under two IDs.
func entryID(kind Kind, id task.ID, k SKU, seq int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", kind, id, k, seq))
	return hex.EncodeToString(sum[:16])
}

// Hash returns a SHA-256 of everything that e says, in hex. Two entries of one
// ID and two hashes mean that the books are wrong.
func (e Entry) Hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "v1|%s|%s|%s|%s|%d|%s|%d|%d|%d|%d|%s|%d", e.ID, e.Task, e.Account, e.SKU, e.Seq, e.Kind,
		e.From.UnixNano(), e.To.UnixNano(), e.Units, e.Rate, e.PriceList, e.Amount))
	return hex.EncodeToString(sum[:])
}

// Posting is one side of an entry: debits are positive, credits negative. Those
// of one entry add up to zero in each unit.
type Posting struct {
	Account string
	Unit    string // USD: nano-dollars
	Amount  int64
}

// Postings returns the two sides of e.
func (e Entry) Postings() []Posting {
	return []Posting{
		{"asset:unbilled:" + e.Account, "USD", int64(e.Amount)},
		{"income:" + string(e.SKU), "USD", -int64(e.Amount)},
	}
}

// Cursor is how far the charge of one task for one SKU has been posted. The
// next entry starts where the cursor stands, and the ledger moves a cursor only
// from where the mover saw it; hence no time is charged twice or left out, also
// when two meters race.
type Cursor struct {
	Task      task.ID
	SKU       SKU
	ARN       string
	Size      int64 // reserved: CPU units, MiB or GiB
	Rate      Rate
	PriceList string
	From      time.Time // the charge begins

	Seq    int64     // of the last entry; 0 if there is none
	To     time.Time // the end of the last entry; From if there is none
	Amount Money     // of all entries
	Closed bool      // there will be no more
	End    time.Time // when the task ended, before rounding up; zero until Closed
}

// Open returns the cursors of a task whose charge has begun: none is stored yet
// and nothing is charged.
func Open(t task.Task, p PriceList) []Cursor {
	if t.PullStartedAt.IsZero() {
		return nil
	}
	from := canonical(t.PullStartedAt)
	var cs []Cursor
	for _, r := range Reserved(t) {
		cs = append(cs, Cursor{
			Task: t.ID, SKU: r.SKU, ARN: t.ARN, Size: r.Size, Rate: p.Rates[r.SKU], PriceList: p.ID,
			From: from, To: from,
		})
	}
	return cs
}

// minimum is the least time that a Linux task is charged for (AWS Fargate
// pricing page).
const minimum = time.Minute

// billed returns the time that a task that ran for d is charged for.
func billed(d time.Duration) time.Duration {
	whole := d.Truncate(time.Second)
	if whole < d {
		whole += time.Second
	}
	return max(minimum, whole)
}

// Advance charges for the time up to to, cut at each hour of the clock, as AWS
// does. If the cursor is there already or Closed, there is nothing to do.
func (c Cursor) Advance(to time.Time) (Cursor, []Entry) {
	var entries []Entry
	for !c.Closed && c.To.Before(to) {
		end := c.To.UTC().Truncate(time.Hour).Add(time.Hour)
		if end.After(to) {
			end = to
		}
		entries = append(entries, c.move(Metered, end))
	}
	return c, entries
}

// Close charges for the time up to end, when the task stopped, rounds up and
// closes the cursor. Closing again does nothing.
func (c Cursor) Close(end time.Time) (Cursor, []Entry) {
	if c.Closed {
		return c, nil
	}
	if end = canonical(end); end.Before(c.From) {
		end = c.From
	}
	c, entries := c.Advance(end)
	if end.Before(c.To) {
		entries = append(entries, c.move(Correction, end))
	}
	ran := end.Sub(c.From)
	whole := ran.Truncate(time.Second)
	if whole < ran {
		whole += time.Second
		entries = append(entries, c.move(SecondRoundUp, c.From.Add(whole)))
	}
	if whole < minimum {
		entries = append(entries, c.move(MinimumTopUp, c.From.Add(minimum)))
	}
	c.Closed, c.End = true, end
	return c, entries
}

// move moves c to to and returns the entry that says so.
func (c *Cursor) move(kind Kind, to time.Time) Entry {
	to = canonical(to)
	total := charge(c.SKU, c.Size, c.Rate, to.Sub(c.From))
	c.Seq++
	e := Entry{
		ID: entryID(kind, c.Task, c.SKU, c.Seq), Task: c.Task, Account: account(c.ARN), SKU: c.SKU, Seq: c.Seq, Kind: kind,
		From: c.To, To: to, Units: c.Size * int64(to.Sub(c.To)), Rate: c.Rate, PriceList: c.PriceList, Amount: total - c.Amount,
	}
	c.To, c.Amount = to, total
	return e
}

// account returns the account in an ARN, which is its fifth part.
func account(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return "unknown"
}

// canonical returns t so that equal times are equal in every bit: cursors are
// compared with ==.
func canonical(t time.Time) time.Time { return t.Round(0).UTC() }

// Rewound returns c as it was when it was opened.
func (c Cursor) Rewound() Cursor {
	c.Seq, c.To, c.Amount, c.Closed, c.End = 0, c.From, 0, false, time.Time{}
	return c
}

// Replay moves c as e says it moved, and fails if e is not the entry that c
// would make now.
func (c *Cursor) Replay(e Entry) error {
	switch e.Kind {
	case Metered:
		if !e.To.After(c.To) || e.To.After(c.To.Truncate(time.Hour).Add(time.Hour)) {
			return fmt.Errorf("goes from %s to %s, which is not time that passed within one hour of the clock", e.From, e.To)
		}
	case SecondRoundUp, MinimumTopUp:
		if e.To.Sub(c.From)%time.Second != 0 || e.Kind == MinimumTopUp && e.To.Sub(c.From) != minimum {
			return fmt.Errorf("rounds up to %s, which is not a whole time", e.To.Sub(c.From))
		}
	}
	if want := c.move(e.Kind, e.To); want != e {
		return fmt.Errorf("is %+v and must be %+v", e, want)
	}
	return nil
}

// Agrees checks that c stands where its replayed entries led, and that a closed
// cursor charges for the time that its End says.
func (c Cursor) Agrees(replayed Cursor) error {
	if c.Seq != replayed.Seq || !c.To.Equal(replayed.To) || c.Amount != replayed.Amount {
		return fmt.Errorf("stands at entry %d, %s, %s USD and its entries lead to %d, %s, %s USD",
			c.Seq, c.To, c.Amount, replayed.Seq, replayed.To, replayed.Amount)
	}
	if c.Closed && c.To.Sub(c.From) != billed(c.End.Sub(c.From)) {
		return fmt.Errorf("is closed after %s and charges for %s", c.End.Sub(c.From), c.To.Sub(c.From))
	}
	return nil
}
