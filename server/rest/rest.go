// Package rest is Berth's own HTTP API. It translates: requests into calls,
// results into responses, faults into status codes. It decides nothing.
//
// Handlers are plain functions from an input struct to an output struct or an
// error. What a request must look like is written in the tags of the input
// struct, and the router, the checks and the OpenAPI document are all made from
// them (operation.go). gin is the router and huma writes the document; nobody
// outside this package knows.
package rest

import (
	"context"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/access"
	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/billing/waste"
	"berth/billing/whatif"
	"berth/logs"
	"berth/server/api"
	"berth/server/origin"
	"berth/task"
)

// Tasks does what users ask for.
type Tasks interface {
	// Forecast returns what would become of r if it were submitted now, or the error
	// that Submit would return, and does nothing.
	Forecast(ctx context.Context, r task.Run) (task.Forecast, error)
	Submit(ctx context.Context, r task.Run) ([]task.Task, error)
	Stop(ctx context.Context, id task.ID, reason string) (task.Task, error)

	// Interrupt takes a task on FARGATE_SPOT away. Another is a fault.Conflict.
	Interrupt(ctx context.Context, id task.ID) (task.Task, error)

	// Isolation reads back from the kernel what keeps a task apart.
	Isolation(ctx context.Context, id task.ID) (task.Isolation, error)
}

// Definitions remembers task definitions. ref is a family, which means its
// latest ACTIVE revision, or family:revision, or an ARN.
type Definitions interface {
	Register(ctx context.Context, in task.Realm, d task.Definition) (task.Definition, error)
	Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)
	Definitions(ctx context.Context, f DefinitionFilter) ([]task.Definition, string, error)
	Deregister(ctx context.Context, in task.Realm, ref string) (task.Definition, error)
	SetDefinitionTags(ctx context.Context, in task.Realm, ref string, tags []task.Tag) (task.Definition, error)
}

// DefinitionFilter selects definitions. Zero values select all.
type DefinitionFilter struct {
	In           task.Realm
	FamilyPrefix string
	Status       string // ACTIVE or INACTIVE
	Descending   bool   // by family and revision
	Limit        int    // at most this many
	Token        string // where the page before ended
}

// Groups looks after security groups. ref is an ID or a name.
type Groups interface {
	Groups(ctx context.Context, in task.Realm) ([]task.SecurityGroup, error)
	Group(ctx context.Context, in task.Realm, ref string) (task.SecurityGroup, error)

	// PutGroup makes a group, or replaces the one of that name; when it returns the
	// rules are in force.
	PutGroup(ctx context.Context, in task.Realm, g task.SecurityGroup) (task.SecurityGroup, error)

	// RemoveGroup removes a group. One that is in use is a fault.Conflict.
	RemoveGroup(ctx context.Context, in task.Realm, ref string) error
}

// Journal answers what users want to know about tasks.
type Journal interface {
	Task(ctx context.Context, id task.ID) (task.Task, error)

	// Tasks returns a page of tasks, newest first, and the token of the next
	// page, "" if there is none.
	Tasks(ctx context.Context, f TaskFilter) ([]task.Task, string, error)

	// LastSeq returns the position of the latest event, 0 if there is none.
	LastSeq(ctx context.Context) (task.Seq, error)

	// Follow yields every event after seq, in order, and then waits for more
	// until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]

	// Count returns how many tasks are in each status.
	Count(ctx context.Context) (map[task.Status]int, error)
}

// TaskFilter selects tasks. Zero values select all.
type TaskFilter struct {
	Account       string
	Region        string
	Cluster       string
	LastStatus    task.Status
	DesiredStatus task.Status
	Family        string
	Group         string
	StartedBy     string
	Tag           *task.Tag // with an empty Value: whatever the value is
	Limit         int       // at most this many
	Token         string    // where the page before ended
}

// Images looks after the images on this host.
type Images interface {
	// Import reads an OCI or docker-archive tar and names its image name, or as
	// the archive says if name is empty.
	Import(ctx context.Context, name string, r io.Reader) ([]task.Image, error)

	// Pull pulls an image and yields how far it has come until it is here or
	// has failed. The error is the last thing it yields.
	Pull(ctx context.Context, ref string) iter.Seq2[task.PullProgress, error]

	// Pulls yields all pulls that go on, now and after every change, until ctx
	// ends.
	Pulls(ctx context.Context) iter.Seq2[[]task.PullProgress, error]

	Images(ctx context.Context) ([]task.Image, error)

	// Have returns those of some images that are on this host, by the names that they
	// are asked for by. Nothing is fetched.
	Have(ctx context.Context, names []string) (map[string]task.Image, error)

	// Remove removes a name. An image that an unfinished task needs is a
	// fault.Conflict unless force is set.
	Remove(ctx context.Context, name string, force bool) error

	// Collect removes what no unfinished task needs and was not imported.
	Collect(ctx context.Context) (api.Collected, error)
}

// Secrets keeps values that containers are given in confidence. Nobody gets one back.
type Secrets interface {
	PutSecret(ctx context.Context, name string, value []byte) (api.SecretInfo, error)
	Secrets(ctx context.Context) ([]api.SecretInfo, error)
	RemoveSecret(ctx context.Context, name string) error
}

// Logs reads what containers wrote.
type Logs interface {
	// Read yields the entries that q selects. With q.Follow it goes on until
	// q.Ended says that no more will come, or ctx ends.
	Read(ctx context.Context, id task.ID, q logs.Query) iter.Seq2[logs.Entry, error]
}

// Meter knows what tasks used and what they cost.
type Meter interface {
	Usage(ctx context.Context, id task.ID, q billing.UsageQuery) (billing.Usage, error)
	Bill(ctx context.Context, id task.ID) (billing.Bill, error)

	// UsageGroups adds up what tasks used. token is the NextToken of the page before.
	UsageGroups(ctx context.Context, q billing.GroupQuery, token string) (billing.UsageGroups, error)

	// Present returns what the tasks that are metered use now, in no order.
	Present() []billing.Present
}

// Estimates says what things will cost before they run.
type Estimates interface {
	Estimate(ctx context.Context, r estimate.Request) (estimate.Estimate, error)

	// Outlook returns what tasks of a family that were submitted now would cost.
	Outlook(ctx context.Context, family string, ts []task.Task) (estimate.Outlook, error)

	// Quote returns what a task was expected to cost when it was submitted. One of which
	// nothing was expected is fault.NotFound.
	Quote(ctx context.Context, id task.ID) (history.Quote, error)
}

// Hindsight says of what ran how it could have cost less.
type Hindsight interface {
	// Waste says which part of the costs was for nothing.
	Waste(ctx context.Context, q waste.Query) (waste.Report, error)

	// WhatIf replays runs on other terms.
	WhatIf(ctx context.Context, r whatif.Request) (whatif.Result, error)
}

// Host knows this machine.
type Host interface {
	Capacity(ctx context.Context) (api.Capacity, error)

	// Ready returns why tasks cannot run now; nothing if they can.
	Ready(ctx context.Context) []string

	// StorageUsed returns how many bytes of its ephemeral storage a task uses; false if
	// that is not known.
	StorageUsed(id task.ID) (bytes uint64, known bool)
}

// Config is what New needs. All fields are required.
type Config struct {
	Tasks       Tasks
	Definitions Definitions
	Groups      Groups
	Balancer    Balancer
	Journal     Journal
	Images      Images
	Secrets     Secrets
	Logs        Logs
	Meter       Meter
	Estimates   Estimates
	Costs       Costs
	Tunings     Tunings
	Sessions    Sessions
	Hindsight   Hindsight
	Host        Host
	Prices      Prices
	Ledger      Ledger
	Budgets     Budgets
	Sizes       Sizes
	Notices     Notices
	Anomalies   Anomalies
	EventBridge EventBridge

	// Identify says who sent a request. Who cannot prove it is fault.Unauthenticated. Of a
	// signed request it may read the body, which then has to be there again.
	Identify func(r *http.Request) (access.Identity, error)
	Access   access.Authorizer
	Throttle func(who access.Identity) error // fault.Throttled for one who asks too often; nil: nobody does
	Audit    func(ctx context.Context, r access.Record)
	Users    Users

	Provider  string   // who runs the tasks and bills for them, in exports
	Hosts     []string // names in lower case, besides localhost and addresses, that clients may call this server by
	MaxImport int64    // bytes of an image that is imported
	Version   string   // of Berth

	Log          *zap.Logger
	Now          func() time.Time
	NewRequestID func() string
}

type server struct {
	Config
	lifetime context.Context // ends when the server begins to stop
	origin   origin.Check
	metrics  *metrics
	document []byte // OpenAPI
}

// New returns the API. When ctx ends, open streams end cleanly; other requests
// are served on.
func New(ctx context.Context, c Config) http.Handler {
	s := &server{Config: c, lifetime: ctx, origin: origin.New(c.Hosts), metrics: newMetrics()}
	gin.SetMode(gin.ReleaseMode) // gin would print every route
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.UseRawPath = true // an ARN in a path has slashes in it, as %2F
	e.Use(s.name, gin.CustomRecoveryWithWriter(io.Discard, s.recovered), s.secure)
	e.NoRoute(s.unknown)
	e.NoMethod(s.wrongMethod)

	operations := s.operations()
	for _, op := range operations {
		e.Handle(op.method, api.Base+op.path, s.permit(op), op.handler)
	}
	s.document = document(operations, c.Version)
	e.GET(api.Base+"/openapi.json", s.openAPI)
	e.GET("/healthz", s.healthz)
	e.GET("/readyz", s.readyz)
	e.GET("/metrics", s.hasRight(readMetrics), s.serveMetrics)
	return e
}

// operations is the whole API below api.Base.
func (s *server) operations() []operation {
	lines := []string{api.NDJSON, api.SSE, api.Text}
	progress := []string{api.NDJSON, api.SSE}
	events := []string{api.SSE, api.NDJSON}
	return append(s.userOperations(),
		call(s, "POST", "/task-definitions", "Register a task definition", 201, s.register),
		call(s, "GET", "/task-definitions", "List task definitions", 200, s.definitions),
		call(s, "GET", "/task-definitions/:name", "Describe a task definition", 200, s.definition),
		call(s, "DELETE", "/task-definitions/:name", "Deregister a task definition: it becomes INACTIVE", 200, s.deregister),
		call(s, "PUT", "/task-definitions/:name/tags", "Replace the tags of a task definition", 200, s.tagDefinition),

		call(s, "POST", "/tasks", "Run tasks", 201, s.run),
		call(s, "GET", "/tasks", "List tasks, newest first", 200, s.tasks),
		call(s, "GET", "/tasks/:id", "Describe a task", 200, s.task),
		call(s, "POST", "/tasks/:id/stop", "Stop a task", 200, s.stop),
		call(s, "POST", "/tasks/:id/interrupt", "Interrupt a task on FARGATE_SPOT: it is warned, and killed when the notice is over", 200, s.interrupt),
		flow(s, "GET", "/tasks/:id/logs", "Read what a task's containers wrote", lines, s.logs),
		s.execOperation(),
		call(s, "GET", "/tasks/:id/usage", "Read what a task used", 200, s.usage),
		call(s, "GET", "/usage", "Add up what tasks reserved, used and wasted, in groups", 200, s.usageGroups),
		call(s, "GET", "/tasks/:id/isolation", "Read back from the kernel what keeps a task apart", 200, s.isolation),
		call(s, "GET", "/tasks/:id/bill", "Read what a task costs, line by line", 200, s.bill),
		call(s, "GET", "/tasks/:id/estimate", "Compare what a task was expected to cost with what it costs", 200, s.accuracy),
		call(s, "POST", "/estimates", "Estimate what a definition, a compose file or a Terraform plan will cost", 200, s.estimate),
		call(s, "POST", "/rightsizing", "Find the cheapest sizes that tasks need, by what their runs used", 200, s.rightsize),
		call(s, "POST", "/tunings", "Run a definition some times at each of several sizes, to find the cheapest and the fastest", 201, s.tune),
		call(s, "GET", "/tunings", "List tunings, newest first", 200, s.tunings),
		call(s, "GET", "/tunings/:id", "Read what a tuning has found, or wait until it has found more", 200, s.tuning),
		call(s, "POST", "/tunings/:id/cancel", "Cancel a tuning: its runs are stopped, and what it has found stays", 200, s.cancelTuning),
		call(s, "POST", "/tunings/:id/resume", "Let a tuning go on that has ended early, or change what it may cost", 200, s.resumeTuning),
		call(s, "DELETE", "/tunings/:id", "Forget a tuning that has ended", 204, s.removeTuning),
		call(s, "GET", "/costs", "Sum up what was charged", 200, s.costs),
		call(s, "GET", "/waste", "Say which part of the costs was for nothing", 200, s.waste),
		call(s, "POST", "/what-if", "Say what recorded runs would have cost at another size, on ARM or Spot, or in another region", 200, s.whatIf),
		call(s, "GET", "/chargeback/:period", "Say what each account, team or the like has to pay for a month", 200, s.chargeback),
		call(s, "POST", "/reconcile", "Compare a FOCUS or Cost and Usage Report CSV with the ledger, line by line", 200, s.reconcile),
		file(s, "/exports/focus.csv", "Export what was charged as FOCUS, CSV", api.CSV, s.focusCSV),
		file(s, "/exports/focus.parquet", "Export what was charged as FOCUS, Parquet", api.Parquet, s.focusParquet),
		file(s, "/exports/cur.csv", "Export what was charged with the columns of AWS's Cost and Usage Report 2.0", api.CSV, s.curCSV),
		flow(s, "GET", "/events", "Follow what happens to tasks", events, s.events),
		flow(s, "GET", "/events/eventbridge", "Follow what happens to tasks and services, in EventBridge's words", events, s.bridge),
		call(s, "GET", "/event-rules", "List the rules that send events to webhooks, and how far each has come", 200, s.eventRules),
		call(s, "GET", "/event-rules/:name", "Describe a rule, and how far it has come", 200, s.eventRule),
		call(s, "PUT", "/event-rules/:name", "Make a rule that sends what an event pattern selects to a webhook, or change it", 200, s.putEventRule),
		call(s, "DELETE", "/event-rules/:name", "Remove a rule", 204, s.removeEventRule),

		call(s, "GET", "/ledger/entries", "Read the ledger, in its order", 200, s.entries),
		call(s, "GET", "/ledger/entries/:id/proof", "Prove that an entry is in the ledger", 200, s.entryProof),
		call(s, "POST", "/ledger/entries/:id/reverse", "Take an entry back, whole and once", 201, s.reverse),
		call(s, "GET", "/ledger/verify", "Work the whole ledger out again and name the first row that is wrong", 200, s.verifyLedger),
		call(s, "GET", "/ledger/checkpoint", "Read what was signed of the ledger", 200, s.checkpoint),
		call(s, "GET", "/ledger/consistency", "Prove that the ledger has only grown since a checkpoint", 200, s.consistency),
		call(s, "GET", "/ledger/key", "Read the public key of the ledger", 200, s.ledgerKey),
		call(s, "GET", "/ledger/periods", "List the months of the ledger", 200, s.periods),
		call(s, "POST", "/ledger/periods/:period/close", "Close a month that is over and posted: it stays as it is", 200, s.closePeriod),

		call(s, "GET", "/anomalies", "List hours in which something cost much more than usual", 200, s.anomalies),
		call(s, "GET", "/notices", "Read what people were told: budgets that are used up, costs that are not as they were", 200, s.notices),
		flow(s, "GET", "/notices/stream", "Follow what people are told", events, s.followNotices),

		call(s, "GET", "/target-groups", "List the target groups of the load balancer", 200, s.targetGroups),
		call(s, "GET", "/target-groups/:name", "Describe a target group", 200, s.targetGroup),
		call(s, "PUT", "/target-groups/:name", "Make a target group, or change the one of that name, whose targets stay", 200, s.putTargetGroup),
		call(s, "DELETE", "/target-groups/:name", "Remove a target group that no task names, and shut its port", 204, s.removeTargetGroup),
		call(s, "GET", "/target-groups/:name/targets", "List the targets of a group and how they are", 200, s.targets),

		call(s, "GET", "/security-groups", "List the security groups", 200, s.groups),
		call(s, "GET", "/security-groups/:name", "Describe a security group", 200, s.group),
		call(s, "PUT", "/security-groups/:name", "Make a security group, or replace its rules, also for tasks that run", 200, s.putGroup),
		call(s, "DELETE", "/security-groups/:name", "Remove a security group that nothing uses", 204, s.removeGroup),

		call(s, "POST", "/images", "Import an image from an OCI or docker-archive tar", 201, s.importImage),
		call(s, "GET", "/images", "List the images on this host", 200, s.images),
		call(s, "DELETE", "/images/*name", "Remove an image", 204, s.removeImage),
		flow(s, "POST", "/images/pull", "Pull an image and follow its progress", progress, s.pull),
		flow(s, "GET", "/images/pulls", "Follow all pulls", events, s.pulls),
		call(s, "POST", "/images/collect", "Remove images that no task needs", 200, s.collect),

		call(s, "PUT", "/secrets/*name", "Keep a secret, in place of the one that was there", 200, s.putSecret),
		call(s, "GET", "/secrets", "List the secrets that the server keeps, without their values", 200, s.secrets),
		call(s, "DELETE", "/secrets/*name", "Forget a secret", 204, s.removeSecret),

		call(s, "GET", "/price-lists", "List the price lists, and which of them holds when", 200, s.priceLists),
		call(s, "POST", "/price-lists", "Store a price list of one's own", 201, s.addPriceList),
		call(s, "POST", "/price-lists/import", "Store the price lists in a file: AWS Price List offers and queries, Spot prices, Savings Plans, Berth's own form", 201, s.importPrices),
		call(s, "POST", "/price-lists/use", "Put prices in use, from now or from a time on", 200, s.usePrices),
		call(s, "GET", "/price-lists/:id", "Describe a price list", 200, s.priceList),
		call(s, "POST", "/price-lists/:id/activate", "Make a price list active among those of its name, from now or from a time on", 200, s.activatePrices),

		call(s, "GET", "/budgets", "List the budgets, and how they stand", 200, s.budgets),
		call(s, "GET", "/budgets/:name", "Describe a budget, and how it stands", 200, s.budget),
		call(s, "PUT", "/budgets/:name", "Make a budget, or change it", 200, s.putBudget),
		call(s, "DELETE", "/budgets/:name", "Forget a budget", 204, s.removeBudget),

		call(s, "GET", "/capacity", "What tasks may reserve on this host, and what they do reserve", 200, s.capacity),
	)
}
