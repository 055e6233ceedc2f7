// Package api is what travels: the requests and responses of the REST API that
// are not nouns of package task already.
//
// The server writes these types and the client reads them, so the two cannot
// drift apart. They carry data and decide nothing.
package api

import (
	"encoding/json"
	"time"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/money"
	"berth/task"
)

// Base is the path under which the API lies.
const Base = "/api/v1"

// Media types that the API speaks.
const (
	JSON    = "application/json"
	Problem = "application/problem+json" // RFC 9457
	NDJSON  = "application/x-ndjson"     // one JSON value a line
	SSE     = "text/event-stream"        // server-sent events (WHATWG HTML, section 9.2)
	Text    = "text/plain"
	CSV     = "text/csv"
	Parquet = "application/vnd.apache.parquet"
)

// Headers that have a meaning of their own here.
const (
	RequestID      = "X-Request-Id"
	IdempotencyKey = "Idempotency-Key"
	LastEventID    = "Last-Event-ID"
)

// Fault is an error as it travels: a problem of RFC 9457. Type is FaultType
// followed by the kind of the fault, with hyphens for spaces.
type Fault struct {
	Type     string       `json:"type" doc:"What kind of problem this is; ends in invalid, not-found, conflict, exhausted, unavailable, too-large, over-budget or internal"`
	Title    string       `json:"title" doc:"The kind in words"`
	Status   int          `json:"status" doc:"The HTTP status"`
	Detail   string       `json:"detail" doc:"What is wrong and, if short, how to mend it"`
	Instance string       `json:"instance,omitempty" doc:"The request that met the problem, as in the header X-Request-Id"`
	Field    string       `json:"field,omitempty" doc:"JSON path of the input at fault, as in containerDefinitions[0].image"`
	Errors   []FieldError `json:"errors,omitempty" doc:"Every input at fault, if that is known"`
}

// FaultType begins the Type of every Fault.
const FaultType = "urn:berth:fault:"

// FieldError is one thing that is wrong with a request.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// RunRequest asks for tasks: the RunTask request of the ECS API as far as it
// concerns Fargate, and what only Berth has.
type RunRequest struct {
	TaskDefinition json.RawMessage `json:"taskDefinition" doc:"The name of a definition (family, family:revision or ARN), or a whole definition, which is then registered unless it equals the latest ACTIVE one of its family"`
	Count          *int            `json:"count,omitempty" minimum:"1" maximum:"10" doc:"How many tasks; 1 if left out"`
	Cluster        string          `json:"cluster,omitempty" maxLength:"255" doc:"Name of a cluster; default if left out"`
	Overrides      *task.Overrides `json:"overrides,omitempty" doc:"What these tasks change in their definition"`

	LaunchType               string                  `json:"launchType,omitempty" enum:"FARGATE" doc:"Not beside capacityProviderStrategy"`
	CapacityProviderStrategy []task.CapacityProvider `json:"capacityProviderStrategy,omitempty" doc:"Which share of the tasks runs on FARGATE and which on FARGATE_SPOT; all on demand if left out or empty; one has a weight above 0"`

	NetworkConfiguration *task.NetworkConfiguration `json:"networkConfiguration,omitempty" doc:"Security groups of these tasks, and whether this host publishes their ports"`

	LoadBalancers []task.LoadBalancer `json:"loadBalancers,omitempty" doc:"Target groups whose targets these tasks are, at most 5; targetGroupArn takes a name too"`

	Tags      []task.Tag `json:"tags,omitempty" doc:"At most 50"`
	Group     string     `json:"group,omitempty" doc:"family:NAME if left out"`
	StartedBy string     `json:"startedBy,omitempty" maxLength:"128"`

	EnableExecuteCommand bool `json:"enableExecuteCommand,omitempty" doc:"Let people in with ECS's ExecuteCommand too; needs a task role"`

	Runtime        string        `json:"runtime,omitempty" enum:"runc,gvisor,kata" doc:"What stands between these tasks and the host's kernel; the server's default if left out"`
	TimeoutSeconds task.Seconds  `json:"timeoutSeconds,omitempty" minimum:"0" doc:"The task is stopped this long after it started running; 0 means never"`
	MaxCost        *money.Amount `json:"maxCost,omitempty" doc:"The most that these tasks may cost together, in US dollars, of which each has an even share; a task that would cost more is stopped before it does"`
	ClientToken    string        `json:"clientToken,omitempty" maxLength:"64" doc:"The same token with the same request returns the same tasks; equal to the header Idempotency-Key"`
}

// RunResponse is the answer to a RunRequest. With dryRun it says what would run
// and what one such task would cost: nothing was registered, reserved or
// started, and the tasks do not exist.
type RunResponse struct {
	Tasks          []task.Task      `json:"tasks"`
	Failures       []Failure        `json:"failures"`
	DryRun         bool             `json:"dryRun,omitempty"`
	TaskDefinition *task.Definition `json:"taskDefinition,omitempty" doc:"With dryRun: what would be run"`
	Quote          *Quote           `json:"quote,omitempty" doc:"With dryRun: what one task would cost, by the hour"`

	Admission *Admission        `json:"admission,omitempty" doc:"With dryRun: whether the tasks would start now"`
	Images    []ImageNeed       `json:"images,omitempty" doc:"With dryRun: what the tasks would be made of"`
	Estimate  *estimate.Outlook `json:"estimate,omitempty" doc:"With dryRun: what the tasks would cost, from how runs of the family went; absent if something has no price"`
}

// Failure is the Failure of the ECS API.
type Failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Quote is what one task would cost. Amounts are US dollars as decimal strings.
type Quote struct {
	PriceList billing.PriceList `json:"priceList"`
	PerHour   billing.Money     `json:"perHour"`
	Minimum   billing.Money     `json:"minimum" doc:"What the shortest run costs"`
	Lines     []billing.Line    `json:"lines" doc:"For an hour"`
}

// Accuracy compares what a task was expected to cost with what it costs. Amounts are US
// dollars as decimal strings.
type Accuracy struct {
	TaskARN       string        `json:"taskArn"`
	Currency      string        `json:"currency"`
	Estimate      history.Quote `json:"estimate"`
	Status        string        `json:"status" enum:"OPEN,FINAL" doc:"Of the bill: OPEN is so far"`
	Actual        billing.Money `json:"actual"`
	BilledSeconds int64         `json:"billedSeconds"`
	Difference    billing.Money `json:"difference" doc:"actual − estimate.expected"`
}

// StopRequest asks a task to stop.
type StopRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"255" doc:"Shown as the task's stoppedReason"`
}

// TaskPage is one page of tasks, newest first.
type TaskPage struct {
	Tasks     []task.Task `json:"tasks"`
	NextToken string      `json:"nextToken,omitempty" doc:"Give it back to get the next page; absent on the last one"`
}

// DefinitionPage is one page of definitions.
type DefinitionPage struct {
	TaskDefinitions []task.Definition `json:"taskDefinitions"`
	NextToken       string            `json:"nextToken,omitempty" doc:"Give it back to get the next page; absent on the last one"`
}

// TagList is tags that replace others.
type TagList struct {
	Tags []task.Tag `json:"tags"`
}

// LogLine is one line that a container wrote.
type LogLine struct {
	Cursor    string    `json:"cursor" doc:"Where this line is; as Last-Event-ID it resumes after the line"`
	At        time.Time `json:"time"`
	Container string    `json:"container"`
	Stream    string    `json:"stream" enum:"stdout,stderr,berth" doc:"berth is not the container: it says which lines are missing"`
	Text      string    `json:"message" doc:"Without its line end; bytes that are not UTF-8 are replaced"`
	Partial   bool      `json:"partial,omitempty" doc:"The line goes on in the next one of this container and stream"`
}

// GroupList is all security groups.
type GroupList struct {
	SecurityGroups []task.SecurityGroup `json:"securityGroups"`
}

// GroupRequest says what a security group allows.
type GroupRequest struct {
	Description string            `json:"description,omitempty" maxLength:"255"`
	Ingress     []task.Permission `json:"ipPermissions,omitempty" doc:"What may come in; nothing if left out"`
	Egress      []task.Permission `json:"ipPermissionsEgress,omitzero" doc:"What may go out; everything if left out, nothing if empty"`
}

// ImageList is the images on this host.
type ImageList struct {
	Images []task.Image `json:"images"`
}

// PullRequest asks for an image.
type PullRequest struct {
	Image string `json:"image" minLength:"1" maxLength:"512"`
}

// PullList is every pull that goes on now.
type PullList struct {
	Pulls []task.PullProgress `json:"pulls"`
}

// Collected is what collecting unused images freed.
type Collected struct {
	Removed    []string `json:"removed" doc:"Names of the images"`
	FreedBytes int64    `json:"freedBytes"`
}

// Resources is an amount of CPU and memory.
type Resources struct {
	CPU    int `json:"cpu" doc:"CPU units; 1024 are one vCPU"`
	Memory int `json:"memory" doc:"MiB"`
}

// Capacity is what tasks may reserve on this host, and what they do reserve.
type Capacity struct {
	Total    Resources `json:"total"`
	Reserved Resources `json:"reserved"`
	Waiting  int       `json:"waiting" doc:"Tasks that wait in PROVISIONING until there is room"`
}

// Admission is what this host would do with tasks that were submitted now.
type Admission struct {
	Decision string    `json:"decision" enum:"START_NOW,WAIT,NEVER" doc:"START_NOW: there is room for all; WAIT: not for all, and the others wait in PROVISIONING; NEVER: the run would be refused, since this host could never hold such a task"`
	Reason   string    `json:"reason" doc:"In words"`
	StartNow int       `json:"startNow" doc:"Tasks that would start at once"`
	Wait     int       `json:"wait" doc:"Tasks that would wait"`
	Ahead    int       `json:"ahead" doc:"Tasks that wait already, and would be started first"`
	Total    Resources `json:"total" doc:"What all tasks may reserve on this host"`
	Reserved Resources `json:"reserved" doc:"What they do reserve, without these"`
	Free     Resources `json:"free"`
}

// What an Admission decides.
const (
	AdmitNow   = "START_NOW"
	AdmitLater = "WAIT"
	AdmitNever = "NEVER"
)

// ImageNeed is an image that a task needs.
type ImageNeed struct {
	Image     string `json:"image"`
	Here      bool   `json:"here" doc:"This host has it: of a tag, a pull only asks the registry whether it has moved. Otherwise it would be pulled"`
	Digest    string `json:"digest,omitempty" doc:"Of the one that is here"`
	SizeBytes int64  `json:"sizeBytes,omitempty" doc:"Of the one that is here, compressed"`
}

// Health says whether tasks can run.
type Health struct {
	Status  string   `json:"status" enum:"ok,unavailable"`
	Reasons []string `json:"reasons" doc:"Why not"`
	Version string   `json:"version"`
}
