package rest

import (
	"context"

	"berth/access"
	"berth/fault"
	"berth/task"
)

// sees reports whether the caller may know of t.
func sees(ctx context.Context, t task.Task) bool {
	who := access.From(ctx)
	return who.Admin || t.Realm().Account == who.Account
}

// own returns a task of the caller's account. One of another does not exist for them.
func (s *server) own(ctx context.Context, id task.ID) (task.Task, error) {
	t, err := s.Journal.Task(ctx, id)
	if err == nil && !sees(ctx, t) {
		return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
	}
	return t, err
}

// ours is own for who does not need the task.
func (s *server) ours(ctx context.Context, id task.ID) error {
	if access.From(ctx).Admin {
		return nil
	}
	_, err := s.own(ctx, id)
	return err
}
