package billing

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// Keeping is how long each series of usage is kept.
type Keeping struct {
	Seconds, Minutes, Hours time.Duration
}

// Retention forgets what tasks used when it has been kept long enough: samples
// first, then minutes, then hours. Samples also go with their task.
type Retention struct {
	History History
	Keep    Keeping
	Log     *zap.Logger
	Now     func() time.Time
}

const (
	forgetEvery = 10 * time.Minute
	forgetBatch = 2000 // rows in one transaction, so that others can write in between
)

// Run forgets, now and then, until ctx ends.
func (r Retention) Run(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		now, keep := r.Now(), r.Keep
		err := errors.Join(r.forget(ctx, Second, now.Add(-keep.Seconds)), r.forget(ctx, Minute, now.Add(-keep.Minutes)), r.forget(ctx, Hour, now.Add(-keep.Hours)))
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("old usage not forgotten", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r Retention) forget(ctx context.Context, step time.Duration, before time.Time) error {
	// Whole hours only, so that no hour is made of a part of its minutes.
	before = before.UTC().Truncate(Hour)
	for {
		if n, err := r.History.Forget(ctx, step, before, forgetBatch); err != nil || n < forgetBatch {
			return err
		}
	}
}
