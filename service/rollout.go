package service

import (
	"time"

	"berth/task"
)

// RolloutStatus is where a service deployment is (ECS API, ServiceDeploymentStatus).
type RolloutStatus string

// States of a service deployment.
const (
	RolloutPending         RolloutStatus = "PENDING"
	RolloutInProgress      RolloutStatus = "IN_PROGRESS"
	RolloutSuccessful      RolloutStatus = "SUCCESSFUL"
	RolloutStopRequested   RolloutStatus = "STOP_REQUESTED"
	RolloutStopped         RolloutStatus = "STOPPED"
	RollbackRequested      RolloutStatus = "ROLLBACK_REQUESTED"
	RollbackInProgress     RolloutStatus = "ROLLBACK_IN_PROGRESS"
	RollbackSuccessful     RolloutStatus = "ROLLBACK_SUCCESSFUL"
	RollbackFailed         RolloutStatus = "ROLLBACK_FAILED"
	rolloutIDLength                      = 21 // of the last part of a service deployment's ARN
	circuitBreakerReason                 = "Circuit breaker threshold exceeded."
	rolledBackReason                     = "Service deployment rolled back because the circuit breaker threshold was exceeded."
	rolledBackByUser                     = "Service deployment rolled back because of a stop request."
	rollbackFailedReason                 = "The tasks of the service revision that was rolled back to failed to start."
	rolloutWithoutRollback               = "Service deployment stopped because the circuit breaker threshold was exceeded."
)

// Ended reports whether nothing more can happen to a service deployment in s.
func (s RolloutStatus) Ended() bool {
	return s == RolloutSuccessful || s == RolloutStopped || s == RollbackSuccessful || s == RollbackFailed
}

// Rollout is a service deployment: the way of a service from some revisions to another (ECS
// API, ServiceDeployment).
type Rollout struct {
	ARN        string
	Service    ID
	Deployment string // ID of the deployment that it brings
	Source     []string
	Target     string // ARNs of revisions
	Status     RolloutStatus
	Reason     string
	Stage      string // lifecycleStage
	CreatedAt  time.Time
	StartedAt  time.Time `json:",omitzero"`
	StoppedAt  time.Time `json:",omitzero"`
	FinishedAt time.Time `json:",omitzero"`
	UpdatedAt  time.Time

	Configuration Configuration

	Monitor   string // TRIGGERED, MONITORING, MONITORING_COMPLETE or DISABLED: the circuit breaker
	Failures  int    // tasks that failed, as the breaker counts them
	Threshold int

	Rollback *Rollback `json:",omitempty"`
}

// Rollback says that a service deployment goes back (ECS API, Rollback).
type Rollback struct {
	Reason    string
	StartedAt time.Time
	Revision  string // ARN
}

// States of a circuit breaker in a service deployment (ECS API,
// ServiceDeploymentRollbackMonitorsStatus).
const (
	monitorDisabled = "DISABLED"
	monitoring      = "MONITORING"
	monitorDone     = "MONITORING_COMPLETE"
	monitorTripped  = "TRIGGERED"
)

// Stages of a rolling service deployment (ECS API, ServiceDeploymentLifecycleStage).
const (
	stageReconcile = "RECONCILE_SERVICE"
	stageScaleUp   = "SCALE_UP"
	stageCleanUp   = "CLEAN_UP"
)

// Revision is what a service was to run from some moment on (ECS API, ServiceRevision). It
// never changes.
type Revision struct {
	ARN       string
	Service   ID
	Realm     task.Realm
	Name      string // of the service
	Template  Template
	Images    []Image
	CreatedAt time.Time
}

// Image is what a container of a revision runs.
type Image struct {
	Container string
	Image     string
}

// Event says what happened to a service. Its texts are AWS's.
type Event struct {
	Seq     int64 // position among the events of all services; 0 before it is written
	ID      string
	Service ID
	ARN     string // of the service
	At      time.Time
	Message string

	// What it is on an event bus: "ECS Service Action" or, with a Deployment, "ECS
	// Deployment State Change" (ECS developer guide, "Amazon ECS events"). Name is empty if
	// AWS tells it only in the list of events.
	Name       string `json:",omitempty"` // SERVICE_STEADY_STATE, SERVICE_DEPLOYMENT_COMPLETED …
	Level      string `json:",omitempty"` // INFO, WARN or ERROR
	Deployment string `json:",omitempty"`
	Reason     string `json:",omitempty"`
}

// mostEvents is how many events a description of a service has, the newest first (ECS API,
// Service.events).
const mostEvents = 100
