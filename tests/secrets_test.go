package tests

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/fault"
	"berth/task"
)

// Resolve is runner.Secrets.
func (h *host) Resolve(context.Context, task.ContainerPlan) ([]string, error) { return h.secrets() }

// secretive is a container that has a secret.
func secretive(command ...string) task.ContainerDefinition {
	c := main(command...)
	c.Secrets = []task.Secret{{Name: "A", ValueFrom: "a"}}
	return c
}

const notFound = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: " +
	"unable to retrieve secrets from ssm: invalid parameters: a"

// Ensure a missing secret ends a task before any of its containers runs, in Fargate's
// words, and nothing stays reserved.
func TestMissingSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		h.secrets = func() ([]string, error) { return nil, fault.New(fault.NotFound, notFound) }
		first := main("sleep", "1h")
		first.Name = "first"
		id := h.submit(task.Run{}, first, secretive("sleep", "1h")).ID
		time.Sleep(10 * time.Second)
		got := h.task(id)
		if got.LastStatus != task.Stopped || got.StopCode != task.FailedToStart || got.StoppedReason != notFound {
			t.Errorf("%s %s %s", got.LastStatus, got.StopCode, got.StoppedReason)
		}
		if c := got.Container("first"); !c.StartedAt.IsZero() {
			t.Errorf("a container ran: %+v", c)
		}
		if _, reserved, _ := h.runner.Load(); reserved != (task.Size{}) {
			t.Errorf("reserved: %v", reserved)
		}
	})
}

// Ensure a source that does not answer is asked again, and given up after a minute with
// its own reason.
func TestSecretsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		var asked atomic.Int32
		var up atomic.Bool
		down := fault.Wrap(fault.Unavailable, errors.New("connection refused"), "ResourceInitializationError: unable to pull secrets: Vault does not answer")
		h.secrets = func() ([]string, error) {
			if asked.Add(1); up.Load() {
				return []string{"A=value"}, nil
			}
			return nil, down
		}
		id := h.submit(task.Run{}, secretive("sleep", "1h")).ID
		time.Sleep(2 * time.Minute)
		if got := h.task(id); got.StopCode != task.FailedToStart || got.StoppedReason != fault.Message(down) || asked.Load() < 5 {
			t.Errorf("asked %d times: %s %s %s", asked.Load(), got.LastStatus, got.StopCode, got.StoppedReason)
		}
		id = h.submit(task.Run{}, secretive("sleep", "1h")).ID
		time.Sleep(30 * time.Second)
		up.Store(true)
		time.Sleep(15 * time.Second)
		if got := h.task(id); got.LastStatus != task.Running || !slices.Equal(h.fake.Secrets(id, "main"), []string{"A=value"}) {
			t.Errorf("%s, told %q", got.LastStatus, h.fake.Secrets(id, "main"))
		}
	})
}

// Ensure a task that waits for its secrets can be stopped at once.
func TestStopWhileResolving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		h.secrets = func() ([]string, error) { return nil, fault.New(fault.Unavailable, "not now") }
		id := h.submit(task.Run{}, secretive("sleep", "1h")).ID
		time.Sleep(20 * time.Second)
		if _, err := h.runner.Stop(t.Context(), id, "enough"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		if got := h.task(id); got.LastStatus != task.Stopped || got.StopCode != task.UserInitiated {
			t.Errorf("%s %s", got.LastStatus, got.StopCode)
		}
	})
}

// Ensure a server that dies between the making of containers and their start leaves a
// task that goes on, whether or not its secrets can be had again.
func TestRestartAfterResolving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := true
		h := newHost(t, func(call string, _ task.ID) error {
			if call == "start" && slow {
				time.Sleep(10 * time.Second)
			}
			return nil
		})
		h.secrets = func() ([]string, error) { return []string{"A=value"}, nil }
		id := h.submit(task.Run{}, secretive("sleep", "1h")).ID
		time.Sleep(3 * time.Second)
		if got := h.task(id).LastStatus; got != task.Activating {
			t.Fatalf("the task is %s already", got)
		}
		h.crash()
		slow = false
		h.secrets = func() ([]string, error) { return nil, fault.New(fault.NotFound, "it was removed meanwhile") }
		h.start()
		time.Sleep(time.Minute)
		if got := h.task(id); got.LastStatus != task.Running || h.fake.Starts(id, "main") != 1 {
			t.Errorf("%s %s, started %d times", got.LastStatus, got.StoppedReason, h.fake.Starts(id, "main"))
		}
	})
}
