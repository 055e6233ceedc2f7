package rest

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/google/uuid"

	"berth/access"
	"berth/eventbridge"
	"berth/fault"
	"berth/notice"
	"berth/server/api"
	"berth/task"
)

// EventBridge tells what happens in EventBridge's words, and keeps the rules that send it to
// webhooks.
type EventBridge interface {
	// LastEvent returns the position of who has read all.
	LastEvent(ctx context.Context) (eventbridge.Position, error)

	// FollowEvents yields what happened after a position, and then what happens, until ctx
	// ends.
	FollowEvents(ctx context.Context, from eventbridge.Position) iter.Seq2[eventbridge.Item, error]

	EventRulesOf(ctx context.Context, in task.Realm) ([]eventbridge.Rule, error)
	EventRule(ctx context.Context, in task.Realm, name string) (eventbridge.Rule, error)

	// PutEventRule keeps a rule, in place of the one of that name, which goes on where it
	// is; a new one begins at r.At. r.ID is a fresh one.
	PutEventRule(ctx context.Context, r eventbridge.Rule) (eventbridge.Rule, error)
	RemoveEventRule(ctx context.Context, in task.Realm, name string) error
}

type bridgeIn struct {
	Pattern string `query:"pattern" doc:"An event pattern of EventBridge, as JSON: only what it selects"`
	After   string `query:"after" doc:"Begin after this position, which is the id of a server-sent event; 0 is the beginning of all. If left out: now"`
	LastID  string `header:"Last-Event-ID" doc:"As after; for browsers"`
}

// bridge streams what happens in EventBridge's words. A reader that comes back says how far
// it got and misses nothing.
func (s *server) bridge(ctx context.Context, in *bridgeIn, out *stream[api.BridgeEvent]) error {
	pattern, err := eventbridge.ParsePattern(in.Pattern)
	if err != nil {
		return err
	}
	field, text := api.LastEventID, in.LastID
	if text == "" {
		field, text = "after", in.After
	}
	from, err := s.EventBridge.LastEvent(ctx)
	if err != nil {
		return err
	}
	if text != "" {
		p, err := eventbridge.ParsePosition(text)
		if err != nil {
			return fault.At(field, "%s", fault.Message(err))
		}
		from.Task, from.Service = min(p.Task, from.Task), min(p.Service, from.Service) // A reader may be ahead of a journal that lost its tail.
	}
	if err := out.begin(); err != nil {
		return err
	}
	who := access.From(ctx)
	for item, err := range s.EventBridge.FollowEvents(ctx, from) {
		if err != nil {
			return err
		}
		if item.None || !who.Admin && item.Account != who.Account || !pattern.Matches(item.Event) {
			continue
		}
		if err := out.send(item.Position.String(), "event", api.BridgeEvent(item.Event), nil); err != nil {
			return err
		}
	}
	return nil
}

type ruleIn struct {
	Name string `path:"name" doc:"Name of a rule"`
}

type putRuleIn struct {
	ruleIn
	Body api.EventRuleRequest
}

func (s *server) eventRules(ctx context.Context, _ *none) (*api.EventRuleList, error) {
	all, err := s.EventBridge.EventRulesOf(ctx, access.From(ctx).Realm())
	list := api.EventRuleList{Rules: []api.EventRule{}}
	for _, r := range all {
		list.Rules = append(list.Rules, api.NewEventRule(r))
	}
	return &list, err
}

func (s *server) eventRule(ctx context.Context, in *ruleIn) (*api.EventRule, error) {
	r, err := s.EventBridge.EventRule(ctx, access.From(ctx).Realm(), in.Name)
	if err != nil {
		return nil, err
	}
	v := api.NewEventRule(r)
	return &v, nil
}

func (s *server) putEventRule(ctx context.Context, in *putRuleIn) (*api.EventRule, error) {
	realm := access.From(ctx).Realm()
	r := eventbridge.Rule{
		Realm: realm, Name: in.Name, ID: uuid.NewString(), Description: in.Body.Description, Webhook: in.Body.Webhook, ChangedAt: s.Now(),
	}
	text := string(in.Body.Pattern)
	if quoted := ""; json.Unmarshal(in.Body.Pattern, &quoted) == nil {
		text = quoted // also null
	}
	pattern, err := eventbridge.ParsePattern(text)
	if err != nil {
		return nil, err
	}
	r.Pattern = pattern.String()
	if notice.Hidden(r.Webhook) { // what was read of one that is there
		old, err := s.EventBridge.EventRule(ctx, realm, in.Name)
		if err != nil || notice.Shown(old.Webhook) != r.Webhook {
			return nil, fault.At("webhook", "%s stands for the webhook of a rule; give the whole URL", r.Webhook)
		}
		r.Webhook = old.Webhook
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if r.At, err = s.EventBridge.LastEvent(ctx); err != nil {
		return nil, err
	}
	if r, err = s.EventBridge.PutEventRule(ctx, r); err != nil {
		return nil, err
	}
	v := api.NewEventRule(r)
	return &v, nil
}

func (s *server) removeEventRule(ctx context.Context, in *ruleIn) (*none, error) {
	return nil, s.EventBridge.RemoveEventRule(ctx, access.From(ctx).Realm(), in.Name)
}
