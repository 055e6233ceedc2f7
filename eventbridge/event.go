package eventbridge

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"berth/task"
)

// Source is the source of all events of ECS.
const Source = "aws.ecs"

// The detail types of ECS's events.
const (
	TaskStateChange       = "ECS Task State Change"
	ServiceAction         = "ECS Service Action"
	DeploymentStateChange = "ECS Deployment State Change"
)

// Event is an event of EventBridge.
type Event struct {
	Version    string          `json:"version" doc:"Always 0"`
	ID         string          `json:"id" doc:"A UUID; the same event has the same one for ever"`
	DetailType string          `json:"detail-type" doc:"ECS Task State Change, ECS Service Action or ECS Deployment State Change"`
	Source     string          `json:"source" doc:"Always aws.ecs"`
	Account    string          `json:"account"`
	Time       string          `json:"time" doc:"When it happened, in whole seconds, UTC"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources" doc:"ARN of the task or service"`
	Detail     json.RawMessage `json:"detail" doc:"What happened; its members are those of the detail type"`
}

// space is where the IDs of events come from.
var space = uuid.NewSHA1(uuid.NameSpaceOID, []byte("berth/eventbridge"))

// event returns an event about a resource. what tells it apart from all others about it.
func event(kind string, in task.Realm, at time.Time, resource, what string, detail any) (Event, error) {
	body, err := json.Marshal(detail)
	if err != nil {
		return Event{}, fmt.Errorf("encode event of %s: %w", resource, err)
	}
	return Event{
		Version: "0", ID: uuid.NewSHA1(space, []byte(kind+"\x00"+resource+"\x00"+what)).String(),
		DetailType: kind, Source: Source, Account: in.Account, Region: in.Region,
		Time: at.UTC().Format("2006-01-02T15:04:05Z"), Resources: []string{resource}, Detail: body,
	}, nil
}

// stamp is a time as details have it: with milliseconds, UTC. A zero one is left out.
type stamp time.Time

func (s stamp) IsZero() bool { return time.Time(s).IsZero() }

// MarshalJSON is part of json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return time.Time(s).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// taskDetail is the Task of the ECS API as its events have it.
type taskDetail struct {
	Attachments        []attachment `json:"attachments"`
	Attributes         []attribute  `json:"attributes"`
	AvailabilityZone   string       `json:"availabilityZone"`
	CapacityProvider   string       `json:"capacityProviderName,omitempty"`
	ClusterARN         string       `json:"clusterArn"`
	Connectivity       string       `json:"connectivity,omitempty"`
	ConnectivityAt     stamp        `json:"connectivityAt,omitzero"`
	Containers         []container  `json:"containers"`
	CPU                string       `json:"cpu"`
	CreatedAt          stamp        `json:"createdAt"`
	DesiredStatus      task.Status  `json:"desiredStatus"`
	ExecuteCommand     bool         `json:"enableExecuteCommand"`
	Ephemeral          *ephemeral   `json:"ephemeralStorage,omitempty"`
	ExecutionStoppedAt stamp        `json:"executionStoppedAt,omitzero"`
	Group              string       `json:"group"`
	LaunchType         string       `json:"launchType"`
	LastStatus         task.Status  `json:"lastStatus"`
	Memory             string       `json:"memory"`
	Overrides          overrides    `json:"overrides"`
	Platform           string       `json:"platformVersion"`
	PullStartedAt      stamp        `json:"pullStartedAt,omitzero"`
	PullStoppedAt      stamp        `json:"pullStoppedAt,omitzero"`
	StartedAt          stamp        `json:"startedAt,omitzero"`
	StartedBy          string       `json:"startedBy,omitempty"`
	StopCode           string       `json:"stopCode,omitempty"`
	StoppedAt          stamp        `json:"stoppedAt,omitzero"`
	StoppedReason      string       `json:"stoppedReason,omitempty"`
	StoppingAt         stamp        `json:"stoppingAt,omitzero"`
	TaskARN            string       `json:"taskArn"`
	DefinitionARN      string       `json:"taskDefinitionArn"`
	UpdatedAt          stamp        `json:"updatedAt"`
	Version            int64        `json:"version"`
}

type attachment struct {
	ID      string              `json:"id"`
	Type    string              `json:"type"`
	Status  string              `json:"status"`
	Details []task.KeyValuePair `json:"details"`
}

type attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type ephemeral struct {
	SizeInGiB int `json:"sizeInGiB"`
}

type container struct {
	ARN               string                  `json:"containerArn"`
	TaskARN           string                  `json:"taskArn"`
	Name              string                  `json:"name"`
	Image             string                  `json:"image"`
	ImageDigest       string                  `json:"imageDigest,omitempty"`
	RuntimeID         string                  `json:"runtimeId,omitempty"`
	LastStatus        task.Status             `json:"lastStatus"`
	ExitCode          *int                    `json:"exitCode,omitempty"`
	Reason            string                  `json:"reason,omitempty"`
	Health            string                  `json:"healthStatus,omitempty"`
	NetworkInterfaces []task.NetworkInterface `json:"networkInterfaces"`
	NetworkBindings   []task.NetworkBinding   `json:"networkBindings,omitempty"`
	CPU               string                  `json:"cpu"`
	Memory            string                  `json:"memory,omitempty"`
	MemoryReservation string                  `json:"memoryReservation,omitempty"`
}

// overrides are a run's overrides, in which each container is named, also one of which
// nothing was overridden.
type overrides struct {
	Containers []task.ContainerOverride `json:"containerOverrides"`
}

// OfTask returns what the journal's event says.
func OfTask(ev task.Event) (Event, error) {
	t := ev.Task
	realm := t.Realm()
	d := taskDetail{
		Attachments: []attachment{}, Containers: []container{},
		Attributes:       []attribute{{"ecs.cpu-architecture", cpuArchitecture(t.Arch)}},
		AvailabilityZone: realm.Zone(), CapacityProvider: t.CapacityProvider, ClusterARN: t.ClusterARN,
		Connectivity: t.Connectivity, ConnectivityAt: stamp(t.ConnectivityAt),
		CPU: t.CPU, CreatedAt: stamp(t.CreatedAt), DesiredStatus: t.DesiredStatus,
		ExecutionStoppedAt: stamp(t.ExecutionStoppedAt), Group: t.Group, LaunchType: t.LaunchType, LastStatus: t.LastStatus,
		Memory: t.Memory, Platform: t.Platform, PullStartedAt: stamp(t.PullStartedAt), PullStoppedAt: stamp(t.PullStoppedAt),
		ExecuteCommand: t.EnableExecuteCommand, StartedAt: stamp(t.StartedAt), StartedBy: t.StartedBy, StopCode: t.StopCode, StoppedAt: stamp(t.StoppedAt),
		StoppedReason: t.StoppedReason, StoppingAt: stamp(t.StoppingAt),
		TaskARN: t.ARN, DefinitionARN: t.DefinitionARN, UpdatedAt: stamp(ev.At), Version: t.Version,
	}
	if t.StopCode == task.SpendLimit { // a code that AWS does not have
		d.StopCode = task.UserInitiated
	}
	if t.Ephemeral != nil {
		d.Ephemeral = &ephemeral{t.Ephemeral.SizeInGiB}
	}
	for _, e := range t.ENIs() {
		d.Attachments = append(d.Attachments, attachment{ID: e.Attachment, Type: "eni", Status: e.Status, Details: e.Details()})
	}
	for _, c := range t.Containers {
		d.Containers = append(d.Containers, container{
			ARN: c.ARN, TaskARN: c.TaskARN, Name: c.Name, Image: c.Image, ImageDigest: c.ImageDigest, RuntimeID: c.RuntimeID,
			LastStatus: c.LastStatus, ExitCode: c.ExitCode, Reason: c.Reason, Health: c.Health,
			NetworkInterfaces: c.NetworkInterfaces, NetworkBindings: c.NetworkBindings,
			CPU: c.CPU, Memory: c.Memory, MemoryReservation: c.MemoryReservation,
		})
		d.Overrides.Containers = append(d.Overrides.Containers, overrideOf(t.Overrides, c.Name))
	}
	return event(TaskStateChange, realm, ev.At, t.ARN, strconv.FormatInt(t.Version, 10), d)
}

func overrideOf(o task.Overrides, name string) task.ContainerOverride {
	for _, c := range o.Containers {
		if c.Name == name {
			return c
		}
	}
	return task.ContainerOverride{Name: name}
}

// cpuArchitecture is an architecture in the words of the attribute.
func cpuArchitecture(arch string) string {
	if arch == "ARM64" {
		return "arm64"
	}
	return "x86_64"
}

// ServiceEvent is something that happened to a service.
type ServiceEvent struct {
	Seq        int64      // position among the events of all services; grows
	ID         string     // the same for ever
	Realm      task.Realm // of the service, with its cluster
	Service    string     // its ARN
	At         time.Time
	Name       string // as in SERVICE_STEADY_STATE; empty: nobody is told
	Level      string // INFO, WARN or ERROR
	Deployment string // ID of the deployment that it is about; empty: it is about the service
	Reason     string // in a sentence; may be empty
}

type serviceDetail struct {
	Type       string `json:"eventType"`
	Name       string `json:"eventName"`
	ClusterARN string `json:"clusterArn"`
	CreatedAt  stamp  `json:"createdAt"`
	Reason     string `json:"reason,omitempty"`
}

type deploymentDetail struct {
	Type       string `json:"eventType"`
	Name       string `json:"eventName"`
	Deployment string `json:"deploymentId"`
	UpdatedAt  stamp  `json:"updatedAt"`
	Reason     string `json:"reason,omitempty"`
}

// OfService returns what a service's event says. told is false for one that ECS does not
// tell EventBridge.
func OfService(s ServiceEvent) (ev Event, told bool, err error) {
	if s.Name == "" {
		return Event{}, false, nil
	}
	kind := ServiceAction
	var detail any = serviceDetail{s.Level, s.Name, s.Realm.ClusterARN(), stamp(s.At), s.Reason}
	if s.Deployment != "" {
		kind = DeploymentStateChange
		detail = deploymentDetail{s.Level, s.Name, s.Deployment, stamp(s.At), s.Reason}
	}
	ev, err = event(kind, s.Realm, s.At, s.Service, s.ID, detail)
	return ev, true, err
}
