// Package ecs answers for Amazon ECS. It translates: requests into calls of what Berth
// has, and what comes back into the shapes, codes and texts of the ECS API. It decides
// nothing about tasks.
//
// Everything here is of the API's model of 2014-11-13, whose members the structs name one
// by one. A member that the model does not have is refused by package wire; one that makes
// no sense without EC2 instances is refused here, in AWS's words where they are known. No
// operation of the model is unknown: those that only make sense with instances, agents,
// daemons or gateways are in polite.go.
//
// Clients look closely at answers, so lists that AWS always sends are sent when they are
// empty, and members that AWS leaves out are left out.
package ecs

import (
	"context"
	"slices"
	"time"

	"berth/cluster"
	"berth/server/aws/wire"
	"berth/task"
)

// Definitions remembers task definitions, for each account and region its own. ref is a
// family, which means its latest ACTIVE revision, or family:revision, or an ARN.
type Definitions interface {
	Register(ctx context.Context, in task.Realm, d task.Definition) (task.Definition, error)
	Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)
	Deregister(ctx context.Context, in task.Realm, ref string) (task.Definition, error)

	// DeleteDefinition marks an INACTIVE revision as one that goes when its last task has
	// stopped. One that is ACTIVE is fault.Conflict.
	DeleteDefinition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)

	// Definitions returns a page of definitions and the token of the next, "" if there is none.
	Definitions(ctx context.Context, f DefinitionFilter) ([]task.Definition, string, error)

	// Families returns a page of the names of families. status is ACTIVE for those that
	// have an ACTIVE revision, INACTIVE for those that have none, and else ALL.
	Families(ctx context.Context, in task.Realm, prefix, status string, limit int, token string) ([]string, string, error)

	TagDefinition(ctx context.Context, in task.Realm, ref string, set []task.Tag, remove []string) (task.Definition, error)
}

// DefinitionFilter selects definitions. Zero values select all.
type DefinitionFilter struct {
	In           task.Realm // its account and region
	Family       string
	FamilyPrefix string
	Status       string
	Descending   bool // by family and revision
	Limit        int  // at most this many
	Token        string
}

// Tasks does what users ask for.
type Tasks interface {
	// Submit accepts the tasks of a run; see task.Run.
	Submit(ctx context.Context, r task.Run) ([]task.Task, error)
	Stop(ctx context.Context, id task.ID, reason string) (task.Task, error)
}

// Journal knows the tasks.
type Journal interface {
	// Tasks returns a page of tasks, newest first, and the token of the next, "" if there
	// is none.
	Tasks(ctx context.Context, f TaskFilter) ([]task.Task, string, error)

	// Tag sets tags on a task and takes away those of some keys. One that has stopped is
	// fault.Conflict.
	Tag(ctx context.Context, id task.ID, set []task.Tag, remove []string) (task.Task, error)

	// Claimed returns the tasks that a run with that token made; none if there was none.
	Claimed(ctx context.Context, in task.Realm, token string) ([]task.ID, error)

	// Protect says until when a service does not stop a task of its own: zero means that it
	// may. One that has stopped, or is of no service, is fault.Conflict.
	Protect(ctx context.Context, id task.ID, until time.Time) (task.Task, error)
}

// TaskFilter selects tasks of one cluster. Zero values select all.
type TaskFilter struct {
	In        task.Realm
	IDs       []task.ID
	Desired   task.Status // RUNNING or STOPPED
	Family    string
	Group     string
	StartedBy string
	Limit     int // at most this many
	Token     string
}

// Clusters remembers clusters. The one named default is there, also if nobody made it.
type Clusters interface {
	// Cluster returns the cluster of a realm, also an INACTIVE one; fault.NotFound if there
	// is none.
	Cluster(ctx context.Context, in task.Realm) (cluster.Cluster, error)

	// Clusters returns a page of the ACTIVE clusters of an account and region, by name, and
	// the token of the next, "" if there is none.
	Clusters(ctx context.Context, in task.Realm, limit int, token string) ([]cluster.Cluster, string, error)

	// ChangeCluster replaces a cluster by what f makes of it, which gets the zero Cluster
	// if there is none. An error of f is ChangeCluster's, and nothing is changed.
	ChangeCluster(ctx context.Context, in task.Realm, f func(cluster.Cluster) (cluster.Cluster, error)) (cluster.Cluster, error)

	// DeleteCluster makes a cluster INACTIVE. One in which there are tasks that have not
	// stopped is fault.Conflict.
	DeleteCluster(ctx context.Context, in task.Realm) (cluster.Cluster, error)

	// Load counts what is in a cluster.
	Load(ctx context.Context, in task.Realm) (Load, error)
}

// Load is how much is in a cluster.
type Load struct {
	Running int // tasks in RUNNING
	Pending int // tasks on their way there
	Active  int // services in ACTIVE
	Leaving int // services in DRAINING
}

// Settings remembers what accounts have set, by name. principal is the ARN of who it is
// for, "" for all in the account.
type Settings interface {
	AccountSettings(ctx context.Context, in task.Realm, principal string) (map[string]string, error)

	// SetAccountSetting keeps a setting, or forgets it if value is empty.
	SetAccountSetting(ctx context.Context, in task.Realm, principal, name, value string) error
}

// Config is what New needs. All fields but Services, History, Launch, Exec and HasService are required.
type Config struct {
	Definitions Definitions
	Tasks       Tasks
	Journal     Journal
	Clusters    Clusters
	Settings    Settings
	Services    Services       // nil: there are none, and their operations are unknown
	History     ServiceHistory // of Services
	Now         func() time.Time

	// Launch returns fault.Throttled if so many tasks come too soon after others. nil:
	// they never do.
	Launch func(in task.Realm, spot bool, tasks int) error

	// Exec lets people into containers. nil: it lets nobody.
	Exec Exec

	// HasService reports whether a cluster has a service of that name. nil: all do.
	HasService func(ctx context.Context, in task.Realm, name string) (bool, error)
}

// server does the work of the operations.
type server struct{ Config }

// New returns ECS as the front serves it.
func New(c Config) wire.Service {
	s := &server{c}
	return wire.Service{
		Name: "ecs", Target: "AmazonEC2ContainerServiceV20141113", Version: "1.1", Invalid: invalid, Code: code,
		Operations: slices.Concat(
			s.clusterOperations(),
			s.definitionOperations(),
			s.taskOperations(),
			s.execOperations(),
			s.tagOperations(),
			s.settingOperations(),
			s.capacityOperations(),
			s.protectionOperations(),
			s.serviceOperations(),
			politeOperations(),
		),
	}
}
