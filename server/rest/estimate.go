package rest

import (
	"context"

	"berth/access"
	"berth/billing/estimate"
	"berth/server/api"
)

type estimateIn struct{ Body estimate.Request }

func (s *server) estimate(ctx context.Context, in *estimateIn) (*estimate.Estimate, error) {
	in.Body.Realm = access.From(ctx).Realm()
	e, err := s.Estimates.Estimate(ctx, in.Body)
	return &e, err
}

// accuracy compares the estimate of a task with its bill.
func (s *server) accuracy(ctx context.Context, in *taskIn) (*api.Accuracy, error) {
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return nil, err
	}
	q, err := s.Estimates.Quote(ctx, in.ID.ID)
	if err != nil {
		return nil, err
	}
	b, err := s.Meter.Bill(ctx, in.ID.ID)
	if err != nil {
		return nil, err
	}
	return &api.Accuracy{
		TaskARN: b.TaskARN, Currency: b.Currency, Estimate: q, Status: b.Status, Actual: b.Total, BilledSeconds: b.BilledSeconds, Difference: b.Total - q.Expected,
	}, nil
}
