package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"berth/access"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

type runIn struct {
	DryRun bool   `query:"dryRun" doc:"Check everything, say what would run and what it would cost, and do nothing"`
	Key    string `header:"Idempotency-Key" doc:"The same key with the same request returns the same tasks; equal to clientToken"`
	Body   api.RunRequest
}

func (in *runIn) dry() bool { return in.DryRun }

func (in *runIn) status() int {
	if in.DryRun {
		return http.StatusOK
	}
	return http.StatusCreated
}

// run runs tasks, or says what would run.
func (s *server) run(ctx context.Context, in *runIn) (*api.RunResponse, error) {
	r, err := in.wish(access.From(ctx).Realm())
	if err != nil {
		return nil, err
	}
	if err := s.permitRun(ctx, r); err != nil {
		return nil, err
	}
	if r.LoadBalancers, err = s.targetsOf(ctx, in.Body.LoadBalancers); err != nil {
		return nil, err
	}
	if in.DryRun {
		return s.preview(ctx, r)
	}
	tasks, err := s.Tasks.Submit(ctx, r)
	if err != nil {
		return nil, err
	}
	return &api.RunResponse{Tasks: some(tasks), Failures: []api.Failure{}}, nil
}

// wish reads the request of somebody who is at home there.
func (in *runIn) wish(home task.Realm) (task.Run, error) {
	b := in.Body
	r := task.Run{Realm: home.InCluster(cmp.Or(b.Cluster, home.Cluster)), Tags: b.Tags, Group: b.Group, StartedBy: b.StartedBy, Timeout: b.TimeoutSeconds, Network: b.NetworkConfiguration,
		LaunchType: b.LaunchType, Providers: b.CapacityProviderStrategy, Token: b.ClientToken, Runtime: task.RuntimeClass(b.Runtime), EnableExecuteCommand: b.EnableExecuteCommand}
	switch {
	case r.Token == "":
		r.Token = in.Key
	case in.Key != "" && in.Key != r.Token:
		return r, fault.At("clientToken", "it differs from the header %s; give one of them", api.IdempotencyKey)
	}
	if b.MaxCost != nil {
		if r.MaxCost = *b.MaxCost; r.MaxCost <= 0 {
			return r, fault.At("maxCost", "must be more than 0 US dollars; leave it out for no limit")
		}
	}
	if b.Count != nil {
		if r.Count = *b.Count; r.Count < 1 {
			return r, fault.At("count", "must be from 1 to %d, not %d", task.MaxCount, r.Count)
		}
	}
	if b.Overrides != nil {
		r.Overrides = *b.Overrides
	}
	raw := bytes.TrimSpace(b.TaskDefinition)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return r, fault.At("taskDefinition", "it is missing; give the name of a definition or a whole one")
	case raw[0] == '"':
		if err := json.Unmarshal(raw, &r.Definition); err != nil || r.Definition == "" {
			return r, fault.At("taskDefinition", "it is not the name of a definition")
		}
		return r, nil
	case raw[0] == '{':
		d, err := task.ParseDefinition(raw)
		r.Inline = &d
		return r, within("taskDefinition", err)
	}
	return r, fault.At("taskDefinition", "it is neither the name of a definition nor a definition")
}

func (s *server) interrupt(ctx context.Context, in *taskIn) (*task.Task, error) {
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return nil, err
	}
	t, err := s.Tasks.Interrupt(ctx, in.ID.ID)
	return &t, err
}

func (s *server) isolation(ctx context.Context, in *taskIn) (*task.Isolation, error) {
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return nil, err
	}
	i, err := s.Tasks.Isolation(ctx, in.ID.ID)
	return &i, err
}

// within puts field before the path of the input at fault.
func within(field string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) {
		return err
	}
	inner := *e
	inner.Field = strings.TrimSuffix(field+"."+e.Field, ".")
	return &inner
}

type tasksIn struct {
	LastStatus    string `query:"lastStatus" enum:"PROVISIONING,PENDING,ACTIVATING,RUNNING,DEACTIVATING,STOPPING,DEPROVISIONING,STOPPED"`
	DesiredStatus string `query:"desiredStatus" enum:"RUNNING,STOPPED"`
	Cluster       string `query:"cluster"`
	Family        string `query:"family" doc:"Of the task's definition"`
	Group         string `query:"group"`
	StartedBy     string `query:"startedBy"`
	Tag           string `query:"tag" doc:"KEY or KEY=VALUE"`
	pageIn
}

func (s *server) tasks(ctx context.Context, in *tasksIn) (*api.TaskPage, error) {
	f := TaskFilter{
		LastStatus: task.Status(in.LastStatus), DesiredStatus: task.Status(in.DesiredStatus),
		Cluster: in.Cluster, Family: in.Family, Group: in.Group, StartedBy: in.StartedBy, Limit: in.limit(), Token: in.NextToken,
	}
	if who := access.From(ctx); !who.Admin {
		f.Account = who.Account
	}
	if in.Tag != "" {
		key, value, _ := strings.Cut(in.Tag, "=")
		f.Tag = &task.Tag{Key: key, Value: value}
	}
	ts, next, err := s.Journal.Tasks(ctx, f)
	return &api.TaskPage{Tasks: some(ts), NextToken: next}, err
}

type taskIn struct {
	ID taskID `path:"id" doc:"32 hex digits, or a task ARN with its slashes as %2F"`
}

// taskID is a task's ID in a path.
type taskID struct{ task.ID }

func (id *taskID) UnmarshalText(text []byte) (err error) {
	id.ID, err = task.ParseID(string(text))
	return err
}

func (s *server) task(ctx context.Context, in *taskIn) (*task.Task, error) {
	t, err := s.own(ctx, in.ID.ID)
	return &t, err
}

type stopIn struct {
	taskIn
	Body api.StopRequest `required:"false"`
}

// reasonMax is how long the reason for a stop may be (ECS API, StopTask).
const reasonMax = 255

func (s *server) stop(ctx context.Context, in *stopIn) (*task.Task, error) {
	if n := len([]rune(in.Body.Reason)); n > reasonMax {
		return nil, fault.At("reason", "it has %d characters; at most %d are possible", n, reasonMax)
	}
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return nil, err
	}
	t, err := s.Tasks.Stop(ctx, in.ID.ID, in.Body.Reason)
	return &t, err
}

var revision = regexp.MustCompile(`:[0-9]+$`)

// namesRevision reports whether the name of a definition ends in a revision.
func namesRevision(name string) bool { return revision.MatchString(name) }
