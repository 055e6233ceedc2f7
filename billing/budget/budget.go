package budget

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Budget is a limit on what the tasks in its scope may cost in each day or month.
type Budget struct {
	Name   string              `json:"name" doc:"1 to 100 letters, digits, hyphens and underscores"`
	Scope  map[string][]string `json:"scope,omitempty" doc:"By account, region, family, definition, group, user (startedBy) and tag:KEY: the values of which a task has one. All of them hold at once; a tag without values must be there. Left out: every task"`
	Period Period              `json:"period" enum:"DAILY,MONTHLY" doc:"Days and months begin at midnight UTC"`
	Limit  billing.Money       `json:"limit" doc:"US dollars in each period"`
	Action Action              `json:"action" enum:"NOTIFY,DENY,STOP" doc:"What happens at the limit: it is only told; or new tasks are refused; or running ones are stopped as well"`

	Notify  []Threshold `json:"notify,omitempty" doc:"When it is told; at most 10"`
	Webhook string      `json:"webhook,omitempty" doc:"Where it is told too: a CloudEvent is sent there by POST. What follows scheme, host and port is not shown, as it may be a secret"`

	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt" doc:"Thresholds that were told before count anew"`
}

// Period is the time after which a budget begins anew.
type Period string

// The periods of budgets, in UTC.
const (
	Daily   Period = "DAILY"
	Monthly Period = "MONTHLY"
)

// Action is what a budget does at its limit. Each does what those before it do, too.
type Action string

// The actions of budgets.
const (
	Notify Action = "NOTIFY"
	Deny   Action = "DENY"
	Stop   Action = "STOP"
)

// Denies reports whether a new task must fit.
func (a Action) Denies() bool { return a == Deny || a == Stop }

// Threshold is a part of the limit at which it is told, once in each period (AWS Budgets,
// Notification: at most 10 of a budget).
type Threshold struct {
	Type    ThresholdType `json:"type" enum:"ACTUAL,FORECASTED" doc:"What was spent, or what will have been spent at the end of the period if it goes on as in the last 24 hours"`
	Percent int           `json:"percent" minimum:"1" maximum:"1000"`
}

// ThresholdType is what a threshold is compared with.
type ThresholdType string

// The types of thresholds.
const (
	Actual     ThresholdType = "ACTUAL"
	Forecasted ThresholdType = "FORECASTED"
)

const (
	maxNotify = 10
	maxScope  = 20  // keys of a scope
	maxValues = 100 // of a key
)

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// scopes is what a scope can be made of, besides tags.
var scopes = []string{
	billing.ByAccount, billing.ByRegion, billing.ByFamily, billing.ByDefinition, billing.ByGroup, billing.ByUser,
}

// Check returns what is wrong with b, naming the field.
func (b *Budget) Check() error {
	switch {
	case !namePattern.MatchString(b.Name):
		return fault.At("name", "%q is not 1 to 100 letters, digits, hyphens and underscores", b.Name)
	case b.Period != Daily && b.Period != Monthly:
		return fault.At("period", "%q is neither DAILY nor MONTHLY", b.Period)
	case b.Limit <= 0:
		return fault.At("limit", "must be more than 0 US dollars")
	case b.Action != Notify && !b.Action.Denies():
		return fault.At("action", "%q is not one of NOTIFY, DENY, STOP", b.Action)
	case len(b.Notify) > maxNotify:
		return fault.At("notify", "has %d thresholds; at most %d are possible", len(b.Notify), maxNotify)
	case len(b.Scope) > maxScope:
		return fault.At("scope", "has %d keys; at most %d are possible", len(b.Scope), maxScope)
	}
	for i, t := range b.Notify {
		switch {
		case t.Type != Actual && t.Type != Forecasted:
			return fault.At(fmt.Sprintf("notify[%d].type", i), "%q is neither ACTUAL nor FORECASTED", t.Type)
		case t.Percent < 1 || t.Percent > 1000:
			return fault.At(fmt.Sprintf("notify[%d].percent", i), "must be from 1 to 1000, not %d", t.Percent)
		case slices.Contains(b.Notify[:i], t):
			return fault.At(fmt.Sprintf("notify[%d]", i), "is there twice")
		}
	}
	for _, by := range slices.Sorted(maps.Keys(b.Scope)) {
		key, tag := strings.CutPrefix(by, billing.TagKey)
		switch {
		case tag && key == "", !tag && !slices.Contains(scopes, by):
			return fault.At("scope."+by, "a scope is by one of %s, tag:KEY", strings.Join(scopes, ", "))
		case !tag && len(b.Scope[by]) == 0:
			return fault.At("scope."+by, "names no value")
		case len(b.Scope[by]) > maxValues:
			return fault.At("scope."+by, "has %d values; at most %d are possible", len(b.Scope[by]), maxValues)
		}
	}
	return nil
}

// Covers reports whether what has these facts is in the scope of b. Sums of costs that
// are filtered by the scope are of the same tasks.
func (b *Budget) Covers(f billing.Facts) bool {
	for by, values := range b.Scope {
		if key, tag := strings.CutPrefix(by, billing.TagKey); tag {
			i := slices.IndexFunc(f.Tags, func(t task.Tag) bool { return t.Key == key })
			if i < 0 || len(values) > 0 && !slices.Contains(values, f.Tags[i].Value) {
				return false
			}
			continue
		}
		if !slices.Contains(values, fact(f, by)) {
			return false
		}
	}
	return true
}

// fact returns the fact that costs can be told apart by.
func fact(f billing.Facts, by string) string {
	switch by {
	case billing.ByAccount:
		return f.Account
	case billing.ByRegion:
		return f.Region
	case billing.ByFamily:
		return f.Family()
	case billing.ByDefinition:
		return f.Definition
	case billing.ByGroup:
		return f.Group
	case billing.ByUser:
		return f.StartedBy
	}
	return ""
}

// Day is a number of days since 1970, UTC.
type Day int64

// DayOf returns the day of a time.
func DayOf(t time.Time) Day { return Day(t.Unix() / (24 * 3600)) }

// Time returns the midnight that d begins at.
func (d Day) Time() time.Time { return time.Unix(int64(d)*24*3600, 0).UTC() }

// Days returns the period in which a day is. to is not in it any more.
func (p Period) Days(d Day) (from, to Day) {
	if p == Daily {
		return d, d + 1
	}
	t := d.Time()
	first := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return DayOf(first), DayOf(first.AddDate(0, 1, 0))
}

// Noun is the period in a sentence: 2026-11-28, or 2026-11.
func (p Period) Noun(d Day) string {
	if p == Daily {
		return d.Time().Format(time.DateOnly)
	}
	return d.Time().Format("2006-01")
}

// sortedDays returns the days of a map in order.
func sortedDays[V any](m map[Day]V) []Day { return slices.Sorted(maps.Keys(m)) }
