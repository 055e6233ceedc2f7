package containerd

import (
	"context"

	"berth/fault"
	"berth/task"
)

// Stats implements isolation.Runtime. In gVisor the containers of a task are one sandbox's,
// and its counters are those of each.
func (r *Runtime) Stats(_ context.Context, id task.ID, container string) (task.ContainerStats, error) {
	world, there, err := r.world(id)
	if err != nil {
		return task.ContainerStats{}, err
	}
	if !there {
		return task.ContainerStats{}, fault.New(fault.NotFound, "task %s is not provisioned", id)
	}
	counted := runtimeID(id, container)
	if world.Sandbox.Runtime == task.GVisor {
		if _, found, err := load[containerRecord](r.containerDir(id, container), containerFile); err != nil || !found {
			return task.ContainerStats{}, absent(err, id, container)
		}
		counted = sandboxID(id)
	}
	s, err := r.cgroups.Stats(string(id), counted, r.netns(id))
	s.At = r.Now().UTC()
	return s, err
}
