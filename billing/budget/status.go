package budget

import (
	"fmt"
	"math"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Spending is what was spent of a budget, and is set aside, as the ledger and the holds
// say at one moment.
type Spending struct {
	Posted  billing.Money // in the ledger, in this period
	Accrued billing.Money // by tasks that are not done, in this period, and not in the ledger
	Ahead   billing.Money // held for what they may still cost in it

	// Recent is what the ledger has of the last 24 hours, and Since when the first of it
	// was charged; zero if nothing was.
	Recent billing.Money
	Since  time.Time
}

// Status is how a budget stands.
type Status struct {
	Budget
	From     time.Time     `json:"from" doc:"The period that goes on"`
	To       time.Time     `json:"to"`
	Spent    billing.Money `json:"spent" doc:"Up to now, also by tasks that are not done"`
	Held     billing.Money `json:"held" doc:"Set aside for what running tasks may cost in the next minute"`
	Left     billing.Money `json:"left" doc:"Not below 0"`
	Forecast billing.Money `json:"forecast" doc:"At the end of the period, if it goes on as in the last 24 hours"`
	Percent  int           `json:"percent" doc:"What of the limit is spent, rounded down"`
	Reached  bool          `json:"reached" doc:"Nothing is left that is not held"`
}

// StatusOf returns how b stands at a time.
func StatusOf(b Budget, s Spending, now time.Time) Status {
	from, to := b.Period.Days(DayOf(now))
	st := Status{Budget: b, From: from.Time(), To: to.Time(), Spent: s.Posted + s.Accrued, Held: max(s.Ahead, 0)}
	st.Left = max(b.Limit-st.Spent-st.Held, 0)
	st.Percent = percent(st.Spent, b.Limit)
	st.Reached = st.Left == 0
	st.Forecast = st.Spent
	if !s.Since.IsZero() || s.Accrued > 0 {
		seen := time.Hour
		if !s.Since.IsZero() {
			seen = min(max(now.Sub(s.Since), seen), 24*time.Hour)
		}
		// A forecast is no bill: what of a minute is left is left out.
		more := times(s.Recent+s.Accrued, int64(st.To.Sub(now)/time.Minute), int64(seen/time.Minute))
		st.Forecast += min(more, math.MaxInt64-st.Forecast)
	}
	return st
}

// times returns m × a / b, as far as it can be said.
func times(m billing.Money, a, b int64) billing.Money {
	whole, rest := int64(m)/b, int64(m)%b
	if whole > (1<<62)/max(a, 1) {
		return 1 << 62
	}
	return billing.Money(whole*a + rest*a/b)
}

// percent returns what part of limit m is.
func percent(m, limit billing.Money) int {
	if m > 1<<55 {
		return int(m / max(limit/100, 1))
	}
	return int(m * 100 / limit)
}

// Reaches reports whether the budget has come to a threshold.
func (s *Status) Reaches(t Threshold) bool {
	if t.Type == Forecasted {
		return percent(s.Forecast, s.Limit) >= t.Percent
	}
	return s.Percent >= t.Percent
}

// Refusal says that there is not enough left of a budget. It is the cause of the error of
// whoever asked.
type Refusal struct {
	Budget string
	Period Period
	Day    Day
	Limit  billing.Money
	Used   billing.Money // spent or held for others
	Asked  billing.Money
}

// Error says it to the user.
func (r *Refusal) Error() string {
	return fmt.Sprintf("budget %s allows $%s in %s: $%s are spent or held, and $%s are needed",
		r.Budget, r.Limit.Short(), r.Period.Noun(r.Day), r.Used.Short(), r.Asked.Short())
}

// Fault returns r as the error of a submission.
func (r *Refusal) Fault() error { return fault.Wrap(fault.OverBudget, r, "%s", r.Error()) }

// Renewal is what became of the hold of a task.
type Renewal struct {
	Task    task.Task
	Until   time.Time // up to when money is held now, on the task's time line
	Spent   billing.Money
	Refused *Refusal // why not for longer; nil if nobody refused
}
