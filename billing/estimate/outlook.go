package estimate

import (
	"context"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/task"
)

// Outlook is what tasks will cost that are not submitted yet. Amounts are US dollars as
// decimal strings.
type Outlook struct {
	Currency  string  `json:"currency"`
	PriceList string  `json:"priceList" doc:"ID of the one that holds now"`
	Pull      Basis   `json:"pullBasis" doc:"Where the time of the pull comes from"`
	Duration  Basis   `json:"durationBasis" doc:"Where the time of the run comes from"`
	Terms     []Terms `json:"terms" doc:"One for each capacity provider that tasks are on"`
	Total     Range   `json:"total" doc:"Of all tasks"`
}

// Terms is what the tasks of an Outlook cost that are on one capacity provider.
type Terms struct {
	CapacityProvider string `json:"capacityProvider" enum:"FARGATE,FARGATE_SPOT"`
	Architecture     string `json:"cpuArchitecture" enum:"X86_64,ARM64"`
	Count            int    `json:"count" doc:"Tasks"`
	PerTask          Costs  `json:"perTask"`
	Total            Range  `json:"total" doc:"Of these tasks"`
}

// Outlook returns what ts, at least one task of a run of a family, will cost at the
// prices that hold now, from how runs of the family went. Something that has no price is
// fault.NotFound.
func (e *Estimator) Outlook(ctx context.Context, family string, ts []task.Task) (Outlook, error) {
	list, err := e.Prices.PriceList(ctx, "", e.Now())
	if err != nil {
		return Outlook{}, err
	}
	runs, err := e.Runs.Runs(ctx, history.Query{Account: ts[0].Realm().Account, Family: family, Limit: mostRuns})
	if err != nil {
		return Outlook{}, err
	}
	times, pull, rest := spread(runs, ts[0].Size(), 0, time.Duration(ts[0].Timeout)*time.Second)
	out := Outlook{Currency: "USD", PriceList: list.ID, Pull: pull, Duration: rest, Terms: []Terms{}}
	counts := make(map[bool]int)
	for _, t := range ts {
		counts[t.Interruptible()]++
	}
	for _, spot := range []bool{false, true} {
		n := counts[spot]
		if n == 0 {
			continue
		}
		shape := billing.ShapeOf(ts[0])
		shape.Spot = spot
		terms := Terms{CapacityProvider: task.OnDemand, Architecture: shape.Arch, Count: n}
		if spot {
			terms.CapacityProvider = task.Spot
		}
		if terms.PerTask, err = costsOf(shape, list, times); err != nil {
			return Outlook{}, err
		}
		if terms.Total, err = terms.PerTask.totals().each(func(m billing.Money) (billing.Money, error) { return Scale(m, int64(n), 1) }); err != nil {
			return Outlook{}, err
		}
		out.Terms = append(out.Terms, terms)
		if out.Total, err = out.Total.plus(terms.Total); err != nil {
			return Outlook{}, err
		}
	}
	return out, nil
}
