package logs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"berth/fault"
	"berth/logs/cloudwatch"
	"berth/logs/pattern"
	"berth/server/aws/wire"
)

type liveTail struct {
	Groups   []string `json:"logGroupIdentifiers" required:"true" min:"1" max:"10"`
	Streams  []string `json:"logStreamNames" max:"100"`
	Prefixes []string `json:"logStreamNamePrefixes" max:"100"`
	Pattern  string   `json:"logEventFilterPattern" max:"1024"`
}

// session is a live tail: an answer that goes on.
type session struct {
	service
	call wire.Call
	in   *liveTail
	tail *cloudwatch.Tail
}

func (s service) tail(ctx context.Context, c wire.Call, in *liveTail) (*session, error) {
	if len(in.Groups) > 1 && len(in.Streams)+len(in.Prefixes) > 0 {
		return nil, fault.New(fault.Invalid, "logStreamNames and logStreamNamePrefixes can be given only with one log group.")
	}
	if len(in.Streams) > 0 && len(in.Prefixes) > 0 {
		return nil, fault.New(fault.Invalid, "logStreamNames and logStreamNamePrefixes cannot both be given.")
	}
	p, err := pattern.Parse(in.Pattern)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, id := range in.Groups {
		name, err := fromARN(c, id)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	t, err := s.Keeper.Tail(ctx, c.Realm(), slices.Compact(names), cloudwatch.Begins(in.Streams, in.Prefixes), p.Match)
	if err != nil {
		return nil, err
	}
	return &session{s, c, in, t}, nil
}

// Limits of a session (CloudWatch Logs user guide, "Troubleshoot with Live Tail").
const (
	updateEvery  = time.Second
	updateEvents = 500
	sessionMax   = 3 * time.Hour
)

type started struct {
	Request  string   `json:"requestId"`
	Session  string   `json:"sessionId"`
	Groups   []string `json:"logGroupIdentifiers"`
	Streams  []string `json:"logStreamNames,omitempty"`
	Prefixes []string `json:"logStreamNamePrefixes,omitempty"`
	Pattern  string   `json:"logEventFilterPattern,omitempty"`
}

type update struct {
	Metadata struct {
		Sampled bool `json:"sampled"`
	} `json:"sessionMetadata"`
	Results []event `json:"sessionResults"`
}

// Stream is part of wire.Stream: it sends what comes, every second, until the client goes
// or three hours have passed.
func (s *session) Stream(ctx context.Context, w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.WriteHeader(http.StatusOK)
	out := frames{w, eventstream.NewEncoder()}
	if err := out.send("event", "initial-response", struct{}{}); err != nil {
		return err
	}
	if err := out.send("event", "sessionStart", started{
		s.call.RequestID, s.call.RequestID, s.in.Groups, s.in.Streams, s.in.Prefixes, s.in.Pattern,
	}); err != nil {
		return err
	}
	tick := time.NewTicker(updateEvery)
	defer tick.Stop()
	end := time.NewTimer(sessionMax)
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-end.C:
			return out.send("exception", "SessionTimeoutException", map[string]string{"message": "The session has ended after three hours."})
		case <-tick.C:
		}
		sample, err := s.tail.Next(ctx, updateEvents)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return out.send("exception", "SessionStreamingException", map[string]string{"message": fault.Message(err)})
		}
		u := update{Results: []event{}}
		u.Metadata.Sampled = sample.Sampled
		for _, l := range sample.Lines {
			u.Results = append(u.Results, event{
				Stream: l.Name, Group: s.call.Identity.Account + ":" + l.Group, Time: l.Time.UnixMilli(), Message: l.Message, Ingested: l.Ingested.UnixMilli(),
			})
		}
		if err := out.send("event", "sessionUpdate", u); err != nil {
			return err
		}
	}
}

// frames writes messages of AWS's event stream encoding (Smithy, "Amazon Event Stream
// Specification").
type frames struct {
	w http.ResponseWriter
	*eventstream.Encoder
}

func (f frames) send(kind, name string, payload any) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	message := eventstream.Message{Payload: body}
	message.Headers.Set(":message-type", eventstream.StringValue(kind))
	message.Headers.Set(":"+kind+"-type", eventstream.StringValue(name))
	message.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	if err := f.Encode(f.w, message); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	if err := http.NewResponseController(f.w).Flush(); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}
