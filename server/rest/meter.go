package rest

import (
	"context"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

type usageIn struct {
	taskIn
	Resolution task.Seconds `query:"resolution" minimum:"1" maximum:"86400" doc:"Seconds between two samples; 1 if left out"`
	From       moment       `query:"from" doc:"RFC 3339, or how long ago, as in 10m"`
	To         moment       `query:"to" doc:"RFC 3339, or how long ago, as in 10m"`
}

func (s *server) usage(ctx context.Context, in *usageIn) (*billing.Usage, error) {
	q := billing.UsageQuery{
		Resolution: time.Duration(max(1, in.Resolution)) * time.Second, From: in.From.at(s.Now()), To: in.To.at(s.Now()),
	}
	if !q.From.IsZero() && !q.To.IsZero() && q.To.Before(q.From) {
		return nil, fault.At("to", "it is before from")
	}
	u, err := s.Meter.Usage(ctx, in.ID.ID, q)
	return &u, err
}

func (s *server) bill(ctx context.Context, in *taskIn) (*billing.Bill, error) {
	b, err := s.Meter.Bill(ctx, in.ID.ID)
	return &b, err
}

// quote says what t would cost.
func (s *server) quote(t task.Task) *api.Quote {
	list := s.Prices.PriceList(s.Now())
	lines, hour := billing.Estimate(t, list, time.Hour)
	_, least := billing.Estimate(t, list, 0)
	return &api.Quote{PriceList: list, PerHour: hour, Minimum: least, Lines: lines}
}
