package containerd

import (
	"context"

	"berth/fault"
	"berth/task"
)

// Stats implements isolation.Runtime.
func (r *Runtime) Stats(_ context.Context, id task.ID, container string) (task.ContainerStats, error) {
	_, there, err := r.world(id)
	if err != nil {
		return task.ContainerStats{}, err
	}
	if !there {
		return task.ContainerStats{}, fault.New(fault.NotFound, "task %s is not provisioned", id)
	}
	s, err := r.cgroups.Stats(string(id), runtimeID(id, container), r.netns(id))
	s.At = r.Now().UTC()
	return s, err
}
