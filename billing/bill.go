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
	PriceList      PriceList `json:"priceList"`
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

// Line is the charge for one SKU.
type Line struct {
	SKU         SKU    `json:"sku"`
	Description string `json:"description"`
	Resource    string `json:"resource" example:"0.25 vCPU"`
	Seconds     string `json:"seconds" doc:"That are charged in amount"`
	Quantity    string `json:"quantity" doc:"Resource × seconds / 3600, with 10 decimals"`
	Unit        string `json:"unit" enum:"vCPU-Hours,GB-Hours"`
	UnitPrice   Rate   `json:"unitPrice" doc:"For one unit"`
	Amount      Money  `json:"amount" doc:"Resource × seconds × unitPrice / 3600, rounded half to even to 9 decimals"`
}

// The states of a Bill.
const (
	StatusOpen  = "OPEN"
	StatusFinal = "FINAL"
)

// NewBill makes the bill of t from what the ledger holds of it. If the ledger
// has not closed it, the bill shows what would be posted at now, a time on t's
// time line, or at its end if it has stopped. A task whose charge never began costs nothing.
func NewBill(t task.Task, p PriceList, cursors []Cursor, entries []Entry, now time.Time) Bill {
	b := Bill{
		TaskARN: t.ARN, Currency: "USD", PriceList: p, Status: StatusOpen, MeteredSeconds: "0",
		MinimumSeconds: int64(minimum / time.Second), Lines: []Line{}, Entries: slices.Clone(entries),
	}
	if len(cursors) == 0 {
		cursors = Open(t, p) // the meter has not seen it yet
	}
	if len(cursors) == 0 {
		if t.LastStatus.Final() {
			b.Status = StatusFinal
		}
		b.Entries = []Entry{}
		return b
	}
	if id := cursors[0].PriceList; id != p.ID {
		b.PriceList = PriceList{ID: id} // charged by a list that is in use no more
	}
	if !t.StoppedAt.IsZero() {
		now = t.StoppedAt
	}
	final := true
	var total Money
	for _, c := range cursors {
		end := c.End
		if !c.Closed {
			final, end = false, now
			var more []Entry
			if !t.StoppedAt.IsZero() {
				c, more = c.Close(end)
			} else {
				if end.Before(c.To) {
					end = c.To
				}
				c, more = c.Advance(end)
			}
			b.Entries = append(b.Entries, more...)
		}
		b.From, b.To = c.From, end
		b.Lines = append(b.Lines, c.line())
		total += c.Amount
	}
	slices.SortStableFunc(b.Lines, func(x, y Line) int { return x.SKU.rank() - y.SKU.rank() })
	slices.SortStableFunc(b.Entries, func(x, y Entry) int { return x.SKU.rank() - y.SKU.rank() })
	if final {
		b.Status = StatusFinal
	}
	ran := b.To.Sub(b.From)
	b.MeteredSeconds, b.BilledSeconds, b.Total = seconds(ran), int64(billed(ran)/time.Second), total
	return b
}

func (c Cursor) line() Line {
	d := c.To.Sub(c.From)
	return Line{
		SKU: c.SKU, Description: c.SKU.Description(), Resource: c.SKU.Resource(c.Size), Seconds: seconds(d),
		Quantity: quantity(c.SKU, c.Size, d), Unit: c.SKU.Unit(), UnitPrice: c.Rate, Amount: c.Amount,
	}
}

// Estimate returns what t costs if it is charged for d: a line for each SKU, and
// their sum. The least charge is for a minute, so a shorter d is taken as one.
func Estimate(t task.Task, p PriceList, d time.Duration) ([]Line, Money) {
	t.PullStartedAt = time.Unix(0, 0)
	var lines []Line
	var total Money
	for _, c := range Open(t, p) {
		c, _ = c.Close(c.From.Add(d))
		lines, total = append(lines, c.line()), total+c.Amount
	}
	return lines, total
}
