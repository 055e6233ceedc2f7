package runner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/fault"
	"berth/task"
)

// Interrupt takes a task on FARGATE_SPOT away: it is told, as an event and by SIGTERM,
// and killed when the notice is over. It returns before the task has ended; repeating it
// changes nothing. A task that is not on FARGATE_SPOT is a fault.Conflict.
func (r *Runner) Interrupt(ctx context.Context, id task.ID) (task.Task, error) {
	t, err := r.Store.Task(ctx, id)
	if err != nil {
		return t, err
	}
	if !t.Interruptible() {
		return t, fault.New(fault.Conflict, "task %s is not on %s, so nobody interrupts it", id, task.Spot)
	}
	return r.Store.AskStop(ctx, id, task.SpotInterruption, task.ReasonInterrupted)
}

// fate returns how long after its start a task is interrupted at a rate of interruptions
// for each hour of each task, and false if never. It follows from the task's ID, so that
// it is the same for every server that looks, and happens once; over many tasks it is
// distributed as if every second were as dangerous as every other.
func fate(t task.Task, perHour float64) (time.Duration, bool) {
	if perHour <= 0 || !t.Interruptible() {
		return 0, false
	}
	sum := sha256.Sum256([]byte("spot " + t.ID))
	u := (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53) // uniform in (0, 1)
	hours := -math.Log(u) / perHour
	if hours > 24*365 {
		return 0, false
	}
	return time.Duration(hours * float64(time.Hour)), true
}

// takeAway ends an interrupted task. All containers get the stop signal at once, as the
// host that goes away waits for none of them, and what is left of them at the end of the
// notice, which began with the task's stoppingAt, is killed.
func (r *Runner) takeAway(ctx context.Context, t task.Task, plans []task.ContainerPlan) (map[string]task.Outcome, error) {
	deadline := t.StoppingAt.Add(r.SpotNotice)
	var mu sync.Mutex
	outcomes := make(map[string]task.Outcome)
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range plans {
		g.Go(func() error {
			o, err := r.endContainer(ctx, t, p, deadline, time.Time{})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[p.Name] = o
			return nil
		})
	}
	return outcomes, g.Wait()
}
