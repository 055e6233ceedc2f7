package ecs

import (
	"context"
	"slices"
	"strings"

	"berth/access"
	"berth/cluster"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

type runTaskIn struct {
	Strategy             []strategyItem        `json:"capacityProviderStrategy,omitempty"`
	Cluster              string                `json:"cluster,omitempty"`
	Count                *int                  `json:"count,omitempty"`
	ManagedTags          *bool                 `json:"enableECSManagedTags,omitempty"`
	EnableExec           *bool                 `json:"enableExecuteCommand,omitempty"`
	Group                string                `json:"group,omitempty"`
	LaunchType           string                `json:"launchType,omitempty" enum:"EC2,FARGATE,EXTERNAL,MANAGED_INSTANCES"`
	Network              *networkConfiguration `json:"networkConfiguration,omitempty"`
	Overrides            *task.Overrides       `json:"overrides,omitempty"`
	PlacementConstraints []placementConstraint `json:"placementConstraints,omitempty"`
	PlacementStrategy    []placementStrategy   `json:"placementStrategy,omitempty"`
	Platform             string                `json:"platformVersion,omitempty"`
	PropagateTags        string                `json:"propagateTags,omitempty" enum:"TASK_DEFINITION,SERVICE,NONE"`
	ReferenceID          string                `json:"referenceId,omitempty"` // AWS's own use; means nothing
	StartedBy            string                `json:"startedBy,omitempty"`
	Tags                 []task.Tag            `json:"tags,omitempty"`
	Definition           string                `json:"taskDefinition" required:"true"`
	ClientToken          string                `json:"clientToken,omitempty"`
	Volumes              []volumeConfiguration `json:"volumeConfigurations,omitempty"`
}

// volumeConfiguration is TaskVolumeConfiguration.
type volumeConfiguration struct {
	Name string     `json:"name" required:"true"`
	EBS  *ebsVolume `json:"managedEBSVolume,omitempty"`
}

// ebsVolume is TaskManagedEBSVolumeConfiguration. Berth has no EBS: it is read so that its
// mistakes are named.
type ebsVolume struct {
	Encrypted          *bool  `json:"encrypted,omitempty"`
	KMSKeyID           string `json:"kmsKeyId,omitempty"`
	VolumeType         string `json:"volumeType,omitempty"`
	SizeInGiB          *int   `json:"sizeInGiB,omitempty"`
	SnapshotID         string `json:"snapshotId,omitempty"`
	InitializationRate *int   `json:"volumeInitializationRate,omitempty"`
	IOPS               *int   `json:"iops,omitempty"`
	Throughput         *int   `json:"throughput,omitempty"`
	TagSpecifications  []struct {
		ResourceType  string     `json:"resourceType" required:"true" enum:"volume"`
		Tags          []task.Tag `json:"tags,omitempty"`
		PropagateTags string     `json:"propagateTags,omitempty" enum:"TASK_DEFINITION,SERVICE,NONE"`
	} `json:"tagSpecifications,omitempty"`
	RoleARN           string `json:"roleArn" required:"true"`
	TerminationPolicy *struct {
		DeleteOnTermination *bool `json:"deleteOnTermination" required:"true"`
	} `json:"terminationPolicy,omitempty"`
	FilesystemType string `json:"filesystemType,omitempty" enum:"ext3,ext4,xfs,ntfs"`
}

// runTask runs tasks. A task that this host could never hold, or for which the account's
// quota is used up, is one of the answer's failures, as on Fargate; a budget that is used
// up blocks the account (decision 0032).
func (s *server) runTask(ctx context.Context, c wire.Call, in *runTaskIn) (*tasksOut, error) {
	r, where, err := s.in(ctx, c, in.Cluster)
	if err != nil {
		return nil, err
	}
	run, err := in.wish(r, where)
	if err != nil {
		return nil, err
	}
	if err := s.volumesOf(ctx, r, in); err != nil {
		return nil, err
	}
	if err := s.launch(r, run); err != nil {
		return nil, err
	}
	ts, err := s.Tasks.Submit(ctx, run)
	if err != nil {
		return s.notRun(ctx, r, run, err)
	}
	return &tasksOut{describeTasks(ts, true), []Failure{}}, nil
}

// wish returns the run that in asks for.
func (in *runTaskIn) wish(r task.Realm, where cluster.Cluster) (task.Run, error) {
	run := task.Run{
		Realm: r, Definition: in.Definition, Count: 1, Group: in.Group, StartedBy: in.StartedBy, Tags: in.Tags,
		LaunchType: in.LaunchType, Providers: providers(in.Strategy), Token: in.ClientToken,
		EnableExecuteCommand: in.EnableExec != nil && *in.EnableExec,
		PropagateTags:        in.PropagateTags == "TASK_DEFINITION",
	}
	if in.Count != nil {
		if run.Count = *in.Count; run.Count < 1 || run.Count > task.MaxCount {
			return run, wire.Errorf(invalid, "count must be between 1 and %d.", task.MaxCount)
		}
	}
	if in.Overrides != nil {
		run.Overrides = *in.Overrides
	}
	if in.ManagedTags != nil && *in.ManagedTags {
		run.ManagedTags = []task.Tag{{Key: "aws:ecs:clusterName", Value: r.Cluster}}
	}
	if err := onFargate(in.LaunchType, in.Strategy, in.Platform, in.PlacementConstraints, in.PlacementStrategy); err != nil {
		return run, err
	}
	if in.PropagateTags == "SERVICE" {
		return run, wire.Errorf(invalid, "The propagateTags value SERVICE is for tasks of services; a task that is run can have TASK_DEFINITION or NONE.")
	}
	if len(in.Strategy) == 0 && in.LaunchType == "" {
		run.Providers = where.DefaultStrategy
	}
	if err := associated(where, run.Providers); err != nil {
		return run, err
	}
	var err error
	if run.Network, err = network(in.Network); err != nil {
		return run, err
	}
	return run, as(invalid, run.Validate())
}

// onFargate refuses what a run or a service can only ask for where there are instances, or
// of a platform that is not here.
func onFargate(launchType string, strategy []strategyItem, platform string, constraints []placementConstraint, spread []placementStrategy) error {
	switch {
	case launchType != "" && len(strategy) > 0:
		return wire.Errorf(invalid, "Specifying both a launch type and capacity provider strategy is not supported")
	case launchType == "EC2" && platform != "":
		return wire.Errorf(invalid, "The platform version must be null when specifying an EC2 launch type")
	case launchType != "" && launchType != "FARGATE":
		return wire.Errorf(invalid, "No Container Instances were found in your cluster.")
	case len(constraints) > 0:
		return wire.Errorf(invalid, "Placement constraints are not supported with the FARGATE launch type.")
	case len(spread) > 0:
		return wire.Errorf(invalid, "Placement strategies are not supported with the FARGATE launch type.")
	}
	if platform != "" && platform != "LATEST" && platform != platformVersion {
		return wire.Errorf(unknownPlatform, "The specified platform does not exist: Berth has %s only.", platformVersion)
	}
	return nil
}

// platformVersion is the one that is here (ECS developer guide, "Fargate Linux platform
// versions").
const platformVersion = "1.4.0"

// associated refuses a strategy with a capacity provider that the cluster does not have.
func associated(where cluster.Cluster, strategy []task.CapacityProvider) error {
	for _, p := range strategy {
		if !slices.Contains(where.CapacityProviders, p.Name) && slices.Contains(cluster.Providers(), p.Name) {
			return wire.Errorf(invalid, "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. "+
				"Associate the capacity provider with the cluster and try again.")
		}
	}
	return nil
}

// volumesOf refuses configurations of volumes: of those that the definition does not have
// as it should be, and of those that it has as Berth has no EBS.
func (s *server) volumesOf(ctx context.Context, r task.Realm, in *runTaskIn) error {
	if len(in.Volumes) == 0 {
		return nil
	}
	d, err := s.Definitions.Definition(ctx, r, in.Definition)
	if err != nil {
		return noDefinition(err)
	}
	for _, v := range in.Volumes {
		if !slices.ContainsFunc(d.Volumes, func(have task.Volume) bool {
			return have.Name == v.Name && have.ConfiguredAtLaunch != nil && *have.ConfiguredAtLaunch
		}) {
			return wire.Errorf(invalid, "The volume name '%s' in your request does not have a matching volume in your Task Definition", v.Name)
		}
	}
	return wire.Errorf(unsupported, "Berth has no EBS volumes: volumeConfigurations cannot be used.")
}

// noDefinition is said by operations that use a definition which does not exist.
func noDefinition(err error) error {
	if notFound(err) {
		return wire.Errorf(client, "TaskDefinition not found.")
	}
	return as(invalid, err)
}

// launch asks whether tasks come too fast, on demand and on Spot each by themselves.
func (s *server) launch(r task.Realm, run task.Run) error {
	if s.Launch == nil {
		return nil
	}
	spot := 0
	for _, p := range task.Share(run.Providers, run.Count) {
		if p == task.Spot {
			spot++
		}
	}
	for _, part := range []struct {
		spot  bool
		tasks int
	}{{true, spot}, {false, run.Count - spot}} {
		if part.tasks == 0 {
			continue
		}
		if err := s.Launch(r, part.spot, part.tasks); err != nil {
			return err
		}
	}
	return nil
}

// notRun says in ECS's words why tasks were not accepted.
func (s *server) notRun(ctx context.Context, r task.Realm, run task.Run, err error) (*tasksOut, error) {
	text := wire.Message(err)
	switch fault.KindOf(err) {
	case fault.Exhausted:
		reason, detail, ok := strings.Cut(text, ": ")
		if !ok || !strings.HasPrefix(reason, "RESOURCE:") {
			reason, detail = text, ""
		}
		return &tasksOut{Tasks: []taskShape{}, Failures: []Failure{{Reason: reason, Detail: detail}}}, nil
	case fault.OverBudget:
		return nil, &wire.Error{Code: "BlockedException", Message: "Your account is currently blocked. " + text, Err: err}
	case fault.Conflict:
		ids, claimed := s.Journal.Claimed(ctx, r, run.Token)
		if run.Token == "" || claimed != nil || len(ids) == 0 {
			return nil, as(client, err)
		}
		var arns []string
		for _, id := range ids {
			arns = append(arns, r.TaskARN(id))
		}
		return nil, &wire.Error{Code: "ConflictException", Members: map[string]any{"resourceIds": arns}, Err: err,
			Message: "The provided clientToken is already in use with a different RunTask request."}
	case fault.NotFound:
		if fault.FieldOf(err) == "cluster" {
			return nil, clusterNotFound()
		}
		return nil, noDefinition(err)
	}
	if fault.FieldOf(err) == "taskDefinition" { // It was deregistered: for ECS that is no mistake of the request.
		return nil, as(client, err)
	}
	return nil, as(invalid, err)
}

// onRun says that a run touches its definition, with the tags of the request; and, if tags
// are to be on the tasks, that it tags.
func (s *server) onRun(ctx context.Context, c wire.Call, in *runTaskIn) ([]access.Action, error) {
	r, err := realmOf(c, in.Cluster)
	if err != nil {
		return nil, nil
	}
	all := []access.Action{{Resource: "*", Context: about(r, nil, in.Tags)}}
	var roles []string
	if d, err := s.Definitions.Definition(ctx, r, in.Definition); err == nil {
		all[0] = access.Action{Resource: d.ARN, Context: about(r, d.Tags, in.Tags)}
		roles = append(roles, d.TaskRoleARN, d.ExecutionRoleARN)
	}
	if o := in.Overrides; o != nil {
		roles = append(roles, o.TaskRoleARN, o.ExecutionRoleARN)
	}
	all = append(all, access.PassRoles(r.Account, roles...)...)
	return s.tagging(ctx, c, all, "RunTask", r.TaskARN("*"), r, in.Tags), nil
}
