package containerd

import (
	"context"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Restart implements isolation.Runtime.
//
// Each run has records of its own, under its number, so that what is written about one
// can never be taken for another. The next run begins when its number is in the
// container's record; before that the process of the last one is deleted, whose end is
// written down.
func (r *Runtime) Restart(ctx context.Context, id task.ID, name string, run int) (isolation.Started, error) {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return isolation.Started{}, err
	}
	defer unlock()

	dir := r.containerDir(id, name)
	c, found, err := load[containerRecord](dir, containerFile)
	if err != nil || !found {
		return isolation.Started{}, absent(err, id, name)
	}
	switch c.Run {
	case run:
		return r.startOnce(ctx, id, c)
	case run - 1:
	default:
		return isolation.Started{}, fault.New(fault.Conflict, "container %s is in run %d and cannot begin run %d", name, c.Run, run)
	}
	if _, ended, err := load[task.Exit](dir, ofRun(exitFile, c.Run)); err != nil {
		return isolation.Started{}, err
	} else if !ended {
		return isolation.Started{}, fault.New(fault.Conflict, "run %d of container %s has not ended", c.Run, name)
	}
	if err := r.deleteTask(ctx, runtimeID(id, name)); err != nil {
		return isolation.Started{}, err
	}
	if err := r.sweep(ctx, id, name); err != nil {
		return isolation.Started{}, err
	}
	c.Run = run
	if err := saveDurably(dir, containerFile, c); err != nil {
		return isolation.Started{}, err
	}
	return r.startOnce(ctx, id, c)
}
