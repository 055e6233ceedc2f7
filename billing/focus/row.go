package focus

import (
	"iter"
	"slices"
	"time"

	"berth/billing"
	"berth/task"
)

// Row is what one task is charged for one SKU at one price in one hour of the
// clock, which is how AWS cuts its rows. What takes time back is a row of its
// own, so that it can be seen.
type Row struct {
	Task      task.ID
	SKU       billing.SKU
	Rate      billing.Rate
	PriceList string
	Start     time.Time // of the charge period: full hours, UTC
	End       time.Time // exclusive
	Month     time.Time // the billing period begins
	Units     int64
	Used      int64 // of Units; at most what was measured
	Measured  bool  // Used is known of all entries
	Amount    billing.Money
	Entries   []string // their IDs
	Facts     *billing.Facts
}

// Correction reports whether r corrects a billing period that is over: what it
// is about was in an earlier one than that in which it is booked.
func (r *Row) Correction() bool { return month(r.Start).Before(r.Month) }

// Rows merges charges into rows. Charges of one hour, task and SKU must follow
// one another. A row is valid until the next is asked for.
func Rows(charges iter.Seq2[billing.Charge, error]) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		var row Row
		var taken bool // the row takes time back
		for c, err := range charges {
			if err != nil {
				yield(nil, err)
				return
			}
			start, end := hours(c.From, c.To)
			back := c.Kind == billing.Correction || c.Kind == billing.Reversal
			if len(row.Entries) > 0 && !back && !taken && row.Task == c.Task && row.SKU == c.SKU && row.Start.Equal(start) && row.End.Equal(end) &&
				row.Rate == c.Rate && row.PriceList == c.PriceList && row.Month.Equal(month(c.Booked)) && row.Facts == c.Facts {
				row.Units += c.Units
				row.Used += c.Used.Units
				row.Measured = row.Measured && c.Used.Known
				row.Amount += c.Amount
				row.Entries = append(row.Entries, c.ID)
				continue
			}
			if len(row.Entries) > 0 && !yield(&row, nil) {
				return
			}
			taken = back
			row = Row{
				Task: c.Task, SKU: c.SKU, Rate: c.Rate, PriceList: c.PriceList, Start: start, End: end, Month: month(c.Booked),
				Units: c.Units, Used: c.Used.Units, Measured: c.Used.Known, Amount: c.Amount, Entries: append(row.Entries[:0], c.ID), Facts: c.Facts,
			}
		}
		if len(row.Entries) > 0 {
			yield(&row, nil)
		}
	}
}

// Clone returns a copy of r that stays valid.
func (r *Row) Clone() *Row {
	c := *r
	c.Entries = slices.Clone(r.Entries)
	return &c
}

// hours returns the full hours in which an entry lies. Rounding up can reach
// into the next hour; like AWS, that is charged in the hour in which it begins.
func hours(from, to time.Time) (start, end time.Time) {
	if to.Before(from) {
		start = to.UTC().Truncate(time.Hour)
		end = from.UTC().Truncate(time.Hour)
		if end.Before(from) || !end.After(start) {
			end = end.Add(time.Hour)
		}
		return start, end
	}
	start = from.UTC().Truncate(time.Hour)
	return start, start.Add(time.Hour)
}

// month returns the beginning of the month in which t is.
func month(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

func nextMonth(t time.Time) time.Time { return t.AddDate(0, 1, 0) }
