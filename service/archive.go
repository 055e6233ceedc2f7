package service

import (
	"context"
	"time"

	"berth/task"
)

// Filter selects services of one account and region that are ACTIVE.
type Filter struct {
	Realm     task.Realm // a Cluster of "" is any
	Namespace string     // of Service Connect; "" is any
	Launch    string     // launch type; "" is any
}

// Archive answers what services are and were.
type Archive interface {
	// Services returns at most limit services that f selects, by cluster and name, that come
	// after the service of ID after, if that is not empty.
	Services(ctx context.Context, f Filter, limit int, after ID) ([]Service, error)

	// ServiceEvents returns the latest events of a service, at most limit, the newest first.
	ServiceEvents(ctx context.Context, id ID, limit int) ([]Event, error)

	// EventsAfter returns at most limit events of all services after position seq, in order.
	EventsAfter(ctx context.Context, seq int64, limit int) ([]Event, error)

	// Rollouts returns those of the service deployments that are known, by ARN.
	Rollouts(ctx context.Context, arns []string) ([]Rollout, error)

	// RolloutsOf returns at most limit service deployments of a service, the latest first,
	// that are older than the one of ARN after, if that is not empty.
	RolloutsOf(ctx context.Context, id ID, f RolloutFilter, limit int, after string) ([]Rollout, error)

	// Revisions returns those of the service revisions that are known, by ARN.
	Revisions(ctx context.Context, arns []string) ([]Revision, error)
}

// RolloutFilter selects service deployments.
type RolloutFilter struct {
	Status        []RolloutStatus // empty: any
	Before, After time.Time       // of creation; zero: any
}

// Counts is how many tasks are in which state.
type Counts struct{ Pending, Running int }

// Count counts the tasks of a fleet by what is known of them.
func (f Fleet) Count(tasks map[task.ID]task.Task) (c Counts) {
	for _, m := range f.Members {
		t, ok := tasks[m.Task]
		switch {
		case m.Task == "":
			c.Pending++
		case !ok || t.LastStatus.Final():
		case t.LastStatus == task.Running:
			c.Running++
		case t.DesiredStatus == task.Running:
			c.Pending++
		}
	}
	return c
}

// Wanted is how many tasks of a fleet were not asked to stop.
func (f Fleet) Wanted() (n int) {
	for _, m := range f.Members {
		if m.Stop == "" {
			n++
		}
	}
	return n
}

// Described is a service as it is now.
type Described struct {
	Service
	Tasks  map[task.ID]task.Task
	Events []Event // the newest first, at most 100
}

// Describe returns a service as it is now, with events.
func (s *Scheduler) Describe(ctx context.Context, v Service) (Described, error) {
	tasks, err := s.Journal.Known(ctx, v.TaskIDs())
	if err != nil {
		return Described{}, err
	}
	events, err := s.Book.ServiceEvents(ctx, v.ID, mostEvents)
	return Described{Service: v, Tasks: tasks, Events: events}, err
}
