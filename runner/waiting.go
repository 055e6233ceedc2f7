package runner

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"berth/fault"
	"berth/task"
)

// awaitAll returns when every container that p depends on is where p wants it.
func (s *starter) awaitAll(ctx context.Context, p task.ContainerPlan) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range p.DependsOn {
		g.Go(func() error { return s.await(ctx, p.Name, d) })
	}
	return g.Wait()
}

// await returns when the container that name depends on is where d wants it. A dependency
// that has a startTimeout is waited for that long, from its own start on and unless its
// start is all that is wanted, as the ECS agent does; the texts are those of the agent's
// dependency graph.
func (s *starter) await(ctx context.Context, name string, d task.Dependency) error {
	for _, done := range []chan struct{}{s.settled, s.started[d.Container]} {
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if d.Condition == task.DependStart {
		return nil
	}
	var deadline time.Time
	if limit := s.plan(d.Container).StartTimeout; limit > 0 {
		s.mu.Lock()
		deadline = s.outcomes[d.Container].StartedAt.Add(limit)
		s.mu.Unlock()
		// What was in time, and is known, is found also after the deadline.
		left := max(deadline.Sub(s.t.Time(s.r.Now())), glance)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, left, s.timedOut(name, d.Container))
		defer cancel()
	}
	if d.Condition == task.DependHealthy {
		return s.healthy(ctx, name, d.Container)
	}
	exit, err := s.r.Runtime.Wait(ctx, s.t.ID, d.Container)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fault.KindOf(err) == fault.NotFound:
		return fault.New(fault.Conflict, "TaskFailedToStart: dependency graph: container [%s] was lost", d.Container)
	case err != nil:
		return err
	}
	exit = s.ended(d.Container, exit)
	if !deadline.IsZero() && exit.At.After(deadline) {
		return s.timedOut(name, d.Container)
	}
	if d.Condition == task.DependSuccess && exit.Code != 0 {
		return fault.New(fault.Conflict,
			"TaskFailedToStart: dependency graph: failed to resolve the container ordering dependency [%s] for target [%s] as dependency did not exit successfully.",
			d.Container, name)
	}
	return nil
}

func (s *starter) timedOut(name, dependency string) error {
	return fault.New(fault.Conflict,
		"TaskFailedToStart: dependency graph: container ordering dependency [%s] for target [%s] has timed out.", dependency, name)
}

// healthy waits until the container that name depends on is healthy.
func (s *starter) healthy(ctx context.Context, name, dependency string) error {
	gone, cancel := context.WithCancelCause(ctx)
	var guard sync.WaitGroup
	defer guard.Wait() // What it finds is looked at when we have returned.
	defer cancel(nil)
	guard.Go(func() {
		_, err := s.r.Runtime.Wait(gone, s.t.ID, dependency)
		if err == nil && s.plan(dependency).Essential && s.over(gone, dependency, 0) {
			cancel(errEssentialExited{dependency}) // Whoever watches it may not have said so yet.
			return
		}
		if err == nil || fault.KindOf(err) == fault.NotFound {
			err = fault.New(fault.Conflict,
				"TaskFailedToStart: dependency graph: failed to resolve the container ordering dependency [%s] for target [%s] as dependency stopped before it was healthy.",
				dependency, name)
		}
		cancel(err)
	})
	for {
		health, changed := s.health.health(dependency, 0)
		if health.Status == task.Healthy {
			_, _, err := s.tell(ctx) // A server that comes after us has to know why the next ones run.
			return err
		}
		select {
		case <-changed:
		case <-gone.Done():
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return context.Cause(gone)
		}
	}
}

// tellAfter is how long containers may wait for others before it is told what they wait
// for. Most do not wait that long, and what became of all is written down once.
const tellAfter = time.Second

// tellAll tells what becomes of containers, and their health, while others wait for them,
// until ctx ends. Whoever looks sees then why the task does not run.
func (s *starter) tellAll(ctx context.Context) {
	sleep(ctx, tellAfter)
	for ctx.Err() == nil {
		changed, health, err := s.tell(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.r.Log.Warn("what a task waits for is not written down", zap.String("task", string(s.t.ID)), zap.Error(err))
			}
			sleep(ctx, tellAfter)
			continue
		}
		select {
		case <-changed:
		case <-health:
		case <-ctx.Done():
		}
	}
}

// noteEnd waits for the end of a container that is not essential, as long as others start,
// and notes it.
func (s *starter) noteEnd(ctx context.Context, p task.ContainerPlan) {
	exit, err := s.r.Runtime.Wait(ctx, s.t.ID, p.Name)
	s.mu.Lock()
	started := s.outcomes[p.Name].StartedAt
	s.mu.Unlock()
	if err != nil || p.Restarts(started, exit) { // It is started anew once the task runs.
		return
	}
	s.ended(p.Name, exit)
}

// tell writes down what became of containers, and their health, if anything is not written
// yet and some still wait: when all have started, that is written down anyway. It returns
// channels one of which is closed when there is more.
func (s *starter) tell(ctx context.Context) (changed, healthChanged <-chan struct{}, err error) {
	s.telling.Lock()
	defer s.telling.Unlock()
	health, healthChanged := s.health.news(s.told) // before the news: what is checked has started
	news, changed, waits := s.news(s.told)
	if !waits || len(news) == 0 && len(health) == 0 {
		return changed, healthChanged, nil
	}
	next, err := s.r.Store.Advance(ctx, s.t.ID, task.Waiting(s.t.Time(s.r.Now()), news).Knowing(health))
	if err == nil {
		s.told = next
	}
	return changed, healthChanged, err
}

// news returns what became of containers and is not written down, a channel that is closed
// when there is more, and whether some containers have not started yet.
func (s *starter) news(known task.Task) (news map[string]task.Outcome, changed <-chan struct{}, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news = make(map[string]task.Outcome)
	for name, o := range s.outcomes {
		if c := known.Container(name); c.StartedAt.IsZero() || o.Exit != nil && c.LastStatus != task.Stopped {
			news[name] = o
		}
	}
	return news, s.changed, len(s.outcomes) < len(s.plans)
}
