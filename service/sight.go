package service

import (
	"time"

	"berth/task"
)

// HealthyAfter is how long a task has to run to count as healthy if neither a container nor
// a load balancer checks it (ECS API, DeploymentConfiguration.minimumHealthyPercent).
const HealthyAfter = 40 * time.Second

// How often a load balancer is asked about tasks: those that it may soon find healthy, and
// those that are.
const (
	askSoon  = time.Second
	askAgain = 5 * time.Second
)

// world is what is known when a plan is made.
type world struct {
	now    time.Time
	tasks  map[task.ID]task.Task                  // one that is not there is forgotten
	target func(id task.ID) (healthy, known bool) // what load balancers say
}

// where is what a member's task is doing.
type where uint8

const (
	waiting where = iota // it was ordered or submitted, and does not run yet
	running
	leaving // it was asked to stop, by whomever
	ended
)

// sight is a member as it is now.
type sight struct {
	*Member
	task    task.Task
	where   where
	healthy bool
	sick    string // why it is to be replaced; "" if it is not

	balancers []task.LoadBalancer
}

// live reports whether the task counts among those that a service has.
func (v sight) live() bool { return v.where == waiting || v.where == running }

// look returns how m is now. grace is the service's, and until is told when that may change
// by itself.
func (w world) look(m *Member, tm Template, checked bool, grace time.Duration, until func(time.Time)) sight {
	v := sight{Member: m, balancers: tm.LoadBalancers}
	if m.Task == "" {
		return v
	}
	t, ok := w.tasks[m.Task]
	v.task = t
	switch {
	case !ok || t.LastStatus.Final():
		v.where = ended
	case m.Stop != "" || t.DesiredStatus == task.Stopped:
		v.where = leaving
	case t.LastStatus == task.Running:
		v.where = running
		v.judge(w, tm, checked, grace, until)
	}
	return v
}

// judge finds out whether a task that runs is healthy, or to be replaced.
func (v *sight) judge(w world, tm Template, checked bool, grace time.Duration, until func(time.Time)) {
	v.healthy = true
	if !checked && len(tm.LoadBalancers) == 0 {
		if due := v.task.StartedAt.Add(HealthyAfter); w.now.Before(due) {
			v.healthy = false
			until(due)
		}
		return
	}
	var sick string
	if checked {
		v.healthy = v.task.Health == task.Healthy
		if v.task.Health == task.Unhealthy {
			sick = "Task failed container health checks"
		}
	}
	if len(tm.LoadBalancers) > 0 {
		ok, known := w.target(v.Task)
		v.healthy = v.healthy && ok && known
		if known && !ok {
			sick = "Task failed ELB health checks in (target-group " + tm.LoadBalancers[0].TargetGroupARN + ")"
		}
		if v.healthy {
			until(w.now.Add(askAgain))
		} else {
			until(w.now.Add(askSoon))
		}
	}
	if sick == "" {
		return
	}
	if due := v.task.StartedAt.Add(grace); w.now.Before(due) {
		until(due)
		return
	}
	v.sick = sick
}

// How long no task is started after a round of starts in which none came to run: longer each
// time (ECS developer guide, "Amazon ECS service throttle logic"; AWS tells the longest only).
const (
	backoffFirst = 10 * time.Second
	backoffMost  = 15 * time.Minute
)

// impairedAfter is after how many such rounds it is said that a service cannot start tasks.
const impairedAfter = 3

func backoff(tries int) time.Duration {
	return min(backoffFirst<<min(tries-1, 20), backoffMost)
}
