package estimate

import (
	"fmt"
	"time"

	"berth/billing"
)

// month is how often or how long something runs in a month: for 730 hours, or
// runs / per times.
type month struct {
	hours     bool
	runs, per int64
}

// monthOf returns what r says of a month. A definition of which it says nothing is
// taken to run all the time, as a service does; one in a file whose services are
// something else, not at all.
func monthOf(r Request, s Subject) month {
	switch {
	case r.RunsPerMonth > 0:
		return month{runs: r.RunsPerMonth, per: 1}
	case r.RunsPerDay > 0:
		return month{runs: r.RunsPerDay * int64(always/time.Hour), per: 24}
	case s.Service && r.DurationSeconds > 0:
		return month{runs: 1, per: 1} // It was said to be a job after all.
	case !s.Service && s.Address != "":
		return month{per: 1}
	}
	return month{hours: true}
}

func (m month) String() string {
	switch {
	case m.hours:
		return "730 hours without a pause"
	case m.per == 1:
		return fmt.Sprintf("%d runs", m.runs)
	}
	return fmt.Sprintf("%d runs a day, for 730 hours", m.runs/int64(always/time.Hour))
}

// of returns what a month of count tasks of shape v costs. Each run is rounded
// as the ledger does; their number is multiplied then, and rounded once.
func (m month) of(v billing.Shape, list billing.PriceList, c Costs, count int) (Range, error) {
	if m.hours {
		one, err := over(v, list, always)
		if err != nil {
			return Range{}, err
		}
		all, err := Scale(one, int64(count), 1)
		return Range{all, all, all}, err
	}
	return c.totals().each(func(one billing.Money) (billing.Money, error) { return Scale(one, m.runs*int64(count), m.per) })
}
