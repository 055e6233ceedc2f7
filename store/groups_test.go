package store_test

import (
	"testing"

	"berth/fault"
	"berth/store/storetest"
	"berth/task"
)

// Ensure a security group keeps its ID when its rules change, that its rules name groups
// that exist, and that it goes only when nothing uses it.
func TestGroups(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	ctx := t.Context()
	web, err := s.PutGroup(ctx, storetest.Realm, task.SecurityGroup{Name: "web"})
	if err != nil || !task.GroupID.MatchString(web.ID) {
		t.Fatalf("%+v, %v", web, err)
	}
	db, err := s.PutGroup(ctx, storetest.Realm, task.SecurityGroup{Name: "db", Ingress: []task.Permission{
		{Protocol: "tcp", Pairs: []task.GroupPair{{GroupID: "web"}, {GroupID: "db"}}},
	}})
	if err != nil || db.Ingress[0].Pairs[0].GroupID != web.ID || db.Ingress[0].Pairs[1].GroupID != db.ID {
		t.Fatalf("%+v, %v", db, err)
	}
	again, err := s.PutGroup(ctx, storetest.Realm, task.SecurityGroup{Name: "web", Description: "new"})
	if err != nil || again.ID != web.ID {
		t.Errorf("replaced: %+v, %v", again, err)
	}
	if got, err := s.Group(ctx, storetest.Realm, web.ID); err != nil || got.Description != "new" {
		t.Errorf("by its ID: %+v, %v", got, err)
	}
	_, err = s.PutGroup(ctx, storetest.Realm, task.SecurityGroup{Name: "x", Ingress: []task.Permission{{Pairs: []task.GroupPair{{GroupID: "nobody"}}}}})
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("a rule that names no group: %v", err)
	}
	if err := s.RemoveGroup(ctx, storetest.Realm, "web"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("removing a group that rules name: %v", err)
	}
	if err := s.RemoveGroup(ctx, storetest.Realm, "nobody"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("removing no group: %v", err)
	}
	if err := s.RemoveGroup(ctx, storetest.Realm, db.ID); err != nil {
		t.Error(err)
	}
	member := newTask(t)
	member.NetworkConfiguration = &task.NetworkConfiguration{AWSVPC: task.AWSVPC{SecurityGroups: []string{web.ID}}}
	if _, err := s.Create(ctx, []task.Task{member}, nil, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveGroup(ctx, storetest.Realm, "web"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("removing a group that a task is in: %v", err)
	}
	if all, err := s.Groups(ctx, storetest.Realm); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}
