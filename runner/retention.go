package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// Archive keeps what is known of stopped tasks.
type Archive interface {
	// Prune forgets at most limit tasks that stopped before then and returns
	// their IDs.
	Prune(ctx context.Context, before time.Time, limit int) ([]task.ID, error)

	// Task returns a task, or fault.NotFound.
	Task(ctx context.Context, id task.ID) (task.Task, error)
}

// Logs keeps what containers wrote.
type Logs interface {
	Remove(id task.ID) error

	// Tasks returns the tasks of which there are logs.
	Tasks() ([]task.ID, error)
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
		if err := errors.Join(r.prune(ctx), r.sweep(ctx)); err != nil && ctx.Err() == nil {
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
		var errs []error
		for _, id := range ids {
			errs = append(errs, r.removeLogs(id))
		}
		if err := errors.Join(errs...); err != nil || len(ids) < pruneBatch {
			return err
		}
	}
}

// sweep removes the logs of tasks that nobody remembers: we may have died, or failed,
// between forgetting a task and removing its logs.
func (r Retention) sweep(ctx context.Context) error {
	ids, err := r.Logs.Tasks()
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	var errs []error
	for _, id := range ids {
		switch _, err := r.Archive.Task(ctx, id); {
		case fault.KindOf(err) == fault.NotFound:
			errs = append(errs, r.removeLogs(id))
		case err != nil:
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

func (r Retention) removeLogs(id task.ID) error {
	if err := r.Logs.Remove(id); err != nil {
		return fmt.Errorf("remove logs of %s: %w", id, err)
	}
	return nil
}
