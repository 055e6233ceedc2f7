package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/access"
	"berth/fault"
	"berth/store/storetest"
	"berth/task"
)

// Ensure users, keys and policies are kept, are forgotten together, and the last admin stays.
func TestUsers(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	at := time.Unix(1, 0).UTC()
	root := access.User{Account: "000000000000", Name: "root", Admin: true, CreatedAt: at}
	ann := access.User{Account: "111111111111", Name: "ann", CreatedAt: at}
	for _, u := range []access.User{root, ann} {
		if err := s.PutUser(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutUser(ctx, ann); fault.KindOf(err) != fault.Conflict {
		t.Errorf("twice: %v", err)
	}
	k := access.Key{ID: "AKIA1", Kind: access.AccessKey, Account: ann.Account, User: "ann", CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	if err := s.PutKey(ctx, k, []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	if err := s.PutKey(ctx, access.Key{ID: "x", Kind: access.Bearer, Account: ann.Account, User: "bob"}, []byte{1}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a key of nobody: %v", err)
	}
	got, u, secret, err := s.Key(ctx, "AKIA1")
	if err != nil || got != k || u.Name != "ann" || u.Admin || string(secret) != "sealed" {
		t.Errorf("%+v %+v %s %v", got, u, secret, err)
	}
	if err := s.SetKey(ctx, root.Account, "AKIA1", true); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another account's key: %v", err)
	}
	if err := s.SetKey(ctx, ann.Account, "AKIA1", true); err != nil {
		t.Error(err)
	}
	if all, err := s.Keys(ctx, ann.Account, "ann"); err != nil || len(all) != 1 || !all[0].Disabled {
		t.Errorf("%+v, %v", all, err)
	}
	p, err := access.ParsePolicy([]byte("ReadOnlyAccess"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutPolicy(ctx, ann.Account, "user/ann", "read", p); err != nil {
		t.Fatal(err)
	}
	if all, err := s.PoliciesOf(ctx, ann.Account, "user/ann"); err != nil || len(all) != 1 || len(all["read"].Statements) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := s.RemoveUser(ctx, root.Account, "root"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the last admin: %v", err)
	}
	if err := s.RemoveUser(ctx, ann.Account, "ann"); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Key(ctx, "AKIA1"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("the key of a user who is gone: %v", err)
	}
	if all, err := s.PoliciesOf(ctx, ann.Account, "user/ann"); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Ensure the audit log is read by account and from the newest, and forgotten from the oldest.
func TestAudit(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	for i := range 6 {
		if err := s.Audit(ctx, access.Record{EventID: fmt.Sprint(i), EventTime: time.Unix(int64(i), 0).UTC(), Account: []string{"a", "b"}[i%2]}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.AuditLog(ctx, "a", 0, 2)
	if err != nil || len(all) != 2 || all[0].EventID != "4" || all[1].EventID != "2" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err = s.AuditLog(ctx, "a", all[1].Seq, 2); err != nil || len(all) != 1 || all[0].EventID != "0" {
		t.Errorf("%+v, %v", all, err)
	}
	if n, err := s.PruneAudit(ctx, time.Unix(3, 0), 100); err != nil || n != 3 {
		t.Errorf("%d forgotten, %v", n, err)
	}
	if all, err := s.AuditLog(ctx, "", 0, 10); err != nil || len(all) != 3 || all[2].EventID != "3" {
		t.Errorf("%+v, %v", all, err)
	}
}

// Ensure many submissions at once do not pass an account's quota together, and that another
// account's tasks do not count.
func TestQuota(t *testing.T) {
	s, ctx := storetest.Open(t, t.TempDir()), t.Context()
	if err := s.SetQuota(ctx, storetest.Realm.Account, access.Quota{Tasks: 8, VCPU: 1}); err != nil {
		t.Fatal(err)
	}
	submit := func(in task.Realm) error {
		d := task.Definition{Family: "f", CPU: "256", Memory: "512", Registration: task.Registration{ARN: in.DefinitionARN("f", 1)}}
		tk, err := task.New(d, task.Run{Realm: in}, task.NewID(), task.Instant{Wall: time.Unix(1, 0).UTC(), BootID: "b"})
		if err != nil {
			return err
		}
		_, err = s.Create(ctx, []task.Task{tk}, nil, "", "")
		return err
	}
	var wait sync.WaitGroup
	var made, refused atomic.Int32
	for range 50 {
		wait.Go(func() {
			switch err := submit(storetest.Realm); {
			case err == nil:
				made.Add(1)
			case fault.KindOf(err) == fault.Exhausted:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if made.Load() != 4 || refused.Load() != 46 { // 4 × 256 are one vCPU
		t.Errorf("%d made, %d refused", made.Load(), refused.Load())
	}
	if err := submit(task.Realm{Account: "111111111111", Region: "us-east-1", Cluster: "default"}); err != nil {
		t.Errorf("another account: %v", err)
	}
}
