package ecs

import (
	"strings"
	"time"

	"berth/server/aws/wire"
	"berth/task"
)

// taskShape is Task of the ECS API.
type taskShape struct {
	Attachments       []task.Attachment      `json:"attachments"`
	Attributes        []task.Attribute       `json:"attributes"`
	AvailabilityZone  string                 `json:"availabilityZone"`
	CapacityProvider  string                 `json:"capacityProviderName,omitempty"`
	ClusterARN        string                 `json:"clusterArn"`
	Connectivity      string                 `json:"connectivity,omitempty"`
	ConnectivityAt    wire.Time              `json:"connectivityAt,omitzero"`
	Containers        []containerShape       `json:"containers"`
	CPU               string                 `json:"cpu"`
	CreatedAt         wire.Time              `json:"createdAt"`
	DesiredStatus     task.Status            `json:"desiredStatus"`
	EnableExec        bool                   `json:"enableExecuteCommand"`
	ExecutionStopped  wire.Time              `json:"executionStoppedAt,omitzero"`
	Group             string                 `json:"group"`
	Health            string                 `json:"healthStatus"`
	LastStatus        task.Status            `json:"lastStatus"`
	LaunchType        string                 `json:"launchType"`
	Memory            string                 `json:"memory"`
	Overrides         task.Overrides         `json:"overrides"`
	Platform          string                 `json:"platformVersion"`
	Family            string                 `json:"platformFamily"`
	PullStartedAt     wire.Time              `json:"pullStartedAt,omitzero"`
	PullStoppedAt     wire.Time              `json:"pullStoppedAt,omitzero"`
	StartedAt         wire.Time              `json:"startedAt,omitzero"`
	StartedBy         string                 `json:"startedBy,omitempty"`
	StopCode          string                 `json:"stopCode,omitempty"`
	StoppedAt         wire.Time              `json:"stoppedAt,omitzero"`
	StoppedReason     string                 `json:"stoppedReason,omitempty"`
	StoppingAt        wire.Time              `json:"stoppingAt,omitzero"`
	Tags              []task.Tag             `json:"tags"`
	ARN               string                 `json:"taskArn"`
	DefinitionARN     string                 `json:"taskDefinitionArn"`
	Version           int64                  `json:"version"`
	Ephemeral         *task.EphemeralStorage `json:"ephemeralStorage"`
	FargateEphemerals *task.EphemeralStorage `json:"fargateEphemeralStorage"`
}

// containerShape is Container of the ECS API.
type containerShape struct {
	ARN               string                  `json:"containerArn"`
	TaskARN           string                  `json:"taskArn"`
	Name              string                  `json:"name"`
	Image             string                  `json:"image"`
	ImageDigest       string                  `json:"imageDigest,omitempty"`
	RuntimeID         string                  `json:"runtimeId,omitempty"`
	LastStatus        task.Status             `json:"lastStatus"`
	ExitCode          *int                    `json:"exitCode,omitempty"`
	Reason            string                  `json:"reason,omitempty"`
	NetworkBindings   []task.NetworkBinding   `json:"networkBindings"`
	NetworkInterfaces []task.NetworkInterface `json:"networkInterfaces"`
	Health            string                  `json:"healthStatus"`
	CPU               string                  `json:"cpu"`
	Memory            string                  `json:"memory,omitempty"`
	MemoryReservation string                  `json:"memoryReservation,omitempty"`
	ManagedAgents     []managedAgent          `json:"managedAgents,omitempty"`
}

// describeTask returns t as the ECS API describes a task on Fargate, with its tags if they
// were asked for.
func describeTask(t task.Task, tags bool) taskShape {
	at := func(v time.Time) wire.Time { return wire.At(v) }
	ephemeral := t.Ephemeral
	if ephemeral == nil {
		ephemeral = &task.EphemeralStorage{SizeInGiB: task.DefaultEphemeralGiB}
	}
	shape := taskShape{
		Attachments: attachments(t), Attributes: []task.Attribute{{Name: "ecs.cpu-architecture", Value: strings.ToLower(t.Arch)}},
		AvailabilityZone: t.Realm().Zone(), CapacityProvider: t.CapacityProvider, ClusterARN: t.ClusterARN,
		Connectivity: t.Connectivity, ConnectivityAt: at(t.ConnectivityAt),
		CPU: t.CPU, CreatedAt: at(t.CreatedAt), DesiredStatus: t.DesiredStatus, EnableExec: t.EnableExecuteCommand, ExecutionStopped: at(t.ExecutionStoppedAt),
		Group: t.Group, Health: t.Health, LastStatus: t.LastStatus, LaunchType: t.LaunchType, Memory: t.Memory,
		Overrides: overrides(t), Platform: t.Platform, Family: t.Family,
		PullStartedAt: at(t.PullStartedAt), PullStoppedAt: at(t.PullStoppedAt), StartedAt: at(t.StartedAt), StartedBy: t.StartedBy,
		StopCode: stopCode(t), StoppedAt: at(t.StoppedAt), StoppedReason: t.StoppedReason, StoppingAt: at(t.StoppingAt),
		Tags: []task.Tag{}, ARN: t.ARN, DefinitionARN: t.DefinitionARN, Version: t.Version,
		Ephemeral: ephemeral, FargateEphemerals: ephemeral,
	}
	if tags {
		shape.Tags = some(t.Tags)
	}
	for _, c := range t.Containers {
		shape.Containers = append(shape.Containers, containerShape{
			ARN: c.ARN, TaskARN: c.TaskARN, Name: c.Name, Image: c.Image, ImageDigest: c.ImageDigest, RuntimeID: c.RuntimeID,
			LastStatus: c.LastStatus, ExitCode: c.ExitCode, Reason: c.Reason,
			NetworkBindings: some(c.NetworkBindings), NetworkInterfaces: some(c.NetworkInterfaces),
			Health: c.Health, CPU: c.CPU, Memory: c.Memory, MemoryReservation: c.MemoryReservation, ManagedAgents: agents(t, c),
		})
	}
	shape.Containers = some(shape.Containers)
	return shape
}

// overrides returns what the run of t changed. AWS names every container there, also those
// of which nothing was changed.
func overrides(t task.Task) task.Overrides {
	o := t.Overrides
	o.Containers, o.InferenceAccelerators = []task.ContainerOverride{}, []task.InferenceAccelerator{}
	for _, c := range t.Containers {
		changed := task.ContainerOverride{Name: c.Name}
		for _, given := range t.Overrides.Containers {
			if given.Name == c.Name {
				changed = given
			}
		}
		o.Containers = append(o.Containers, changed)
	}
	return o
}

// attachments returns the network interface of t with the details that AWS has.
func attachments(t task.Task) []task.Attachment {
	all := []task.Attachment{}
	for _, e := range t.ENIs() {
		all = append(all, task.Attachment{ID: e.Attachment, Type: "ElasticNetworkInterface", Status: e.Status, Details: e.Details()})
	}
	return all
}

// stopCode returns why t ends in a word that the ECS API has. Berth's own for the end of
// the money is what a user would have done.
func stopCode(t task.Task) string {
	if t.StopCode == task.SpendLimit {
		return task.UserInitiated
	}
	return t.StopCode
}

// describeTasks returns tasks as describeTask does.
func describeTasks(ts []task.Task, tags bool) []taskShape {
	all := []taskShape{}
	for _, t := range ts {
		all = append(all, describeTask(t, tags))
	}
	return all
}
