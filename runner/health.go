package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// checks are the health checks of one task. They begin as its containers start and go on
// until the task is to stop, over all of its steps; what they find out is written down with
// whatever comes of the step that is under way.
type checks struct {
	r       *Runner
	ctx     context.Context // ends with the task
	running sync.WaitGroup

	mu      sync.Mutex
	by      map[string]check // container name → the check of its latest run
	changed chan struct{}    // closed when a container's health has changed
}

type check struct {
	run     int
	verdict task.Verdict
}

func (r *Runner) newChecks(wanted context.Context) *checks {
	return &checks{r: r, ctx: wanted, by: make(map[string]check), changed: make(chan struct{})}
}

// begin checks the health of a container from now on, unless that is done already. now is
// what is known of it.
func (c *checks) begin(t task.Task, p task.ContainerPlan, now task.Container) {
	if p.Health == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.by[p.Name]; ok && have.run == now.RestartCount {
		return
	}
	c.by[p.Name] = check{now.RestartCount, task.Verdict{Status: now.Health, Since: now.HealthSince, ExitCode: now.HealthExitCode}}
	c.running.Go(func() { c.watch(t, p, now) })
}

// health returns what is known of the health of a container's run, and a channel that is
// closed when anything changes.
func (c *checks) health(name string, run int) (task.Verdict, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.by[name]; ok && have.run == run {
		return have.verdict, c.changed
	}
	return task.Verdict{}, c.changed
}

// set takes over what the checks of a container's run have come to. One that says the same
// as before changes nothing.
func (c *checks) set(name string, run int, v task.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.by[name]; have.run != run || have.verdict.Status == v.Status {
		return
	}
	c.by[name] = check{run, v}
	close(c.changed)
	c.changed = make(chan struct{})
}

// overtaken reports whether a later run of the container is checked.
func (c *checks) overtaken(name string, run int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[name].run != run
}

// watch checks one run of a container until there is another or the task is to stop.
func (c *checks) watch(t task.Task, p task.ContainerPlan, now task.Container) {
	passed := now.Health == task.Healthy
	failures := 0
	timer := time.NewTimer(p.Health.Interval - t.Time(c.r.Now()).Sub(now.StartedAt)%p.Health.Interval)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			return
		}
		code, err := c.once(t.ID, p)
		kind := fault.KindOf(err)
		switch {
		case c.ctx.Err() != nil, c.overtaken(p.Name, now.RestartCount):
			return
		case kind == fault.Conflict, kind == fault.NotFound: // It has ended, or is about to be seen again.
		case err != nil:
			c.r.Log.Warn("health check could not be made", zap.String("task", string(t.ID)), zap.String("container", p.Name), zap.Error(err))
		case code == 0:
			passed, failures = true, 0
			c.set(p.Name, now.RestartCount, task.Verdict{Status: task.Healthy, Since: t.Time(c.r.Now())})
		case !passed && t.Time(c.r.Now()).Sub(now.StartedAt) < p.Health.StartPeriod:
		default:
			if failures++; failures >= p.Health.Retries {
				c.set(p.Name, now.RestartCount, task.Verdict{Status: task.Unhealthy, Since: t.Time(c.r.Now()), ExitCode: code})
			}
		}
		timer.Reset(p.Health.Interval)
	}
}

// once makes one check and returns its exit code. The error says that it could not be made.
func (c *checks) once(id task.ID, p task.ContainerPlan) (code int, err error) {
	ctx, cancel := context.WithTimeout(c.ctx, p.Health.Timeout)
	defer cancel()
	code, err = c.r.Runtime.Exec(ctx, id, p.Name, isolation.Command{Name: "health", Args: p.Health.Command})
	if errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) == fault.Invalid {
		return task.NoExitCode, nil // It takes too long, or cannot be run at all.
	}
	return code, err
}

// news returns the health of containers that is not written down, and a channel that is
// closed when there is more. Of those that have ended it is not news any more.
func (c *checks) news(t task.Task) (map[string]task.Verdict, <-chan struct{}) {
	news := make(map[string]task.Verdict)
	_, changed := c.health("", 0)
	for _, now := range t.Containers {
		if v, _ := c.health(now.Name, now.RestartCount); v.Status != "" && v.Status != now.Health && now.LastStatus != task.Stopped {
			news[now.Name] = v
		}
	}
	return news, changed
}
