package service

import (
	"context"
	"slices"
	"strings"

	"berth/fault"
	"berth/task"
)

// SetRequest is the wish for a task set (ECS API, CreateTaskSet).
type SetRequest struct {
	Template
	ExternalID string
	Scale      float64 // per cent of the service's desired count, 0 to 100
	Tags       []task.Tag
	Token      string `json:"-"`
}

// maxTaskSets is how many a service has at most (ECS developer guide, "External deployment").
const maxTaskSets = 5

// ErrManyTaskSets is the cause of an error about a task set too many.
var ErrManyTaskSets = fault.New(fault.Exhausted, "too many task sets")

// CreateTaskSet adds a task set to a service of an EXTERNAL controller. The same token and
// request return the same set.
func (s *Scheduler) CreateTaskSet(ctx context.Context, r task.Realm, name string, q SetRequest) (Service, TaskSet, error) {
	hash, err := hashOf(q)
	if err != nil {
		return Service{}, TaskSet{}, err
	}
	return s.editSet(ctx, r, name, func(d *draft) (string, error) {
		if err := validateSet(q); err != nil {
			return "", err
		}
		if q.Token != "" {
			for _, t := range d.TaskSets {
				if t.Token == q.Token && t.Hash == hash {
					return t.ID, nil
				}
			}
		}
		if len(d.TaskSets) >= maxTaskSets {
			return "", fault.Wrap(fault.Exhausted, ErrManyTaskSets, "A service can have at most %d task sets.", maxTaskSets)
		}
		tm, def, err := s.resolve(ctx, d.Service, q.Template)
		if err != nil {
			return "", err
		}
		t := TaskSet{
			ID: "ecs-svc/" + s.NewNumber(), Rank: Secondary, Template: tm, ExternalID: q.ExternalID, Scale: q.Scale, HealthChecked: healthChecked(def),
			DefinitionTags: def.Tags, Tags: q.Tags, CreatedAt: d.now, UpdatedAt: d.now, SteadyAt: d.now, Token: q.Token, Hash: hash,
		}
		d.TaskSets = append(d.TaskSets, t)
		return t.ID, nil
	})
}

func validateSet(q SetRequest) error {
	switch {
	case q.Scale < 0 || q.Scale > 100:
		return fault.At("scale.value", "must be from 0 to 100")
	case badToken(q.Token):
		return fault.At("clientToken", "has at most %d visible ASCII characters", maxToken)
	}
	if err := task.ValidateTags(q.Tags); err != nil {
		return err
	}
	return validateRest(0, PropagateNone, "DISABLED", q.Template)
}

// Scale changes which share of the desired count a task set has, in per cent.
func (s *Scheduler) Scale(ctx context.Context, r task.Realm, name, set string, scale float64) (Service, TaskSet, error) {
	return s.editSet(ctx, r, name, func(d *draft) (string, error) {
		t, err := d.set(set)
		if err != nil {
			return "", err
		}
		if scale < 0 || scale > 100 {
			return "", fault.At("scale.value", "must be from 0 to 100")
		}
		if t.Rank == SetLeaving {
			return "", fault.New(fault.Invalid, "The task set is DRAINING.")
		}
		t.Scale, t.UpdatedAt = scale, d.now
		d.say(Event{}, "(service %s, taskSet %s) updated computedDesiredCount to %d.", d.Name, t.ID, t.Want(d.Desired))
		return t.ID, nil
	})
}

// Promote makes a task set the primary one.
func (s *Scheduler) Promote(ctx context.Context, r task.Realm, name, set string) (Service, TaskSet, error) {
	return s.editSet(ctx, r, name, func(d *draft) (string, error) {
		t, err := d.set(set)
		if err != nil {
			return "", err
		}
		if t.Rank == SetLeaving {
			return "", fault.New(fault.Invalid, "The task set is DRAINING.")
		}
		for i := range d.TaskSets {
			if o := &d.TaskSets[i]; o.Rank == Primary && o.ID != t.ID {
				o.Rank, o.UpdatedAt = Secondary, d.now
			}
		}
		t.Rank, t.UpdatedAt = Primary, d.now
		d.Template = t.Template
		d.say(Event{}, "(service %s) updated primary taskSet to (taskSet %s).", d.Name, t.ID)
		return t.ID, nil
	})
}

// DeleteTaskSet begins to end a task set: it is DRAINING until its last task has stopped, and
// is then forgotten. One that is not scaled to 0 is refused unless force.
func (s *Scheduler) DeleteTaskSet(ctx context.Context, r task.Realm, name, set string, force bool) (Service, TaskSet, error) {
	return s.editSet(ctx, r, name, func(d *draft) (string, error) {
		t, err := d.set(set)
		if err != nil {
			return "", err
		}
		if !force && t.Want(d.Desired) > 0 {
			return "", fault.New(fault.Invalid, "The task set cannot be deleted while it is scaled above 0.")
		}
		t.Rank, t.UpdatedAt, t.Steady = SetLeaving, d.now, false
		return t.ID, nil
	})
}

// RetagSet adds tags to a task set and removes those of some keys.
func (s *Scheduler) RetagSet(ctx context.Context, r task.Realm, name, set string, add []task.Tag, remove []string) (Service, TaskSet, error) {
	return s.editSet(ctx, r, name, func(d *draft) (string, error) {
		t, err := d.set(set)
		if err != nil {
			return "", err
		}
		t.Tags = task.MergeTags(t.Tags, add, remove)
		return t.ID, task.ValidateTags(t.Tags)
	})
}

// editSet changes a service of an EXTERNAL controller and returns the task set that f names.
func (s *Scheduler) editSet(ctx context.Context, r task.Realm, name string, f func(d *draft) (string, error)) (Service, TaskSet, error) {
	var id string
	v, err := s.edit(ctx, r, name, func(d *draft) (n News, err error) {
		if d.Controller != External {
			return n, fault.New(fault.Invalid, "Task sets cannot be used with a service that has the %s deployment controller.", d.Controller)
		}
		id, err = f(d)
		return n, err
	})
	if err != nil {
		return v, TaskSet{}, err
	}
	t, err := v.set(id)
	if err != nil {
		return v, TaskSet{}, err
	}
	return v, *t, nil
}

// set returns the task set of that ID or ARN.
func (v *Service) set(ref string) (*TaskSet, error) {
	i := slices.IndexFunc(v.TaskSets, func(t TaskSet) bool {
		return t.ID == ref || strings.TrimPrefix(t.ID, "ecs-svc/") == ref || t.ARN(*v) == ref
	})
	if i < 0 {
		return nil, fault.Wrap(fault.NotFound, ErrNoTaskSet, "The specified task set does not exist. Specify a valid task set and try again.")
	}
	return &v.TaskSets[i], nil
}

// TaskSet returns the task set of that ID or ARN, or ErrNoTaskSet.
func (v Service) TaskSet(ref string) (TaskSet, error) {
	t, err := v.set(ref)
	if err != nil {
		return TaskSet{}, err
	}
	return *t, nil
}
