package api

import (
	"encoding/json"
	"time"

	"berth/eventbridge"
	"berth/notice"
)

// EventRuleRequest says what a rule does.
type EventRuleRequest struct {
	Description string          `json:"description,omitempty" maxLength:"512"`
	Pattern     json.RawMessage `json:"pattern,omitempty" doc:"An event pattern of EventBridge, as an object or as a string with its JSON; all events if it is left out"`
	Webhook     string          `json:"webhook" maxLength:"2048" doc:"URL that events are posted to. The one of a rule that was read, https://example.com/…, keeps what it stands for"`
}

// EventRule is a rule, and how far it has come.
type EventRule struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Pattern     json.RawMessage `json:"pattern,omitempty" doc:"Left out if it selects all events"`
	Webhook     string          `json:"webhook" doc:"Scheme and host of its URL; the rest may be a secret"`
	ChangedAt   time.Time       `json:"changedAt"`
	Position    string          `json:"position" doc:"Up to where all was delivered, given up or not selected"`
	Delivered   int64           `json:"delivered" doc:"Events that were"`
	GivenUp     int64           `json:"givenUp" doc:"Events that nobody took for a day"`
	DeliveredAt *time.Time      `json:"deliveredAt,omitempty"`
	Failure     string          `json:"failure,omitempty" doc:"Why the last attempt failed; left out if it did not"`
}

// EventRuleList is all rules.
type EventRuleList struct {
	Rules []EventRule `json:"rules"`
}

// NewEventRule returns a rule as the API tells it.
func NewEventRule(r eventbridge.Rule) EventRule {
	v := EventRule{
		Name: r.Name, Description: r.Description, Webhook: notice.Shown(r.Webhook), ChangedAt: r.ChangedAt,
		Position: r.At.String(), Delivered: r.Delivered, GivenUp: r.GivenUp, Failure: r.Failure,
	}
	if r.Pattern != "" {
		v.Pattern = json.RawMessage(r.Pattern)
	}
	if !r.DeliveredAt.IsZero() {
		v.DeliveredAt = &r.DeliveredAt
	}
	return v
}

// BridgeEvent is an eventbridge.Event as the API tells it.
type BridgeEvent eventbridge.Event
