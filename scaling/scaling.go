// Package scaling changes how many tasks a service wants by what its tasks use, as
// Application Auto Scaling does with target tracking.
//
// Once a minute a [Scaler] looks at what the meter has written down of the minutes before.
// The rules are those of CloudWatch's alarms that AWS makes for a policy: more tasks as soon
// as three minutes in a row were above the target, fewer when fifteen in a row were below
// nine tenths of it. How many is what the load of those minutes divides into at the target,
// so a load that does not change leads to one number and stays there.
//
// Everything that is decided, decide decides, which does nothing and reads no clock.
package scaling

import (
	"fmt"
	"strings"
	"time"

	"berth/task"
)

// Namespace and Dimension are of all that can be scaled here (Application Auto Scaling API).
const (
	Namespace = "ecs"
	Dimension = "ecs:service:DesiredCount"
)

// Resource is a service whose desired count is scaled.
type Resource struct {
	Realm   task.Realm // with its cluster
	Service string     // its name
}

// ID returns the resource's ID: service/CLUSTER/NAME.
func (r Resource) ID() string { return "service/" + r.Realm.Cluster + "/" + r.Service }

// ParseResource reads an ID in an account and region. ok is false if it is none.
func ParseResource(in task.Realm, id string) (r Resource, ok bool) {
	parts := strings.Split(id, "/")
	if len(parts) != 3 || parts[0] != "service" || parts[1] == "" || parts[2] == "" {
		return r, false
	}
	return Resource{in.InCluster(parts[1]), parts[2]}, true
}

// Target is a service that is scaled (Application Auto Scaling API, ScalableTarget).
type Target struct {
	Resource  Resource
	ID        string // of its ARN
	Min, Max  int    // tasks; 0 ≤ Min ≤ Max
	RoleARN   string
	Suspended Suspended
	Tags      map[string]string
	CreatedAt time.Time

	State `json:"-"`
}

// Suspended says which scaling is not done at present.
type Suspended struct{ In, Out, Scheduled bool }

// State is what the Scaler knows of a target besides what users say.
type State struct {
	LastOut time.Time // it got more tasks
	LastIn  time.Time // it got fewer

	// Open is the activity that was begun. While there is one, nothing else is done than to
	// bring it to its end: the server may have died in it.
	Open *Activity
}

// ARN returns the ARN of t.
func (t Target) ARN() string {
	return "arn:aws:application-autoscaling:" + t.Resource.Realm.Region + ":" + t.Resource.Realm.Account + ":scalable-target/" + t.ID
}

// Metric is what a policy keeps at its target.
type Metric string

// The metrics that there are (Application Auto Scaling API, MetricType): what the tasks of a
// service use of what they reserve, in percent, on average over a minute.
const (
	CPU    Metric = "ECSServiceAverageCPUUtilization"
	Memory Metric = "ECSServiceAverageMemoryUtilization"
)

// DefaultCooldown is what policies have that name none (Application Auto Scaling API,
// TargetTrackingScalingPolicyConfiguration, for ECS).
const DefaultCooldown = 300 * time.Second

// Policy keeps a metric of a target at a value.
type Policy struct {
	Resource       Resource
	Name           string
	ID             string // of its ARN and its alarms
	Metric         Metric
	Target         float64        // percent; more than 0
	Out, In        *time.Duration // cooldowns; nil: DefaultCooldown
	DisableScaleIn bool
	CreatedAt      time.Time
}

// ARN returns the ARN of p.
func (p Policy) ARN() string {
	r := p.Resource
	return fmt.Sprintf("arn:aws:autoscaling:%s:%s:scalingPolicy:%s:resource/ecs/%s:policyName/%s", r.Realm.Region, r.Realm.Account, p.ID, r.ID(), p.Name)
}

// Alarm is one of the alarms that AWS makes for a policy. Here they are names for what the
// Scaler found.
type Alarm string

// The alarms of a policy.
const (
	High Alarm = "AlarmHigh"
	Low  Alarm = "AlarmLow"
)

// Alarm returns the name of one of p's alarms, and its ARN.
func (p Policy) Alarm(a Alarm) (name, arn string) {
	name = "TargetTracking-" + p.Resource.ID() + "-" + string(a) + "-" + p.ID
	return name, "arn:aws:cloudwatch:" + p.Resource.Realm.Region + ":" + p.Resource.Realm.Account + ":alarm:" + name
}

func (p Policy) cooldown(out bool) time.Duration {
	d := p.In
	if out {
		d = p.Out
	}
	if d == nil {
		return DefaultCooldown
	}
	return *d
}

// Status is how far an activity has come (Application Auto Scaling API,
// ScalingActivityStatusCode).
type Status string

// The states of an activity.
const (
	InProgress Status = "InProgress"
	Successful Status = "Successful"
	Failed     Status = "Failed"
)

// Activity is one change of a desired count.
type Activity struct {
	ID       string
	Resource Resource
	From, To int // tasks
	Cause    string
	Start    time.Time
	End      time.Time // zero while it is in progress
	Status   Status
	Message  string
}

// Description says what a does, in AWS's words.
func (a Activity) Description() string { return fmt.Sprintf("Setting desired count to %d.", a.To) }

// KeepActivities is how long activities are kept (Application Auto Scaling API,
// DescribeScalingActivities).
const KeepActivities = 6 * 7 * 24 * time.Hour
