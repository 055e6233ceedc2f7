package task

import (
	"errors"
	"slices"
	"testing"
	"time"

	"berth/fault"
)

// Ensure only tasks that a service may stop are protected, and only for as long as was said.
func TestProtect(t *testing.T) {
	now := time.Unix(1e9, 0)
	served := Task{Group: "service:web", DesiredStatus: Running, Version: 4}
	held, changed, err := served.Protect(now.Add(time.Minute))
	if err != nil || !changed || held.Version != 5 || served.Version != 4 {
		t.Fatalf("%+v, %v, %v", held, changed, err)
	}
	if !held.ProtectedAt(now) || held.ProtectedAt(now.Add(time.Minute)) || served.ProtectedAt(now) {
		t.Error("protected at the wrong time")
	}
	if _, changed, err := held.Protect(now.Add(time.Minute)); changed || err != nil {
		t.Errorf("again: %v, %v", changed, err)
	}
	if free, changed, err := held.Protect(time.Time{}); !changed || err != nil || free.ProtectedAt(now) {
		t.Errorf("%+v, %v, %v", free, changed, err)
	}
	for _, not := range []Task{{Group: "family:web", DesiredStatus: Running}, {Group: "service:web", DesiredStatus: Stopped}} {
		_, changed, err := not.Protect(now)
		if changed || fault.KindOf(err) != fault.Conflict || ProtectionFailureOf(err) != NotValid {
			t.Errorf("%+v: %v, %v", not, changed, err)
		}
	}
	blocked := fault.Wrap(fault.Conflict, DeploymentBlocked, "later")
	if ProtectionFailureOf(blocked) != DeploymentBlocked || ProtectionFailureOf(errors.New("x")) != NotValid {
		t.Error("the reason is lost")
	}
}

func TestProtectionLasts(t *testing.T) {
	for _, c := range []struct {
		minutes int
		want    time.Duration
	}{{0, 0}, {1, time.Minute}, {2880, 48 * time.Hour}, {2881, 0}, {-5, 0}} {
		got, err := ProtectionLasts(&c.minutes)
		if got != c.want || (err == nil) != (c.want > 0) || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%d minutes: %v, %v", c.minutes, got, err)
		}
	}
	if got, err := ProtectionLasts(nil); got != 2*time.Hour || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Ensure tasks get the tags of their run, of their definition if that is wanted, and the
// server's own, each key once and the run's before the definition's.
func TestRunTags(t *testing.T) {
	d := Definition{Tags: []Tag{{"a", "definition"}, {"b", "definition"}}}
	r := Run{Tags: []Tag{{"b", "run"}, {"c", "run"}}, ManagedTags: []Tag{{"aws:ecs:clusterName", "x"}}}
	if got := r.tags(d); !slices.Equal(got, []Tag{{"b", "run"}, {"c", "run"}, {"aws:ecs:clusterName", "x"}}) {
		t.Errorf("%v", got)
	}
	r.PropagateTags = true
	if got := r.tags(d); !slices.Equal(got, []Tag{{"a", "definition"}, {"b", "run"}, {"c", "run"}, {"aws:ecs:clusterName", "x"}}) {
		t.Errorf("%v", got)
	}
	if got := (Run{}).tags(Definition{}); got == nil || len(got) > 0 {
		t.Errorf("%#v", got)
	}
	if len(d.Tags) != 2 || d.Tags[1].Value != "definition" {
		t.Error("the definition's tags were changed")
	}
}
