package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/service"
	"berth/store/storetest"
	"berth/task"
)

func someService(name string, n int) service.Service {
	return service.Service{
		ID: service.ID(fmt.Sprintf("%032x", n)), Realm: storetest.Realm, Name: name, Status: service.Active, Version: 1, Controller: service.ECS,
		CreatedAt: time.Unix(int64(n), 0).UTC(), Template: service.Template{LaunchType: "FARGATE"},
	}
}

// Ensure a service is written one version at a time, with its news, and its name is its own
// until nothing is left of it.
func TestPutService(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	ctx := t.Context()
	v := someService("web", 1)
	news := service.News{
		Events:    []service.Event{{ID: "a", Message: "first", At: time.Unix(1, 0)}, {ID: "b", At: time.Unix(1, 0)}, {ID: "c", Message: "third", At: time.Unix(2, 0)}},
		Rollouts:  []service.Rollout{{ARN: "deployment/1", Service: v.ID, Status: service.RolloutPending, CreatedAt: time.Unix(1, 0)}},
		Revisions: []service.Revision{{ARN: "revision/1", Service: v.ID}},
	}
	if err := s.PutService(ctx, v, news); err != nil {
		t.Fatal(err)
	}
	if err := s.PutService(ctx, v, service.News{Events: news.Events}); !errors.Is(err, service.ErrStale) {
		t.Errorf("the same version again: %v", err)
	}
	if err := s.PutService(ctx, someService("web", 2), service.News{}); !errors.Is(err, service.ErrStale) {
		t.Errorf("another of that name: %v", err)
	}
	elsewhere := someService("web", 3)
	elsewhere.Realm.Account = "111111111111"
	if err := s.PutService(ctx, elsewhere, service.News{}); err != nil {
		t.Errorf("one of that name in another account: %v", err)
	}
	nowhere := someService("web", 4)
	nowhere.Realm.Cluster = "nowhere"
	if err := s.PutService(ctx, nowhere, service.News{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("one in no cluster: %v", err)
	}
	events, err := s.ServiceEvents(ctx, v.ID, 100)
	if err != nil || len(events) != 2 || events[0].ID != "c" {
		t.Errorf("its events are %+v, %v", events, err)
	}
	all, err := s.EventsAfter(ctx, events[1].Seq, 100)
	if err != nil || len(all) != 2 || all[0].ID != "b" {
		t.Errorf("the events after its first are %+v, %v", all, err)
	}
	v.Version, v.Status, v.InactiveAt = 2, service.Inactive, time.Unix(9, 0).UTC()
	news.Rollouts[0].Status = service.RolloutStopped
	if err := s.PutService(ctx, v, service.News{Rollouts: news.Rollouts}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Rollouts(ctx, []string{"deployment/1", "deployment/2"}); err != nil || len(r) != 1 || r[0].Status != service.RolloutStopped {
		t.Errorf("its deployments are %+v, %v", r, err)
	}
	v.Version, v.Status, v.InactiveAt = 3, service.Active, time.Time{}
	if err := s.PutService(ctx, v, service.News{}); err == nil {
		t.Error("it came back")
	}
	next := someService("web", 5)
	if err := s.PutService(ctx, next, service.News{}); err != nil {
		t.Errorf("its name again: %v", err)
	}
	if got, err := s.ServiceNamed(ctx, storetest.Realm, "web"); err != nil || got.ID != next.ID {
		t.Errorf("the one of that name is %s, %v", got.ID, err)
	}
	if left, err := s.UnfinishedServices(ctx); err != nil || len(left) != 2 {
		t.Errorf("%d are left, %v", len(left), err)
	}
	if a, d, err := s.CountServices(ctx, storetest.Realm); err != nil || a != 1 || d != 0 {
		t.Errorf("%d and %d, %v", a, d, err)
	}
	if err := s.ForgetServices(ctx, time.Unix(10, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Service(ctx, v.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("it is not forgotten: %v", err)
	}
	if r, err := s.Revisions(ctx, []string{"revision/1"}); err != nil || len(r) != 0 {
		t.Errorf("its revision is not forgotten: %v, %v", r, err)
	}
}

// Ensure services and their deployments are listed page by page, each once.
func TestListServices(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	ctx := t.Context()
	for i := range 25 {
		v := someService(fmt.Sprintf("s%02d", i), 100-i)
		if i%5 == 0 {
			v.Template.ServiceConnect = &service.Connect{Enabled: true, Namespace: "ns"}
		}
		if err := s.PutService(ctx, v, service.News{}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for after := service.ID(""); ; {
		page, err := s.Services(ctx, service.Filter{Realm: storetest.Realm}, 10, after)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, v := range page {
			names = append(names, v.Name)
		}
		after = page[len(page)-1].ID
	}
	if len(names) != 25 || names[0] != "s00" || names[24] != "s24" {
		t.Errorf("listed %v", names)
	}
	for _, c := range []struct {
		f    service.Filter
		want int
	}{
		{service.Filter{Realm: storetest.Realm, Namespace: "ns"}, 5}, {service.Filter{Realm: storetest.Realm, Launch: "EC2"}, 0},
		{service.Filter{Realm: storetest.Realm.InCluster("other")}, 0}, {service.Filter{Realm: storetest.Realm.InCluster("")}, 25},
	} {
		if got, err := s.Services(ctx, c.f, 100, ""); err != nil || len(got) != c.want {
			t.Errorf("%+v selects %d, %v; want %d", c.f, len(got), err, c.want)
		}
	}
	v := someService("deployed", 1)
	var news service.News
	for i := range 5 {
		news.Rollouts = append(news.Rollouts, service.Rollout{
			ARN: fmt.Sprint("d", i), Service: v.ID, Status: []service.RolloutStatus{service.RolloutSuccessful, service.RolloutStopped}[i%2], CreatedAt: time.Unix(int64(i/2), 0),
		})
	}
	if err := s.PutService(ctx, v, news); err != nil {
		t.Fatal(err)
	}
	list := func(f service.RolloutFilter) string {
		var arns []string
		for after := ""; ; {
			page, err := s.RolloutsOf(ctx, v.ID, f, 2, after)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				return strings.Join(arns, " ")
			}
			for _, r := range page {
				arns = append(arns, r.ARN)
			}
			after = page[len(page)-1].ARN
		}
	}
	if got := list(service.RolloutFilter{}); got != "d4 d3 d2 d1 d0" {
		t.Errorf("listed %s", got)
	}
	if got := list(service.RolloutFilter{Status: []service.RolloutStatus{service.RolloutStopped}}); got != "d3 d1" {
		t.Errorf("listed %s", got)
	}
	if got := list(service.RolloutFilter{After: time.Unix(0, 1), Before: time.Unix(2, 0)}); got != "d3 d2" {
		t.Errorf("listed %s", got)
	}
}

// Ensure followers get every event in order, and old ones of a service are forgotten.
func TestServiceEvents(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	ctx := t.Context()
	v := someService("web", 1)
	go func() {
		v := v
		for i := range 30 {
			v.Version = int64(i + 1)
			var n service.News
			for j := range 50 {
				n.Events = append(n.Events, service.Event{ID: fmt.Sprint(i*50 + j), Message: "x", At: time.Unix(1, 0)})
			}
			if err := s.PutService(t.Context(), v, n); err != nil {
				t.Error(err)
			}
		}
	}()
	got, last := 0, int64(0)
	for e, err := range s.FollowServices(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq <= last {
			t.Fatalf("event %d comes after %d", e.Seq, last)
		}
		got, last = got+1, e.Seq
		if e.ID == "1499" {
			break
		}
	}
	if got < 1000 {
		t.Errorf("%d events, want at least 1000", got)
	}
	if end, err := s.LastServiceEvent(ctx); err != nil || end != last {
		t.Errorf("the newest is at %d, %v; want %d", end, err, last)
	}
	if all, err := s.EventsAfter(ctx, 0, 5000); err != nil || len(all) != 1000 {
		t.Errorf("%d are kept, %v", len(all), err)
	}
	if known, err := s.Known(ctx, []task.ID{"x"}); err != nil || len(known) != 0 {
		t.Errorf("%v, %v", known, err)
	}
}
