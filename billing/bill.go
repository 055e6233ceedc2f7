package billing

import (
	"slices"
	"time"

	"berth/task"
)

// Bill is what a task costs. All amounts are US dollars as decimal strings, and
// the lines, the total and the entries add up exactly.
type Bill struct {
	TaskARN        string    `json:"taskArn"`
	Currency       string    `json:"currency"`
	PriceList      PriceList `json:"priceList" doc:"Of the latest time that is charged; the lines name theirs"`
	Status         string    `json:"status" enum:"OPEN,FINAL" doc:"OPEN: accrued until now; FINAL: the ledger has closed it"`
	From           time.Time `json:"from,omitzero" doc:"When the pull began"`
	To             time.Time `json:"to,omitzero" doc:"When the task stopped, or now"`
	MeteredSeconds string    `json:"meteredSeconds" doc:"to − from, exactly"`
	BilledSeconds  int64     `json:"billedSeconds" doc:"What is charged: meteredSeconds rounded up, at least minimumSeconds. While OPEN: what would be charged if the task stopped now"`
	MinimumSeconds int64     `json:"minimumSeconds"`
	Lines          []Line    `json:"lines"`
	Total          Money     `json:"total"`
	Entries        []Entry   `json:"entries" doc:"Of the ledger; while OPEN also the one that would be posted now"`
}

// Line is the charge for one SKU at one price. A REVERSAL is a line with less than
// no time.
type Line struct {
	SKU         SKU    `json:"sku"`
	Description string `json:"description"`
	Resource    string `json:"resource" example:"0.25 vCPU"`
	Seconds     string `json:"seconds" doc:"That are charged in amount"`
	Quantity    string `json:"quantity" doc:"Resource × seconds / 3600, with 10 decimals"`
	Unit        string `json:"unit" enum:"vCPU-Hours,GB-Hours"`
	UnitPrice   Rate   `json:"unitPrice" doc:"For one unit"`
	PriceList   string `json:"priceList" doc:"That has the unitPrice"`
	Amount      Money  `json:"amount" doc:"Resource × seconds × unitPrice / 3600, rounded half to even to 9 decimals"`
}

// The states of a Bill.
const (
	StatusOpen  = "OPEN"
	StatusFinal = "FINAL"
)

// Lists is a Prices that can tell of its lists by their IDs.
type Lists interface {
	List(id string) (PriceList, bool)
}

// describe returns a price list of p; with its ID alone if p does not know it.
func describe(p Prices, id string) PriceList {
	if ls, ok := p.(Lists); ok {
		if l, ok := ls.List(id); ok {
			return l
		}
	}
	return PriceList{ID: id}
}

// NewBill makes the bill of t from what the ledger holds of it. If the ledger
// has not closed it, the bill shows what would be posted at now, a time on t's
// time line, or at its end if it has stopped. A task whose charge never began costs nothing.
func NewBill(t task.Task, p Prices, cursors []Cursor, entries []Entry, now time.Time) Bill {
	b := Bill{
		TaskARN: t.ARN, Currency: "USD", Status: StatusOpen, MeteredSeconds: "0",
		MinimumSeconds: int64(minimum / time.Second), Lines: []Line{}, Entries: slices.Clone(entries),
	}
	if len(cursors) == 0 {
		cursors = Open(t, p) // the meter has not seen it yet
	}
	if len(cursors) == 0 {
		_, list, _ := p.At(VCPU, t.InOrder(t.CreatedAt))
		b.PriceList = describe(p, list)
		if t.LastStatus.Final() {
			b.Status = StatusFinal
		}
		b.Entries = []Entry{}
		return b
	}
	if !t.StoppedAt.IsZero() {
		now = t.StoppedAt
	}
	final := true
	for _, c := range cursors {
		end := c.End
		if !c.Closed {
			final, end = false, now
			var more []Entry
			if !t.StoppedAt.IsZero() {
				c, more = c.Close(end, Terms{Prices: p}, entries)
			} else {
				if end.Before(c.To) {
					end = c.To
				}
				c, more = c.Advance(end, Terms{Prices: p})
			}
			for i := range more {
				more[i].Used = UsedUnits{} // Only what is posted was measured.
			}
			b.Entries = append(b.Entries, more...)
		}
		b.From, b.To, b.PriceList = c.From, end, describe(p, c.PriceList)
		b.Lines = append(b.Lines, c.lines(b.Entries)...)
	}
	slices.SortStableFunc(b.Lines, func(x, y Line) int { return x.SKU.rank() - y.SKU.rank() })
	slices.SortStableFunc(b.Entries, func(x, y Entry) int { return x.SKU.rank() - y.SKU.rank() })
	if final {
		b.Status = StatusFinal
	}
	for _, l := range b.Lines {
		b.Total += l.Amount
	}
	ran := b.To.Sub(b.From)
	b.MeteredSeconds, b.BilledSeconds = seconds(ran), int64(billed(ran)/time.Second)
	return b
}

// lines returns a line for each segment of c, of whose entries all are among
// those given, and one for each that was taken back.
func (c Cursor) lines(entries []Entry) []Line {
	segments := segmentsOf(c.SKU, entries)
	segments = slices.DeleteFunc(segments, func(s segment) bool { return s.from.Equal(s.to) })
	if len(segments) == 0 {
		segments = []segment{{from: c.From, to: c.From, rate: c.Rate, list: c.PriceList}}
	}
	var ls []Line
	for _, s := range segments {
		ls = append(ls, c.line(s.rate, s.list, s.to.Sub(s.from), s.amount))
	}
	for _, e := range entries {
		if e.Kind == Reversal && e.SKU == c.SKU {
			l := c.line(e.Rate, e.PriceList, -e.To.Sub(e.From), e.Amount)
			l.Description += " (taken back: " + e.Reason + ")"
			ls = append(ls, l)
		}
	}
	return ls
}

func (c Cursor) line(r Rate, list string, d time.Duration, amount Money) Line {
	return Line{
		SKU: c.SKU, Description: c.SKU.Description(), Resource: c.SKU.Resource(c.Size), Seconds: seconds(d),
		Quantity: quantity(c.SKU, c.Size, d), Unit: c.SKU.Unit(), UnitPrice: r, PriceList: list, Amount: amount,
	}
}

// Estimate returns what t, as it was when it was made, would cost if it were
// charged for d from then on: a line for each SKU and price, and their sum. The
// least charge is for a minute, so a shorter d is taken as one.
func Estimate(t task.Task, p Prices, d time.Duration) ([]Line, Money) {
	if t.PullStartedAt = t.CreatedAt; t.PullStartedAt.IsZero() {
		t.PullStartedAt = time.Unix(0, 0)
	}
	var lines []Line
	var total Money
	for _, c := range Open(t, p) {
		c, entries := c.Close(c.From.Add(d), Terms{Prices: p}, nil)
		lines, total = append(lines, c.lines(entries)...), total+c.Amount
	}
	return lines, total
}
