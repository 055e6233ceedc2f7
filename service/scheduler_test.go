package service

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

func ptr[T any](v T) *T { return &v }

// Ensure a service comes to have what it wants, says so once, and replaces what ends.
func TestDesiredCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		v := h.create(Request{Definition: "good", Desired: 3})
		if v.Status != Active || len(v.Deployments) != 1 || v.Deployments[0].State != InProgress {
			t.Errorf("created as %+v", v)
		}
		time.Sleep(2 * time.Minute)
		h.settled(3, "good")
		for text, want := range map[string]int{"has started 3 tasks: (task ": 1, "(service web) has reached a steady state.": 1, "deployment completed.": 1} {
			if got := h.book.said(text); got != want {
				t.Errorf("it was said %d times: %s", got, text)
			}
		}
		h.farm.stop(h.service().TaskIDs()[0], task.UserInitiated, "")
		time.Sleep(2 * time.Minute)
		h.settled(3, "good")
		if got := h.book.said("has reached a steady state."); got != 2 {
			t.Errorf("steady %d times, want 2", got)
		}
		h.update(Change{Desired: ptr(1)})
		time.Sleep(2 * time.Minute)
		h.settled(1, "good")
		h.update(Change{Desired: ptr(0)})
		time.Sleep(time.Minute)
		h.settled(0, "good")
	})
}

// Ensure a rolling deployment keeps its bounds at every moment, whatever they are.
func TestRollingBounds(t *testing.T) {
	for _, c := range []struct{ desired, min, max int }{
		{4, 100, 200}, {4, 50, 100}, {4, 50, 200}, {3, 66, 134}, {1, 0, 100}, {1, 100, 200}, {7, 90, 115}, {10, 0, 100}, {25, 80, 120},
	} {
		for _, kind := range []string{"good", "checked"} {
			t.Run(fmt.Sprint(c, kind), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					h := newHost(t, 0)
					v := h.create(Request{Definition: kind + ":1", Desired: c.desired, Configuration: ConfigurationChange{MinimumHealthy: &c.min, Maximum: &c.max}})
					time.Sleep(5 * time.Minute)
					h.settled(c.desired, kind)
					least, most := v.Configuration.Bounds(c.desired)
					h.farm.mu.Lock()
					h.farm.check = func(f *farm) {
						if all, healthy := f.live(); all > most || healthy < least {
							t.Errorf("%d tasks, %d of them healthy; want at most %d and at least %d", all, healthy, most, least)
						}
					}
					h.farm.mu.Unlock()
					first := h.service().TaskIDs()
					h.update(Change{Definition: ptr(kind + ":2")})
					time.Sleep(30 * time.Minute)
					h.settled(c.desired, kind)
					for _, id := range first {
						if h.farm.known(first)[id].StoppedReason != "Scaling activity initiated by (deployment "+h.service().Deployments[0].ID+")" {
							t.Errorf("task %s was stopped for %q", id, h.farm.known(first)[id].StoppedReason)
						}
					}
				})
			})
		}
	}
}

// Ensure the circuit breaker trips when as many tasks have failed as it says and not before,
// and goes back to the deployment that completed.
func TestCircuitBreaker(t *testing.T) {
	for _, c := range []struct {
		kind     string
		desired  int
		breaker  ConfigurationChange
		want     int // tasks that fail until it trips
		rollback bool
	}{
		{"broken", 1, ConfigurationChange{}, 3, true},
		{"broken", 1, ConfigurationChange{}, 3, false},
		{"crash", 1, ConfigurationChange{}, 3, true},
		{"sick", 1, ConfigurationChange{}, 3, true},
		{"broken", 1, ConfigurationChange{Type: ptr(Count), Value: ptr(5)}, 5, true},
		{"crash", 1, ConfigurationChange{Type: ptr(UnboundedPercent), Value: ptr(200)}, 2, true},
		{"sick", 2, ConfigurationChange{Type: ptr(UnboundedPercent), Value: ptr(50)}, 1, true},
	} {
		t.Run(fmt.Sprint(c.kind, c.want, c.rollback), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				h := newHost(t, 0)
				c.breaker.Enable, c.breaker.Rollback = ptr(true), &c.rollback
				h.create(Request{Definition: "good", Desired: c.desired, Configuration: c.breaker})
				time.Sleep(5 * time.Minute)
				h.settled(c.desired, "good")
				before := h.service().TaskIDs()
				old := h.service().Deployments[0].ID
				next := h.update(Change{Definition: &c.kind}).Deployments[0].ID
				time.Sleep(time.Hour)
				failed := 0
				for _, tk := range h.farm.tasks {
					if tk.StartedBy == next && tk.LastStatus == task.Stopped && !strings.HasPrefix(tk.StoppedReason, "Scaling") {
						failed++
					}
				}
				if failed < c.want || failed >= c.want+c.desired {
					t.Errorf("%d tasks failed until it tripped, want %d", failed, c.want)
				}
				v := h.service()
				if r := v.Rollout; r.Monitor != monitorTripped || r.Failures < c.want || r.Threshold != c.want || r.Deployment != next {
					t.Errorf("the service deployment is %+v", r)
				}
				if !c.rollback {
					if v.Deployments[0].ID != next || v.Deployments[0].State != Failed || v.Deployments[0].Reason != trippedText || v.Rollout.Status != RolloutStopped {
						t.Errorf("it is %+v", v)
					}
					if len(v.Deployments) != 2 || len(v.Deployments[1].Members) != c.desired {
						t.Errorf("the old tasks are gone: %+v", v.Deployments)
					}
					return
				}
				h.settled(c.desired, "good")
				if v.Deployments[0].ID != old || v.Rollout.Status != RollbackSuccessful || v.Rollout.Rollback.Revision != v.Deployments[0].Revision {
					t.Errorf("it is %+v, service deployment %+v", v.Deployments, v.Rollout)
				}
				if fmt.Sprint(h.service().TaskIDs()) != fmt.Sprint(before) {
					t.Error("the tasks that were well were replaced")
				}
				for _, text := range []string{"(deployment " + next + ") deployment failed: tasks failed to start.", "rolling back to deployment " + old + "."} {
					if h.book.said(text) != 1 {
						t.Errorf("it was not said once: %s", text)
					}
				}
			})
		})
	}
}

// Ensure a deployment that comes back after it was gone gives no number of an order out twice.
func TestComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		h.create(Request{Definition: "good", Desired: 1, Configuration: ConfigurationChange{MinimumHealthy: ptr(0), Maximum: ptr(100), Enable: ptr(true), Rollback: ptr(true)}})
		time.Sleep(2 * time.Minute)
		h.farm.stop(h.service().TaskIDs()[0], task.UserInitiated, "")
		time.Sleep(2 * time.Minute)
		h.update(Change{Definition: ptr("broken")})
		time.Sleep(15 * time.Second)
		if v := h.service(); len(v.Deployments) != 1 || v.Deployments[0].State != InProgress {
			t.Errorf("the old deployment is not gone: %+v", v.Deployments)
		}
		time.Sleep(10 * time.Minute)
		h.settled(1, "good")
		if h.farm.again != 0 {
			t.Errorf("%d orders were given twice", h.farm.again)
		}
	})
}

// Ensure thresholds are AWS's.
func TestThreshold(t *testing.T) {
	for _, c := range []struct {
		b             Breaker
		desired, want int
	}{
		{Breaker{Type: BoundedPercent, Value: 50}, 0, 3}, {Breaker{Type: BoundedPercent, Value: 50}, 1, 3}, {Breaker{Type: BoundedPercent, Value: 50}, 25, 13},
		{Breaker{Type: BoundedPercent, Value: 50}, 400, 200}, {Breaker{Type: BoundedPercent, Value: 50}, 4000, 200}, {Breaker{Type: UnboundedPercent, Value: 50}, 800, 400},
		{Breaker{Type: UnboundedPercent, Value: 10}, 1, 1}, {Breaker{Type: Count, Value: 5}, 4000, 5},
	} {
		if got := c.b.Threshold(c.desired); got != c.want {
			t.Errorf("threshold of %+v for %d tasks is %d, want %d", c.b, c.desired, got, c.want)
		}
	}
}

// Ensure a service whose tasks never run tries again later and later, and tells.
func TestBackoff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		h.create(Request{Definition: "broken", Desired: 10})
		time.Sleep(12 * time.Hour)
		h.farm.mu.Lock()
		made := len(h.farm.tasks)
		h.farm.mu.Unlock()
		// 10 s doubled until 15 min is 7 rounds in 21 min, then one each 15 min and some seconds.
		if rounds := made / 10; made%10 != 0 || rounds < 50 || rounds > 54 {
			t.Errorf("%d tasks were started in 12 hours", made)
		}
		if h.book.said("is unable to consistently start tasks successfully") != 1 {
			t.Error("nobody was told")
		}
		if v := h.service(); v.Deployments[0].State != InProgress || v.Deployments[0].Failed < 500 {
			t.Errorf("without a breaker it is %s with %d failed", v.Deployments[0].State, v.Deployments[0].Failed)
		}
		h.update(Change{Definition: ptr("good")})
		time.Sleep(3 * time.Minute)
		h.settled(10, "good")
	})
}

// Ensure a task that fails its check is replaced before it is stopped, if there may be more.
func TestSickTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		h.create(Request{Definition: "checked", Desired: 2, Grace: 30})
		time.Sleep(5 * time.Minute)
		id := h.service().TaskIDs()[0]
		h.farm.mu.Lock()
		h.farm.tasks[id].Health = task.Unhealthy
		h.farm.tell(h.farm.tasks[id])
		h.farm.check = func(f *farm) {
			if _, healthy := f.live(); healthy < 1 {
				t.Error("fewer healthy tasks than there were")
			}
		}
		h.farm.mu.Unlock()
		time.Sleep(10 * time.Second)
		if got := h.farm.known([]task.ID{id})[id]; got.DesiredStatus != task.Running {
			t.Error("it was stopped before another one was healthy")
		}
		time.Sleep(2 * time.Minute)
		h.settled(2, "checked")
		if got := h.farm.known([]task.ID{id})[id]; got.StopCode != task.ServiceScheduler || got.StoppedReason != "Task failed container health checks" {
			t.Errorf("it ended by %s %q", got.StopCode, got.StoppedReason)
		}
	})
}

// Ensure tasks behind a load balancer are healthy when it says so and not before, are left
// alone while it does not know, and are replaced when it says that they are not.
func TestTargets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		group := "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/0123456789abcdef"
		r := Request{Definition: "good", Desired: 2}
		r.LoadBalancers = []task.LoadBalancer{{TargetGroupARN: group, ContainerName: "main", ContainerPort: 80}}
		h.create(r)
		time.Sleep(10 * time.Minute)
		ids := h.service().TaskIDs()
		if v := h.service(); v.Steady || len(ids) != 2 || v.Deployments[0].State != InProgress {
			t.Errorf("before the load balancer knows, it is %+v", v)
		}
		say := func(healthy bool, ids ...task.ID) {
			h.farm.mu.Lock()
			defer h.farm.mu.Unlock()
			for _, id := range ids {
				h.farm.targets[id] = healthy
			}
		}
		say(true, ids...)
		time.Sleep(10 * time.Second)
		h.settled(2, "good")
		say(false, ids[0])
		time.Sleep(30 * time.Second)
		if got := h.farm.known(ids)[ids[0]]; got.DesiredStatus != task.Running || len(h.service().TaskIDs()) != 3 {
			t.Error("it was stopped before there was another")
		}
		say(true, h.service().TaskIDs()[2])
		time.Sleep(30 * time.Second)
		h.settled(2, "good")
		if got := h.farm.known(ids)[ids[0]]; got.StoppedReason != "Task failed ELB health checks in (target-group "+group+")" {
			t.Errorf("it was stopped for %q", got.StoppedReason)
		}
		for text, want := range map[string]int{
			"(service web) registered ": 1,
			"(service web) deregistered 1 targets in (target-group " + group + ")": 1,
			"(service web) has begun draining connections on 1 tasks.":             1,
		} {
			if got := h.book.said(text); got < want {
				t.Errorf("it was said %d times: %s", got, text)
			}
		}
	})
}

// Ensure a protected task outlives scale-in and a deployment until it is protected no longer.
func TestProtection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		h.create(Request{Definition: "good:1", Desired: 3})
		time.Sleep(2 * time.Minute)
		id := h.service().TaskIDs()[2] // the youngest, which would go first
		h.farm.mu.Lock()
		h.farm.tasks[id].ProtectedUntil = time.Now().Add(time.Hour)
		h.farm.mu.Unlock()
		h.update(Change{Desired: ptr(1)})
		time.Sleep(time.Minute)
		if ids := h.service().TaskIDs(); len(ids) != 1 || ids[0] != id {
			t.Errorf("%v are left, want %s", ids, id)
		}
		h.update(Change{Definition: ptr("good:2")})
		time.Sleep(10 * time.Minute)
		if v := h.service(); len(v.Deployments) != 2 || len(v.TaskIDs()) != 2 || v.Deployments[0].State != InProgress {
			t.Errorf("it is %+v", v.Deployments)
		}
		h.farm.mu.Lock()
		h.farm.tasks[id].ProtectedUntil = time.Time{}
		h.farm.mu.Unlock()
		h.update(Change{Desired: ptr(2)}) // anything that lets it look
		time.Sleep(5 * time.Minute)
		h.settled(2, "good")
	})
}

// Ensure base and weights hold over the life of a service and not for each start alone.
func TestCapacityProviders(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		r := Request{Definition: "good", Desired: 4}
		r.Providers = []task.CapacityProvider{{Name: task.OnDemand, Base: 1, Weight: 1}, {Name: task.Spot, Weight: 2}}
		h.create(r)
		share := func() (onDemand, spot int) {
			for _, tk := range h.farm.known(h.service().TaskIDs()) {
				if tk.CapacityProvider == task.Spot {
					spot++
				} else {
					onDemand++
				}
			}
			return onDemand, spot
		}
		time.Sleep(2 * time.Minute)
		if a, b := share(); a != 2 || b != 2 {
			t.Errorf("%d on demand and %d on Spot, want 2 and 2", a, b)
		}
		for id, tk := range h.farm.known(h.service().TaskIDs()) {
			if tk.CapacityProvider == task.Spot {
				h.farm.stop(id, task.SpotInterruption, "Your Spot Task was interrupted.")
			}
		}
		time.Sleep(2 * time.Minute)
		if a, b := share(); a != 2 || b != 2 {
			t.Errorf("after an interruption %d on demand and %d on Spot, want 2 and 2", a, b)
		}
		h.update(Change{Desired: ptr(7)})
		time.Sleep(2 * time.Minute)
		if a, b := share(); a != 3 || b != 4 {
			t.Errorf("%d on demand and %d on Spot, want 3 and 4", a, b)
		}
	})
}

// Ensure tasks get the tags that they are to get.
func TestTags(t *testing.T) {
	for propagate, want := range map[string]string{
		PropagateNone: "[]", PropagateService: "[{team a}]", PropagateDefinition: "[{of definition}]",
	} {
		inBubble(t, func(t *testing.T) {
			h := newHost(t, 0)
			h.create(Request{Definition: "good", Desired: 1, Propagate: propagate, Tags: []task.Tag{{Key: "team", Value: "a"}}})
			time.Sleep(time.Minute)
			id := h.service().TaskIDs()[0]
			if got := fmt.Sprint(h.farm.known([]task.ID{id})[id].Tags); got != want {
				t.Errorf("%s: the task has %s, want %s", propagate, got, want)
			}
			h.update(Change{ManagedTags: ptr(true), Force: true})
			time.Sleep(3 * time.Minute)
			id = h.service().TaskIDs()[0]
			want := strings.TrimPrefix(strings.TrimSuffix(want, "]")+" {aws:ecs:clusterName default} {aws:ecs:serviceName web}]", "[ ")
			if got := fmt.Sprint(h.farm.known([]task.ID{id})[id].Tags); strings.TrimPrefix(got, "[") != strings.TrimPrefix(want, "[") {
				t.Errorf("%s: the task has %s, want %s", propagate, got, want)
			}
		})
	}
}

// Ensure a task that is refused is told of, counts as a failure and is tried again.
func TestRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		h.farm.refuse = fault.New(fault.Exhausted, "You've reached the limit on the number of vCPUs you can run concurrently")
		h.create(Request{Definition: "good", Desired: 1})
		time.Sleep(time.Minute)
		if h.book.said("(service web) was unable to place a task. Reason: You've reached the limit on the number of vCPUs you can run concurrently.") < 2 {
			t.Errorf("events: %+v", h.book.events)
		}
		h.farm.mu.Lock()
		h.farm.refuse = nil
		h.farm.mu.Unlock()
		time.Sleep(5 * time.Minute)
		h.settled(1, "good")
	})
}

// Ensure an update that blocks itself says so, once.
func TestBlocked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		h.create(Request{Definition: "good:1", Desired: 1, Configuration: ConfigurationChange{MinimumHealthy: ptr(60), Maximum: ptr(150)}})
		time.Sleep(2 * time.Minute)
		h.update(Change{Definition: ptr("good:2")})
		time.Sleep(time.Hour)
		if n := h.book.said("was unable to stop or start tasks during a deployment because of the service deployment configuration."); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		h.update(Change{Configuration: ConfigurationChange{Maximum: ptr(200)}})
		time.Sleep(3 * time.Minute)
		h.settled(1, "good")
	})
}

// Ensure a stopped service deployment goes back, and one that has ended cannot be stopped.
func TestStopRollout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		v := h.create(Request{Definition: "good", Desired: 2})
		if err := h.s.StopRollout(t.Context(), v.Rollout.ARN); fault.KindOf(err) != fault.Conflict {
			t.Errorf("there is nothing to go back to: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := h.s.StopRollout(t.Context(), v.Rollout.ARN); fault.KindOf(err) != fault.Conflict {
			t.Errorf("it has ended: %v", err)
		}
		v = h.update(Change{Definition: ptr("sick")})
		time.Sleep(20 * time.Second)
		for range 2 {
			if err := h.s.StopRollout(t.Context(), v.Rollout.ARN); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		h.settled(2, "good")
		if r := h.service().Rollout; r.Status != RollbackSuccessful || r.Reason != rolledBackByUser {
			t.Errorf("it ended as %s: %s", r.Status, r.Reason)
		}
	})
}

// Ensure a service that is deleted leaves nothing, and that its name can be used again.
func TestDelete(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHost(t, 0)
		r := Request{Definition: "good", Desired: 3, Token: "once"}
		first := h.create(r)
		r.Realm, r.Name, r.Propagate, r.Rebalancing = here, "web", PropagateNone, "ENABLED"
		r.Network = first.Template.Network
		if again, err := h.s.Create(t.Context(), r); err != nil || again.ID != first.ID {
			t.Errorf("the same again: %s, %v", again.ID, err)
		}
		r.Desired = 4
		for _, token := range []string{"once", ""} {
			r.Token = token
			if _, err := h.s.Create(t.Context(), r); fault.Message(err) != "Creation of service was not idempotent." {
				t.Errorf("another request: %v", err)
			}
		}
		time.Sleep(2 * time.Minute)
		if _, err := h.s.Delete(t.Context(), here, "web", false); fault.Message(err) != "The service cannot be stopped while it is scaled above 0." {
			t.Errorf("without force: %v", err)
		}
		v, err := h.s.Delete(t.Context(), here, "web", true)
		if err != nil || v.Status != Draining {
			t.Fatalf("%s, %v", v.Status, err)
		}
		if _, err := h.s.Create(t.Context(), r); fault.Message(err) != "Unable to Start a service that is still Draining." {
			t.Errorf("while it drains: %v", err)
		}
		if _, err := h.s.Update(t.Context(), here, "web", Change{Desired: ptr(1)}); !errors.Is(err, ErrNotActive) {
			t.Errorf("updated while it drains: %v", err)
		}
		time.Sleep(time.Minute)
		if v := h.service(); v.Status != Inactive || len(v.TaskIDs()) != 0 {
			t.Errorf("it is %+v", v)
		}
		if all, _ := h.farm.live(); all != 0 {
			t.Errorf("%d tasks are left", all)
		}
		if _, err := h.s.Delete(t.Context(), here, "web", true); !errors.Is(err, ErrNoService) {
			t.Errorf("deleted again: %v", err)
		}
		if h.create(Request{Definition: "good", Desired: 1}).ID == first.ID {
			t.Error("the new service is the old one")
		}
		time.Sleep(2 * time.Minute)
		h.settled(1, "good")
	})
}

// Ensure that whatever fails and whenever the scheduler dies, no task is lost or there twice,
// wishes come true, and nothing is left of a service that was deleted.
func TestCrashes(t *testing.T) {
	seeds := uint64(30)
	if v := os.Getenv("BERTH_SEEDS"); v != "" {
		seeds, _ = strconv.ParseUint(v, 10, 64)
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) { crashes(t, seed) })
		})
	}
}

func crashes(t *testing.T, seed uint64) {
	r := rnd(seed)
	h := newHost(t, seed)
	h.farm.mortal = true
	h.create(Request{Definition: "good", Desired: r.IntN(12), Configuration: ConfigurationChange{
		MinimumHealthy: ptr(r.IntN(100)), Maximum: ptr(150 + r.IntN(100)), Enable: ptr(true), Rollback: ptr(true),
	}})
	kinds := []string{"good:1", "good:2", "checked", "sick", "broken", "crash"}
	for range 60 {
		switch p := r.IntN(100); {
		case p < 10:
			h.update(Change{Desired: ptr(r.IntN(12))})
		case p < 25:
			h.update(Change{Definition: &kinds[r.IntN(len(kinds))], Force: r.IntN(3) == 0})
		case p < 30:
			h.update(Change{Force: true, ManagedTags: ptr(r.IntN(2) == 0)})
		case p < 40:
			if ids := h.service().TaskIDs(); len(ids) > 0 {
				h.farm.stop(ids[r.IntN(len(ids))], task.UserInitiated, "")
			}
		case p < 75:
			h.restart(1 + r.IntN(25))
		default:
			time.Sleep(time.Duration(r.IntN(60_000)) * time.Millisecond)
		}
	}
	h.restart(0)
	h.farm.mu.Lock()
	h.farm.mortal = false
	h.farm.mu.Unlock()
	h.update(Change{Definition: ptr("good:9"), Desired: ptr(5), Configuration: ConfigurationChange{MinimumHealthy: ptr(50), Maximum: ptr(200)}})
	time.Sleep(2 * time.Hour)
	h.settled(5, "good")
	if len(h.farm.tokens) != len(h.farm.tasks) {
		t.Errorf("%d tasks for %d orders", len(h.farm.tasks), len(h.farm.tokens))
	}
	h.wish(func() (Service, error) { return h.s.Delete(t.Context(), here, "web", true) })
	h.restart(1 + r.IntN(5))
	time.Sleep(time.Second)
	h.restart(0)
	time.Sleep(time.Hour)
	if v := h.service(); v.Status != Inactive {
		t.Errorf("it is %s", v.Status)
	}
	if all, _ := h.farm.live(); all != 0 {
		t.Errorf("%d tasks are left", all)
	}
}
