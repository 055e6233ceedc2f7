package store_test

import (
	"testing"

	"berth/balancer"
	"berth/fault"
	"berth/store/storetest"
	"berth/task"
)

// Ensure a target group keeps its ARN when it changes, that a port of the host is one
// group's in all accounts, and that a group goes only when no unfinished task names it.
func TestTargetGroups(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	ctx := t.Context()
	here := storetest.Realm
	there := task.Realm{Region: here.Region, Account: "111111111111"}
	web, err := s.PutTargetGroup(ctx, here, balancer.TargetGroup{Name: "web", Port: 80, ListenPort: 8000})
	if err != nil || web.ARN == "" || web.CreatedAt.IsZero() {
		t.Fatalf("%+v, %v", web, err)
	}
	again, err := s.PutTargetGroup(ctx, here, balancer.TargetGroup{Name: "web", Port: 81, ListenPort: 8000})
	if err != nil || again.ARN != web.ARN || !again.CreatedAt.Equal(web.CreatedAt) {
		t.Errorf("changed: %+v, %v", again, err)
	}
	if got, err := s.TargetGroup(ctx, here, web.ARN); err != nil || got.Port != 81 {
		t.Errorf("by its ARN: %+v, %v", got, err)
	}
	for _, ref := range []string{"web", web.ARN} {
		if _, err := s.TargetGroup(ctx, there, ref); fault.KindOf(err) != fault.NotFound {
			t.Errorf("another account sees %s: %v", ref, err)
		}
	}
	if _, err := s.PutTargetGroup(ctx, there, balancer.TargetGroup{Name: "web", Port: 80, ListenPort: 8000}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a port that is another account's: %v", err)
	}
	for _, name := range []string{"web", "db"} { // none of them listens
		if _, err := s.PutTargetGroup(ctx, there, balancer.TargetGroup{Name: name, Port: 80}); err != nil {
			t.Error(err)
		}
	}
	if all, err := s.TargetGroups(ctx, there); err != nil || len(all) != 2 || all[0].Name != "db" {
		t.Errorf("of one account: %+v, %v", all, err)
	}
	if all, err := s.TargetGroups(ctx, task.Realm{}); err != nil || len(all) != 3 {
		t.Errorf("all: %+v, %v", all, err)
	}
	target := newTask(t)
	target.LoadBalancers = []task.LoadBalancer{{TargetGroupARN: web.ARN, ContainerName: "main", ContainerPort: 80}}
	if _, err := s.Create(ctx, []task.Task{target}, nil, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveTargetGroup(ctx, here, "web"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("removing a group that a task names: %v", err)
	}
	if err := s.RemoveTargetGroup(ctx, there, "web"); err != nil {
		t.Errorf("removing one of that name: %v", err)
	}
	if err := s.RemoveTargetGroup(ctx, there, "web"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removing none: %v", err)
	}
}
