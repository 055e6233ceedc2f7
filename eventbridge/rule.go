package eventbridge

import (
	"regexp"
	"time"

	"berth/fault"
	"berth/notice"
	"berth/task"
)

// Limits of rules. EventBridge allows 300 rules of an event bus.
const (
	MostRules      = 100 // of an account and region
	descriptionMax = 512
)

// Rule sends the events that a pattern selects to a webhook.
type Rule struct {
	Realm       task.Realm // account and region, whose events it is about
	Name        string     // 1 to 64 letters, digits and . _ -
	ID          string     // another one whenever the rule is set anew
	Description string
	Pattern     string // empty: all events
	Webhook     string // URL, see notice.CheckWebhook
	ChangedAt   time.Time

	Progress
}

// Progress is how far a rule has come.
type Progress struct {
	At          Position  // up to where all was delivered, given up, or not selected
	Delivered   int64     // events
	GivenUp     int64     // events
	Failure     string    // of the last attempt; empty if it was answered well
	DeliveredAt time.Time // the last one; zero: none was
}

var ruleName = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)

// Check reports the first thing wrong with what users say of r.
func (r Rule) Check() error {
	switch {
	case !ruleName.MatchString(r.Name):
		return fault.At("name", "the name of a rule has 1 to 64 letters, digits and . _ -, not %.80q", r.Name)
	case len(r.Description) > descriptionMax:
		return fault.At("description", "has at most %d bytes", descriptionMax)
	case r.Webhook == "":
		return fault.At("webhook", "a rule names the URL that its events are posted to")
	}
	if err := notice.CheckWebhook("webhook", r.Webhook); err != nil {
		return err
	}
	_, err := ParsePattern(r.Pattern)
	return err
}
