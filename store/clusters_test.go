package store_test

import (
	"testing"
	"time"

	"berth/cluster"
	"berth/fault"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// Ensure clusters are kept per account and region, and that the default one is there
// until somebody deletes it.
func TestClusters(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	in := storetest.Realm
	put := func(in task.Realm, status string) {
		t.Helper()
		if _, err := s.ChangeCluster(ctx, in, func(c cluster.Cluster) (cluster.Cluster, error) {
			c, err := cluster.New(in.Cluster, time.Unix(1, 0).UTC())
			c.Status = status
			return c, err
		}); err != nil {
			t.Fatal(err)
		}
	}
	put(in.InCluster("a"), cluster.Active)
	put(in.InCluster("z"), cluster.Active)
	put(task.Realm{Account: "111111111111", Region: in.Region, Cluster: "foreign"}, cluster.Active)
	list := func(in task.Realm) (names []string) {
		t.Helper()
		for token := ""; ; {
			page, next, err := s.Clusters(ctx, in, store.Page{Limit: 1, Token: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page {
				names = append(names, c.Name)
			}
			if token = next; token == "" {
				return names
			}
		}
	}
	if got := list(in); len(got) != 3 || got[0] != "a" || got[1] != "default" || got[2] != "z" {
		t.Errorf("%v", got)
	}
	if _, err := s.Cluster(ctx, in.InCluster("foreign")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another account's: %v", err)
	}
	put(in, cluster.Inactive)
	if got := list(in); len(got) != 2 {
		t.Errorf("deleted: %v", got)
	}
	if c, err := s.Cluster(ctx, in); err != nil || c.Status != cluster.Inactive {
		t.Errorf("%+v, %v", c, err)
	}
}

// Ensure no task is made in a cluster that is not there, and that definitions, tokens and
// tasks of one account are not those of another.
func TestTenants(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	ours, theirs := storetest.Realm, task.Realm{Account: "111111111111", Region: "us-east-1", Cluster: "default"}
	make := func(in task.Realm, token string) (task.Task, error) {
		d, err := s.Register(ctx, in, task.Definition{Family: "web", CPU: "256", Memory: "512"})
		if err != nil {
			t.Fatal(err)
		}
		tk, err := task.New(d, task.Run{Realm: in}, task.NewID(), task.Instant{Wall: time.Now().UTC(), BootID: "b"})
		if err != nil {
			t.Fatal(err)
		}
		made, err := s.Create(ctx, []task.Task{tk}, nil, token, token+in.Cluster)
		if err != nil {
			return task.Task{}, err
		}
		return made[0], nil
	}
	a, err := make(ours, "one")
	if err != nil {
		t.Fatal(err)
	}
	b, err := make(theirs, "one")
	if err != nil || a.ID == b.ID || b.DefinitionARN != theirs.DefinitionARN("web", 1) {
		t.Fatalf("%+v, %v", b, err)
	}
	if _, err := make(ours.InCluster("nowhere"), "two"); fault.KindOf(err) != fault.NotFound || fault.FieldOf(err) != "cluster" {
		t.Errorf("a cluster that is not there: %v", err)
	}
	if _, err := s.Definition(ctx, ours, b.DefinitionARN); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another account's definition: %v", err)
	}
	got, _, err := s.Tasks(ctx, store.Filter{Account: theirs.Account}, store.Page{Limit: 10})
	if err != nil || len(got) != 1 || got[0].ID != b.ID || got[0].Realm() != theirs {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Requested(ctx, theirs, "two", "h"); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Ensure account settings are kept and forgotten.
func TestAccountSettings(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	for _, value := range []string{"enabled", "disabled", ""} {
		if err := s.SetAccountSetting(ctx, storetest.Realm, "", "containerInsights", value); err != nil {
			t.Fatal(err)
		}
		if all, err := s.AccountSettings(ctx, storetest.Realm, ""); err != nil || all["containerInsights"] != value {
			t.Errorf("%v, %v", all, err)
		}
	}
}
