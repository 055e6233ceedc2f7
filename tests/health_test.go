package tests

import (
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/task"
)

// checked is a container that is checked every 5 s and unhealthy after 3 failures.
func checked(name string, command ...string) task.ContainerDefinition {
	c := main(command...)
	c.Name = name
	c.HealthCheck = &task.HealthCheck{Command: []string{"CMD", "exit", "0"}, Interval: ptr(5)}
	return c
}

// newCode is an exit code that a test changes while checks read it.
func newCode(code int32) *atomic.Int32 {
	var c atomic.Int32
	c.Store(code)
	return &c
}

// healths returns the health of a task and of its containers.
func (h *host) healths(id task.ID) string {
	t := h.task(id)
	all := []string{t.Health}
	for _, c := range t.Containers {
		all = append(all, c.Health)
	}
	return strings.Join(all, " ")
}

// Ensure health is what the checks say, after as many as the definition asks for, over
// crashes of the server, and that nobody stops an unhealthy task.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		code := newCode(0)
		h.fake.Check = func(task.ID, string) int { return int(code.Load()) }
		id := h.submit(task.Run{}, checked("a", "sleep", "1h"), main("sleep", "1h")).ID
		plain := h.submit(task.Run{}, main("sleep", "1h")).ID
		want := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			if got := h.healths(id); got != want {
				t.Errorf("health is %s, want %s", got, want)
			}
		}
		want(3*time.Second, "UNKNOWN UNKNOWN UNKNOWN")
		want(4*time.Second, "UNKNOWN HEALTHY UNKNOWN") // the other has no check
		code.Store(1)
		want(9*time.Second, "UNKNOWN HEALTHY UNKNOWN") // two failures
		want(6*time.Second, "UNHEALTHY UNHEALTHY UNKNOWN")
		h.crash()
		time.Sleep(time.Minute)
		h.start()
		want(4*time.Second, "UNHEALTHY UNHEALTHY UNKNOWN")
		code.Store(0)
		want(6*time.Second, "UNKNOWN HEALTHY UNKNOWN")
		if got := h.task(id); got.LastStatus != task.Running {
			t.Errorf("the task is %s", got.LastStatus)
		}
		version := h.task(id).Version
		want(time.Minute, "UNKNOWN HEALTHY UNKNOWN")
		if got := h.task(id).Version; got != version {
			t.Errorf("checks that find nothing new were written down: version %d is now %d", version, got)
		}
		if got := h.healths(plain); got != "UNKNOWN UNKNOWN" {
			t.Errorf("without checks: %s", got)
		}
	})
}

// Ensure failures in the start period do not count, until a check has passed.
func TestStartPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		var passes atomic.Value // task.ID
		h.fake.Check = func(id task.ID, _ string) int {
			if id == passes.Load() && h.task(id).Health == task.Unknown {
				return 0
			}
			return 1
		}
		c := checked("a", "sleep", "1h")
		c.HealthCheck.StartPeriod, c.HealthCheck.Retries = ptr(60), ptr(1)
		slow, quick := h.submit(task.Run{}, c).ID, h.submit(task.Run{}, c).ID
		passes.Store(quick)
		time.Sleep(30 * time.Second)
		if a, b := h.healths(slow), h.healths(quick); a != "UNKNOWN UNKNOWN" || b != "UNHEALTHY UNHEALTHY" {
			t.Errorf("in the start period: %s, %s", a, b)
		}
		time.Sleep(40 * time.Second)
		if got := h.healths(slow); got != "UNHEALTHY UNHEALTHY" {
			t.Errorf("after the start period: %s", got)
		}
	})
}

// Ensure a container that waits for HEALTHY starts then, and that a dependency that never
// is, or ends before, ends the task.
func TestWaitForHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		var sick atomic.Value // task.ID
		h.fake.Check = func(id task.ID, _ string) int {
			if id == sick.Load() {
				return 1
			}
			return 0
		}
		app := main("sleep", "1h")
		app.DependsOn = []task.Dependency{{Container: "db", Condition: task.DependHealthy}}
		limited := checked("db", "sleep", "1h")
		limited.StartTimeout = ptr(20)
		good := h.submit(task.Run{}, checked("db", "sleep", "1h"), app).ID
		never := h.submit(task.Run{}, limited, app).ID
		short := h.submit(task.Run{}, checked("db", "sleep", "3s"), app).ID
		sick.Store(never)
		time.Sleep(time.Minute)
		got := h.task(good)
		if waited := got.Container("main").StartedAt.Sub(got.Container("db").StartedAt); got.LastStatus != task.Running || waited != 5*time.Second {
			t.Errorf("the task is %s, and the container waited %v for its dependency, want 5 s", got.LastStatus, waited)
		}
		if got := h.task(never); got.StopCode != task.FailedToStart || !strings.Contains(got.StoppedReason, "has timed out") {
			t.Errorf("never healthy: %s %s", got.StopCode, got.StoppedReason)
		}
		if got := h.task(short); got.LastStatus != task.Stopped || got.StopCode != task.EssentialExited {
			t.Errorf("ended before: %s %s %s", got.LastStatus, got.StopCode, got.StoppedReason)
		}
	})
}

// Ensure a container is started anew as its policy says, in a task that goes on, also if
// the server was away, and not when it ended too soon, with an ignored code or because
// somebody asked.
func TestRestartPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		policy := func(ignored ...int) *task.RestartPolicy {
			return &task.RestartPolicy{Enabled: ptr(true), RestartAttemptPeriod: ptr(60), IgnoredExitCodes: ignored}
		}
		one := func(p *task.RestartPolicy, command ...string) task.ID {
			c := main(command...)
			c.RestartPolicy = p
			return h.submit(task.Run{}, c).ID
		}
		steady, soon, done := one(policy(), "sleep", "70s"), one(policy(), "sleep", "59s"), one(policy(0), "sleep", "70s")
		time.Sleep(150 * time.Second)
		got := h.task(steady)
		if c := got.Containers[0]; got.LastStatus != task.Running || c.RestartCount != 2 || c.LastStatus != task.Running || c.ExitCode != nil {
			t.Errorf("after two restarts the task is %s: %+v", got.LastStatus, c)
		}
		for _, id := range []task.ID{soon, done} {
			if got := h.task(id); got.LastStatus != task.Stopped || got.StopCode != task.EssentialExited || got.Containers[0].RestartCount != 0 {
				t.Errorf("it was started anew: %s %s %d", got.LastStatus, got.StopCode, got.Containers[0].RestartCount)
			}
		}
		h.crash()
		time.Sleep(10 * time.Minute) // It ends meanwhile.
		h.start()
		time.Sleep(10 * time.Second)
		if c := h.task(steady).Containers[0]; c.RestartCount != 3 || c.LastStatus != task.Running || h.fake.Starts(steady, "main") != 4 {
			t.Errorf("after an absence: %+v, started %d times", c, h.fake.Starts(steady, "main"))
		}
		if _, err := h.runner.Stop(t.Context(), steady, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if got := h.task(steady); got.StopCode != task.UserInitiated || got.Containers[0].RestartCount != 3 || *got.Containers[0].ExitCode != 143 {
			t.Errorf("stopped: %s %+v", got.StopCode, got.Containers[0])
		}
	})
}

// Ensure one sees what a task waits for: the container that others wait for runs, is
// checked and is not healthy; also after a crash, and when it has come so far. A task of
// which no container waits tells no more than it did.
func TestSeenWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		code := newCode(1)
		h.fake.Check = func(task.ID, string) int { return int(code.Load()) }
		app := main("sleep", "1h")
		app.DependsOn = []task.Dependency{{Container: "db", Condition: task.DependHealthy}, {Container: "init", Condition: task.DependSuccess}}
		first := main("exit", "0")
		no := false
		first.Name, first.Essential = "init", &no
		id := h.submit(task.Run{}, checked("db", "sleep", "1h"), first, app).ID
		simple := main("sleep", "1h")
		simple.DependsOn = []task.Dependency{{Container: "db", Condition: task.DependStart}}
		plain := h.submit(task.Run{}, checked("db", "sleep", "1h"), simple).ID

		time.Sleep(3 * time.Second)
		begun := h.task(id)
		at := begun.Container("db").StartedAt
		look := func(when, health string) {
			t.Helper()
			got := h.task(id)
			db, ended, waits := got.Container("db"), got.Container("init"), got.Container("main")
			if got.LastStatus != task.Activating || got.Health != health || db.LastStatus != task.Running || db.Health != health ||
				db.RuntimeID == "" || !db.StartedAt.Equal(at) || at.IsZero() {
				t.Errorf("%s the task is %s and %s, what it waits for %s and %s since %v", when, got.LastStatus, got.Health, db.LastStatus, db.Health, db.StartedAt)
			}
			if ended.LastStatus != task.Stopped || ended.ExitCode == nil || *ended.ExitCode != 0 || waits.LastStatus != task.Pending {
				t.Errorf("%s the first has ended: %+v, the last waits: %s", when, ended, waits.LastStatus)
			}
		}
		look("at first", task.Unknown)
		time.Sleep(15 * time.Second)
		look("after three failures", task.Unhealthy)
		version := h.task(id).Version
		h.crash()
		time.Sleep(time.Minute)
		h.start()
		time.Sleep(3 * time.Second)
		look("after a crash", task.Unhealthy)
		if got := h.task(id).Version; got != version {
			t.Errorf("what was known was written down again: version %d is now %d", version, got)
		}
		code.Store(0)
		time.Sleep(10 * time.Second)
		got := h.task(id)
		if got.LastStatus != task.Running || got.Container("db").Health != task.Healthy || got.Container("main").LastStatus != task.Running {
			t.Errorf("in the end the task is %s: %+v", got.LastStatus, got.Containers)
		}
		for _, id := range []task.ID{plain, id} {
			if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if got := h.task(id); got.LastStatus != task.Stopped || got.Container("db").Health != task.Healthy {
			t.Errorf("when it has ended the task is %s, its health at the end %s", got.LastStatus, got.Container("db").Health)
		}
		told := 0
		for e := range h.events(plain) {
			if e.Task.LastStatus == task.Activating {
				told++
			}
		}
		if told != 1 {
			t.Errorf("a task that does not wait was ACTIVATING in %d events, want 1", told)
		}
	})
}

// events yields what the journal has of a task.
func (h *host) events(id task.ID) iter.Seq[task.Event] {
	return func(yield func(task.Event) bool) {
		last, err := h.store.LastSeq(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		for e, err := range h.store.Follow(h.t.Context(), 0) {
			if err != nil {
				h.t.Fatal(err)
			}
			if e.Task.ID == id && !yield(e) || e.Seq >= last {
				return
			}
		}
	}
}

// Ensure one learns since when a container is as it is, and by which exit code it became
// UNHEALTHY, also when the server that saw it is gone: what other checks ended with and when
// is not that (ECS agent, SetHealthStatus).
func TestVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		code := newCode(0)
		h.fake.Check = func(task.ID, string) int { return int(code.Load()) }
		c := checked("a", "sleep", "100s")
		c.RestartPolicy = &task.RestartPolicy{Enabled: ptr(true), RestartAttemptPeriod: ptr(60)}
		id := h.submit(task.Run{}, c).ID
		want := func(after time.Duration, status string, since time.Duration, code int) {
			t.Helper()
			time.Sleep(after)
			got := h.task(id)
			c, at := got.Containers[0], time.Time{}
			if since > 0 {
				at = got.StartedAt.Add(since)
			}
			if c.Health != status || !c.HealthSince.Equal(at) || c.HealthExitCode != code {
				t.Errorf("after %v it is %s since %v by %d, want %s since %v by %d", time.Since(got.StartedAt), c.Health, c.HealthSince, c.HealthExitCode, status, at, code)
			}
		}
		const s = time.Second
		want(3*s, task.Unknown, 0, 0)
		want(14*s, task.Healthy, 5*s, 0) // it was looked at three times
		code.Store(7)
		want(10*s, task.Healthy, 5*s, 0) // two failures
		code.Store(3)
		want(5*s, task.Unhealthy, 30*s, 3)
		code.Store(4)
		want(10*s, task.Unhealthy, 30*s, 3)
		h.crash()
		time.Sleep(10 * s)
		h.start()
		want(10*s, task.Unhealthy, 30*s, 3)
		code.Store(0)
		want(5*s, task.Healthy, 65*s, 3) // the code stays
		want(40*s, task.Healthy, 105*s, 3)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		slow, none := checked("slow", "sleep", "1h"), checked("none", "sleep", "1h")
		slow.HealthCheck.Command, none.HealthCheck.Command = []string{"CMD", "sleep", "1h"}, []string{"CMD", "/missing"}
		id := h.submit(task.Run{}, slow, none).ID
		time.Sleep(40 * time.Second)
		for _, c := range h.task(id).Containers {
			if c.Health != task.Unhealthy || c.HealthExitCode != task.NoExitCode {
				t.Errorf("%s: %s by %d", c.Name, c.Health, c.HealthExitCode)
			}
		}
	})
}
