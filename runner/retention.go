package runner

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"berth/task"
)

// Archive keeps what is known of stopped tasks.
type Archive interface {
	// Prune forgets at most limit tasks that stopped before then and returns
	// their IDs.
	Prune(ctx context.Context, before time.Time, limit int) ([]task.ID, error)
}

// Logs keeps what containers wrote.
type Logs interface {
	Remove(id task.ID) error
}

// Retention forgets stopped tasks, their usage and their logs when they have
// been kept long enough. The ledger forgets nothing.
type Retention struct {
	Archive Archive
	Logs    Logs
	Keep    time.Duration
	Log     *zap.Logger
	Now     func() time.Time
}

const (
	pruneEvery = 10 * time.Minute
	pruneBatch = 200 // tasks in one transaction, so that others can write in between
)

// Run forgets, now and then, until ctx ends.
func (r Retention) Run(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		if err := r.prune(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("old tasks not forgotten", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r Retention) prune(ctx context.Context) error {
	for {
		ids, err := r.Archive.Prune(ctx, r.Now().Add(-r.Keep), pruneBatch)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := r.Logs.Remove(id); err != nil {
				return fmt.Errorf("remove logs of %s: %w", id, err)
			}
		}
		if len(ids) < pruneBatch {
			return nil
		}
	}
}
