// Package service keeps a wanted number of tasks running and replaces them by others.
//
// A [Service] says how many tasks there shall be and of what. What it runs are its
// deployments, or task sets if somebody else deploys. Each of them is a [Fleet]: the tasks
// that were ordered for it and have not ended.
//
//	written down ─▶ submitted ─▶ pending ─▶ running ─▶ healthy
//	                    │           │          │          │
//	                    └───────────┴──────────┴──────────┴─▶ asked to stop ─▶ ended, forgotten
//
// A [Scheduler] looks at what is written down, does the one thing that it calls for, writes
// that down, and looks again. An order is written before it is submitted, with a token that
// follows from the deployment and the order's number, so a scheduler that died in between
// finds the same task again. There is no other recovery.
//
// What is decided, plan decides, which does nothing and reads no clock.
package service

import (
	"encoding/json"
	"slices"
	"time"

	"berth/fault"
	"berth/task"
)

// ID names a service for ever: 32 hex digits. A name can be used again when the service is
// INACTIVE, an ID cannot.
type ID string

// Status is where a service is in its life.
type Status string

// The states of a service, in order (ECS API, Service.status).
const (
	Active   Status = "ACTIVE"
	Draining Status = "DRAINING" // deleted, and some of its tasks have not ended
	Inactive Status = "INACTIVE" // nothing of it is left
)

// Controller says who deploys.
type Controller string

// Controllers (ECS API, DeploymentControllerType). CODE_DEPLOY is AWS's alone.
const (
	ECS      Controller = "ECS"
	External Controller = "EXTERNAL" // whoever makes task sets
)

// Service is a wish to have tasks running, and what became of it. Its JSON is what the store
// keeps; fronts have shapes of their own.
type Service struct {
	ID      ID
	Realm   task.Realm
	Name    string // 1 to 255 letters, digits, hyphens and underscores; unique among those of its cluster that are not INACTIVE
	Status  Status
	Version int64 // grows by one with every write

	Desired       int // tasks
	Controller    Controller
	Template      Template // of its newest deployment; of EXTERNAL ones as CreateService said
	Configuration Configuration
	Grace         int        // seconds after the start of a task in which checks that fail do not count
	Tags          []task.Tag `json:",omitempty"`
	ManagedTags   bool       // tasks get aws:ecs:clusterName and aws:ecs:serviceName
	Propagate     string     // SERVICE, TASK_DEFINITION or NONE
	Exec          bool       // enableExecuteCommand
	Rebalancing   string     // ENABLED or DISABLED; one host has one zone, so it changes nothing
	CreatedAt     time.Time
	InactiveAt    time.Time `json:",omitzero"`
	CreatedBy     string    // ARN of who made it
	Token         string    `json:",omitempty"` // clientToken of CreateService
	Hash          string    `json:",omitempty"` // of the request with that token

	Deployments []Deployment `json:",omitempty"` // the PRIMARY one first, then the newest
	Completed   *Deployment  `json:",omitempty"` // the last one that completed, without its tasks
	TaskSets    []TaskSet    `json:",omitempty"` // in the order in which they were made
	Rollout     *Rollout     `json:",omitempty"` // the latest service deployment
	Steady      bool         // it was said that it is steady, and nothing has happened since
}

// Template is what a task of a service is made from.
type Template struct {
	Definition     string // ARN of a task definition
	LaunchType     string // FARGATE, or empty if there are Providers
	Providers      []task.CapacityProvider
	Platform       string // platformVersion as it was asked for: LATEST, 1.4.0
	Network        *task.NetworkConfiguration
	LoadBalancers  []task.LoadBalancer
	Registries     []Registry
	ServiceConnect *Connect // nil: none
}

// Registry is a name in service discovery (ECS API, ServiceRegistry).
type Registry struct {
	ARN           string `json:"registryArn"`
	Port          int    `json:"port,omitempty"`
	ContainerName string `json:"containerName,omitempty"`
	ContainerPort int    `json:"containerPort,omitempty"`
}

// Connect is a service's part in Service Connect, as far as it makes sense without a proxy
// (ECS API, ServiceConnectConfiguration).
type Connect struct {
	Enabled   bool             `json:"enabled"`
	Namespace string           `json:"namespace,omitempty"`
	Services  []ConnectService `json:"services,omitempty"`
	Log       json.RawMessage  `json:"logConfiguration,omitempty"` // kept: there is no proxy that could log
}

// ConnectService is a port by which others find a service.
type ConnectService struct {
	PortName      string         `json:"portName"`
	DiscoveryName string         `json:"discoveryName,omitempty"` // default: PortName
	ClientAliases []ConnectAlias `json:"clientAliases,omitempty"`
}

// ConnectAlias is a name and port that clients use.
type ConnectAlias struct {
	Port    int    `json:"port"`
	DNSName string `json:"dnsName,omitempty"`
}

// State is how far a deployment has come (ECS API, DeploymentRolloutState).
type State string

// States of a deployment.
const (
	InProgress State = "IN_PROGRESS"
	Completed  State = "COMPLETED"
	Failed     State = "FAILED" // it starts no more tasks
)

// Rank is a deployment's or a task set's part in its service.
type Rank string

// Ranks (ECS API, Deployment.status and TaskSet.status).
const (
	Primary    Rank = "PRIMARY"
	Secondary  Rank = "ACTIVE"   // a deployment is about to be replaced; a task set serves beside the primary one
	SetLeaving Rank = "DRAINING" // of task sets: it was deleted, and some of its tasks have not ended
)

// Deployment is the tasks of a service that are made from one template.
type Deployment struct {
	ID             string // ecs-svc/ and 19 digits
	Rank           Rank
	Template       Template
	Revision       string // ARN of its service revision
	State          State
	Reason         string // rolloutStateReason
	HealthChecked  bool   // an essential container of its definition has a health check
	DefinitionTags []task.Tag
	CreatedAt      time.Time
	UpdatedAt      time.Time
	RollingBack    bool // it is PRIMARY again because a later one failed or was stopped
	Blocked        bool // it was said that its service's configuration lets nothing happen
	Fleet
}

// TaskSet is the tasks of an EXTERNAL service that are made from one template (ECS API,
// TaskSet).
type TaskSet struct {
	ID             string // ecs-svc/ and 19 digits
	Rank           Rank
	Template       Template
	ExternalID     string
	Scale          float64 // per cent of the service's desired count, 0 to 100
	HealthChecked  bool
	DefinitionTags []task.Tag
	Tags           []task.Tag
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Steady         bool
	SteadyAt       time.Time
	Token          string `json:",omitempty"`
	Hash           string `json:",omitempty"`
	Fleet
}

// Fleet is the tasks of a deployment or a task set.
type Fleet struct {
	Ordered int      // tasks so far; the number of the last order
	Members []Member // those that have not ended, in the order in which they were ordered

	Failed  int       // tasks in a row that failed
	Tries   int       // rounds of starts in a row in which a task did not come to run
	Round   int       // the last order of the latest such round
	NotTill time.Time `json:",omitzero"` // no task is started before
}

// Member is a task of a fleet. A number is one task, however often it is submitted.
type Member struct {
	N        int
	Task     task.ID // "" until it was submitted
	Provider string  `json:",omitempty"` // capacity provider
	Order    *Order  `json:",omitempty"` // until it was submitted
	Ran      bool    `json:",omitempty"` // it came to be RUNNING
	Healthy  bool    `json:",omitempty"` // it was healthy once
	Stop     string  `json:",omitempty"` // why it was asked to stop
}

// Order is what a task is submitted with besides its template. It is written down with the
// order, so that submitting it again is the same request, whatever became of the service.
type Order struct {
	Tags    []task.Tag `json:",omitempty"`
	Managed []task.Tag `json:",omitempty"` // of ECS itself
	Exec    bool       `json:",omitempty"`
}

// clone returns a copy of s that can be changed without changing s.
func (s Service) clone() Service {
	s.Deployments = slices.Clone(s.Deployments)
	for i := range s.Deployments {
		s.Deployments[i].Members = slices.Clone(s.Deployments[i].Members)
	}
	s.TaskSets = slices.Clone(s.TaskSets)
	for i := range s.TaskSets {
		s.TaskSets[i].Members = slices.Clone(s.TaskSets[i].Members)
	}
	if s.Rollout != nil {
		r := *s.Rollout
		s.Rollout = &r
	}
	return s
}

// ARN returns the service's ARN.
func (s Service) ARN() string { return arn(s.Realm, "service", s.Realm.Cluster+"/"+s.Name) }

// Primary returns the deployment that s is to run, nil if there is none.
func (s *Service) Primary() *Deployment {
	if len(s.Deployments) == 0 {
		return nil
	}
	return &s.Deployments[0]
}

// fleets returns every fleet of s, with the ID that its tasks are started by.
func (s *Service) fleets() []*Fleet {
	var all []*Fleet
	for i := range s.Deployments {
		all = append(all, &s.Deployments[i].Fleet)
	}
	for i := range s.TaskSets {
		all = append(all, &s.TaskSets[i].Fleet)
	}
	return all
}

// TaskIDs returns the tasks of s that are not known to have ended.
func (s Service) TaskIDs() []task.ID {
	var ids []task.ID
	for _, f := range s.fleets() {
		for _, m := range f.Members {
			if m.Task != "" {
				ids = append(ids, m.Task)
			}
		}
	}
	return ids
}

// Group returns the group of s's tasks (ECS API, Task.group).
func (s Service) Group() string { return groupPrefix + s.Name }

const groupPrefix = "service:"

// ARN returns the task set's ARN.
func (t TaskSet) ARN(s Service) string {
	return arn(s.Realm, "task-set", s.Realm.Cluster+"/"+s.Name+"/"+t.ID)
}

func arn(r task.Realm, kind, rest string) string {
	return "arn:aws:ecs:" + r.Region + ":" + r.Account + ":" + kind + "/" + rest
}

// Errors that callers tell apart. They come wrapped in a fault.
var (
	ErrStale     = fault.New(fault.Conflict, "the service has changed meanwhile")
	ErrNotActive = fault.New(fault.Conflict, "Service was not ACTIVE.")
	ErrNoTaskSet = fault.New(fault.NotFound, "The specified task set does not exist. Specify a valid task set and try again.")
	ErrNoRollout = fault.New(fault.NotFound, "The specified service deployment does not exist.")
	ErrNoService = fault.New(fault.NotFound, "Service not found.")
)
