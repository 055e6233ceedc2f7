package store_test

import (
	"testing"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/scaling"
	"berth/store/storetest"
	"berth/task"
)

var webService = scaling.Resource{Realm: storetest.Realm, Service: "web"}

// Ensure targets, their policies and what was done are kept, and go as they came.
func TestScalingBook(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	policy := scaling.Policy{Resource: webService, Name: "cpu", ID: "2", Metric: scaling.CPU, Target: 50}
	put := func(*scaling.Policy) (scaling.Policy, error) { return policy, nil }
	if _, err := s.EditScalingPolicy(t.Context(), webService, "cpu", put); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a policy without a target: %v", err)
	}
	changed := s.ScalingChanged()
	target := scaling.Target{Resource: webService, ID: "1", Min: 1, Max: 4, CreatedAt: time.Unix(100, 0).UTC(), Tags: map[string]string{"a": "b"}}
	if _, err := s.EditScalableTarget(t.Context(), webService, func(old *scaling.Target) (scaling.Target, error) {
		if old != nil {
			t.Error("there is a target already")
		}
		return target, nil
	}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, err := s.EditScalingPolicy(t.Context(), webService, "cpu", put); err != nil {
		t.Fatal(err)
	}
	a := scaling.Activity{ID: "a1", Resource: webService, From: 1, To: 2, Cause: "c", Start: time.Now().UTC().Round(0), Status: scaling.InProgress}
	state := scaling.State{LastOut: time.Unix(200, 0).UTC(), Open: &a}
	if err := s.NoteScaling(t.Context(), a, state); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir)
	plans, err := s.ScalingPlans(t.Context())
	if err != nil || len(plans) != 1 || plans[0].Target.Max != 4 || plans[0].Target.Tags["a"] != "b" || plans[0].Target.Open == nil || *plans[0].Target.Open != a || len(plans[0].Policies) != 1 || plans[0].Policies[0] != policy {
		t.Errorf("%+v, %v", plans, err)
	}
	if _, err := s.EditScalableTarget(t.Context(), webService, func(old *scaling.Target) (scaling.Target, error) {
		next := *old
		next.Max, next.State = 9, scaling.State{}
		return next, nil
	}); err != nil {
		t.Fatal(err)
	}
	if plans, err := s.ScalingPlansOf(t.Context(), storetest.Realm); err != nil || plans[0].Target.Max != 9 || plans[0].Target.LastOut != state.LastOut {
		t.Errorf("a change of bounds made of it %+v, %v", plans, err)
	}
	a.Status = scaling.Successful
	if err := s.NoteScaling(t.Context(), a, scaling.State{}); err != nil {
		t.Fatal(err)
	}
	b := a
	b.ID = "a2"
	if err := s.NoteScaling(t.Context(), b, scaling.State{}); err != nil {
		t.Fatal(err)
	}
	page, next, err := s.ScalingActivities(t.Context(), storetest.Realm, webService.ID(), 0, 1)
	if err != nil || len(page) != 1 || page[0] != b || next == 0 {
		t.Errorf("%+v, %d, %v", page, next, err)
	}
	if page, next, err = s.ScalingActivities(t.Context(), storetest.Realm, "", next, 5); err != nil || len(page) != 1 || page[0] != a || next != 0 {
		t.Errorf("%+v, %d, %v", page, next, err)
	}
	other := storetest.Realm
	other.Account = "999999999999"
	if plans, err := s.ScalingPlansOf(t.Context(), other); err != nil || len(plans) != 0 {
		t.Errorf("another account has %+v, %v", plans, err)
	}
	if err := s.DeregisterScalableTarget(t.Context(), webService); err != nil {
		t.Error(err)
	}
	if err := s.RemoveScalingPolicy(t.Context(), webService, "cpu"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a policy outlived its target: %v", err)
	}
}

// Ensure the load of a minute is what the tasks of a service used of what they reserved.
func TestLoadOf(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	minute := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	var ups []billing.RollUp
	add := func(group, cluster string, cpu int, covered time.Duration, used uint64, memory uint64) {
		id := task.NewID()
		realm := storetest.Realm.InCluster(cluster)
		ups = append(ups, billing.RollUp{
			Subject: billing.Subject{Task: id, ARN: realm.TaskARN(id), Family: "f", Revision: 1, Group: group, Size: task.Size{CPU: cpu, Memory: 512}},
			Rolls:   []billing.Roll{{At: minute, Covered: covered, Samples: 60, CPUNanos: used, MemoryByteMillis: memory}},
			Upto:    task.Sample{At: minute.Add(time.Minute)},
		})
	}
	add("service:web", "default", 256, time.Minute, 15e9, 512<<20*60000/2) // the whole quarter of a vCPU, half of the memory
	add("service:web", "default", 256, 30*time.Second, 0, 0)
	add("service:web", "other", 1024, time.Minute, 6e9, 0)
	add("family:web", "default", 256, time.Minute, 15e9, 0)
	if err := s.PutUsage(t.Context(), nil, ups); err != nil {
		t.Fatal(err)
	}
	loads, err := s.LoadOf(t.Context(), minute)
	if err != nil || len(loads) != 2 {
		t.Fatalf("%+v, %v", loads, err)
	}
	near := func(a, b float64) bool { return a > b-0.01 && a < b+0.01 }
	if l := loads[webService]; l.Tasks != 1.5 || !near(l.CPU, 100.0/1.5) || !near(l.Memory, 50/1.5) {
		t.Errorf("%+v", l)
	}
	if l := loads[scaling.Resource{Realm: storetest.Realm.InCluster("other"), Service: "web"}]; l.Tasks != 1 || !near(l.CPU, 10) {
		t.Errorf("%+v", l)
	}
}
