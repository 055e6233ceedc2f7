package store_test

import (
	"fmt"
	"testing"
	"time"

	"berth/eventbridge"
	"berth/fault"
	"berth/store/storetest"
)

// Ensure rules are kept with how far they have come, which never goes back, once in each
// account and region; and that one that is set anew goes on where it is under another ID.
func TestEventRules(t *testing.T) {
	dir := t.TempDir()
	s := storetest.OpenUnclosed(t, dir)
	r := eventbridge.Rule{Realm: storetest.Realm, Name: "stops", ID: "1", Pattern: `{"source":["aws.ecs"]}`, Webhook: "https://example.com/a",
		ChangedAt: time.Unix(100, 0).UTC(), Progress: eventbridge.Progress{At: eventbridge.Position{Task: 7, Service: 2}}}
	r.Realm.Cluster = ""
	changed := s.RulesChanged()
	got, err := s.PutEventRule(t.Context(), r)
	if err != nil || got != r {
		t.Fatalf("%+v, %v", got, err)
	}
	<-changed
	other := r
	other.Realm.Account, other.ID = "999999999999", "2"
	if _, err := s.PutEventRule(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	p := eventbridge.Progress{At: eventbridge.Position{Task: 9}, Delivered: 1, DeliveredAt: time.Unix(200, 0).UTC(), Failure: "no answer"}
	if err := s.NoteProgress(t.Context(), "1", p); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir)
	p.At.Service = 2
	r.Progress = p
	if got, err := s.EventRule(t.Context(), r.Realm, "stops"); err != nil || got != r {
		t.Errorf("%+v, %v, want %+v", got, err, r)
	}
	again := r
	again.ID, again.ChangedAt, again.At = "3", time.Unix(300, 0), eventbridge.Position{}
	if got, err := s.PutEventRule(t.Context(), again); err != nil || got != r {
		t.Errorf("the same again: %+v, %v", got, err)
	}
	again.Webhook = "https://example.com/b"
	if got, err := s.PutEventRule(t.Context(), again); err != nil || got.ID != "3" || got.At != p.At || got.Delivered != 1 || got.Failure != "" {
		t.Errorf("another webhook: %+v, %v", got, err)
	}
	if err := s.NoteProgress(t.Context(), "1", eventbridge.Progress{At: eventbridge.Position{Task: 50}}); err != nil {
		t.Error(err)
	}
	if all, err := s.EventRules(t.Context()); err != nil || len(all) != 2 || all[0].At.Task != 9 || all[1].At.Task != 7 {
		t.Errorf("what an ID that is gone has come to: %+v, %v", all, err)
	}
	if err := s.RemoveEventRule(t.Context(), r.Realm, "stops"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveEventRule(t.Context(), r.Realm, "stops"); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	for i := range eventbridge.MostRules + 1 {
		r.Name, r.ID = fmt.Sprint("r", i), fmt.Sprint("i", i)
		if _, err := s.PutEventRule(t.Context(), r); (err != nil) != (i == eventbridge.MostRules) || err != nil && fault.KindOf(err) != fault.Exhausted {
			t.Errorf("rule %d: %v", i, err)
		}
	}
	if all, err := s.EventRulesOf(t.Context(), other.Realm); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}
