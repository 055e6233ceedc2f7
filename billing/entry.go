package billing

import (
	"crypto/sha256"
	"encoding/hex"
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
	ARN       string    `json:"-"` // of the task
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
	b := make([]byte, 0, 128)
	b = append(append(append(append(append(append(b, kind...), '|'), id...), '|'), k...), '|')
	sum := sha256.Sum256(strconv.AppendInt(b, seq, 10))
	return hex.EncodeToString(sum[:16])
}

// Takes returns the kind of the entry that a Reversal takes back, and of any other entry
// its own. It follows from Ref, which is made of it.
func (e Entry) Takes() Kind {
	if e.Kind != Reversal {
		return e.Kind
	}
	for _, k := range []Kind{Metered, SecondRoundUp, MinimumTopUp, Correction} {
		if entryID(k, e.Task, e.SKU, -e.Seq) == e.Ref {
			return k
		}
	}
	return Reversal // It takes back what is not known.
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
		text(e.ARN)
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

// Sides is the number of sides that an entry can have.
const Sides = 7

// Amounts returns the sides of e; Accounts says whose they are. Two are of money
// and, if it is known what was used, three or more of the resource. What is
// reserved comes from reserved:SKU and goes to used:SKU and waste:SKU, so that
// used + waste = reserved is an identity of the ledger. What was used beyond the
// reservation comes from burst:SKU and goes to overage:SKU. posted says which are
// written down: of the last four only those that are not zero.
func (e Entry) Amounts() (amounts [Sides]int64, posted [Sides]bool) {
	amounts[0], amounts[1] = int64(e.Amount), -int64(e.Amount)
	posted[0], posted[1] = true, true
	if !e.Used.Known {
		return amounts, posted
	}
	within := min(e.Used.Units, e.Units)
	if e.Units < 0 { // time is taken back
		within = max(e.Used.Units, e.Units)
	}
	over := e.Used.Units - within
	amounts[2], amounts[3], amounts[4], amounts[5], amounts[6] = -e.Units, within, e.Units-within, over, -over
	posted[2] = true
	for i := 3; i < Sides; i++ {
		posted[i] = amounts[i] != 0
	}
	return amounts, posted
}

// Accounts returns the accounts of the sides of e, with amounts of zero.
func (e Entry) Accounts() [Sides]Posting {
	k, unit := string(e.SKU), skus[e.SKU].time
	return [Sides]Posting{
		{Account: "asset:unbilled:" + e.Account, Unit: USD}, {Account: "income:" + k, Unit: USD}, {Account: "reserved:" + k, Unit: unit},
		{Account: "used:" + k, Unit: unit}, {Account: "waste:" + k, Unit: unit}, {Account: "overage:" + k, Unit: unit}, {Account: "burst:" + k, Unit: unit},
	}
}

// Postings returns the sides of e that are written down.
func (e Entry) Postings() []Posting {
	amounts, posted := e.Amounts()
	var ps []Posting
	for i, p := range e.Accounts() {
		if posted[i] {
			p.Amount = amounts[i]
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
