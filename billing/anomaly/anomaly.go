// Package anomaly finds costs that are not as they were: an hour in which something
// cost much more than it does at that hour of the week.
//
// The one rule: what is found follows from the sums of the ledger by hour. Looking at an
// hour again finds the same under the same IDs, so that it is told once. Only what has
// gone up is found.
//
// Amounts are exact. How unusual one is, is a floating point number, since it is
// compared with a threshold and added to nothing.
package anomaly

import (
	"fmt"
	"strconv"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/notice"
)

// Key is what is watched: a SKU of the tasks of a family.
type Key struct {
	Account string      `json:"account"`
	Family  string      `json:"family" doc:"Of task definitions; empty for tasks that were forgotten before it was kept"`
	SKU     billing.SKU `json:"sku"`
}

// Rules say what is told. An hour must pass all of them.
type Rules struct {
	Score   float64       // how unusual it must be more than; at least 1
	Impact  billing.Money // US dollars above what was expected, more than
	Percent int           // of what was expected, more than
}

// Defaults are the rules that hold if nobody says others.
var Defaults = Rules{Score: 4, Impact: 1_000_000_000, Percent: 40}

// Check returns what is wrong with r.
func (r Rules) Check() error {
	switch {
	case !(r.Score >= 1 && r.Score <= 1000):
		return fault.At("score", "%v is not from 1 to 1000", r.Score)
	case r.Impact < 0:
		return fault.At("impact", "%s is negative", r.Impact)
	case r.Percent < 0 || r.Percent > 1_000_000:
		return fault.At("percent", "%d is not from 0 to 1000000", r.Percent)
	}
	return nil
}

// Anomaly is an hour in which something cost more than expected.
type Anomaly struct {
	ID   string    `json:"id" doc:"The same whenever this hour is looked at"`
	From time.Time `json:"from" doc:"The hour"`
	To   time.Time `json:"to"`
	Key
	Verdict
	Percent   *int64 `json:"percent,omitempty" doc:"The impact in percent of what was expected, rounded down; left out if nothing was expected"`
	Continues bool   `json:"continues" doc:"The hour before was one too"`
	Cause     Cause  `json:"cause"`
}

// Why is what grew most.
type Why string

// The values of Why.
const (
	NothingBefore Why = "NOTHING_BEFORE" // there is nothing to compare with: at such hours nothing ran
	MoreTasks     Why = "MORE_TASKS"
	MorePerTask   Why = "MORE_PER_TASK" // they were larger, or ran for more of the hour
	HigherPrice   Why = "HIGHER_PRICE"
)

// Cause is how many times as large as usual the parts were whose product the cost is.
type Cause struct {
	Why     Why     `json:"why" enum:"NOTHING_BEFORE,MORE_TASKS,MORE_PER_TASK,HIGHER_PRICE" doc:"What grew most"`
	Tasks   float64 `json:"tasks,omitempty" doc:"How many times as many charges there were as usual; a task has one in an hour for each SKU, or a few"`
	PerTask float64 `json:"perTask,omitempty" doc:"How many times as much each charge was for: size and time"`
	Price   float64 `json:"price,omitempty" doc:"How many times as dear a unit was"`
}

// Words says a cause as in a sentence.
func (c Cause) Words() string {
	switch c.Why {
	case MoreTasks:
		return times(c.Tasks) + " as many tasks"
	case MorePerTask:
		return times(c.PerTask) + " as much size and time per task"
	case HigherPrice:
		return times(c.Price) + " the price"
	}
	return "nothing ran at such hours before"
}

func times(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) + " times" }

// Count is what was charged in some hours.
type Count struct {
	Entries int64
	Units   int64 // size × seconds
	Amount  billing.Money
}

// CauseOf compares an hour with usual ones, of which there were n.
func CauseOf(is, usual Count, n int) Cause {
	if usual.Entries <= 0 || usual.Units <= 0 || usual.Amount <= 0 || is.Entries <= 0 || is.Units <= 0 || is.Amount <= 0 {
		return Cause{Why: NothingBefore}
	}
	per := func(a, b int64) float64 { return float64(a) / float64(b) }
	c := Cause{
		Why:     MoreTasks,
		Tasks:   per(is.Entries, usual.Entries) * float64(n),
		PerTask: per(is.Units, is.Entries) / per(usual.Units, usual.Entries),
		Price:   per(int64(is.Amount), is.Units) / per(int64(usual.Amount), usual.Units),
	}
	switch most := max(c.Tasks, c.PerTask, c.Price); most {
	case c.PerTask:
		c.Why = MorePerTask
	case c.Price:
		c.Why = HigherPrice
	}
	return c
}

// NoticeType is that of notices of anomalies.
const NoticeType = "berth.cost.anomaly"

// Told is what a notice of anomalies says: those of a family in an hour, of which one at
// least has just begun.
type Told struct {
	Reason    string        `json:"reason"` // in a sentence
	Account   string        `json:"account"`
	Family    string        `json:"family"`
	From      time.Time     `json:"from"`
	To        time.Time     `json:"to"`
	Actual    billing.Money `json:"actual"`
	Expected  billing.Money `json:"expected"`
	Impact    billing.Money `json:"impact"`
	Anomalies []Anomaly     `json:"anomalies"` // the largest impact first
}

// newAnomaly names a verdict on an hour.
func newAnomaly(k Key, hour time.Time, v Verdict, c Cause, since bool) Anomaly {
	hour = hour.UTC()
	a := Anomaly{
		ID: notice.ID(NoticeType, k.Account, k.Family, string(k.SKU), strconv.FormatInt(hour.Unix(), 10)), From: hour, To: hour.Add(time.Hour),
		Key: k, Verdict: v, Cause: c, Continues: since,
	}
	if v.Expected > 0 {
		p := percent(v.Impact, v.Expected)
		a.Percent = &p
	}
	return a
}

// newTold says what anomalies of a family in an hour come to. There is one at least, and
// the first is the largest.
func newTold(all []Anomaly) Told {
	first := all[0]
	t := Told{Account: first.Account, Family: first.Family, From: first.From, To: first.To, Anomalies: all}
	for _, a := range all {
		t.Actual, t.Expected, t.Impact = t.Actual+a.Actual, t.Expected+a.Expected, t.Impact+a.Impact
	}
	family := t.Family
	if family == "" {
		family = "of no family"
	}
	t.Reason = fmt.Sprintf("Tasks %s cost $%s from %s to %s UTC, $%s more than expected: %s", family, t.Actual.Short(),
		t.From.Format("2006-01-02 15:04"), t.To.Format("15:04"), t.Impact.Short(), first.Cause.Words())
	return t
}
