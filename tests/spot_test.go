package tests

import (
	"testing"
	"testing/synctest"
	"time"

	"berth/fault"
	"berth/task"
)

// Ensure an interrupted task is warned while it runs, and killed when the notice is over,
// also if the server was away meanwhile; that what heeds the warning ends as it wants; and
// that a rate interrupts by itself.
func TestInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		spot := func(command ...string) task.ID {
			return h.submit(task.Run{Providers: []task.CapacityProvider{{Name: task.Spot, Weight: 1}}}, main(command...)).ID
		}
		stubborn, absent, heedful := spot("ignore", "TERM"), spot("ignore", "TERM"), spot("trap", "TERM", "50s")
		own := h.submit(task.Run{}, main("sleep", "1h")).ID
		time.Sleep(5 * time.Second)
		interrupt := func(id task.ID) task.Task {
			t.Helper()
			got, err := h.runner.Interrupt(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := interrupt(stubborn); got.LastStatus != task.Running || got.DesiredStatus != task.Stopped || got.StoppedReason != task.ReasonInterrupted {
			t.Errorf("warned: %s, to be %s, %q", got.LastStatus, got.DesiredStatus, got.StoppedReason)
		}
		if again := interrupt(stubborn); again.Version > h.task(stubborn).Version {
			t.Error("a second interruption changes the task")
		}
		interrupt(heedful)
		time.Sleep(10 * time.Second)
		interrupt(absent)
		time.Sleep(10 * time.Second)
		h.crash()
		time.Sleep(60 * time.Second)
		h.start()
		time.Sleep(5 * time.Minute)
		for _, tt := range []struct {
			id    task.ID
			lasts time.Duration
			code  int
		}{{stubborn, 2 * time.Minute, 137}, {absent, 2 * time.Minute, 137}, {heedful, 50 * time.Second, 0}} {
			got := h.task(tt.id)
			if got.LastStatus != task.Stopped || got.StopCode != task.SpotInterruption || *got.Containers[0].ExitCode != tt.code ||
				got.ExecutionStoppedAt.Sub(got.StoppingAt) != tt.lasts {
				t.Errorf("%s: %s with %d after %v, want %d after %v", got.LastStatus, got.StopCode, *got.Containers[0].ExitCode,
					got.ExecutionStoppedAt.Sub(got.StoppingAt), tt.code, tt.lasts)
			}
		}
		if _, err := h.runner.Interrupt(t.Context(), own); fault.KindOf(err) != fault.Conflict {
			t.Errorf("interrupting a task on demand: %v", err)
		}
		if got := interrupt(stubborn); got.LastStatus != task.Stopped {
			t.Errorf("interrupting one that has stopped: %s", got.LastStatus)
		}

		h.crash()
		h.spotRate = 6
		h.start()
		fated := spot("sleep", "240h")
		time.Sleep(6 * time.Hour)
		if got := h.task(fated); got.StopCode != task.SpotInterruption {
			t.Errorf("after six hours: %s %s", got.LastStatus, got.StopCode)
		}
		if got := h.task(own); got.StopCode != task.EssentialExited {
			t.Errorf("on demand: %s %s", got.LastStatus, got.StopCode)
		}
	})
}
