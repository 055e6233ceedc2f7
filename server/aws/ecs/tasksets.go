package ecs

import (
	"cmp"
	"context"
	"strings"
	"time"

	"berth/access"
	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

func (s *server) taskSetOperations() []wire.Operation {
	return []wire.Operation{
		wire.Op("CreateTaskSet", s.createTaskSet, wire.On(s.onCreateTaskSet)),
		wire.Op("UpdateTaskSet", s.updateTaskSet, wire.On(s.onUpdateTaskSet)),
		wire.Op("UpdateServicePrimaryTaskSet", s.updatePrimaryTaskSet, wire.On(s.onUpdatePrimary)),
		wire.Op("DeleteTaskSet", s.deleteTaskSet, wire.On(s.onDeleteTaskSet)),
		wire.Op("DescribeTaskSets", s.describeTaskSets, wire.On(s.onDescribeTaskSets)),
	}
}

// scale is Scale.
type scale struct {
	Value *float64 `json:"value,omitempty"`
	Unit  string   `json:"unit,omitempty" enum:"PERCENT"`
}

func (s *scale) percent() float64 {
	if s == nil || s.Value == nil {
		return 0
	}
	return *s.Value
}

// taskSetShape is TaskSet.
type taskSetShape struct {
	ID            string                `json:"id"`
	ARN           string                `json:"taskSetArn"`
	Service       string                `json:"serviceArn"`
	Cluster       string                `json:"clusterArn"`
	ExternalID    string                `json:"externalId,omitempty"`
	Status        string                `json:"status"`
	Definition    string                `json:"taskDefinition"`
	Desired       int                   `json:"computedDesiredCount"`
	Pending       int                   `json:"pendingCount"`
	Running       int                   `json:"runningCount"`
	CreatedAt     wire.Time             `json:"createdAt"`
	UpdatedAt     wire.Time             `json:"updatedAt"`
	LaunchType    string                `json:"launchType,omitempty"`
	Strategy      []strategyItem        `json:"capacityProviderStrategy,omitempty"`
	Platform      string                `json:"platformVersion"`
	Family        string                `json:"platformFamily"`
	Network       *networkConfiguration `json:"networkConfiguration,omitempty"`
	LoadBalancers []loadBalancer        `json:"loadBalancers"`
	Registries    []serviceRegistry     `json:"serviceRegistries"`
	Scale         scale                 `json:"scale"`
	Stability     string                `json:"stabilityStatus"`
	StabilityAt   wire.Time             `json:"stabilityStatusAt"`
	Tags          []task.Tag            `json:"tags,omitempty"`
}

func describeTaskSet(v service.Service, t service.TaskSet, n service.Counts, tags bool, now time.Time) taskSetShape {
	percent := t.Scale
	out := taskSetShape{
		ID: t.ID, ARN: t.ARN(v), Service: v.ARN(), Cluster: v.Realm.ClusterARN(), ExternalID: t.ExternalID, Status: string(t.Rank),
		Definition: t.Template.Definition, Desired: t.Want(v.Desired), Pending: n.Pending, Running: n.Running,
		CreatedAt: wire.At(t.CreatedAt), UpdatedAt: wire.At(t.UpdatedAt), LaunchType: t.Template.LaunchType, Platform: platformVersion, Family: "Linux",
		Network: networkOf(t.Template.Network), LoadBalancers: balancersOf(t.Template.LoadBalancers), Registries: registriesOf(t.Template.Registries),
		Scale: scale{Value: &percent, Unit: "PERCENT"}, Stability: "STABILIZING", StabilityAt: wire.At(now),
	}
	if t.Steady {
		out.Stability = "STEADY_STATE"
	}
	if len(t.Template.Providers) > 0 {
		out.Strategy = strategy(t.Template.Providers)
	}
	if tags {
		out.Tags = t.Tags
	}
	return out
}

type taskSetOut struct {
	TaskSet taskSetShape `json:"taskSet"`
}

// taskSetOut describes a task set as it is now.
func (s *server) taskSetOut(ctx context.Context, v service.Service, t service.TaskSet, err error) (*taskSetOut, error) {
	if err != nil {
		return nil, serviceFault(err)
	}
	d, err := s.Services.Describe(ctx, v)
	if err != nil {
		return nil, err
	}
	return &taskSetOut{describeTaskSet(v, t, t.Count(d.Tasks), true, s.Now())}, nil
}

type createTaskSetIn struct {
	Strategy      []strategyItem        `json:"capacityProviderStrategy,omitempty"`
	ClientToken   string                `json:"clientToken,omitempty"`
	Cluster       string                `json:"cluster" required:"true"`
	ExternalID    string                `json:"externalId,omitempty"`
	LaunchType    string                `json:"launchType,omitempty" enum:"EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES"`
	LoadBalancers []loadBalancer        `json:"loadBalancers,omitempty"`
	Network       *networkConfiguration `json:"networkConfiguration,omitempty"`
	Platform      string                `json:"platformVersion,omitempty"`
	Scale         *scale                `json:"scale,omitempty"`
	Service       string                `json:"service" required:"true"`
	Registries    []serviceRegistry     `json:"serviceRegistries,omitempty"`
	Tags          []task.Tag            `json:"tags,omitempty"`
	Definition    string                `json:"taskDefinition" required:"true"`
}

func (s *server) createTaskSet(ctx context.Context, c wire.Call, in *createTaskSetIn) (*taskSetOut, error) {
	r, where, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	name, err := serviceName(r, in.Service)
	if err != nil {
		return nil, err
	}
	if err := onFargate(in.LaunchType, in.Strategy, in.Platform, nil, nil); err != nil {
		return nil, err
	}
	if err := (&serviceIn{LoadBalancers: &in.LoadBalancers}).honoured(); err != nil {
		return nil, err
	}
	q := service.SetRequest{ExternalID: in.ExternalID, Scale: in.Scale.percent(), Tags: in.Tags, Token: in.ClientToken, Template: service.Template{
		Definition: in.Definition, LaunchType: in.LaunchType, Providers: providers(in.Strategy), Platform: cmp.Or(in.Platform, "LATEST"),
		LoadBalancers: balancers(in.LoadBalancers), Registries: registries(in.Registries),
	}}
	if len(in.Strategy) == 0 && in.LaunchType == "" {
		if q.Providers = where.DefaultStrategy; len(q.Providers) == 0 {
			q.LaunchType = "FARGATE"
		}
	}
	if err := associated(where, q.Providers); err != nil {
		return nil, err
	}
	if in.Network == nil { // What the service says holds for its sets.
		v, err := s.Services.Named(ctx, r, name)
		if err != nil {
			return nil, serviceFault(err)
		}
		q.Network = v.Template.Network
	} else if q.Network, err = serviceNetwork(in.Network); err != nil {
		return nil, err
	}
	v, t, err := s.Services.CreateTaskSet(ctx, r, name, q)
	return s.taskSetOut(ctx, v, t, err)
}

type updateTaskSetIn struct {
	Cluster string `json:"cluster" required:"true"`
	Service string `json:"service" required:"true"`
	TaskSet string `json:"taskSet" required:"true"`
	Scale   *scale `json:"scale" required:"true"`
}

func (s *server) updateTaskSet(ctx context.Context, c wire.Call, in *updateTaskSetIn) (*taskSetOut, error) {
	r, name, err := s.serviceIn(ctx, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	v, t, err := s.Services.Scale(ctx, r, name, in.TaskSet, in.Scale.percent())
	return s.taskSetOut(ctx, v, t, err)
}

type updatePrimaryIn struct {
	Cluster string `json:"cluster" required:"true"`
	Service string `json:"service" required:"true"`
	TaskSet string `json:"primaryTaskSet" required:"true"`
}

func (s *server) updatePrimaryTaskSet(ctx context.Context, c wire.Call, in *updatePrimaryIn) (*taskSetOut, error) {
	r, name, err := s.serviceIn(ctx, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	v, t, err := s.Services.Promote(ctx, r, name, in.TaskSet)
	return s.taskSetOut(ctx, v, t, err)
}

type deleteTaskSetIn struct {
	Cluster string `json:"cluster" required:"true"`
	Service string `json:"service" required:"true"`
	TaskSet string `json:"taskSet" required:"true"`
	Force   *bool  `json:"force,omitempty"`
}

func (s *server) deleteTaskSet(ctx context.Context, c wire.Call, in *deleteTaskSetIn) (*taskSetOut, error) {
	r, name, err := s.serviceIn(ctx, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	v, t, err := s.Services.DeleteTaskSet(ctx, r, name, in.TaskSet, value(in.Force, false))
	return s.taskSetOut(ctx, v, t, err)
}

type describeTaskSetsIn struct {
	Cluster  string   `json:"cluster" required:"true"`
	Service  string   `json:"service" required:"true"`
	TaskSets []string `json:"taskSets,omitempty"`
	Include  []string `json:"include,omitempty"`
}

type describeTaskSetsOut struct {
	TaskSets []taskSetShape `json:"taskSets"`
	Failures []Failure      `json:"failures"`
}

func (s *server) describeTaskSets(ctx context.Context, c wire.Call, in *describeTaskSetsIn) (*describeTaskSetsOut, error) {
	r, name, err := s.serviceIn(ctx, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	include, err := included(in.Include, "TAGS")
	if err != nil {
		return nil, err
	}
	v, err := s.Services.Named(ctx, r, name)
	if err == nil && v.Status == service.Inactive {
		err = service.ErrNotActive
	}
	if err != nil {
		return nil, serviceFault(err)
	}
	d, err := s.Services.Describe(ctx, v)
	if err != nil {
		return nil, err
	}
	out := &describeTaskSetsOut{TaskSets: []taskSetShape{}, Failures: []Failure{}}
	refs := in.TaskSets
	if len(refs) == 0 {
		for _, t := range v.TaskSets {
			refs = append(refs, t.ID)
		}
	}
	for _, ref := range refs {
		t, err := v.TaskSet(ref)
		if err != nil {
			out.Failures = append(out.Failures, Failure{ARN: ref, Reason: missing})
			continue
		}
		out.TaskSets = append(out.TaskSets, describeTaskSet(v, t, t.Count(d.Tasks), include["TAGS"], s.Now()))
	}
	return out, nil
}

// onTaskSet says that a call touches a task set of a service.
func (s *server) onTaskSet(c wire.Call, cluster, ref, set string) ([]access.Action, error) {
	r, err := realmOf(c, cluster)
	if err != nil {
		return nil, nil // The operation says what is wrong.
	}
	name, err := serviceName(r, ref)
	if err != nil {
		return nil, nil
	}
	resource := set
	if !strings.HasPrefix(set, "arn:") {
		resource = service.TaskSet{ID: set}.ARN(service.Service{Realm: r, Name: name})
	}
	keys := about(r, nil, nil)
	keys["ecs:service"] = []string{service.Service{Realm: r, Name: name}.ARN()}
	return []access.Action{{Resource: resource, Context: keys}}, nil
}

func (s *server) onCreateTaskSet(ctx context.Context, c wire.Call, in *createTaskSetIn) ([]access.Action, error) {
	all, err := s.onTaskSet(c, in.Cluster, in.Service, "*")
	if err != nil || len(all) == 0 {
		return all, err
	}
	r, _ := realmOf(c, in.Cluster)
	all = append(all, s.passing(ctx, r, &in.Definition)...)
	return s.tagging(ctx, c, all, "CreateTaskSet", all[0].Resource, r, in.Tags), nil
}

func (s *server) onUpdateTaskSet(_ context.Context, c wire.Call, in *updateTaskSetIn) ([]access.Action, error) {
	return s.onTaskSet(c, in.Cluster, in.Service, in.TaskSet)
}

func (s *server) onUpdatePrimary(ctx context.Context, c wire.Call, in *updatePrimaryIn) ([]access.Action, error) {
	return s.onService(ctx, c, in.Cluster, in.Service, nil)
}

func (s *server) onDeleteTaskSet(_ context.Context, c wire.Call, in *deleteTaskSetIn) ([]access.Action, error) {
	return s.onTaskSet(c, in.Cluster, in.Service, in.TaskSet)
}

func (s *server) onDescribeTaskSets(ctx context.Context, c wire.Call, in *describeTaskSetsIn) (all []access.Action, err error) {
	if len(in.TaskSets) == 0 {
		return s.onService(ctx, c, in.Cluster, in.Service, nil)
	}
	for _, set := range in.TaskSets {
		one, _ := s.onTaskSet(c, in.Cluster, in.Service, set)
		all = append(all, one...)
	}
	return all, nil
}
