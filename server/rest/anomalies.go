package rest

import (
	"context"
	"time"

	"berth/billing/anomaly"
	"berth/fault"
	"berth/server/api"
)

// Anomalies knows in which hours costs were not as they were.
type Anomalies interface {
	// Anomalies returns those of the hours from from to to, which is not included, the
	// latest first, at most limit.
	Anomalies(ctx context.Context, from, to time.Time, limit int) ([]anomaly.Anomaly, error)
}

type anomaliesIn struct {
	spanIn
	Limit *int `query:"limit" minimum:"1" maximum:"10000" doc:"At most so many; 1000 if left out"`
}

func (s *server) anomalies(ctx context.Context, in *anomaliesIn) (*api.AnomalyList, error) {
	limit := 1000
	if in.Limit != nil {
		limit = *in.Limit
	}
	from, to := in.times(s.Now())
	if !from.Before(to) {
		return nil, fault.At("to", "is not after from")
	}
	all, err := s.Anomalies.Anomalies(ctx, from, to, limit)
	return &api.AnomalyList{From: from, To: to, Currency: "USD", Anomalies: some(all)}, err
}
