package tests

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/task"
)

// diesAt returns a host whose server dies as soon as a call has taken effect for which at
// holds, once: the call does not return before the server is gone. died is closed then.
func diesAt(t *testing.T, at func(h *host, call string, id task.ID) bool) (h *host, died chan struct{}) {
	var self atomic.Pointer[host]
	var once sync.Once
	died = make(chan struct{})
	h = newHost(t, func(call string, id task.ID) error {
		if h := self.Load(); h != nil && at(h, call, id) {
			once.Do(func() {
				go func() { h.crash(); close(died) }()
				time.Sleep(time.Second) // crash ends the server's context and waits for us
			})
		}
		return nil
	})
	self.Store(h)
	return h, died
}

// needs is a container that starts when another is healthy.
func needs(name, other string, command ...string) task.ContainerDefinition {
	c := main(command...)
	c.Name, c.DependsOn = name, []task.Dependency{{Container: other, Condition: task.DependHealthy}}
	return c
}

// Ensure a task says in the end how its containers were when they were last looked at, and
// what ran, wherever a server dies: when it has written that the task runs, when it has
// started what waited, and when somebody wants the task stopped at that moment.
func TestLastKnownHealth(t *testing.T) {
	for _, test := range []struct {
		name, db, app string
		at            func(h *host, call string, id task.ID) bool
		code          string
	}{
		{name: "it runs", db: "1h", app: "3s", code: task.EssentialExited, at: func(h *host, call string, id task.ID) bool {
			return call == "advance" && h.task(id).LastStatus == task.Running
		}},
		{name: "what waited runs", db: "1h", app: "3s", code: task.EssentialExited, at: func(h *host, call string, id task.ID) bool {
			return call == "start" && h.fake.Starts(id, "app") == 1
		}},
		{name: "what waited runs, and all end", db: "9s", app: "3s", code: task.EssentialExited, at: func(h *host, call string, id task.ID) bool {
			return call == "start" && h.fake.Starts(id, "app") == 1
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, died := diesAt(t, test.at)
				id := h.submit(task.Run{}, checked("db", "sleep", test.db), needs("app", "db", "sleep", test.app)).ID
				<-died
				time.Sleep(time.Minute)
				h.start()
				time.Sleep(5 * time.Minute)
				got := h.task(id)
				if got.LastStatus != task.Stopped || got.StopCode != test.code {
					t.Fatalf("it is %s: %s %s", got.LastStatus, got.StopCode, got.StoppedReason)
				}
				if db := got.Container("db"); db.Health != task.Healthy || db.StartedAt.IsZero() {
					t.Errorf("what was waited for is %s in the end, and started at %v", db.Health, db.StartedAt)
				}
				app := got.Container("app")
				if app.StartedAt.Sub(got.Container("db").StartedAt) != 5*time.Second || app.RuntimeID == "" || app.ExitCode == nil ||
					app.ExitedAt.Sub(app.StartedAt) < 3*time.Second {
					t.Errorf("what waited for it ran from %v to %v: %+v", app.StartedAt, app.ExitedAt, app)
				}
			})
		})
	}
}

// Ensure what a check found out is kept also if the task is stopped before that is written.
func TestHealthWhenStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var self atomic.Pointer[host]
		var once sync.Once
		h := newHost(t, func(call string, id task.ID) error {
			if h := self.Load(); h != nil && call == "advance" && h.task(id).LastStatus == task.Running {
				once.Do(func() {
					time.Sleep(20 * time.Second) // The database is slow, and checks go on.
					if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		})
		self.Store(h)
		id := h.submit(task.Run{}, checked("db", "sleep", "1h"), main("sleep", "1h")).ID
		time.Sleep(2 * time.Minute)
		if got := h.task(id); got.LastStatus != task.Stopped || got.Container("db").Health != task.Healthy {
			t.Errorf("it is %s, and was %s", got.LastStatus, got.Container("db").Health)
		}
	})
}

// Ensure a container that was started does not wait again when a server comes back, though
// what it waited for is not healthy any more: that is looked at before the start only (ECS
// developer guide, container dependency).
func TestWaitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		code := newCode(0)
		h.fake.Check = func(task.ID, string) int { return int(code.Load()) }
		db := checked("db", "sleep", "1h")
		db.StartTimeout = ptr(30)
		last := part("last", 0, []string{"sleep", "1h"}, completed("slow"))
		id := h.submit(task.Run{}, db, needs("app", "db", "sleep", "2h"), part("slow", 0, []string{"sleep", "2m"}), last).ID
		time.Sleep(8 * time.Second)
		if got := h.task(id); got.LastStatus != task.Activating || got.Container("app").LastStatus != task.Running {
			t.Fatalf("at first it is %s: %+v", got.LastStatus, got.Containers)
		}
		code.Store(1)
		time.Sleep(30 * time.Second)
		if got := h.healths(id); got != "UNHEALTHY UNHEALTHY UNKNOWN UNKNOWN UNKNOWN" {
			t.Fatalf("then it is %s", got)
		}
		h.crash()
		h.start()
		time.Sleep(60 * time.Second)
		if got := h.task(id); got.LastStatus != task.Activating {
			t.Errorf("after a crash it is %s: %s %s", got.LastStatus, got.StopCode, got.StoppedReason)
		}
		time.Sleep(60 * time.Second)
		if got := h.task(id); got.LastStatus != task.Running || got.Container("last").LastStatus != task.Running || h.healths(id) != "UNHEALTHY UNHEALTHY UNKNOWN UNKNOWN UNKNOWN" {
			t.Errorf("in the end it is %s and %s: %s %s", got.LastStatus, h.healths(id), got.StopCode, got.StoppedReason)
		}
	})
}

// Ensure a task whose containers start without waiting, or wait for less than one would
// look, is written down as often as it has states; and one that waits, no more often than
// there was something to tell.
func TestWritesOfLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		after := func(name string, d ...task.Dependency) task.ContainerDefinition {
			c := main("sleep", "1h")
			c.Name, c.DependsOn = name, d
			return c
		}
		for _, test := range []struct {
			name       string
			containers []task.ContainerDefinition
			least      int // events in ACTIVATING
			most       int
		}{
			{"one container", []task.ContainerDefinition{main("sleep", "1h")}, 1, 1},
			{"a check", []task.ContainerDefinition{checked("db", "sleep", "1h")}, 1, 1},
			{"START", []task.ContainerDefinition{checked("db", "sleep", "1h"), after("app", task.Dependency{Container: "db", Condition: task.DependStart})}, 1, 1},
			{"SUCCESS at once", []task.ContainerDefinition{part("init", 0, []string{"exit", "0"}), after("app", task.Dependency{Container: "init", Condition: task.DependSuccess})}, 1, 1},
			{"COMPLETE in 5 s", []task.ContainerDefinition{part("init", 0, []string{"sleep", "5s"}), after("app", completed("init"))}, 2, 3}, // it runs, and it has ended if that is written before the next has started
			{"HEALTHY in 5 s", []task.ContainerDefinition{checked("db", "sleep", "1h"), needs("app", "db", "sleep", "1h")}, 3, 3},            // it runs, it is healthy
		} {
			id := h.submit(task.Run{}, test.containers...).ID
			time.Sleep(20 * time.Second)
			got := 0
			for e := range h.events(id) {
				if e.Task.LastStatus == task.Activating {
					got++
				}
			}
			if now := h.task(id); got < test.least || got > test.most || now.LastStatus != task.Running {
				t.Errorf("%s: ACTIVATING in %d events, want %d to %d, and then %s", test.name, got, test.least, test.most, now.LastStatus)
			}
			if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
	})
}
