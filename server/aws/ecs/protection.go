package ecs

import (
	"context"
	"time"

	"berth/access"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

func (s *server) protectionOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("GetTaskProtection", s.getTaskProtection, wire.On(s.onGetProtection)),
		wire.Op("UpdateTaskProtection", s.updateTaskProtection, wire.On(s.onUpdateProtection)),
	}
}

// maxProtected is how many tasks one call can protect (ECS API, UpdateTaskProtection).
const maxProtected = 10

type getProtectionIn struct {
	Cluster string   `json:"cluster" required:"true"`
	Tasks   []string `json:"tasks,omitempty"`
}

type protectionOut struct {
	Tasks    []protectedShape `json:"protectedTasks"`
	Failures []Failure        `json:"failures"`
}

// protectedShape is ProtectedTask of the ECS API.
type protectedShape struct {
	ARN       string    `json:"taskArn"`
	Protected bool      `json:"protectionEnabled"`
	Until     wire.Time `json:"expirationDate,omitzero"`
}

// getTaskProtection says which tasks of services are protected; without tasks, of all that
// are in the cluster.
func (s *server) getTaskProtection(ctx context.Context, c wire.Call, in *getProtectionIn) (*protectionOut, error) {
	if len(in.Tasks) > maxDescribed {
		return nil, wire.Errorf(invalid, "Tasks cannot have more than %d entries.", maxDescribed)
	}
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Tasks) == 0 {
		return s.allProtected(ctx, r)
	}
	return s.eachTask(ctx, r, in.Tasks, func(t task.Task) (task.Task, error) { return t, t.Protectable() })
}

// allProtected returns the tasks of services in r and whether they are protected.
func (s *server) allProtected(ctx context.Context, r task.Realm) (*protectionOut, error) {
	out := &protectionOut{Tasks: []protectedShape{}, Failures: []Failure{}}
	for token := ""; ; {
		ts, next, err := s.Journal.Tasks(ctx, TaskFilter{In: r, Desired: task.Running, Limit: maxPage, Token: token})
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			if t.Protectable() == nil {
				out.Tasks = append(out.Tasks, s.protected(t))
			}
		}
		if token = next; token == "" {
			return out, nil
		}
	}
}

type updateProtectionIn struct {
	Cluster string   `json:"cluster" required:"true"`
	Tasks   []string `json:"tasks" required:"true"`
	Enabled *bool    `json:"protectionEnabled" required:"true"`
	Minutes *int     `json:"expiresInMinutes,omitempty"`
}

func (s *server) updateTaskProtection(ctx context.Context, c wire.Call, in *updateProtectionIn) (*protectionOut, error) {
	switch n := len(in.Tasks); {
	case n == 0:
		return nil, wire.Errorf(invalid, "Tasks cannot be empty.")
	case n > maxProtected:
		return nil, wire.Errorf(invalid, "Tasks cannot have more than %d entries.", maxProtected)
	}
	lasts, err := task.ProtectionLasts(in.Minutes)
	if err != nil {
		return nil, as(invalid, err)
	}
	var until time.Time
	if *in.Enabled {
		until = s.Now().Add(lasts).UTC()
	}
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	return s.eachTask(ctx, r, in.Tasks, func(t task.Task) (task.Task, error) { return s.Journal.Protect(ctx, t.ID, until) })
}

// eachTask says of each task that refs name whether it is protected after f. A task that f
// cannot be done for is a failure.
func (s *server) eachTask(ctx context.Context, r task.Realm, refs []string, f func(task.Task) (task.Task, error)) (*protectionOut, error) {
	found, failures, err := s.find(ctx, r, refs)
	if err != nil {
		return nil, err
	}
	out := &protectionOut{Tasks: []protectedShape{}, Failures: failures}
	for _, t := range found {
		done, err := f(t)
		switch {
		case fault.KindOf(err) == fault.Conflict:
			out.Failures = append(out.Failures, Failure{ARN: t.ARN, Reason: string(task.ProtectionFailureOf(err)), Detail: fault.Message(err)})
		case err != nil:
			return nil, err
		default:
			out.Tasks = append(out.Tasks, s.protected(done))
		}
	}
	return out, nil
}

// protected says whether t is protected now.
func (s *server) protected(t task.Task) protectedShape {
	p := protectedShape{ARN: t.ARN}
	if t.ProtectedAt(s.Now()) {
		p.Protected, p.Until = true, wire.At(t.ProtectedUntil)
	}
	return p
}

func (s *server) onGetProtection(ctx context.Context, c wire.Call, in *getProtectionIn) ([]access.Action, error) {
	return s.onTasks(ctx, c, in.Cluster, in.Tasks...), nil
}

func (s *server) onUpdateProtection(ctx context.Context, c wire.Call, in *updateProtectionIn) ([]access.Action, error) {
	return s.onTasks(ctx, c, in.Cluster, in.Tasks...), nil
}
