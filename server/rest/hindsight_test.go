package rest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/history"
	"berth/billing/waste"
	"berth/billing/whatif"
	"berth/server/api"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// past is a rest.Hindsight of a real store.
type past struct {
	*store.Store
	now time.Time
}

func (p past) Waste(ctx context.Context, q waste.Query) (waste.Report, error) {
	return waste.Of(ctx, p.Store, q)
}

func (p past) WhatIf(ctx context.Context, r whatif.Request) (whatif.Result, error) {
	return whatif.New(whatif.Config{Runs: p, Prices: p, Now: func() time.Time { return p.now }}).Replay(ctx, r)
}

func (past) PriceList(context.Context, string, time.Time) (billing.PriceList, error) {
	return billing.BuiltIn(), nil
}

// charge writes a task into the store as it is when it has been charged and, unless it
// goes on, has been recorded.
func (p past) charge(t *testing.T, i int, family, code string, exit int, pull, rest time.Duration, goesOn bool) {
	t.Helper()
	id := task.ID(fmt.Sprintf("%032x", i))
	tk := task.Task{
		ID: id, ARN: storetest.Realm.TaskARN(id), DefinitionARN: storetest.Realm.DefinitionARN(family, 1), Version: 1, LastStatus: task.Pending, DesiredStatus: task.Running,
		CPU: "256", Memory: "512", Arch: "X86_64", Group: "g" + fmt.Sprint(i%2), CreatedAt: p.now.Add(-5 * time.Hour), PullStartedAt: p.now.Add(-5*time.Hour + time.Duration(i)*time.Minute),
		Tags: []task.Tag{{Key: "team", Value: []string{"red", "blue"}[i%2]}},
	}
	tk.PullStoppedAt = tk.PullStartedAt.Add(pull)
	if _, err := p.Create(t.Context(), []task.Task{tk}, nil, "", ""); err != nil {
		t.Fatal(err)
	}
	terms := billing.Terms{Prices: billing.BuiltIn(), Used: func(_ billing.SKU, from, to time.Time) (int64, time.Time) {
		return int64(to.Sub(from)) * 64, to // a quarter of the vCPU, an eighth of the memory
	}}
	var moves []billing.Move
	for _, c := range billing.Open(tk, billing.BuiltIn()) {
		moves = append(moves, billing.Move{New: c})
		next, entries := c.Advance(tk.PullStartedAt.Add(pull+rest), terms)
		if !goesOn {
			next, entries = c.Close(tk.PullStartedAt.Add(pull+rest), terms, nil)
		}
		moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
	}
	if err := p.Post(t.Context(), task.Seq(i), moves); err != nil {
		t.Fatal(err)
	}
	if goesOn {
		return
	}
	tk.LastStatus, tk.StopCode, tk.StartedAt, tk.StoppedAt = task.Stopped, code, tk.PullStoppedAt, tk.PullStartedAt.Add(pull+rest)
	tk.Containers = []task.Container{{Name: "main", Essential: true, ExitCode: &exit}}
	if err := p.PutRun(t.Context(), task.Seq(i), history.Of(tk, nil), time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// Ensure that, of a real store, waste adds up to what costs are, group by group, and that
// a replay of all runs at what they had is what was charged.
func TestHindsight(t *testing.T) {
	p := past{storetest.Open(t, t.TempDir()), time.Date(2026, 11, 28, 12, 30, 0, 0, time.UTC)}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := 1; i <= 40; i++ {
		length := time.Duration(rnd.Int64N(int64(100 * time.Second)))
		if i%5 == 0 {
			length = time.Duration(rnd.Int64N(int64(2 * time.Hour)))
		}
		code := []string{task.EssentialExited, task.EssentialExited, task.FailedToStart, task.UserInitiated}[rnd.IntN(4)]
		p.charge(t, i, []string{"web", "job", "db"}[i%3], code, rnd.IntN(2), length/10, length-length/10, i%10 == 0)
	}
	c := resttest.New().Config()
	c.Log, c.Costs, c.Hindsight, c.Now = zap.NewNop(), p, p, func() time.Time { return p.now }
	h := rest.New(t.Context(), c)
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, request(method, "/api/v1"+path, body))
		return rec
	}
	for _, query := range []string{"", "?groupBy=tag:team,family", "?groupBy=definition&family=web,db", "?groupBy=task&tag=team=red", "?from=3h&to=2h&groupBy=group", "?groupBy=user&family=none"} {
		rec := ask("GET", "/waste"+query, "")
		got := decode[waste.Report](t, rec)
		costs := query
		if query == "" {
			costs = "?groupBy=family"
		}
		want := decode[billing.CostReport](t, ask("GET", "/costs"+costs, ""))
		if rec.Code != http.StatusOK || got.Total.Cost != want.Total.Amount || len(got.Groups) != len(want.Groups) || query == "" && got.Total.Cost == 0 {
			t.Errorf("%s: %d, cost %s in %d groups, want %s in %d", query, rec.Code, got.Total.Cost, len(got.Groups), want.Total.Amount, len(want.Groups))
		}
		amounts := make(map[string]billing.Money)
		for _, g := range want.Groups {
			amounts[fmt.Sprint(g.Keys)] = g.Amount
		}
		for _, g := range append(got.Groups, got.Total) {
			if g.Cost != g.Productive+g.Failed.Amount+g.Pull.Amount+g.Minimum.Amount+g.Rounding.Amount+g.Idle.Amount {
				t.Errorf("%s: does not add up: %+v", query, g)
			}
		}
		for _, g := range got.Groups {
			if g.Cost != amounts[fmt.Sprint(g.Keys)] {
				t.Errorf("%s %v: cost %s, want %s", query, g.Keys, g.Cost, amounts[fmt.Sprint(g.Keys)])
			}
		}
	}
	all := decode[waste.Report](t, ask("GET", "/waste?limit=1", ""))
	if len(all.Groups) != 1 || all.LeftOut != 2 || all.Total.Failed.Amount == 0 || all.Total.Pull.Amount == 0 || all.Total.Minimum.Amount == 0 || all.Total.Rounding.Amount == 0 || all.Total.Idle.Amount == 0 || all.Total.Productive == 0 {
		t.Errorf("one group: %+v", all)
	}

	same := decode[whatif.Result](t, ask("POST", "/what-if", `{"spot":false}`))
	recorded := decode[waste.Report](t, ask("GET", "/waste?groupBy=task", ""))
	var ended billing.Money
	for _, g := range recorded.Groups {
		if i, _ := task.ParseID(g.Keys[0]); !goesOn(i) {
			ended += g.Cost
		}
	}
	if same.Total.Runs != 36 || same.Total.Actual != ended || same.Total.Hypothetical != ended || same.Total.Percent != "0.00" {
		t.Errorf("all as it was: %+v, charged was %s", same.Total, ended)
	}
	if spot := decode[whatif.Result](t, ask("POST", "/what-if", `{"days":1,"spot":true,"cpu":512,"memory":1024,"cpuArchitecture":"ARM64","family":"web"}`)); spot.Total.Difference >= 0 || len(spot.Families) != 1 || len(spot.Notes) < 4 {
		t.Errorf("on Spot: %+v", spot)
	}
	for _, tt := range []struct{ method, path, body, field string }{
		{"GET", "/waste?groupBy=sku", "", "groupBy"}, {"GET", "/waste?groupBy=day", "", "groupBy"}, {"GET", "/waste?limit=0", "", "limit"}, {"GET", "/waste?sku=x", "", "sku"},
		{"GET", "/waste?from=1h&to=5h", "", "to"}, {"GET", "/waste?granularity=DAILY", "", "granularity"}, {"POST", "/what-if", `{}`, ""},
		{"POST", "/what-if", `{"cpu":300,"memory":512}`, "cpu"}, {"POST", "/what-if", `{"cpu":256,"memory":513}`, "memory"}, {"POST", "/what-if", `{"spot":"yes"}`, "spot"},
		{"POST", "/what-if", `{"days":500,"spot":true}`, "days"}, {"POST", "/what-if", `{"colour":1}`, "colour"}, {"POST", "/what-if", `{"cpuArchitecture":"MIPS"}`, "cpuArchitecture"},
	} {
		rec := ask(tt.method, tt.path, tt.body)
		if f := decode[api.Fault](t, rec); rec.Code != http.StatusBadRequest || f.Field != tt.field || f.Detail == "" {
			t.Errorf("%s %s: %d %+v, want field %q", tt.path, tt.body, rec.Code, f, tt.field)
		}
	}
}

// goesOn reports whether that was said to charge.
func goesOn(id task.ID) bool {
	var n int
	fmt.Sscanf(string(id), "%x", &n)
	return n%10 == 0
}
