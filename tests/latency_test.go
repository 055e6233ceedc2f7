package tests

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"berth/runner"
	"berth/task"
)

// Ensure tasks start as late as on Fargate, the same for every server that looks, and
// that one which is to stop waits for nothing.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		h.crash()
		h.latency = &runner.Latency{Size: func(context.Context, string) (int64, error) { return 918 << 20, nil }}
		h.start()
		var ids []task.ID
		for range 8 {
			ids = append(ids, h.submit(task.Run{}, main("sleep", "1h")).ID)
		}
		stopped := h.submit(task.Run{}, main("sleep", "1h")).ID
		time.Sleep(5 * time.Second)
		if _, err := h.runner.Stop(t.Context(), stopped, ""); err != nil {
			t.Fatal(err)
		}
		h.crash() // in the midst of it
		h.start()
		time.Sleep(15 * time.Second)
		h.crash()
		h.start()
		time.Sleep(time.Minute)
		var sum time.Duration
		for _, id := range ids {
			got := h.task(id)
			for _, step := range []struct {
				name        string
				took        time.Duration
				least, most float64
			}{
				{"provisioning", got.PullStartedAt.Sub(got.CreatedAt), 9.5, 11.5},
				{"pull", got.PullStoppedAt.Sub(got.PullStartedAt), 27, 32},
				{"start", got.StartedAt.Sub(got.PullStoppedAt), 2, 3.8},
			} {
				if s := step.took.Seconds(); s < step.least || s > step.most+0.1 {
					t.Errorf("%s took %.2f s, want %.1f to %.1f", step.name, s, step.least, step.most)
				}
			}
			sum += got.StartedAt.Sub(got.CreatedAt)
		}
		if mean := sum.Seconds() / float64(len(ids)); mean < 40.5 || mean > 44 { // measured: 42.3
			t.Errorf("tasks started after %.1f s in the mean", mean)
		}
		if got := h.task(stopped); got.LastStatus != task.Stopped || got.StoppedAt.Sub(got.CreatedAt) > 6*time.Second {
			t.Errorf("the stopped one: %s after %v", got.LastStatus, got.StoppedAt.Sub(got.CreatedAt))
		}
	})
}
