package tests

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/store/storetest"
	"berth/task"
)

// charged is how long the task is charged for.
func charged(t task.Task) time.Duration { return t.StoppedAt.Sub(t.PullStartedAt) }

// away ends the server, lets time pass and starts another one.
func (h *host) away(d time.Duration) {
	h.crash()
	time.Sleep(d)
	h.start()
	time.Sleep(5 * time.Minute)
}

// prepared returns two containers: prepare, which ends after that time, and late, which
// waits for that.
func prepared(after string, late task.ContainerDefinition) []task.ContainerDefinition {
	no := false
	prepare := main("sleep", after)
	prepare.Name, prepare.Essential = "prepare", &no
	late.Name = "late"
	late.DependsOn = []task.Dependency{{Container: "prepare", Condition: task.DependComplete}}
	return []task.ContainerDefinition{prepare, late}
}

func between(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %v, want %v to %v", what, got, least, most)
	}
}

// Ensure nobody pays for the time in which a process was lost and no server was
// there to see it.
func TestLostWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, main("sleep", "24h")).ID
		time.Sleep(30 * time.Second)
		h.crash()
		if err := h.fake.Lose(id, "main"); err != nil {
			t.Fatal(err)
		}
		h.away(5 * time.Hour)
		got := h.task(id)
		if got.LastStatus != task.Stopped || got.StopCode != task.Infrastructure {
			t.Errorf("%s %s", got.LastStatus, got.StopCode)
		}
		between(t, "charged for 30 s of life, with a beat every 5 s", charged(got), 25*time.Second, 31*time.Second)
	})
}

// Ensure a process that is lost under a server's eyes is charged for until then.
func TestLostWhileWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, main("sleep", "24h")).ID
		time.Sleep(30 * time.Second)
		h.away(time.Hour)
		if err := h.fake.Lose(id, "main"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		between(t, "charged", charged(h.task(id)), time.Hour+5*time.Minute, time.Hour+6*time.Minute)
	})
}

// Ensure a server that dies before it wrote down that a task runs costs the task
// neither its time stamps nor money.
func TestKilledWhileActivating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		h := newHost(t, func(call string, _ task.ID) error {
			if call == "start" && slow {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		id := h.submit(task.Run{}, main("sleep", "90s")).ID
		time.Sleep(2 * time.Second)
		if got := h.task(id).LastStatus; got != task.Activating {
			t.Fatalf("the task is %s already", got)
		}
		h.crash()
		slow = false
		h.away(time.Hour)
		got := h.task(id)
		between(t, "the container ran", got.Containers[0].ExitedAt.Sub(got.Containers[0].StartedAt), 90*time.Second, 90*time.Second)
		between(t, "the task ran", got.Containers[0].ExitedAt.Sub(got.StartedAt), 85*time.Second, 90*time.Second)
		between(t, "charged", charged(got), 90*time.Second, 100*time.Second)
	})
}

// Ensure an essential container that ends while others still wait for what they
// depend on, and no server is there, ends the task at that moment.
func TestEndedWhileActivating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		no := false
		late := main("sleep", "1s")
		late.Essential = &no
		id := h.submit(task.Run{}, append(prepared("20s", late), main("sleep", "10s"))...).ID
		time.Sleep(5 * time.Second)
		h.away(time.Hour)
		got := h.task(id)
		if got.LastStatus != task.Stopped || got.StopCode != task.EssentialExited {
			t.Errorf("%s %s %s", got.LastStatus, got.StopCode, got.StoppedReason)
		}
		between(t, "charged", charged(got), 10*time.Second, 21*time.Second)
	})
}

// Ensure a task that is stopped while it starts is stopped then, also if an earlier
// server began to start it.
func TestStopWhileActivatingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, prepared("20m", main("sleep", "1s"))...).ID
		time.Sleep(20 * time.Second)
		h.away(time.Minute)
		asked := time.Now()
		if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		got := h.task(id)
		between(t, "from the wish to stop until stopping", got.StoppingAt.Sub(asked), 0, time.Second)
		between(t, "charged", charged(got), asked.Sub(got.PullStartedAt), asked.Sub(got.PullStartedAt)+31*time.Second)
	})
}

// Ensure what is known of containers is kept when a task is stopped before all of
// them run.
func TestOutcomesOfAnUnfinishedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, prepared("200s", main("sleep", "1s"))...).ID
		time.Sleep(20 * time.Second)
		if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		got := h.task(id)
		if c := got.Container("prepare"); c.StartedAt.IsZero() || c.RuntimeID == "" || c.ExitCode == nil || !c.StartedAt.Before(c.ExitedAt) {
			t.Errorf("of the container that ran is known: %+v", c)
		}
		if c := got.Container("late"); !c.StartedAt.IsZero() || c.ExitCode != nil {
			t.Errorf("of the container that did not run is known: %+v", c)
		}
	})
}

// Ensure a restart admits no task beside those that run already, whatever the order
// of their IDs: two requests at once can be written down in the other order.
func TestRestartDoesNotOvercommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		d, err := h.store.Register(t.Context(), storetest.Realm, task.Definition{Family: "sim", CPU: "2048", Memory: "4096", ContainerDefinitions: []task.ContainerDefinition{main("sleep", "1h")}})
		if err != nil {
			t.Fatal(err)
		}
		var made [2][]task.Task
		for i := range made {
			if _, made[i], err = h.runner.Preview(t.Context(), task.Run{Realm: storetest.Realm, Definition: d.ARN}); err != nil { // what Submit does first
				t.Fatal(err)
			}
		}
		for _, i := range []int{1, 0} {
			if _, err := h.store.Create(t.Context(), made[i], nil, "", ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		check := func(when string) {
			t.Helper()
			if a, b := h.task(made[0][0].ID).LastStatus, h.task(made[1][0].ID).LastStatus; a != task.Provisioning || b != task.Running {
				t.Errorf("%s the first is %s and the second %s", when, a, b)
			}
		}
		check("before")
		h.crash()
		h.start()
		time.Sleep(5 * time.Second)
		check("after")
	})
}

// Ensure an image that was removed after it was pulled for a task is pulled again.
func TestImageRemovedBeforeCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := true
		h := newHost(t, func(call string, _ task.ID) error {
			if call == "create" && gone {
				gone = false
				return fault.Wrap(fault.NotFound, isolation.ErrNoImage, "not here")
			}
			return nil
		})
		id := h.submit(task.Run{}, main("sleep", "1s")).ID
		time.Sleep(time.Minute)
		if got := h.task(id); gone || got.StopCode != task.EssentialExited {
			t.Errorf("%v: %s %s", gone, got.StopCode, got.StoppedReason)
		}
	})
}

// Ensure a task of which everything was removed while no server ran is charged until then,
// wherever it was, and that nobody blames the host.
func TestRemovedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		waiting := h.submit(task.Run{}, prepared("24h", main("sleep", "1s"))...).ID
		running := h.submit(task.Run{}, main("sleep", "24h")).ID
		time.Sleep(30 * time.Second)
		fresh := h.submit(task.Run{}, prepared("24h", main("sleep", "1s"))...).ID
		time.Sleep(600 * time.Millisecond) // What its first container did is not written down yet.
		if got := h.task(fresh); got.LastStatus != task.Activating || !got.Container("prepare").StartedAt.IsZero() {
			t.Fatalf("the task is %s: %+v", got.LastStatus, got.Containers)
		}
		h.crash()
		for _, id := range []task.ID{waiting, running, fresh} {
			if err := h.fake.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		h.away(5 * time.Hour)
		for id, most := range map[task.ID]time.Duration{fresh: 2 * time.Second, waiting: 32 * time.Second, running: 32 * time.Second} {
			got := h.task(id)
			if got.LastStatus != task.Stopped || strings.Contains(got.StoppedReason, "restarted") {
				t.Errorf("%s: %s", got.LastStatus, got.StoppedReason)
			}
			between(t, "charged", charged(got), 0, most)
		}
	})
}

// Ensure a container is asked once to end, and has its stopTimeout once, however many
// servers see to it.
func TestStopOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		c := main("ignore", "TERM")
		c.StopTimeout = ptr(60)
		id := h.submit(task.Run{}, c).ID
		time.Sleep(time.Second)
		asked := time.Now()
		if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(10 * time.Second)
			h.crash()
			time.Sleep(5 * time.Second)
			h.start()
		}
		time.Sleep(time.Minute)
		between(t, "from the wish to stop until the end", h.task(id).ExecutionStoppedAt.Sub(asked), 60*time.Second, 61*time.Second)
	})
}
