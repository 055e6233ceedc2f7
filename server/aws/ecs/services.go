package ecs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"berth/fault"
	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

// Services keeps services. See service.Scheduler.
type Services interface {
	Create(ctx context.Context, r service.Request) (service.Service, error)
	Update(ctx context.Context, r task.Realm, name string, ch service.Change) (service.Service, error)
	Delete(ctx context.Context, r task.Realm, name string, force bool) (service.Service, error)
	Named(ctx context.Context, r task.Realm, name string) (service.Service, error)
	Describe(ctx context.Context, v service.Service) (service.Described, error)
	Retag(ctx context.Context, r task.Realm, name string, set []task.Tag, remove []string) (service.Service, error)
	StopRollout(ctx context.Context, arn string) error

	CreateTaskSet(ctx context.Context, r task.Realm, name string, q service.SetRequest) (service.Service, service.TaskSet, error)
	Scale(ctx context.Context, r task.Realm, name, set string, scale float64) (service.Service, service.TaskSet, error)
	Promote(ctx context.Context, r task.Realm, name, set string) (service.Service, service.TaskSet, error)
	DeleteTaskSet(ctx context.Context, r task.Realm, name, set string, force bool) (service.Service, service.TaskSet, error)
	RetagSet(ctx context.Context, r task.Realm, name, set string, add []task.Tag, remove []string) (service.Service, service.TaskSet, error)
}

// serviceOperations are those of services. Without Config.Services there are none.
func (s *server) serviceOperations() []wire.Operation {
	if s.Services == nil {
		return nil
	}
	return slices.Concat([]wire.Operation{
		wire.Op("CreateService", s.createService, wire.On(s.onCreateService)),
		wire.Op("UpdateService", s.updateService, wire.On(s.onUpdateService)),
		wire.Op("DeleteService", s.deleteService, wire.On(s.onDeleteService)),
		wire.Op("DescribeServices", s.describeServices, wire.On(s.onDescribeServices)),
		wire.Op("ListServices", s.listServices),
		wire.Op("ListServicesByNamespace", s.listServicesByNamespace),
	}, s.deploymentOperations(), s.taskSetOperations())
}

type serviceOut struct {
	Service serviceShape `json:"service"`
}

// serviceIn is what CreateService and UpdateService have in common.
type serviceIn struct {
	Rebalancing          string                   `json:"availabilityZoneRebalancing,omitempty" enum:"ENABLED,DISABLED"`
	Strategy             *[]strategyItem          `json:"capacityProviderStrategy,omitempty"`
	Cluster              string                   `json:"cluster,omitempty"`
	Configuration        *deploymentConfiguration `json:"deploymentConfiguration,omitempty"`
	Controller           *deploymentController    `json:"deploymentController,omitempty"`
	Desired              *int                     `json:"desiredCount,omitempty"`
	ManagedTags          *bool                    `json:"enableECSManagedTags,omitempty"`
	EnableExec           *bool                    `json:"enableExecuteCommand,omitempty"`
	Grace                *int                     `json:"healthCheckGracePeriodSeconds,omitempty"`
	LoadBalancers        *[]loadBalancer          `json:"loadBalancers,omitempty"`
	Network              *networkConfiguration    `json:"networkConfiguration,omitempty"`
	PlacementConstraints []placementConstraint    `json:"placementConstraints,omitempty"`
	PlacementStrategy    []placementStrategy      `json:"placementStrategy,omitempty"`
	Platform             *string                  `json:"platformVersion,omitempty"`
	PropagateTags        string                   `json:"propagateTags,omitempty" enum:"TASK_DEFINITION,SERVICE,NONE"`
	Connect              *serviceConnect          `json:"serviceConnectConfiguration,omitempty"`
	Registries           *[]serviceRegistry       `json:"serviceRegistries,omitempty"`
	Definition           *string                  `json:"taskDefinition,omitempty"`

	// What Berth refuses, whatever is in it.
	Volumes    json.RawMessage `json:"volumeConfigurations,omitempty"`
	Lattice    json.RawMessage `json:"vpcLatticeConfigurations,omitempty"`
	Gateways   json.RawMessage `json:"gatewayConnectors,omitempty"`
	Monitoring json.RawMessage `json:"monitoring,omitempty"`
}

type createServiceIn struct {
	serviceIn
	ClientToken string     `json:"clientToken,omitempty"`
	LaunchType  string     `json:"launchType,omitempty" enum:"EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES"`
	Role        string     `json:"role,omitempty"`
	Scheduling  string     `json:"schedulingStrategy,omitempty" enum:"REPLICA,DAEMON"`
	Name        string     `json:"serviceName" required:"true"`
	Tags        []task.Tag `json:"tags,omitempty"`
}

func (s *server) createService(ctx context.Context, c wire.Call, in *createServiceIn) (*serviceOut, error) {
	r, where, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	strategy := items(in.Strategy)
	if err := in.honoured(); err != nil {
		return nil, err
	}
	if err := onFargate(in.LaunchType, strategy, value(in.Platform, ""), in.PlacementConstraints, in.PlacementStrategy); err != nil {
		return nil, err
	}
	switch {
	case in.Scheduling == "DAEMON":
		return nil, wire.Errorf(invalid, "Tasks using the Fargate launch type don't support the DAEMON scheduling strategy.")
	case in.Role != "":
		return nil, wire.Errorf(invalid, "You cannot specify an IAM role for services that require a service linked role.")
	}
	q := service.Request{
		Realm: r, Name: in.Name, Definition: value(in.Definition, ""), Controller: service.ECS, Tags: in.Tags,
		ManagedTags: value(in.ManagedTags, false), Exec: value(in.EnableExec, false), Token: in.ClientToken, CreatedBy: c.Identity.ARN,
		Propagate: cmp.Or(in.PropagateTags, service.PropagateNone), Rebalancing: cmp.Or(in.Rebalancing, "ENABLED"),
		Configuration: in.Configuration.change(), Grace: value(in.Grace, 0),
	}
	if in.Controller != nil {
		q.Controller = service.Controller(in.Controller.Type)
	}
	if in.Desired == nil && q.Controller == service.ECS {
		return nil, wire.Errorf(invalid, "DesiredCount is required when the schedulingStrategy is REPLICA.")
	}
	q.Desired = value(in.Desired, 0)
	q.Template = service.Template{
		LaunchType: in.LaunchType, Providers: providers(strategy), Platform: cmp.Or(value(in.Platform, ""), "LATEST"),
		LoadBalancers: balancers(items(in.LoadBalancers)), Registries: registries(items(in.Registries)), ServiceConnect: in.Connect.wish(where.Namespace),
	}
	if len(strategy) == 0 && in.LaunchType == "" {
		q.Providers = where.DefaultStrategy
		if len(q.Providers) == 0 {
			q.LaunchType = "FARGATE"
		}
	}
	if err := associated(where, q.Providers); err != nil {
		return nil, err
	}
	if in.Network != nil || q.Controller == service.ECS {
		if q.Network, err = serviceNetwork(in.Network); err != nil {
			return nil, err
		}
	}
	v, err := s.Services.Create(ctx, q)
	if err != nil {
		return nil, serviceFault(err)
	}
	return s.serviceOut(ctx, v, true)
}

type updateServiceIn struct {
	serviceIn
	Service string `json:"service" required:"true"`
	Force   *bool  `json:"forceNewDeployment,omitempty"`
}

func (s *server) updateService(ctx context.Context, c wire.Call, in *updateServiceIn) (*serviceOut, error) {
	r, where, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	name, err := serviceName(r, in.Service)
	if err != nil {
		return nil, err
	}
	if err := in.honoured(); err != nil {
		return nil, err
	}
	if err := onFargate("", items(in.Strategy), value(in.Platform, ""), in.PlacementConstraints, in.PlacementStrategy); err != nil {
		return nil, err
	}
	ch := service.Change{
		Desired: in.Desired, Definition: in.Definition, Platform: in.Platform, Force: value(in.Force, false), Configuration: in.Configuration.change(),
		Grace: in.Grace, Exec: in.EnableExec, ManagedTags: in.ManagedTags, ServiceConnect: in.Connect.wish(where.Namespace),
	}
	if in.Controller != nil {
		v, err := s.Services.Named(ctx, r, name)
		if err != nil {
			return nil, serviceFault(err)
		}
		if string(v.Controller) != in.Controller.Type {
			return nil, wire.Errorf(invalid, "The deployment controller of a service cannot be changed.")
		}
	}
	if in.PropagateTags != "" {
		ch.Propagate = &in.PropagateTags
	}
	if in.Rebalancing != "" {
		ch.Rebalancing = &in.Rebalancing
	}
	if in.Strategy != nil {
		all := providers(*in.Strategy)
		if err := associated(where, all); err != nil {
			return nil, err
		}
		ch.Providers = &all
	}
	if in.LoadBalancers != nil {
		all := balancers(*in.LoadBalancers)
		ch.LoadBalancers = &all
	}
	if in.Registries != nil {
		all := registries(*in.Registries)
		ch.Registries = &all
	}
	if in.Network != nil {
		if ch.Network, err = serviceNetwork(in.Network); err != nil {
			return nil, err
		}
	}
	v, err := s.Services.Update(ctx, r, name, ch)
	if err != nil {
		return nil, serviceFault(err)
	}
	return s.serviceOut(ctx, v, true)
}

type deleteServiceIn struct {
	Cluster string `json:"cluster,omitempty"`
	Service string `json:"service" required:"true"`
	Force   *bool  `json:"force,omitempty"`
}

func (s *server) deleteService(ctx context.Context, c wire.Call, in *deleteServiceIn) (*serviceOut, error) {
	r, name, err := s.serviceIn(ctx, c, in.Cluster, in.Service)
	if err != nil {
		return nil, err
	}
	v, err := s.Services.Delete(ctx, r, name, value(in.Force, false))
	if err != nil {
		return nil, serviceFault(err)
	}
	return s.serviceOut(ctx, v, true)
}

type describeServicesIn struct {
	Cluster  string   `json:"cluster,omitempty"`
	Services []string `json:"services" required:"true"`
	Include  []string `json:"include,omitempty"`
}

type describeServicesOut struct {
	Services []serviceShape `json:"services"`
	Failures []Failure      `json:"failures"`
}

// maxServices is how many services are described at once (ECS API, DescribeServices).
const maxServices = 10

func (s *server) describeServices(ctx context.Context, c wire.Call, in *describeServicesIn) (*describeServicesOut, error) {
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.Services) == 0:
		return nil, wire.Errorf(invalid, "Services cannot be empty.")
	case len(in.Services) > maxServices:
		return nil, wire.Errorf(invalid, "Services cannot have more than %d elements.", maxServices)
	}
	include, err := included(in.Include, "TAGS")
	if err != nil {
		return nil, err
	}
	out := &describeServicesOut{Services: []serviceShape{}, Failures: []Failure{}}
	for _, ref := range in.Services {
		name, err := serviceName(r, ref)
		if err != nil {
			return nil, err
		}
		v, err := s.Services.Named(ctx, r, name)
		if notFound(err) {
			out.Failures = append(out.Failures, Failure{ARN: service.Service{Realm: r, Name: name}.ARN(), Reason: missing})
			continue
		}
		if err != nil {
			return nil, err
		}
		one, err := s.serviceOut(ctx, v, include["TAGS"])
		if err != nil {
			return nil, err
		}
		out.Services = append(out.Services, one.Service)
	}
	return out, nil
}

type listServicesIn struct {
	page
	Cluster    string `json:"cluster,omitempty"`
	LaunchType string `json:"launchType,omitempty" enum:"EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES"`
	Management string `json:"resourceManagementType,omitempty" enum:"CUSTOMER,ECS"`
	Scheduling string `json:"schedulingStrategy,omitempty" enum:"REPLICA,DAEMON"`
}

type listServicesOut struct {
	ARNs      []string `json:"serviceArns"`
	NextToken string   `json:"nextToken,omitempty"`
}

// usualServices is the page of a list of services that does not say (ECS API, ListServices).
const usualServices = 10

func (s *server) listServices(ctx context.Context, c wire.Call, in *listServicesIn) (*listServicesOut, error) {
	r, _, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.Scheduling == "DAEMON" || in.Management == "ECS" {
		r.Cluster = " " // Nothing here is that.
	}
	return s.servicesPage(ctx, service.Filter{Realm: r, Launch: in.LaunchType}, in.page)
}

type listByNamespaceIn struct {
	page
	Namespace string `json:"namespace" required:"true"`
}

func (s *server) listServicesByNamespace(ctx context.Context, c wire.Call, in *listByNamespaceIn) (*listServicesOut, error) {
	return s.servicesPage(ctx, service.Filter{Realm: c.Realm().InCluster(""), Namespace: in.Namespace}, in.page)
}

func (s *server) servicesPage(ctx context.Context, f service.Filter, p page) (*listServicesOut, error) {
	limit, err := p.size(usualServices)
	if err != nil {
		return nil, err
	}
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	all, err := s.History.Services(ctx, f, limit+1, service.ID(after))
	if err != nil {
		return nil, err
	}
	out := &listServicesOut{ARNs: []string{}}
	if len(all) > limit {
		all = all[:limit]
		out.NextToken = tokenOf(string(all[limit-1].ID))
	}
	for _, v := range all {
		out.ARNs = append(out.ARNs, v.ARN())
	}
	return out, nil
}

// serviceIn finds the cluster and the name of a service that a request names.
func (s *server) serviceIn(ctx context.Context, c wire.Call, cluster, ref string) (task.Realm, string, error) {
	r, _, err := s.in(ctx, c, cluster)
	if err != nil {
		return r, "", err
	}
	name, err := serviceName(r, ref)
	return r, name, err
}

// serviceName returns the name of the service that ref names in r: a name or an ARN.
func serviceName(r task.Realm, ref string) (string, error) {
	if !strings.HasPrefix(ref, "arn:") {
		if ref == "" {
			return "", wire.Errorf(invalid, "Service cannot be empty.")
		}
		return ref, nil
	}
	a, ok := parseARN(ref)
	if !ok || a.kind != "service" {
		return "", wire.Errorf(invalid, "Invalid identifier: Unexpected resource type.")
	}
	name := a.rest
	if cluster, rest, long := strings.Cut(a.rest, "/"); long {
		if cluster != r.Cluster {
			return "", wire.Errorf(invalid, "Invalid identifier: Identifier is for cluster %s. Your cluster is %s", cluster, r.Cluster)
		}
		name = rest
	}
	if !a.of(r) {
		return "", wire.Errorf(invalid, "Invalid identifier: Identifier is for account %s and region %s.", a.account, a.region)
	}
	return name, nil
}

// serviceFault says in ECS's words what is wrong with a request about a service.
func serviceFault(err error) error {
	for cause, code := range map[error]string{
		service.ErrNotActive: "ServiceNotActiveException", service.ErrNoService: noService, service.ErrNoTaskSet: "TaskSetNotFoundException",
		service.ErrNoRollout: "ServiceDeploymentNotFoundException", service.ErrManyTaskSets: limitExceeded, service.ErrPlatform: unknownPlatform,
	} {
		if errors.Is(err, cause) {
			return &wire.Error{Code: code, Message: wire.Message(err), Err: err}
		}
	}
	if notFound(err) && fault.FieldOf(err) == "cluster" {
		return clusterNotFound()
	}
	if fault.FieldOf(err) == "taskDefinition" && fault.KindOf(err) == fault.NotFound {
		return noDefinition(err)
	}
	if fault.FieldOf(err) == "taskDefinition" && wire.Message(err) == "TaskDefinition is inactive" {
		return as(client, err)
	}
	return as(invalid, err)
}
