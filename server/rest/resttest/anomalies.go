package resttest

import (
	"context"
	"slices"
	"time"

	"berth/billing/anomaly"
)

// Found has what costs be not as it was, in Anomalies.
func (f *Fake) Found(all ...anomaly.Anomaly) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.anomalies = append(f.anomalies, all...)
}

// Anomalies is part of rest.Anomalies.
func (f *Fake) Anomalies(_ context.Context, from, to time.Time, limit int) (all []anomaly.Anomaly, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range slices.Backward(f.anomalies) {
		if !a.From.Before(from) && a.From.Before(to) && len(all) < limit {
			all = append(all, a)
		}
	}
	return all, nil
}
