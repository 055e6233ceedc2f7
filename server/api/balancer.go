package api

import (
	"berth/balancer"
	"berth/task"
)

// TargetGroupRequest is what a target group is to be. What is left out is as in Elastic Load
// Balancing, but for the matcher.
type TargetGroupRequest struct {
	Protocol    string              `json:"protocol,omitempty" enum:"HTTP,TCP" doc:"HTTP if left out"`
	Port        int                 `json:"port,omitempty" minimum:"1" maximum:"65535" doc:"Of targets that do not say; 80 if left out"`
	ListenPort  int                 `json:"listenPort,omitempty" minimum:"0" maximum:"65535" doc:"The port of this host that leads to the targets; 0 or left out: none"`
	HealthCheck *TargetCheckRequest `json:"healthCheck,omitempty"`

	DeregistrationDelay *task.Seconds `json:"deregistrationDelaySeconds,omitempty" minimum:"0" maximum:"3600" doc:"How long what a target was sent may take when its task ends; 300 if left out"`
}

// TargetCheckRequest says how targets are looked after.
type TargetCheckRequest struct {
	Protocol  string       `json:"protocol,omitempty" enum:"HTTP,TCP" doc:"The group's if left out"`
	Path      string       `json:"path,omitempty" doc:"Of HTTP; / if left out"`
	Port      int          `json:"port,omitempty" minimum:"0" maximum:"65535" doc:"The one that the target is sent to if left out"`
	Interval  task.Seconds `json:"intervalSeconds,omitempty" minimum:"1" maximum:"300" doc:"30 if left out"`
	Timeout   task.Seconds `json:"timeoutSeconds,omitempty" minimum:"1" maximum:"120" doc:"5 if left out; not above the interval"`
	Healthy   int          `json:"healthyThresholdCount,omitempty" minimum:"1" maximum:"10" doc:"5 if left out"`
	Unhealthy int          `json:"unhealthyThresholdCount,omitempty" minimum:"1" maximum:"10" doc:"2 if left out"`
	Matcher   string       `json:"matcher,omitempty" doc:"Codes of HTTP that pass, as in 200,301-302; 200-399 if left out"`
}

// TargetGroupList is all target groups, by name.
type TargetGroupList struct {
	TargetGroups []balancer.TargetGroup `json:"targetGroups"`
}

// TargetList is the targets of a group.
type TargetList struct {
	Targets []balancer.Target `json:"targets"`
}
