// Package cloudwatch keeps log groups and their streams, as CloudWatch Logs has them.
//
// A stream gets its events from one of two places. What a container of a task with the
// log driver awslogs prints is in the segment files of package logs, where berth-log
// writes it; its stream only points there, so nothing is written twice. What PutLogEvents
// brings is in the Book, durable before the answer. Whoever reads sees no difference:
// events of a stream are in the order of their time, and lie between Places.
//
// The rule: an event that was shown is shown again as long as its group keeps it, under
// the same ID, and one that is older than the group's retention is never shown, whether or
// not it has been deleted yet.
package cloudwatch

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/logs"
	"berth/task"
)

// Classes of groups (CloudWatch Logs API, LogGroupClass).
const (
	Standard         = "STANDARD"
	InfrequentAccess = "INFREQUENT_ACCESS"
	Delivery         = "DELIVERY"
)

// Group is a log group.
type Group struct {
	ID        int64 // in the Book, never used twice
	Account   string
	Region    string
	Name      string
	CreatedAt time.Time
	Retention int               // days that events are kept; 0: as long as there is the group
	Class     string            // Standard, InfrequentAccess or Delivery; kept, and without effect
	Protected bool              // it cannot be deleted
	Tags      map[string]string // never nil after it was read
	Stored    int64             // bytes of events that PutLogEvents brought; set by the Book
}

// ARN returns the group's ARN as tags and IAM use it, without the :* that
// DescribeLogGroups adds in its older member.
func (g Group) ARN() string { return ARN(g.Region, g.Account, g.Name) }

// ARN returns the ARN of a group.
func ARN(region, account, name string) string {
	return "arn:aws:logs:" + region + ":" + account + ":log-group:" + name
}

// cutoff returns the time before which the group shows nothing.
func (g Group) cutoff(now time.Time) time.Time {
	if g.Retention == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(g.Retention) * 24 * time.Hour)
}

// Stream is a log stream of a group.
type Stream struct {
	ID        int64 // in the Book, never used twice
	Group     int64
	Name      string
	CreatedAt time.Time
	Task      task.ID // whose container's output it is; "" if PutLogEvents brings it
	Container string

	// Of what PutLogEvents brought, as the Book has it. Of a container's output they are
	// filled in when somebody asks.
	First, Last, Ingested time.Time
	Bytes                 int64
	Puts                  int64 // number of the next event that PutLogEvents brings
}

// Event is one log event.
type Event struct {
	Time     time.Time // to the millisecond
	Ingested time.Time
	Message  string
	At       Place // before it
	After    Place
	Stream   int64 // its ID
}

// ID names the event for as long as it is kept: 56 digits, as AWS's IDs have.
func (e Event) ID() string {
	return fmt.Sprintf("%013d%010d%013d%020d", e.Time.UnixMilli(), e.Stream, e.At[0], e.At[1])
}

// Place lies between two events of a stream: in a file, its segment and offset; in the
// Book, milliseconds since 1970 and a number. The zero Place is before everything.
type Place [2]int64

// Before reports whether p lies before q in the same stream.
func (p Place) Before(q Place) bool { return p[0] < q[0] || p[0] == q[0] && p[1] < q[1] }

// Book remembers groups and streams, and the events that PutLogEvents brings. Names that
// are not there are fault.NotFound in the API's words, those there already fault.Conflict.
type Book interface {
	LogGroup(ctx context.Context, in task.Realm, name string) (Group, error)

	// LogGroups returns at most limit groups after that name, in their names' order.
	LogGroups(ctx context.Context, in task.Realm, prefix, after string, limit int) ([]Group, error)

	// AllLogGroups returns every group of the server that forgets.
	AllLogGroups(ctx context.Context) ([]Group, error)

	CreateLogGroup(ctx context.Context, g Group) error

	// ChangeLogGroup replaces a group by what f makes of it.
	ChangeLogGroup(ctx context.Context, in task.Realm, name string, f func(*Group) error) error

	// DeleteLogGroup forgets a group and its streams, and their events bit by bit.
	DeleteLogGroup(ctx context.Context, in task.Realm, name string) error

	LogStream(ctx context.Context, group int64, name string) (Stream, error)

	// LogStreams returns at most limit streams after that name (before it, if descending),
	// in their names' order.
	LogStreams(ctx context.Context, group int64, q StreamQuery) ([]Stream, error)
	CreateLogStream(ctx context.Context, s Stream) error
	DeleteLogStream(ctx context.Context, group int64, name string) error

	// PutLogEvents appends events, whose places it gives, in one transaction.
	PutLogEvents(ctx context.Context, stream int64, es []Event) error

	// LogEvents returns at most limit events of a stream from a place on, or those before
	// it, last first.
	LogEvents(ctx context.Context, stream int64, from Place, backward bool, limit int) ([]Event, error)

	// PruneLogEvents deletes at most limit events of a group older than before, and returns
	// how many it deleted.
	PruneLogEvents(ctx context.Context, group int64, before time.Time, limit int) (int, error)

	// PruneLogStreams deletes at most limit events of streams that were deleted, those streams
	// once they are empty, and the streams of tasks that are forgotten.
	PruneLogStreams(ctx context.Context, limit int) (int, error)
}

// StreamQuery says which streams of a group to list.
type StreamQuery struct {
	Prefix     string
	After      string // name of the last of the page before; "" from the first
	Descending bool
	Limit      int  // at least 1
	OfTasks    bool // only those of containers
}

// Config is what New needs. All fields are required.
type Config struct {
	Book   Book
	Output logs.Dir // of tasks

	// MakeGroups makes the groups that tasks write to and that are not there, also if they
	// do not ask for it with awslogs-create-group.
	MakeGroups bool

	Log *zap.Logger
	Now func() time.Time
}

// Keeper keeps log groups.
type Keeper struct {
	Config
	mu      sync.Mutex
	extents map[output]logs.Extent // of containers whose output is complete
}

// output is a container of a task.
type output struct {
	task      task.ID
	container string
}

// New returns a Keeper.
func New(c Config) *Keeper { return &Keeper{Config: c, extents: map[output]logs.Extent{}} }

// days are the retentions there are, in days (CloudWatch Logs API, PutRetentionPolicy).
var days = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// ValidRetention reports whether a group can keep events for so many days.
func ValidRetention(n int) bool { return slices.Contains(days, n) }

var (
	groupName  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
	streamName = regexp.MustCompile(`^[^:*]{1,512}$`)
)

const maxTags = 50

// Create makes a group. One of that name is fault.Conflict.
func (k *Keeper) Create(ctx context.Context, g Group) error {
	if !groupName.MatchString(g.Name) {
		return fault.At("logGroupName", "%q is not the name of a log group: 1 to 512 of letters, digits and . - _ / #", g.Name)
	}
	if strings.HasPrefix(g.Name, "aws/") {
		return fault.At("logGroupName", "Log groups starting with AWS/ are reserved for AWS.")
	}
	if g.Class == "" {
		g.Class = Standard
	}
	if err := validTags(g.Tags); err != nil {
		return err
	}
	g.CreatedAt = k.now()
	return k.Book.CreateLogGroup(ctx, g)
}

func validTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return fault.At("tags", "A log group has at most %d tags", maxTags)
	}
	for key, v := range tags {
		if key == "" || len(key) > 128*4 || len(v) > 256*4 || strings.HasPrefix(strings.ToLower(key), "aws:") {
			return fault.At("tags", "%.140q is not a tag: keys have 1 to 128 characters and do not begin with aws:, values have up to 256", key)
		}
	}
	return nil
}

// Delete deletes a group, its streams and what PutLogEvents brought to them. What
// containers printed stays with their tasks.
func (k *Keeper) Delete(ctx context.Context, in task.Realm, name string) error {
	g, err := k.Book.LogGroup(ctx, in, name)
	if err != nil {
		return err
	}
	if g.Protected {
		return fault.New(fault.Conflict, "The log group is protected from deletion; turn deletion protection off first.")
	}
	return k.Book.DeleteLogGroup(ctx, in, name)
}

// Group returns a group.
func (k *Keeper) Group(ctx context.Context, in task.Realm, name string) (Group, error) {
	return k.Book.LogGroup(ctx, in, name)
}

// Groups returns at most limit groups whose names begin with prefix and come after that
// name, in their order.
func (k *Keeper) Groups(ctx context.Context, in task.Realm, prefix, after string, limit int) ([]Group, error) {
	return k.Book.LogGroups(ctx, in, prefix, after, limit)
}

// Retain sets for how many days a group keeps events, 0 for as long as there is the group.
// Events that are older are not shown any more at once, and deleted soon.
func (k *Keeper) Retain(ctx context.Context, in task.Realm, name string, n int) error {
	if n != 0 && !ValidRetention(n) {
		return fault.At("retentionInDays", "%d is not one of %v days", n, days)
	}
	return k.Book.ChangeLogGroup(ctx, in, name, func(g *Group) error { g.Retention = n; return nil })
}

// Protect sets whether a group can be deleted.
func (k *Keeper) Protect(ctx context.Context, in task.Realm, name string, on bool) error {
	return k.Book.ChangeLogGroup(ctx, in, name, func(g *Group) error { g.Protected = on; return nil })
}

// Tag adds tags to a group, in place of those with the same keys, and removes those of
// the keys in gone.
func (k *Keeper) Tag(ctx context.Context, in task.Realm, name string, tags map[string]string, gone []string) error {
	return k.Book.ChangeLogGroup(ctx, in, name, func(g *Group) error {
		for key, v := range tags {
			g.Tags[key] = v
		}
		for _, key := range gone {
			delete(g.Tags, key)
		}
		return validTags(g.Tags)
	})
}

// CreateStream makes a stream in a group.
func (k *Keeper) CreateStream(ctx context.Context, in task.Realm, group, name string) error {
	if !streamName.MatchString(name) {
		return fault.At("logStreamName", "%q is not the name of a log stream: 1 to 512 characters without : and *", name)
	}
	g, err := k.Book.LogGroup(ctx, in, group)
	if err != nil {
		return err
	}
	return k.Book.CreateLogStream(ctx, Stream{Group: g.ID, Name: name, CreatedAt: k.now()})
}

// DeleteStream deletes a stream and what PutLogEvents brought to it. What a container
// printed stays with its task.
func (k *Keeper) DeleteStream(ctx context.Context, in task.Realm, group, name string) error {
	g, err := k.Book.LogGroup(ctx, in, group)
	if err != nil {
		return err
	}
	return k.Book.DeleteLogStream(ctx, g.ID, name)
}

// now is this moment as the API tells times.
func (k *Keeper) now() time.Time { return k.Now().Truncate(time.Millisecond) }
