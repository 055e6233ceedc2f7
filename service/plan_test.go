package service

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/task"
)

// Ensure that whatever state a service is in, what is decided leaves as many healthy tasks as
// there must be, or as there were, makes no more tasks than there may be, or as there were,
// spares those that are protected, and is decided once.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		w := world{now: now, tasks: make(map[task.ID]task.Task), target: func(task.ID) (bool, bool) { return false, false }}
		v := Service{
			ID: "x", Realm: here, Name: "web", Status: Active, Controller: ECS, Version: 1, Propagate: PropagateNone,
			Desired:       rapid.IntRange(0, 8).Draw(t, "desired"),
			Configuration: Default(),
		}
		v.Configuration.MinimumHealthy = rapid.IntRange(0, 99).Draw(t, "minimum")
		v.Configuration.Maximum = rapid.IntRange(100, 300).Draw(t, "maximum")
		for i := range rapid.IntRange(1, 3).Draw(t, "deployments") {
			p := Deployment{
				ID: fmt.Sprint("ecs-svc/", i), Rank: Secondary, State: rapid.SampledFrom([]State{InProgress, Completed, Failed}).Draw(t, "state"),
				HealthChecked: rapid.Bool().Draw(t, "checked"),
			}
			if i == 0 {
				p.Rank = Primary
			}
			for j := range rapid.IntRange(0, 8).Draw(t, "tasks") {
				id := task.ID(fmt.Sprint(i, "-", j))
				one := task.Task{
					ID: id, DesiredStatus: task.Running, Health: rapid.SampledFrom([]string{task.Healthy, task.Unhealthy, task.Unknown}).Draw(t, "health"),
					LastStatus: rapid.SampledFrom([]task.Status{task.Pending, task.Running, task.Running, task.Running}).Draw(t, "status"),
				}
				if one.LastStatus == task.Running {
					one.StartedAt = now.Add(-time.Duration(rapid.IntRange(0, 80).Draw(t, "ran")) * time.Second)
				}
				if rapid.IntRange(0, 4).Draw(t, "protected") == 0 {
					one.ProtectedUntil = now.Add(time.Hour)
				}
				w.tasks[id] = one
				p.Ordered++
				p.Members = append(p.Members, Member{N: p.Ordered, Task: id, Healthy: rapid.Bool().Draw(t, "was healthy")})
			}
			v.Deployments = append(v.Deployments, p)
		}
		n := 0
		newID := func() string { n++; return fmt.Sprint(n) }
		count := func(v Service) (live, healthy int) {
			for i := range v.Deployments {
				p := &v.Deployments[i]
				for j := range p.Members {
					s := w.look(&p.Members[j], p.Template, p.HealthChecked, 0, func(time.Time) {})
					if s.live() {
						live++
						if s.healthy {
							healthy++
						}
					}
				}
			}
			return live, healthy
		}
		least, most := v.Configuration.Bounds(v.Desired)
		before, well := count(v)
		d := plan(v, w, newID)
		after, still := count(d.Service)
		if still < min(least, well) {
			t.Fatalf("%d tasks are healthy of %d, and there must be %d", still, well, least)
		}
		if after > max(most, before) {
			t.Fatalf("there are %d tasks after %d, and there may be %d", after, before, most)
		}
		for _, f := range d.fleets() {
			for _, m := range f.Members {
				if tk := w.tasks[m.Task]; tk.ProtectedAt(now) && m.Stop != "" && tk.Health != task.Unhealthy {
					t.Fatalf("task %s is protected and is stopped: %s", m.Task, m.Stop)
				}
			}
		}
		// What is ordered is submitted, and has not started.
		for _, f := range d.fleets() {
			for i := range f.Members {
				if m := &f.Members[i]; m.Task == "" {
					m.Task, m.Order = task.ID(newID()), nil
					w.tasks[m.Task] = task.Task{ID: m.Task, LastStatus: task.Pending, DesiredStatus: task.Running}
				}
			}
		}
		for range 10 {
			before = after
			d = plan(d.Service, w, newID)
			if after, _ = count(d.Service); !d.changed || ordered(&d.Service) {
				return // Orders come ten at a time.
			}
		}
		t.Fatalf("it is decided anew again and again: %+v", d.events)
	})
}
