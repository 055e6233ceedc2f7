package task

import (
	"testing"
	"time"
)

// Ensure what is known of health goes with any step, is what it was once a container has
// ended, and is of the run that it was found out in.
func TestKnowing(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	runs := func(name string, essential bool) Container {
		return Container{Name: name, Essential: essential, LastStatus: Running, Health: Unknown, StartedAt: at}
	}
	old := runs("gone", false)
	old.LastStatus, old.Health = Stopped, Healthy
	now := Task{LastStatus: Activating, Health: Unknown, Containers: []Container{runs("a", true), runs("b", false), old, {Name: "c", Essential: true, LastStatus: Pending, Health: Unknown}}}
	step := func(tr Transition, health map[string]Verdict) {
		t.Helper()
		next, err := now.Apply(tr.Knowing(health))
		if err != nil {
			t.Fatal(err)
		}
		now = next
	}
	want := func(when, task string, containers ...string) {
		t.Helper()
		for i, want := range containers {
			if got := now.Containers[i].Health; got != want {
				t.Errorf("%s: container %s is %s, want %s", when, now.Containers[i].Name, got, want)
			}
		}
		if now.Health != task {
			t.Errorf("%s: the task is %s, want %s", when, now.Health, task)
		}
	}
	step(Waiting(at, nil), map[string]Verdict{"a": {Status: Healthy}, "gone": {Status: Unhealthy}})
	want("one waits", Unknown, Healthy, Unknown, Healthy, Unknown) // c has no say yet
	step(Waiting(at, nil), map[string]Verdict{"b": {Status: Unhealthy}})
	want("one that is not essential", Unknown, Healthy, Unhealthy, Healthy, Unknown)
	step(Started(at, map[string]Outcome{"c": {StartedAt: at}}), map[string]Verdict{"c": {Status: Healthy}})
	want("all run", Healthy, Healthy, Unhealthy, Healthy, Healthy)
	step(Observed(at, map[string]Outcome{"a": {Restart: true}}), map[string]Verdict{"a": {Status: Unhealthy}})
	want("anew", Unknown, Unknown, Unhealthy, Healthy, Healthy)
	step(Observed(at, map[string]Outcome{"b": {Exit: &Exit{At: at}}}), map[string]Verdict{"b": {Status: Healthy}})
	want("its end", Unknown, Unknown, Healthy, Healthy, Healthy)
	step(Quit(at, EssentialExited, ReasonEssentialExited, map[string]Outcome{"c": {Exit: &Exit{At: at}}}), map[string]Verdict{"c": {Status: Unhealthy}})
	want("the task's end", Unhealthy, Unknown, Healthy, Healthy, Unhealthy)
}
