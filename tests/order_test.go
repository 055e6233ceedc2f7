package tests

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/task"
)

// part is a container of which others may not need that it goes on.
func part(name string, timeout int, command []string, needs ...task.Dependency) task.ContainerDefinition {
	no := false
	c := main(command...)
	c.Name, c.Essential, c.DependsOn = name, &no, needs
	if timeout > 0 {
		c.StartTimeout = ptr(timeout)
	}
	return c
}

func completed(name string) task.Dependency {
	return task.Dependency{Container: name, Condition: task.DependComplete}
}

// Ensure a startTimeout counts from the start of the container that has it, for those that
// wait for more than that, whatever else they wait for and however often the server starts
// (ECS agent, hasDependencyTimedOut).
func TestStartTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		sleeps := func(d string) []string { return []string{"sleep", d} }
		late := h.submit(task.Run{}, part("c", 0, sleeps("7s")), part("b", 4, sleeps("1s"), completed("c")), part("a", 0, sleeps("1h"), completed("b")), main("sleep", "1h")).ID
		start := h.submit(task.Run{}, part("c", 0, sleeps("7s")), part("b", 4, sleeps("1h"), completed("c")),
			part("a", 0, sleeps("1h"), task.Dependency{Container: "b", Condition: task.DependStart}), main("sleep", "1h")).ID
		both := h.submit(task.Run{}, part("x", 0, sleeps("8s")), part("b", 3, sleeps("1h")), part("a", 0, sleeps("1h"), completed("x"), completed("b")), main("sleep", "1h")).ID
		time.Sleep(5 * time.Second)
		if got := h.task(both); got.StopCode != task.FailedToStart || !strings.Contains(got.StoppedReason, "[b] for target [a] has timed out") ||
			got.StoppingAt.Sub(got.Container("b").StartedAt) != 3*time.Second {
			t.Errorf("one of two that are waited for: %s %s after %v", got.StopCode, got.StoppedReason, got.StoppingAt.Sub(got.Container("b").StartedAt))
		}
		time.Sleep(10 * time.Second)
		for what, id := range map[string]task.ID{"one that starts late": late, "one whose start is enough": start} {
			if got := h.task(id); got.LastStatus != task.Running || got.Container("a").LastStatus != task.Running {
				t.Errorf("%s: %s %s", what, got.LastStatus, got.StoppedReason)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, part("b", 20, []string{"sleep", "1h"}), part("a", 0, []string{"sleep", "1h"}, completed("b")), main("sleep", "1h")).ID
		quick := h.submit(task.Run{}, part("b", 20, []string{"sleep", "12s"}), part("a", 0, []string{"sleep", "1h"}, completed("b")), main("sleep", "1h")).ID
		for range 2 {
			time.Sleep(8 * time.Second)
			h.crash()
			h.start()
		}
		time.Sleep(10 * time.Second)
		got := h.task(id)
		between(t, "until the time was up, over two restarts", got.StoppingAt.Sub(got.Container("b").StartedAt), 20*time.Second, 21*time.Second)
		if got := h.task(quick); got.LastStatus != task.Running {
			t.Errorf("one that ended in time: %s %s", got.LastStatus, got.StoppedReason)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		id := h.submit(task.Run{}, part("b", 20, []string{"sleep", "12s"}), part("a", 0, []string{"sleep", "1h"}, completed("b")), main("sleep", "2h")).ID
		time.Sleep(5 * time.Second)
		h.away(time.Hour)
		if got := h.task(id); got.LastStatus != task.Running || got.Container("a").LastStatus != task.Running {
			t.Errorf("one that ended in time, and was seen late: %s %s", got.LastStatus, got.StoppedReason)
		}
	})
}
