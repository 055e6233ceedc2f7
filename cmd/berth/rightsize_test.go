package main

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/history"
	"berth/billing/rightsize"
	"berth/client"
	"berth/fault"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/store/storetest"
	"berth/task"
)

type examplePrices struct{}

func (examplePrices) PriceList(context.Context, string, time.Time) (billing.PriceList, error) {
	return billing.BuiltIn(), nil
}

// Ensure that what is in the database comes out of the API: runs that ended, and a service
// that goes on; and that wrong questions are answered with the field.
func TestRightsize(t *testing.T) {
	ctx, st := t.Context(), storetest.Open(t, t.TempDir())
	now := task.Instant{Wall: time.Now().UTC().Round(0), Boot: 31 * 24 * time.Hour, BootID: "boot"}
	began := task.Instant{Wall: now.Wall.Add(-30 * 24 * time.Hour), Boot: 24 * time.Hour, BootID: "boot"}
	shape := billing.Shape{CPU: 1024, Memory: 4096, Storage: 20, Arch: "X86_64"}
	for i := range 30 {
		stopped := now.Wall.Add(-time.Duration(i) * time.Hour)
		if err := st.PutRun(ctx, task.Seq(i+1), history.Run{
			Task: task.NewID(), Account: storetest.Realm.Account, Family: "job", Revision: 1, Charged: true, Ran: true, StopCode: task.EssentialExited, Shape: shape, StoppedAt: stopped, Rest: time.Minute,
			Use: &history.Use{PeakBytes: 300 << 20, WorkingSetBytes: 300 << 20, Minutes: map[int]int{4: 1}},
		}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}

	d, err := task.ParseDefinition([]byte(`{"family":"web","cpu":"512","memory":"1024","containerDefinitions":[{"name":"main","image":"berth/demo"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	web, err := task.New(d, task.Run{Realm: storetest.Realm, Definition: "web"}, task.NewID(), began)
	if err != nil {
		t.Fatal(err)
	}
	created, err := st.Create(ctx, []task.Task{web}, &d, "", "")
	if err != nil {
		t.Fatal(err)
	}
	web = created[0]
	for _, tr := range []task.Transition{task.Provisioned(web, began, task.Network{}, ""), task.Pulled(began.Wall, nil), task.Started(began.Wall, nil)} {
		if web, err = st.Advance(ctx, web.ID, tr); err != nil {
			t.Fatal(err)
		}
	}

	c := resttest.New().Config()
	c.Log = zap.NewNop()
	c.Sizes = rightsize.New(rightsize.Config{
		Runs: st, Live: running{st, func() task.Instant { return now }}, Prices: examplePrices{}, Now: func() time.Time { return now.Wall },
	})
	srv := httptest.NewServer(rest.New(ctx, c))
	defer srv.Close()
	api := client.New(srv.URL)

	if a, err := api.Rightsize(ctx, rightsize.Request{TaskDefinition: "web"}); err != nil || a.Recommendations[0].Finding != rightsize.Insufficient {
		t.Errorf("a service of which nothing is known yet: %+v, %v", a, err)
	}
	up := billing.RollUp{Subject: billing.SubjectOf(web), Upto: task.Sample{At: now.Wall}}
	for i := range 20_160 { // the busy minutes were before the lookback
		up.Rolls = append(up.Rolls, billing.Roll{At: now.Wall.Truncate(time.Minute).Add(-time.Duration(i) * time.Minute), Covered: time.Minute, Samples: 60, CPUNanos: 5e9, MemoryPeak: 200 << 20, WorkingSetPeak: 100 << 20})
	}
	for range 10 {
		last := up.Rolls[len(up.Rolls)-1]
		last.At, last.CPUNanos = last.At.Add(-time.Minute), 30e9
		up.Rolls = append(up.Rolls, last)
	}
	slices.Reverse(up.Rolls)
	if err := st.PutUsage(ctx, nil, []billing.RollUp{up}); err != nil {
		t.Fatal(err)
	}

	a, err := api.Rightsize(ctx, rightsize.Request{})
	if err != nil || len(a.Recommendations) != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	small := task.Size{CPU: 256, Memory: 512}
	for i, want := range []struct {
		family string
		runs   int
		cpuMax int
	}{{"web", 1, 96}, {"job", 30, 64}} {
		r := a.Recommendations[i]
		if r.TaskDefinition != want.family || r.Runs != want.runs || r.Evidence.CPUMax != want.cpuMax || r.Suggested == nil || r.Suggested.Size() != small {
			t.Errorf("%+v", r)
		}
	}
	hours := billing.Money(730 * (40_480_000/4 + 4_445_000/2))
	if saved := a.Recommendations[0].SavingPerMonth; saved < hours-10 || saved > hours+10 {
		t.Errorf("web saves %s a month, want %s", saved, hours)
	}

	for field, r := range map[string]rightsize.Request{
		"lookbackDays": {LookbackDays: new(int)}, "runsPerDay": {RunsPerDay: -1}, "taskDefinition": {TaskDefinition: "a b"}, "cpuPercentile": {CPUPercentile: "12"},
	} {
		if _, err := api.Rightsize(ctx, r); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.FieldOf(err)+fault.Message(err), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := api.Rightsize(ctx, rightsize.Request{TaskDefinition: "none"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a family that never ran: %v", err)
	}
}
