package ecs

import (
	"encoding/json"
	"time"

	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

// serviceShape is Service. Lists that AWS always sends are never null.
type serviceShape struct {
	ARN           string                  `json:"serviceArn"`
	Name          string                  `json:"serviceName"`
	Cluster       string                  `json:"clusterArn"`
	LoadBalancers []loadBalancer          `json:"loadBalancers"`
	Registries    []serviceRegistry       `json:"serviceRegistries"`
	Status        string                  `json:"status"`
	Desired       int                     `json:"desiredCount"`
	Running       int                     `json:"runningCount"`
	Pending       int                     `json:"pendingCount"`
	LaunchType    string                  `json:"launchType,omitempty"`
	Strategy      []strategyItem          `json:"capacityProviderStrategy,omitempty"`
	Platform      string                  `json:"platformVersion,omitempty"`
	Family        string                  `json:"platformFamily,omitempty"`
	Definition    string                  `json:"taskDefinition,omitempty"`
	Configuration deploymentConfiguration `json:"deploymentConfiguration"`
	TaskSets      []taskSetShape          `json:"taskSets,omitempty"`
	Deployments   []deploymentShape       `json:"deployments"`
	Role          string                  `json:"roleArn,omitempty"`
	Events        []serviceEvent          `json:"events"`
	CreatedAt     wire.Time               `json:"createdAt"`
	Rollout       string                  `json:"currentServiceDeployment,omitempty"`
	Revisions     []currentRevision       `json:"currentServiceRevisions,omitempty"`
	Constraints   []placementConstraint   `json:"placementConstraints"`
	Placement     []placementStrategy     `json:"placementStrategy"`
	Network       *networkConfiguration   `json:"networkConfiguration,omitempty"`
	Grace         int                     `json:"healthCheckGracePeriodSeconds"`
	Scheduling    string                  `json:"schedulingStrategy"`
	Controller    deploymentController    `json:"deploymentController"`
	Tags          []task.Tag              `json:"tags,omitempty"`
	CreatedBy     string                  `json:"createdBy,omitempty"`
	ManagedTags   bool                    `json:"enableECSManagedTags"`
	Propagate     string                  `json:"propagateTags"`
	EnableExec    bool                    `json:"enableExecuteCommand"`
	Rebalancing   string                  `json:"availabilityZoneRebalancing"`
	Management    string                  `json:"resourceManagementType"`
}

// deploymentShape is Deployment.
type deploymentShape struct {
	ID            string                `json:"id"`
	Status        string                `json:"status"`
	Definition    string                `json:"taskDefinition"`
	Desired       int                   `json:"desiredCount"`
	Pending       int                   `json:"pendingCount"`
	Running       int                   `json:"runningCount"`
	Failed        int                   `json:"failedTasks"`
	CreatedAt     wire.Time             `json:"createdAt"`
	UpdatedAt     wire.Time             `json:"updatedAt"`
	Strategy      []strategyItem        `json:"capacityProviderStrategy,omitempty"`
	LaunchType    string                `json:"launchType,omitempty"`
	Platform      string                `json:"platformVersion"`
	Family        string                `json:"platformFamily"`
	Network       *networkConfiguration `json:"networkConfiguration,omitempty"`
	RolloutState  string                `json:"rolloutState"`
	RolloutReason string                `json:"rolloutStateReason"`
	Connect       *connectShape         `json:"serviceConnectConfiguration,omitempty"`
	Resources     []connectResource     `json:"serviceConnectResources,omitempty"`
}

// connectShape is ServiceConnectConfiguration in answers.
type connectShape struct {
	Enabled   bool                     `json:"enabled"`
	Namespace string                   `json:"namespace,omitempty"`
	Services  []service.ConnectService `json:"services,omitempty"`
	Log       json.RawMessage          `json:"logConfiguration,omitempty"`
}

func connectOf(c *service.Connect) *connectShape {
	if c == nil {
		return nil
	}
	return &connectShape{c.Enabled, c.Namespace, c.Services, c.Log}
}

// serviceEvent is ServiceEvent.
type serviceEvent struct {
	ID      string    `json:"id"`
	At      wire.Time `json:"createdAt"`
	Message string    `json:"message"`
}

// currentRevision is ServiceCurrentRevisionSummary.
type currentRevision struct {
	ARN       string `json:"arn"`
	Requested int    `json:"requestedTaskCount"`
	Running   int    `json:"runningTaskCount"`
	Pending   int    `json:"pendingTaskCount"`
}

// serviceRole is the role that AWS makes for ECS in every account (IAM user guide,
// "Service-linked roles").
func serviceRole(account string) string {
	return "arn:aws:iam::" + account + ":role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
}

func describeService(d service.Described, tags bool, now time.Time) serviceShape {
	tm := d.Template
	out := serviceShape{
		ARN: d.ARN(), Name: d.Name, Cluster: d.Realm.ClusterARN(), LoadBalancers: balancersOf(tm.LoadBalancers), Registries: registriesOf(tm.Registries),
		Status: string(d.Status), Desired: d.Desired, LaunchType: tm.LaunchType, Definition: tm.Definition,
		Configuration: configurationOf(d.Configuration), Deployments: []deploymentShape{}, Role: serviceRole(d.Realm.Account), Events: []serviceEvent{},
		CreatedAt: wire.At(d.CreatedAt), Constraints: []placementConstraint{}, Placement: []placementStrategy{}, Network: networkOf(tm.Network),
		Grace: d.Grace, Scheduling: "REPLICA", Controller: deploymentController{string(d.Controller)}, CreatedBy: d.CreatedBy,
		ManagedTags: d.ManagedTags, Propagate: d.Propagate, EnableExec: d.Exec, Rebalancing: d.Rebalancing, Management: "CUSTOMER",
	}
	if len(tm.Providers) > 0 {
		out.Strategy = strategy(tm.Providers)
	}
	if tm.Definition != "" {
		out.Platform, out.Family = tm.Platform, "Linux"
		if out.Platform == "" {
			out.Platform = "LATEST"
		}
	}
	if tags {
		out.Tags = d.Tags
	}
	for _, p := range d.Deployments {
		n := p.Count(d.Tasks)
		out.Running, out.Pending = out.Running+n.Running, out.Pending+n.Pending
		one := describeDeployment(d.Service, p, n)
		out.Deployments = append(out.Deployments, one)
		out.Revisions = append(out.Revisions, currentRevision{p.Revision, one.Desired, n.Running, n.Pending})
	}
	for _, t := range d.TaskSets {
		n := t.Count(d.Tasks)
		out.Running, out.Pending = out.Running+n.Running, out.Pending+n.Pending
		out.TaskSets = append(out.TaskSets, describeTaskSet(d.Service, t, n, true, now))
	}
	if d.Rollout != nil {
		out.Rollout = d.Rollout.ARN
	}
	for _, e := range d.Events {
		out.Events = append(out.Events, serviceEvent{e.ID, wire.At(e.At), e.Message})
	}
	return out
}

func describeDeployment(v service.Service, p service.Deployment, n service.Counts) deploymentShape {
	out := deploymentShape{
		ID: p.ID, Status: string(p.Rank), Definition: p.Template.Definition, Desired: v.Desired, Pending: n.Pending, Running: n.Running,
		Failed: p.Failed, CreatedAt: wire.At(p.CreatedAt), UpdatedAt: wire.At(p.UpdatedAt), LaunchType: p.Template.LaunchType,
		Platform: platformVersion, Family: "Linux", Network: networkOf(p.Template.Network), RolloutState: string(p.State), RolloutReason: p.Reason,
		Connect: connectOf(p.Template.ServiceConnect), Resources: connectResources(p.Template.ServiceConnect),
	}
	if p.Rank != service.Primary {
		out.Desired = p.Wanted()
	}
	if len(p.Template.Providers) > 0 {
		out.Strategy = strategy(p.Template.Providers)
	}
	return out
}
