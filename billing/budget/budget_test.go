package budget_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/budget"
	"berth/fault"
	"berth/money"
)

var noon = time.Date(2026, 11, 16, 12, 0, 0, 0, time.UTC) // half of November is 15 days; this is half a day more

func TestCheck(t *testing.T) {
	good := func() budget.Budget {
		return budget.Budget{
			Name: "a-B_9", Period: budget.Daily, Limit: 1, Action: budget.Stop, Notify: []budget.Threshold{{budget.Actual, 80}, {budget.Forecasted, 80}},
			Scope: map[string][]string{"family": {"web"}, "tag:team": nil, "tag:a=b": {""}},
		}
	}
	b := good()
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*budget.Budget){
		"name":              func(b *budget.Budget) { b.Name = "a b" },
		"period":            func(b *budget.Budget) { b.Period = "WEEKLY" },
		"limit":             func(b *budget.Budget) { b.Limit = 0 },
		"action":            func(b *budget.Budget) { b.Action = "" },
		"notify":            func(b *budget.Budget) { b.Notify = make([]budget.Threshold, 11) },
		"notify[1].percent": func(b *budget.Budget) { b.Notify[1].Percent = 0 },
		"notify[1].type":    func(b *budget.Budget) { b.Notify[1].Type = "" },
		"notify[1]":         func(b *budget.Budget) { b.Notify[1] = b.Notify[0] },
		"scope.sku":         func(b *budget.Budget) { b.Scope["sku"] = []string{"x"} },
		"scope.task":        func(b *budget.Budget) { b.Scope["task"] = []string{"x"} },
		"scope.tag:":        func(b *budget.Budget) { b.Scope["tag:"] = nil },
		"scope.group":       func(b *budget.Budget) { b.Scope["group"] = nil },
	} {
		b := good()
		spoil(&b)
		if err := b.Check(); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != field {
			t.Errorf("%s: %v at %q", field, err, fault.FieldOf(err))
		}
	}
}

func TestPeriods(t *testing.T) {
	d := budget.DayOf(noon)
	if from, to := budget.Monthly.Days(d); !from.Time().Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) || !to.Time().Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s to %s", from.Time(), to.Time())
	}
	if from, to := budget.Daily.Days(d); from != d || to != d+1 || budget.Daily.Noun(d) != "2026-11-16" || budget.Monthly.Noun(d) != "2026-11" {
		t.Errorf("%s to %s", from.Time(), to.Time())
	}
}

func TestStatus(t *testing.T) {
	const dollar = 1_000_000_000
	b := budget.Budget{Name: "b", Period: budget.Monthly, Limit: 100 * dollar, Action: budget.Deny}
	s := budget.StatusOf(b, budget.Spending{Posted: 30 * dollar, Accrued: 2 * dollar, Ahead: dollar, Recent: 4 * dollar, Since: noon.Add(-30 * time.Hour)}, noon)
	// 6 dollars in 24 hours, for 14.5 days more.
	if s.Spent != 32*dollar || s.Held != dollar || s.Left != 67*dollar || s.Percent != 32 || s.Forecast != (32+87)*dollar || s.Reached {
		t.Errorf("%+v", s)
	}
	if s.Reaches(budget.Threshold{Type: budget.Actual, Percent: 33}) || !s.Reaches(budget.Threshold{Type: budget.Actual, Percent: 32}) ||
		s.Reaches(budget.Threshold{Type: budget.Forecasted, Percent: 120}) || !s.Reaches(budget.Threshold{Type: budget.Forecasted, Percent: 119}) {
		t.Errorf("%+v reaches", s)
	}
	// What began two hours ago is told of by what it cost in these.
	if s = budget.StatusOf(b, budget.Spending{Posted: dollar, Recent: dollar, Since: noon.Add(-2 * time.Hour)}, noon); s.Forecast != dollar+174*dollar {
		t.Errorf("forecast %s", s.Forecast)
	}
	if s = budget.StatusOf(b, budget.Spending{Posted: 99 * dollar, Ahead: 2 * dollar}, noon); s.Left != 0 || !s.Reached || s.Forecast != 99*dollar {
		t.Errorf("%+v", s)
	}
	if s = budget.StatusOf(budget.Budget{Period: budget.Daily, Limit: 1}, budget.Spending{Posted: 1 << 62, Recent: 1 << 62, Since: noon}, noon); s.Percent < 1<<40 || s.Forecast < 1<<62 {
		t.Errorf("%+v", s)
	}
}

// Ensure that what is held, and has been posted, is what the task costs if it ends when
// its hold does, on the days on which that is booked.
func TestHoldOf(t *testing.T) {
	prices := billing.BuiltIn()
	rapid.Check(t, func(rt *rapid.T) {
		tk := billingtest.Task(noon)
		tk.MaxCost = money.Amount(rapid.IntRange(0, 1_000_000).Draw(rt, "most"))
		lasts := time.Duration(rapid.Int64Range(0, int64(50*time.Hour)).Draw(rt, "so far"))
		ahead := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "ahead"))
		posted := time.Duration(rapid.Int64Range(0, int64(lasts)).Draw(rt, "posted"))
		terms := billing.Terms{Prices: prices}
		cursors := billing.Open(tk, prices)
		want, already := make(map[budget.Day]money.Amount), money.Amount(0)
		for i, c := range cursors {
			_, entries := c.Close(noon.Add(lasts+ahead), terms, nil)
			for _, e := range entries {
				want[budget.DayOf(e.Booked)] += e.Amount
			}
			cursors[i], entries = c.Advance(noon.Add(posted), terms)
			for _, e := range entries {
				want[budget.DayOf(e.Booked)] -= e.Amount
			}
			already += cursors[i].Amount
		}
		h := budget.HoldOf(tk, cursors, prices, noon.Add(lasts), noon.Add(lasts+ahead))
		var sum money.Amount
		for _, p := range h.Parts {
			if p.Sum() != want[p.Day] {
				rt.Errorf("%s is held for day %d, want %s", p.Sum(), p.Day, want[p.Day])
			}
			if p.Ahead < 0 && ahead > time.Second {
				rt.Errorf("%+v", p)
			}
			sum += p.Sum()
			delete(want, p.Day)
		}
		for d, m := range want {
			if m != 0 {
				rt.Errorf("nothing is held for day %d, want %s", d, m)
			}
		}
		if h.Total != already+sum {
			rt.Errorf("the total is %s, want %s", h.Total, already+sum)
		}
	})
}

// Ensure that what is submitted holds the first minute, on the day on which it is.
func TestFirstHold(t *testing.T) {
	tk := billingtest.Task(noon)
	tk.PullStartedAt = time.Time{}
	h := budget.HoldOf(tk, nil, billing.BuiltIn(), noon, noon.Add(budget.Lease))
	if len(h.Parts) != 1 || h.Parts[0].Accrued != 0 || h.Parts[0].Ahead != 205_709 || h.Parts[0].Day != budget.DayOf(noon) || h.Task != tk.ID {
		t.Errorf("%+v", h)
	}
}
