package billing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Kind says why an entry was made.
type Kind string

const (
	Metered       Kind = "METER"          // time that passed, at most to the end of a clock hour
	SecondRoundUp Kind = "SECOND_ROUNDUP" // up to the next whole second of the whole task
	MinimumTopUp  Kind = "MINIMUM_TOPUP"  // up to the least time that is charged
	Correction    Kind = "CORRECTION"     // back: the task turned out to have ended before the meter thought so
	Reversal      Kind = "REVERSAL"       // the whole of another entry, taken back
)

// Entry is one line of the ledger. It is never changed. What it charges is the
// difference of two running totals, so that the entries of a task add up to
// its rounded charge to the nano.
type Entry struct {
	ID        string    `json:"id"`
	Task      task.ID   `json:"-"`
	Account   string    `json:"-"`
	SKU       SKU       `json:"sku"`
	Seq       int64     `json:"-"` // within (task, SKU), from 1; of a Reversal: that of the entry which it takes back, negative
	Kind      Kind      `json:"kind"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`           // before From in a Correction
	Units     int64     `json:"units,string"` // size × nanoseconds; size is CPU units, MiB or GiB. Negative where time is taken back
	Rate      Rate      `json:"-"`
	PriceList string    `json:"priceList"`
	Amount    Money     `json:"amount"`

	Booked   time.Time `json:"bookedAt,omitzero" doc:"By this time the entry belongs to a period: when it begins, or later if that period was closed already"`
	Used     UsedUnits `json:"used,omitzero" doc:"Of units, what the task used, as far as its samples tell; can be more. Absent from entries of before this was measured"`
	Measured time.Time `json:"-"` // up to when used was measured; what comes after is in the next entry
	Ref      string    `json:"ref,omitempty" doc:"Of a REVERSAL: the entry that it takes back"`
	Reason   string    `json:"reason,omitempty" doc:"Of a REVERSAL"`
}

// UsedUnits is a number of units that may not be known. The zero value is unknown.
type UsedUnits struct {
	Units int64
	Known bool
}

// MarshalText writes the units as a decimal number; nothing if they are not known.
func (u UsedUnits) MarshalText() ([]byte, error) {
	if !u.Known {
		return nil, nil
	}
	return strconv.AppendInt(nil, u.Units, 10), nil
}

// UnmarshalText reads what MarshalText writes.
func (u *UsedUnits) UnmarshalText(text []byte) error {
	if *u = (UsedUnits{}); len(text) == 0 {
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return fault.New(fault.Invalid, "%q is not a number of units", text)
	}
	*u = UsedUnits{n, true}
	return nil
}

// entryID returns the ID of an entry, which follows from its place, so that the
// same entry cannot be made twice under two IDs.
func entryID(kind Kind, id task.ID, k SKU, seq int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%s|%d", kind, id, k, seq))
	return hex.EncodeToString(sum[:16])
}

// old reports whether e was made before it was measured what entries use.
func (e Entry) old() bool { return !e.Used.Known && e.Kind != Reversal }

// Body returns everything that e says as one line, which is what its hash is of.
// It begins with the form that it has: v1 is that of entries which were made
// before it was measured what they use, v2 that of all others. In v2 a vertical
// bar, a per cent sign and a line end inside a field are written %7C, %25 and %0A.
func (e Entry) Body() []byte {
	b := make([]byte, 0, 384)
	old := e.old()
	if b = append(b, "v2|"...); old {
		b[1] = '1'
	}
	text := func(s string) {
		if !old && strings.ContainsAny(s, "%|\n") {
			s = escaper.Replace(s)
		}
		b = append(append(b, s...), '|')
	}
	number := func(n int64) { b = append(strconv.AppendInt(b, n, 10), '|') }
	text(e.ID)
	text(string(e.Task))
	text(e.Account)
	text(string(e.SKU))
	number(e.Seq)
	text(string(e.Kind))
	number(e.From.UnixNano())
	number(e.To.UnixNano())
	number(e.Units)
	number(int64(e.Rate))
	text(e.PriceList)
	number(int64(e.Amount))
	if !old {
		number(e.Booked.UnixNano())
		if e.Used.Known {
			number(e.Used.Units)
		} else {
			text("-")
		}
		number(e.Measured.UnixNano())
		text(e.Ref)
		text(e.Reason)
	}
	return b[:len(b)-1]
}

var escaper = strings.NewReplacer("%", "%25", "|", "%7C", "\n", "%0A")

// Hash returns the leaf hash of e's body (RFC 6962, section 2.1): the SHA-256 of
// a zero byte and the body. Two entries of one ID and two hashes mean that the
// books are wrong.
func (e Entry) Hash() [sha256.Size]byte {
	return sha256.Sum256(append(make([]byte, 1, 400), e.Body()...))
}

// Posting is one side of an entry: debits are positive, credits negative. Those
// of one entry add up to zero in each unit.
type Posting struct {
	Account string
	Unit    string
	Amount  int64
}

// The units of postings.
const (
	USD         = "USD"     // nano-dollars
	CPUTime     = "cpu"     // CPU units × nanoseconds
	MemoryTime  = "memory"  // MiB × nanoseconds
	StorageTime = "storage" // GiB × nanoseconds
)

// Postings returns the sides of e: two of money and, if it is known what was
// used, three or more of the resource. What is reserved comes from reserved:SKU
// and goes to used:SKU and waste:SKU, so that used + waste = reserved is an
// identity of the ledger. What was used beyond the reservation comes from
// burst:SKU and goes to overage:SKU. Sides of zero are left out of the latter four.
func (e Entry) Postings() []Posting {
	ps := make([]Posting, 2, 7)
	ps[0] = Posting{"asset:unbilled:" + e.Account, USD, int64(e.Amount)}
	ps[1] = Posting{"income:" + string(e.SKU), USD, -int64(e.Amount)}
	if !e.Used.Known {
		return ps
	}
	within := min(e.Used.Units, e.Units)
	if e.Units < 0 { // time is taken back
		within = max(e.Used.Units, e.Units)
	}
	unit, over := skus[e.SKU].time, e.Used.Units-within
	ps = append(ps, Posting{"reserved:" + string(e.SKU), unit, -e.Units})
	for _, p := range []Posting{
		{"used:" + string(e.SKU), unit, within}, {"waste:" + string(e.SKU), unit, e.Units - within},
		{"overage:" + string(e.SKU), unit, over}, {"burst:" + string(e.SKU), unit, -over},
	} {
		if p.Amount != 0 {
			ps = append(ps, p)
		}
	}
	return ps
}

// Reverse returns the entry that takes e back, whole: money, units and what was
// used. It is booked when e was, or now if the books are closed until later than
// that. There can be one for each entry; that of a Reversal is a fault.Conflict.
func (e Entry) Reverse(reason string, closed, now time.Time) (Entry, error) {
	if e.Kind == Reversal {
		return Entry{}, fault.New(fault.Conflict, "entry %s is a reversal itself, of %s", e.ID, e.Ref)
	}
	r := e
	r.ID, r.Seq, r.Kind = entryID(Reversal, e.Task, e.SKU, -e.Seq), -e.Seq, Reversal
	r.Units, r.Amount = -e.Units, -e.Amount
	r.Used.Units = -e.Used.Units
	r.Booked = Terms{Closed: closed, Now: now}.book(e.Booked)
	r.Ref, r.Reason = e.ID, reason
	return r, nil
}
