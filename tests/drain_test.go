package tests

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/task"
)

// Ensure a task that load balancers know gets its stop signal when they have let go of it,
// also if that fails at first or the server is away meanwhile; that nobody waits with what
// they do not know, and none with a task whose notice runs.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		h.crash()
		var failures atomic.Int32
		failures.Store(2)
		h.drain = func(ctx context.Context, got task.Task) error {
			if got.LastStatus != task.Deactivating {
				t.Errorf("drained while it is %s", got.LastStatus)
			}
			if failures.Add(-1) >= 0 {
				return errors.New("the balancer is not itself")
			}
			select {
			case <-time.After(20 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		h.start()
		web := main("sleep", "1h")
		web.PortMappings = []task.PortMapping{{ContainerPort: 80}}
		balanced := task.Run{LoadBalancers: []task.LoadBalancer{{TargetGroupARN: "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/0123456789abcdef", ContainerName: "main", ContainerPort: 80}}}
		known, plain := h.submit(balanced, web).ID, h.submit(task.Run{}, web).ID
		balanced.Providers = []task.CapacityProvider{{Name: task.Spot, Weight: 1}}
		spot := h.submit(balanced, web).ID
		time.Sleep(5 * time.Second)
		for _, id := range []task.ID{known, plain} {
			if _, err := h.runner.Stop(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.runner.Interrupt(t.Context(), spot); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if got := h.task(known); got.LastStatus != task.Deactivating || got.Containers[0].LastStatus != task.Running {
			t.Errorf("while it drains the task is %s and its container %s", got.LastStatus, got.Containers[0].LastStatus)
		}
		for _, id := range []task.ID{plain, spot} {
			if got := h.task(id); got.LastStatus != task.Stopped {
				t.Errorf("a task that nobody waits with is %s", got.LastStatus)
			}
		}
		h.crash()
		h.start()
		time.Sleep(15 * time.Second)
		if got := h.task(known); got.LastStatus != task.Deactivating {
			t.Errorf("after a crash it is %s without having been drained", got.LastStatus)
		}
		time.Sleep(10 * time.Second)
		if got := h.task(known); got.LastStatus != task.Stopped {
			t.Errorf("after it was drained it is %s", got.LastStatus)
		}
	})
}
