package api

import (
	"berth/billing"
	"berth/billing/tuning"
)

// TuningPage is a page of tunings.
type TuningPage struct {
	Tunings   []tuning.Tuning `json:"tunings"`
	NextToken string          `json:"nextToken,omitempty" doc:"Of the next page; left out on the last"`
}

// TuningResume says on which terms a tuning goes on.
type TuningResume struct {
	MaxCost *billing.Money `json:"maxCost,omitempty" doc:"US dollars that all runs together may cost, also those before; as it was if left out"`
}
