package logs

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"berth/fault"
	"berth/logs/cloudwatch"
	"berth/server/aws/wire"
)

type streamOnly struct {
	Group string `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Name  string `json:"logStreamName" required:"true" min:"1" max:"512" pattern:"[^:*]*"`
}

func (s service) createStream(ctx context.Context, c wire.Call, in *streamOnly) (*wire.None, error) {
	return nil, s.Keeper.CreateStream(ctx, c.Realm(), in.Group, in.Name)
}

func (s service) deleteStream(ctx context.Context, c wire.Call, in *streamOnly) (*wire.None, error) {
	return nil, s.Keeper.DeleteStream(ctx, c.Realm(), in.Group, in.Name)
}

type describeStreams struct {
	Group      string `json:"logGroupName" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Identifier string `json:"logGroupIdentifier" max:"2048" pattern:"[\\w#+=/:,.@\\-*]*"`
	Prefix     string `json:"logStreamNamePrefix" max:"512" pattern:"[^:*]*"`
	Order      string `json:"orderBy" enum:"LogStreamName,LastEventTime"`
	Descending *bool  `json:"descending"`
	Next       string `json:"nextToken"`
	Limit      *int   `json:"limit" min:"1" max:"50"`
}

type stream struct {
	Name     string `json:"logStreamName"`
	Created  *int64 `json:"creationTime"`
	First    *int64 `json:"firstEventTimestamp,omitempty"`
	Last     *int64 `json:"lastEventTimestamp,omitempty"`
	Ingested *int64 `json:"lastIngestionTime,omitempty"`
	Token    string `json:"uploadSequenceToken,omitempty"`
	ARN      string `json:"arn"`
	Stored   int64  `json:"storedBytes"` // always 0, as AWS tells it since 2019
}

type streamPage struct {
	Streams []stream `json:"logStreams"`
	Next    string   `json:"nextToken,omitempty"`
}

func (s service) describeStreams(ctx context.Context, c wire.Call, in *describeStreams) (*streamPage, error) {
	name, err := named(c, in.Group, in.Identifier)
	if err != nil {
		return nil, err
	}
	g, err := s.Keeper.Group(ctx, c.Realm(), name)
	if err != nil {
		return nil, err
	}
	after, err := open(in.Next)
	if err != nil {
		return nil, err
	}
	limit := 50
	if in.Limit != nil {
		limit = *in.Limit
	}
	descending := in.Descending != nil && *in.Descending
	page := &streamPage{Streams: []stream{}}
	var all []cloudwatch.Stream
	if in.Order == "LastEventTime" {
		if in.Prefix != "" {
			return nil, fault.New(fault.Invalid, "Cannot order by LastEventTime with a logStreamNamePrefix.")
		}
		if all, err = s.latest(ctx, g, descending, after); err != nil {
			return nil, err
		}
	} else if all, err = s.Keeper.Streams(ctx, g, cloudwatch.StreamQuery{Prefix: in.Prefix, After: after, Descending: descending, Limit: limit + 1}); err != nil {
		return nil, err
	}
	if len(all) > limit {
		all = all[:limit]
		last := all[limit-1]
		if page.Next = seal(last.Name); in.Order == "LastEventTime" {
			page.Next = seal(strconv.FormatInt(last.Last.UnixMilli(), 10) + ":" + last.Name)
		}
	}
	for _, t := range all {
		page.Streams = append(page.Streams, stream{
			Name: t.Name, Created: millis(t.CreatedAt), First: millis(t.First), Last: millis(t.Last), Ingested: millis(t.Ingested),
			Token: sequence, ARN: g.ARN() + ":log-stream:" + t.Name,
		})
	}
	return page, nil
}

// sequence is the token that PutLogEvents once needed. Every one is right since 2023.
const sequence = "49039859573028104563278941563278904561237890456123789045"

// latest returns the streams by their last events, from behind the one that after says:
// its time and name. Streams move while somebody pages, as their events come.
func (s service) latest(ctx context.Context, g cloudwatch.Group, descending bool, after string) ([]cloudwatch.Stream, error) {
	all, err := s.Keeper.Latest(ctx, g, descending)
	if err != nil || after == "" {
		return all, err
	}
	at, name, ok := strings.Cut(after, ":")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !ok {
		return nil, badToken()
	}
	i := slices.IndexFunc(all, func(t cloudwatch.Stream) bool { return t.Name == name && t.Last.UnixMilli() == ms })
	if i >= 0 {
		return all[i+1:], nil
	}
	for i, t := range all {
		if last := t.Last.UnixMilli(); descending && last < ms || !descending && last > ms {
			return all[i:], nil
		}
	}
	return nil, nil
}
