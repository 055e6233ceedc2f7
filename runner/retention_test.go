package runner

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// attic is an archive and its logs.
type attic struct {
	known []task.ID // by the archive
	old   []task.ID // of which Prune is to forget
	logs  []task.ID
	stuck task.ID // whose logs cannot be removed
}

func (a *attic) Prune(context.Context, time.Time, int) ([]task.ID, error) {
	gone := a.old
	a.old = nil
	a.known = slices.DeleteFunc(a.known, func(id task.ID) bool { return slices.Contains(gone, id) })
	return gone, nil
}

func (a *attic) Task(_ context.Context, id task.ID) (task.Task, error) {
	if slices.Contains(a.known, id) {
		return task.Task{ID: id}, nil
	}
	return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
}

func (a *attic) Remove(id task.ID) error {
	if id == a.stuck {
		return errors.New("input/output error")
	}
	a.logs = slices.DeleteFunc(a.logs, func(other task.ID) bool { return other == id })
	return nil
}

func (a *attic) Tasks() ([]task.ID, error) { return slices.Clone(a.logs), nil }

// Ensure no logs stay of tasks that are forgotten: not when the logs of one cannot be
// removed, and not when somebody died before they were.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attic{known: []task.ID{"keep", "one", "two", "three"}, old: []task.ID{"one", "two", "three"}, logs: []task.ID{"keep", "one", "two", "three", "orphan"}, stuck: "one"}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- Retention{Archive: a, Logs: a, Log: zap.NewNop(), Now: time.Now}.Run(ctx)
		}()
		synctest.Wait()
		if want := []task.ID{"keep", "one"}; !slices.Equal(a.logs, want) {
			t.Errorf("there are logs of %v, want %v", a.logs, want)
		}
		a.stuck = ""
		time.Sleep(pruneEvery + time.Second)
		synctest.Wait()
		if want := []task.ID{"keep"}; !slices.Equal(a.logs, want) {
			t.Errorf("later there are logs of %v, want %v", a.logs, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
