package ecs

import (
	"context"
	"slices"

	"berth/access"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

func (s *server) taskOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("RunTask", s.runTask, wire.On(s.onRun)),
		wire.Op("StopTask", s.stopTask, wire.On(s.onStop)),
		wire.Op("DescribeTasks", s.describeTasks, wire.On(s.onDescribe)),
		wire.Op("ListTasks", s.listTasks, wire.On(s.onList)),
	}
}

type stopTaskIn struct {
	Cluster string `json:"cluster,omitempty"`
	Task    string `json:"task" required:"true"`
	Reason  string `json:"reason,omitempty"`
}

type taskOut struct {
	Task taskShape `json:"task"`
}

// maxReason is how long the reason for a stop may be (ECS API, StopTask).
const maxReason = 255

func (s *server) stopTask(ctx context.Context, c wire.Call, in *stopTaskIn) (*taskOut, error) {
	if len([]rune(in.Reason)) > maxReason {
		return nil, wire.Errorf(invalid, "reason can have at most %d characters.", maxReason)
	}
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	found, _, err := s.find(ctx, r, []string{in.Task})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, wire.Errorf(invalid, "The referenced task was not found.")
	}
	t, err := s.Tasks.Stop(ctx, found[0].ID, in.Reason)
	if err != nil {
		return nil, err
	}
	return &taskOut{describeTask(t, true)}, nil
}

type describeTasksIn struct {
	Cluster string   `json:"cluster,omitempty"`
	Tasks   []string `json:"tasks" required:"true"`
	Include []string `json:"include,omitempty"`
}

type tasksOut struct {
	Tasks    []taskShape `json:"tasks"`
	Failures []Failure   `json:"failures"`
}

// maxDescribed is how many tasks or clusters can be described at once (ECS API).
const maxDescribed = 100

func (s *server) describeTasks(ctx context.Context, c wire.Call, in *describeTasksIn) (*tasksOut, error) {
	tags, err := included(in.Include, "TAGS")
	if err != nil {
		return nil, err
	}
	switch n := len(in.Tasks); {
	case n == 0:
		return nil, wire.Errorf(invalid, "Tasks cannot be empty.")
	case n > maxDescribed:
		return nil, wire.Errorf(invalid, "Tasks cannot have more than %d entries.", maxDescribed)
	}
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	found, failures, err := s.find(ctx, r, in.Tasks)
	if err != nil {
		return nil, err
	}
	return &tasksOut{describeTasks(found, tags["TAGS"]), failures}, nil
}

// included reads an include list, of which only some words are known.
func included(include []string, known ...string) (map[string]bool, error) {
	set := make(map[string]bool)
	for _, word := range include {
		if !slices.Contains(known, word) {
			return nil, wire.Errorf(invalid, "Invalid include value %q: it can be %v.", word, known)
		}
		set[word] = true
	}
	return set, nil
}

// find returns the tasks of a cluster that refs name, in that order, and a failure for each
// that does not exist.
func (s *server) find(ctx context.Context, r task.Realm, refs []string) ([]task.Task, []Failure, error) {
	ids := make([]task.ID, 0, len(refs))
	for _, ref := range refs {
		id, err := taskID(r, ref)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, id)
	}
	known, _, err := s.Journal.Tasks(ctx, TaskFilter{In: r, IDs: ids, Limit: len(ids)})
	if err != nil {
		return nil, nil, err
	}
	found, failures := []task.Task{}, []Failure{}
	for i, id := range ids {
		if k := slices.IndexFunc(known, func(t task.Task) bool { return t.ID == id }); k >= 0 {
			found = append(found, known[k])
			continue
		}
		failures = append(failures, Failure{ARN: taskARN(r, refs[i]), Reason: missing})
	}
	return found, failures, nil
}

// taskARN returns ref as an ARN.
func taskARN(r task.Realm, ref string) string {
	if _, ok := parseARN(ref); ok {
		return ref
	}
	return r.TaskARN(task.ID(ref))
}

type listTasksIn struct {
	Cluster           string  `json:"cluster,omitempty"`
	ContainerInstance *string `json:"containerInstance,omitempty"`
	Family            string  `json:"family,omitempty"`
	page
	StartedBy     string `json:"startedBy,omitempty"`
	ServiceName   string `json:"serviceName,omitempty"`
	DesiredStatus string `json:"desiredStatus,omitempty" enum:"RUNNING,PENDING,STOPPED"`
	LaunchType    string `json:"launchType,omitempty" enum:"EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES"`
	DaemonName    string `json:"daemonName,omitempty"`
}

type listTasksOut struct {
	ARNs      []string `json:"taskArns"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *server) listTasks(ctx context.Context, c wire.Call, in *listTasksIn) (*listTasksOut, error) {
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	f := TaskFilter{In: r, Family: in.Family, StartedBy: in.StartedBy, Desired: task.Status(in.DesiredStatus), Token: in.NextToken}
	if f.Limit, err = in.size(maxPage); err != nil {
		return nil, err
	}
	if in.StartedBy != "" && (in.Family != "" || in.ServiceName != "" || in.ContainerInstance != nil || in.LaunchType != "" || in.DaemonName != "") {
		return nil, wire.Errorf(invalid, "startedBy must be the only filter.")
	}
	if f.Desired == "" {
		f.Desired = task.Running
	}
	if in.ServiceName != "" {
		name, err := s.serviceName(ctx, r, in.ServiceName)
		if err != nil {
			return nil, err
		}
		f.Group = "service:" + name
	}
	// There are no instances and no daemons, and nothing is ever wanted to be PENDING.
	if in.ContainerInstance != nil || in.DaemonName != "" || in.LaunchType != "" && in.LaunchType != "FARGATE" || f.Desired == task.Pending {
		return &listTasksOut{ARNs: []string{}}, nil
	}
	ts, next, err := s.Journal.Tasks(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &listTasksOut{ARNs: []string{}, NextToken: next}
	for _, t := range ts {
		out.ARNs = append(out.ARNs, t.ARN)
	}
	return out, nil
}

// serviceName returns the name of the service of a cluster that ref names: a name or an
// ARN.
func (s *server) serviceName(ctx context.Context, r task.Realm, ref string) (string, error) {
	name := ref
	if a, ok := parseARN(ref); ok {
		if a.kind != "service" || !a.of(r) {
			return "", serviceNotFound()
		}
		if name = a.rest; len(name) > len(r.Cluster) && name[:len(r.Cluster)+1] == r.Cluster+"/" {
			name = name[len(r.Cluster)+1:]
		}
	}
	if !clusterName.MatchString(name) { // Services are named as clusters are.
		return "", serviceNotFound()
	}
	if s.HasService == nil {
		return name, nil
	}
	has, err := s.HasService(ctx, r, name)
	if err == nil && !has {
		err = serviceNotFound()
	}
	return name, err
}

// onStop, onDescribe and onList say which tasks the calls touch. What the request names
// wrongly, the operation refuses.

func (s *server) onStop(ctx context.Context, c wire.Call, in *stopTaskIn) ([]access.Action, error) {
	return s.onTasks(ctx, c, in.Cluster, in.Task), nil
}

func (s *server) onDescribe(ctx context.Context, c wire.Call, in *describeTasksIn) ([]access.Action, error) {
	return s.onTasks(ctx, c, in.Cluster, in.Tasks...), nil
}

func (s *server) onTasks(ctx context.Context, c wire.Call, ref string, tasks ...string) []access.Action {
	r, err := realmOf(c, ref)
	if err != nil || len(tasks) > maxDescribed {
		return nil
	}
	found, failures, err := s.find(ctx, r, tasks)
	if err != nil {
		return nil
	}
	var all []access.Action
	for _, t := range found {
		all = append(all, access.Action{Resource: t.ARN, Context: about(r, t.Tags, nil)})
	}
	for _, f := range failures {
		all = append(all, access.Action{Resource: f.ARN, Context: about(r, nil, nil)})
	}
	return all
}

func (s *server) onList(_ context.Context, c wire.Call, in *listTasksIn) ([]access.Action, error) {
	r, err := realmOf(c, in.Cluster)
	if err != nil {
		return nil, nil
	}
	return []access.Action{{Resource: "*", Context: about(r, nil, nil)}}, nil
}

// about returns the condition keys of something in a cluster (Service Authorization
// Reference, "Condition keys for Amazon Elastic Container Service"): its tags, and those of
// the request.
func about(r task.Realm, have, request []task.Tag) map[string][]string {
	keys := make(map[string][]string)
	if r.Cluster != "" {
		keys["ecs:cluster"] = []string{r.ClusterARN()}
	}
	for _, t := range have {
		keys["aws:ResourceTag/"+t.Key] = []string{t.Value}
		keys["ecs:ResourceTag/"+t.Key] = []string{t.Value}
	}
	for _, t := range request {
		keys["aws:RequestTag/"+t.Key] = []string{t.Value}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], t.Key)
	}
	return keys
}

// notFound reports whether err is about something that does not exist.
func notFound(err error) bool { return fault.KindOf(err) == fault.NotFound }
