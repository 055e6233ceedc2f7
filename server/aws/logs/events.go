package logs

import (
	"context"
	"encoding/json"
	"time"

	"berth/fault"
	"berth/logs/cloudwatch"
	"berth/logs/pattern"
	"berth/server/aws/wire"
)

type putEvents struct {
	Group    string          `json:"logGroupName" required:"true" min:"1" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Stream   string          `json:"logStreamName" required:"true" min:"1" max:"512" pattern:"[^:*]*"`
	Events   []putEvent      `json:"logEvents" required:"true" min:"1" max:"10000"`
	Sequence string          `json:"sequenceToken"`
	Entity   json.RawMessage `json:"entity"` // of CloudWatch's "related telemetry", which is not kept
}

type putEvent struct {
	Time    *int64 `json:"timestamp" required:"true"`
	Message string `json:"message" required:"true"`
}

type putAnswer struct {
	Next     string    `json:"nextSequenceToken"`
	Rejected *rejected `json:"rejectedLogEventsInfo,omitempty"`
}

type rejected struct {
	New     *int `json:"tooNewLogEventStartIndex,omitempty"`
	Old     *int `json:"tooOldLogEventEndIndex,omitempty"`
	Expired *int `json:"expiredLogEventEndIndex,omitempty"`
}

func (s service) put(ctx context.Context, c wire.Call, in *putEvents) (*putAnswer, error) {
	es := make([]cloudwatch.Event, len(in.Events))
	for i, e := range in.Events {
		if *e.Time < 0 {
			return nil, fault.New(fault.Invalid, "1 validation error detected: Value '%d' at 'logEvents.%d.member.timestamp' failed to satisfy constraint: "+
				"Member must have value greater than or equal to 0", *e.Time, i+1)
		}
		es[i] = cloudwatch.Event{Time: time.UnixMilli(*e.Time).UTC(), Message: e.Message}
	}
	r, err := s.Keeper.Put(ctx, c.Realm(), in.Group, in.Stream, es)
	if err != nil {
		return nil, err
	}
	out := &putAnswer{Next: sequence}
	if !r.None() {
		out.Rejected = &rejected{index(r.New), index(r.Old), index(r.Expired)}
	}
	return out, nil
}

func index(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}

type getEvents struct {
	Group      string `json:"logGroupName" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Identifier string `json:"logGroupIdentifier" max:"2048" pattern:"[\\w#+=/:,.@\\-*]*"`
	Stream     string `json:"logStreamName" required:"true" min:"1" max:"512" pattern:"[^:*]*"`
	Start      *int64 `json:"startTime" min:"0"`
	End        *int64 `json:"endTime" min:"0"`
	Next       string `json:"nextToken"`
	Limit      *int   `json:"limit" min:"1" max:"10000"`
	Head       *bool  `json:"startFromHead"`
	Unmask     *bool  `json:"unmask"` // nothing is masked
}

type event struct {
	Stream   string `json:"logStreamName,omitempty"`
	Group    string `json:"logGroupIdentifier,omitempty"`
	Time     int64  `json:"timestamp"`
	Message  string `json:"message"`
	Ingested int64  `json:"ingestionTime"`
	ID       string `json:"eventId,omitempty"`
}

type eventPage struct {
	Events   []event `json:"events"`
	Forward  string  `json:"nextForwardToken"`
	Backward string  `json:"nextBackwardToken"`
}

// pageEvents is how many events a page has if the request does not say.
const pageEvents = 10_000

func (s service) get(ctx context.Context, c wire.Call, in *getEvents) (*eventPage, error) {
	name, err := named(c, in.Group, in.Identifier)
	if err != nil {
		return nil, err
	}
	r := cloudwatch.Read{Window: cloudwatch.Window{Since: moment(in.Start), Until: moment(in.End)}, Limit: pageEvents, FromTail: in.Head == nil || !*in.Head}
	if in.Limit != nil {
		r.Limit = *in.Limit
	}
	if in.Next != "" {
		p, backward, err := parseDirection(in.Next)
		if err != nil {
			return nil, err
		}
		r.From, r.Backward = &p, backward
	}
	page, err := s.Keeper.Read(ctx, c.Realm(), name, in.Stream, r)
	if err != nil {
		return nil, err
	}
	out := &eventPage{Events: []event{}, Forward: direction("f", page.Next), Backward: direction("b", page.Start)}
	for _, e := range page.Events {
		out.Events = append(out.Events, event{Time: e.Time.UnixMilli(), Message: e.Message, Ingested: e.Ingested.UnixMilli()})
	}
	return out, nil
}

type filterEvents struct {
	Group       string   `json:"logGroupName" max:"512" pattern:"[\\.\\-_/#A-Za-z0-9]+"`
	Identifier  string   `json:"logGroupIdentifier" max:"2048" pattern:"[\\w#+=/:,.@\\-*]*"`
	Streams     []string `json:"logStreamNames" max:"100"`
	Prefix      string   `json:"logStreamNamePrefix" max:"512" pattern:"[^:*]*"`
	Start       *int64   `json:"startTime" min:"0"`
	End         *int64   `json:"endTime" min:"0"`
	Pattern     string   `json:"filterPattern" max:"1024"`
	Next        string   `json:"nextToken"`
	Limit       *int     `json:"limit" min:"1" max:"10000"`
	Head        *bool    `json:"startFromHead"`
	Interleaved *bool    `json:"interleaved"` // always, as in AWS since 2019
	Unmask      *bool    `json:"unmask"`
}

type filterPage struct {
	Events   []event  `json:"events"`
	Searched []string `json:"searchedLogStreams"` // always empty, as in AWS since 2020
	Next     string   `json:"nextToken,omitempty"`
}

// mark is what a token of FilterLogEvents says: the last event that was looked at.
type mark struct {
	Time   int64            `json:"t"`
	Stream string           `json:"s"`
	At     cloudwatch.Place `json:"p"`
}

func (s service) filter(ctx context.Context, c wire.Call, in *filterEvents) (*filterPage, error) {
	name, err := named(c, in.Group, in.Identifier)
	if err != nil {
		return nil, err
	}
	if len(in.Streams) > 0 && in.Prefix != "" {
		return nil, fault.New(fault.Invalid, "logStreamNames and logStreamNamePrefix cannot both be given.")
	}
	if in.Head != nil && !*in.Head {
		return nil, fault.At("startFromHead", "events are found from the oldest on only; leave it out")
	}
	p, err := pattern.Parse(in.Pattern)
	if err != nil {
		return nil, err
	}
	q := cloudwatch.Search{
		Window: cloudwatch.Window{Since: moment(in.Start)}, Streams: in.Streams, Prefix: in.Prefix, Match: p.Match, Limit: pageEvents,
	}
	if in.Limit != nil {
		q.Limit = *in.Limit
	}
	if in.End != nil { // Events of that very millisecond are found, unlike with GetLogEvents.
		q.Until = moment(in.End).Add(time.Millisecond)
	}
	if in.Next != "" {
		text, err := open(in.Next)
		var m mark
		if err != nil || json.Unmarshal([]byte(text), &m) != nil {
			return nil, badToken()
		}
		q.After = &cloudwatch.Found{Name: m.Stream, Event: cloudwatch.Event{Time: time.UnixMilli(m.Time).UTC(), At: m.At}}
	}
	found, last, err := s.Keeper.Search(ctx, c.Realm(), name, q)
	if err != nil {
		return nil, err
	}
	out := &filterPage{Events: []event{}, Searched: []string{}}
	for _, e := range found {
		out.Events = append(out.Events, event{
			Stream: e.Name, Time: e.Time.UnixMilli(), Message: e.Message, Ingested: e.Ingested.UnixMilli(), ID: e.ID(),
		})
	}
	if last != nil {
		b, err := json.Marshal(mark{last.Time.UnixMilli(), last.Name, last.At})
		if err != nil {
			return nil, err
		}
		out.Next = seal(string(b))
	}
	return out, nil
}
