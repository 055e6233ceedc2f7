// Package logs speaks the API of CloudWatch Logs (2014-03-28) for log groups and the
// events in them. What it does not do it refuses in the API's words.
package logs

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/logs/cloudwatch"
	"berth/server/aws/wire"
	"berth/task"
)

// Keeper keeps log groups. Names that are not there are fault.NotFound, those there
// already fault.Conflict, both in the API's words.
type Keeper interface {
	Group(ctx context.Context, in task.Realm, name string) (cloudwatch.Group, error)
	Groups(ctx context.Context, in task.Realm, prefix, after string, limit int) ([]cloudwatch.Group, error)
	StoredBytes(ctx context.Context, g cloudwatch.Group) (int64, error)
	Create(ctx context.Context, g cloudwatch.Group) error
	Delete(ctx context.Context, in task.Realm, name string) error
	Retain(ctx context.Context, in task.Realm, name string, days int) error
	Protect(ctx context.Context, in task.Realm, name string, on bool) error
	Tag(ctx context.Context, in task.Realm, name string, tags map[string]string, gone []string) error

	Streams(ctx context.Context, g cloudwatch.Group, q cloudwatch.StreamQuery) ([]cloudwatch.Stream, error)
	Latest(ctx context.Context, g cloudwatch.Group, descending bool) ([]cloudwatch.Stream, error)
	CreateStream(ctx context.Context, in task.Realm, group, name string) error
	DeleteStream(ctx context.Context, in task.Realm, group, name string) error

	Put(ctx context.Context, in task.Realm, group, stream string, es []cloudwatch.Event) (cloudwatch.Rejected, error)
	Read(ctx context.Context, in task.Realm, group, stream string, r cloudwatch.Read) (cloudwatch.Page, error)
	Search(ctx context.Context, in task.Realm, group string, q cloudwatch.Search) ([]cloudwatch.Found, *cloudwatch.Found, error)
	Tail(ctx context.Context, in task.Realm, groups []string, want, match func(string) bool) (*cloudwatch.Tail, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Keeper Keeper
	Log    *zap.Logger
}

// service is the API's operations.
type service struct{ Config }

// New returns CloudWatch Logs as wire serves it.
func New(c Config) wire.Service {
	s := service{c}
	ops := []wire.Operation{
		wire.Op("CreateLogGroup", s.createGroup, onGroup(func(in *createGroup) string { return in.Name })),
		wire.Op("DeleteLogGroup", s.deleteGroup, onGroup(func(in *groupOnly) string { return in.Name })),
		wire.Op("DescribeLogGroups", s.describeGroups, onGroup(func(*describeGroups) string { return "" })),
		wire.Op("ListLogGroups", s.listGroups, onGroup(func(*listGroups) string { return "" })),
		wire.Op("PutRetentionPolicy", s.retain, onGroup(func(in *retain) string { return in.Name })),
		wire.Op("DeleteRetentionPolicy", s.retainAll, onGroup(func(in *groupOnly) string { return in.Name })),
		wire.Op("PutLogGroupDeletionProtection", s.protect, onGroup(func(in *protect) string { return in.Group })),
		wire.Op("TagResource", s.tag, onGroup(func(in *tagResource) string { return in.ARN })),
		wire.Op("UntagResource", s.untag, onGroup(func(in *untagResource) string { return in.ARN })),
		wire.Op("ListTagsForResource", s.tags, onGroup(func(in *tagsOf) string { return in.ARN })),
		wire.Op("TagLogGroup", s.tagGroup, onGroup(func(in *tagGroup) string { return in.Name })),
		wire.Op("UntagLogGroup", s.untagGroup, onGroup(func(in *untagGroup) string { return in.Name })),
		wire.Op("ListTagsLogGroup", s.groupTags, onGroup(func(in *groupOnly) string { return in.Name })),
		wire.Op("CreateLogStream", s.createStream, onStream(func(in *streamOnly) (string, string) { return in.Group, in.Name })),
		wire.Op("DeleteLogStream", s.deleteStream, onStream(func(in *streamOnly) (string, string) { return in.Group, in.Name })),
		wire.Op("DescribeLogStreams", s.describeStreams, onGroup(func(in *describeStreams) string { return in.Group + in.Identifier })),
		wire.Op("PutLogEvents", s.put, onStream(func(in *putEvents) (string, string) { return in.Group, in.Stream })),
		wire.Op("GetLogEvents", s.get, onStream(func(in *getEvents) (string, string) { return in.Group + in.Identifier, in.Stream })),
		wire.Op("FilterLogEvents", s.filter, onGroup(func(in *filterEvents) string { return in.Group + in.Identifier })),
		wire.Op("StartLiveTail", s.tail, wire.Resources(func(_ wire.Call, in *liveTail) []string { return in.Groups })),
	}
	return wire.Service{
		Name: "logs", Target: "Logs_20140328", Version: "1.1", Invalid: "InvalidParameterException",
		Code: func(err error) (string, int) {
			switch fault.KindOf(err) {
			case fault.NotFound:
				return "ResourceNotFoundException", 0
			case fault.Conflict:
				return "ResourceAlreadyExistsException", 0
			case fault.Unavailable:
				return "ServiceUnavailableException", 503
			}
			return "", 0
		},
		Operations: append(ops, refusals()...),
	}
}

// onGroup says that an operation touches a group, by its name or ARN.
func onGroup[In any](f func(*In) string) wire.Option {
	return onStream(func(in *In) (string, string) { return f(in), "" })
}

// onStream says that an operation touches a stream of a group. IAM's ARN of a group itself
// is that of its stream without a name, as error messages of the API show.
func onStream[In any](f func(*In) (group, stream string)) wire.Option {
	return wire.Resources(func(c wire.Call, in *In) []string {
		group, stream := f(in)
		arn := strings.TrimSuffix(group, ":*")
		if !strings.HasPrefix(arn, "arn:") {
			arn = cloudwatch.ARN(c.Identity.Region, c.Identity.Account, group)
		}
		return []string{arn + ":log-stream:" + stream}
	})
}

// named returns the name of the group that a member names, or an identifier: a name or an
// ARN. One of them has to be given.
func named(c wire.Call, name, identifier string) (string, error) {
	switch {
	case name != "" && identifier != "":
		return "", fault.New(fault.Invalid, "LogGroup name and LogGroup identifier cannot both be given.")
	case name != "":
		return name, nil
	case identifier == "":
		return "", fault.New(fault.Invalid, "Either LogGroup name or LogGroup identifier must be given.")
	case !strings.HasPrefix(identifier, "arn:"):
		return identifier, nil
	}
	return fromARN(c, identifier)
}

// fromARN returns the name of the group of an ARN. One of another account or region names
// nothing here.
func fromARN(c wire.Call, arn string) (string, error) {
	parts := strings.SplitN(strings.TrimSuffix(arn, ":*"), ":", 7)
	if len(parts) != 7 || parts[2] != "logs" || parts[5] != "log-group" || parts[6] == "" || strings.Contains(parts[6], ":") {
		return "", fault.New(fault.Invalid, "%.200q is not the ARN of a log group", arn)
	}
	if parts[3] != c.Identity.Region || parts[4] != c.Identity.Account {
		return "", fault.New(fault.NotFound, "The specified log group does not exist.")
	}
	return parts[6], nil
}

// millis is a time as the API tells it.
func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

// moment is the time of a member that may be left out.
func moment(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms).UTC()
}

// seal and open make tokens of pages that nobody is tempted to write by hand.
func seal(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func open(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", badToken()
	}
	return string(b), nil
}

func badToken() error { return fault.New(fault.Invalid, "The specified nextToken is invalid.") }

// direction is a token of GetLogEvents: f/ or b/, and 56 digits as AWS's have, which say a
// place.
func direction(way string, p cloudwatch.Place) string {
	return fmt.Sprintf("%s/%028d%028d", way, p[0], p[1])
}

func parseDirection(token string) (p cloudwatch.Place, backward bool, err error) {
	digits, forward := strings.CutPrefix(token, "f/")
	if !forward {
		digits, backward = strings.CutPrefix(token, "b/")
	}
	if forward == backward || len(digits) != 56 {
		return p, false, badToken()
	}
	for i := range p {
		n, err := strconv.ParseUint(digits[28*i:28*(i+1)], 10, 62)
		if err != nil {
			return p, false, badToken()
		}
		p[i] = int64(n)
	}
	return p, backward, nil
}
