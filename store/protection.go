package store

import (
	"context"
	"time"

	"berth/task"
)

// Protect protects a task from its service until that time; the zero time ends its
// protection. A task that is of no service, or is on its way out, is fault.Conflict with a
// task.ProtectionFailure. Repeating it changes nothing.
func (s *Store) Protect(ctx context.Context, id task.ID, until time.Time) (task.Task, error) {
	return s.change(ctx, id, func(t task.Task) (task.Task, bool, error) { return t.Protect(until) })
}
