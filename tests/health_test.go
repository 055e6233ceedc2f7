package tests

import (
	"strings"
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
		code := 0
		h.fake.Check = func(task.ID, string) int { return code }
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
		code = 1
		want(9*time.Second, "UNKNOWN HEALTHY UNKNOWN") // two failures
		want(6*time.Second, "UNHEALTHY UNHEALTHY UNKNOWN")
		h.crash()
		time.Sleep(time.Minute)
		h.start()
		want(4*time.Second, "UNHEALTHY UNHEALTHY UNKNOWN")
		code = 0
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
		code := 1
		h.fake.Check = func(task.ID, string) int { return code }
		c := checked("a", "sleep", "1h")
		c.HealthCheck.StartPeriod, c.HealthCheck.Retries = ptr(60), ptr(1)
		slow, quick := h.submit(task.Run{}, c).ID, h.submit(task.Run{}, c).ID
		h.fake.Check = func(id task.ID, _ string) int {
			if id == quick && h.task(id).Health == task.Unknown {
				return 0
			}
			return 1
		}
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
		var codes = map[task.ID]int{}
		h.fake.Check = func(id task.ID, _ string) int { return codes[id] }
		app := main("sleep", "1h")
		app.DependsOn = []task.Dependency{{Container: "db", Condition: task.DependHealthy}}
		limited := checked("db", "sleep", "1h")
		limited.StartTimeout = ptr(20)
		good := h.submit(task.Run{}, checked("db", "sleep", "1h"), app).ID
		never := h.submit(task.Run{}, limited, app).ID
		short := h.submit(task.Run{}, checked("db", "sleep", "3s"), app).ID
		codes[never] = 1
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
			return &task.RestartPolicy{Enabled: true, RestartAttemptPeriod: ptr(60), IgnoredExitCodes: ignored}
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
