package budget

import (
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

const (
	// Lease is for how long money is held ahead. It is as long as the least time that a
	// task is charged for.
	Lease = time.Minute

	// renewEvery is how often holds are renewed.
	renewEvery = 10 * time.Second

	// margin is how long before the end of its hold a task that cannot have it renewed is
	// asked to stop: what its containers have left, a second that is rounded up and one for
	// taking it down, and as it is looked at every so often.
	margin = task.SpendGrace + 2*time.Second + renewEvery
)

// Hold is what a task may have cost by the end of its lease and is not in the ledger: the
// entries that would be made if it ended then. Each counts for the day in which it would
// be booked.
type Hold struct {
	Task  task.ID
	Facts billing.Facts
	Until time.Time // on the time line of the task
	Parts []Part    // by day; at most a few
	Total billing.Money
	Spent billing.Money // of Total, up to now
}

// Part is what a Hold holds of a day.
type Part struct {
	Day     Day
	Accrued billing.Money // of the time that has passed
	Ahead   billing.Money // of the time to come
}

// Sum returns all of p.
func (p Part) Sum() billing.Money { return p.Accrued + p.Ahead }

// HoldOf returns what is to be held for t until a time, at which t ends at the latest.
// cursors are where its charge stands; none if it has not begun. now is a time on t's time
// line.
func HoldOf(t task.Task, cursors []billing.Cursor, prices billing.Prices, now, until time.Time) Hold {
	if len(cursors) == 0 {
		begun := t
		if t.PullStartedAt.IsZero() {
			begun.PullStartedAt = now // at the earliest
		}
		cursors = billing.Open(begun, prices)
	}
	if !t.StoppedAt.IsZero() {
		now, until = t.StoppedAt, t.StoppedAt // The meter is about to say so.
	}
	h := Hold{Task: t.ID, Facts: billing.FactsOf(t), Until: until}
	days := make(map[Day]Part)
	terms := billing.Terms{Prices: prices}
	for _, c := range cursors {
		h.Total += c.Amount
		if c.Closed {
			continue
		}
		for _, e := range ending(c, until, terms) {
			p := days[DayOf(e.Booked)]
			p.Ahead += e.Amount
			days[DayOf(e.Booked)] = p
			h.Total += e.Amount
		}
		if t.PullStartedAt.IsZero() {
			continue
		}
		for _, e := range ending(c, now, terms) {
			p := days[DayOf(e.Booked)]
			p.Accrued, p.Ahead = p.Accrued+e.Amount, p.Ahead-e.Amount
			days[DayOf(e.Booked)] = p
		}
	}
	for _, d := range sortedDays(days) {
		p := days[d]
		p.Day = d
		h.Parts = append(h.Parts, p)
		h.Spent -= p.Ahead
	}
	h.Spent += h.Total
	return h
}

// ending returns the entries that are made if c's task ends at a time. What is posted is
// taken as it is.
func ending(c billing.Cursor, at time.Time, terms billing.Terms) []billing.Entry {
	if !at.After(c.To) {
		at = c.To.Add(1)
	}
	_, entries := c.Close(at, terms, nil)
	return entries
}

// affordable returns the latest time up to until at which t has not cost more than its
// MaxCost, in seconds from now; now if there is none.
func affordable(t task.Task, cursors []billing.Cursor, prices billing.Prices, now, until time.Time) time.Time {
	if t.MaxCost == 0 || HoldOf(t, cursors, prices, now, until).Total <= t.MaxCost {
		return until
	}
	low, high := time.Duration(0), until.Sub(now)/time.Second // high is too much
	for low+1 < high {
		if mid := (low + high) / 2; HoldOf(t, cursors, prices, now, now.Add(mid*time.Second)).Total <= t.MaxCost {
			low = mid
		} else {
			high = mid
		}
	}
	return now.Add(low * time.Second)
}

// first returns what is held for a task that is submitted now, or why it cannot be.
func first(t task.Task, prices billing.Prices, now time.Time) (Hold, error) {
	h := HoldOf(t, nil, prices, now, now.Add(Lease))
	if t.MaxCost > 0 && h.Total > t.MaxCost {
		return h, fault.At("maxCost", "a task of this size costs $%s at least, for a minute, and may cost $%s", h.Total.Short(), t.MaxCost.Short())
	}
	return h, nil
}
