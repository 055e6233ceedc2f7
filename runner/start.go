package runner

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// starter brings up the containers of one task.
type starter struct {
	r        *Runner
	t        task.Task
	plans    []task.ContainerPlan // dependencies first
	health   *checks
	started  map[string]chan struct{}
	settled  chan struct{} // closed when containers that depend on others may be looked at
	mu       sync.Mutex
	changed  chan struct{} // closed when outcomes have changed
	outcomes map[string]task.Outcome
	early    map[string]task.Exit // of essential containers that ended before all had started
	telling  sync.Mutex           // held while something is written down
	told     task.Task            // as it was last written down
}

func newStarter(r *Runner, t task.Task, plans []task.ContainerPlan, health *checks) *starter {
	s := &starter{
		r: r, t: t, plans: plans, health: health, started: make(map[string]chan struct{}), settled: make(chan struct{}), changed: make(chan struct{}),
		outcomes: make(map[string]task.Outcome), early: make(map[string]task.Exit), told: t,
	}
	for _, p := range plans {
		s.started[p.Name] = make(chan struct{})
	}
	return s
}

// containerError says which container an error is about.
type containerError struct {
	container string
	err       error
}

func (e containerError) Error() string { return "container " + e.container + ": " + e.err.Error() }
func (e containerError) Unwrap() error { return e.err }

// errEssentialExited says that an essential container ended while others still
// waited for what they depend on.
type errEssentialExited struct{ container string }

func (e errEssentialExited) Error() string { return "essential container " + e.container + " exited" }

// run makes all containers, one after the other so that they share one monitor
// process, and then starts them.
func (s *starter) run(ctx context.Context) error {
	for _, p := range s.plans {
		if err := s.create(ctx, s.container(p)); err != nil {
			return containerError{p.Name, err}
		}
	}
	ctx, done := context.WithCancelCause(ctx)
	var guards sync.WaitGroup
	defer guards.Wait()
	defer done(nil)
	if s.waits() {
		guards.Go(func() { s.tellAll(ctx) })
	}

	g, gctx := errgroup.WithContext(ctx)
	var first sync.WaitGroup // those that depend on no other
	for _, p := range s.plans {
		independent := len(p.DependsOn) == 0
		if independent {
			first.Add(1)
		}
		g.Go(func() error {
			if independent {
				defer first.Done()
			}
			if s.t.Container(p.Name).StartedAt.IsZero() { // Else it has waited already, whatever has come since.
				if err := s.awaitAll(gctx, p); err != nil {
					return err
				}
			}
			if err := s.start(gctx, p); err != nil {
				return containerError{p.Name, err}
			}
			if !s.waits() {
				return nil
			}
			if !p.Essential {
				guards.Go(func() { s.noteEnd(gctx, p) })
				return nil
			}
			if s.again() && s.over(gctx, p.Name, glance) {
				return errEssentialExited{p.Name}
			}
			guards.Go(func() {
				if s.over(gctx, p.Name, 0) {
					done(errEssentialExited{p.Name})
				}
			})
			return nil
		})
	}
	if s.again() {
		first.Wait()
	}
	close(s.settled)
	err := g.Wait()
	early, ok := context.Cause(ctx).(errEssentialExited)
	if err != nil && (ok || errors.As(err, &early)) {
		return fault.Wrap(fault.Conflict, early, "%s", task.ReasonEssentialExited)
	}
	return err
}

// glance is how long a container that an earlier server started is looked at, whether
// it has ended, before others that it may be pointless to start.
const glance = time.Second

// again reports whether an earlier server may have started some of the containers.
func (s *starter) again() bool {
	return s.t.PullStoppedAt.Before(s.t.Clock.Project(s.r.began))
}

// over waits for the end of an essential container, for so long or, if patience is 0,
// as long as others start.
func (s *starter) over(ctx context.Context, name string, patience time.Duration) bool {
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	exit, err := s.r.Runtime.Wait(ctx, s.t.ID, name)
	if err != nil {
		return false
	}
	exit.At = s.r.onTimeline(s.t, exit.At)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan(name).Restarts(s.outcomes[name].StartedAt, exit) {
		return false // It is started anew once the task runs.
	}
	s.early[name] = exit
	return true
}

// all returns what became of the containers, also of those whose end will be found
// again if the task runs.
func (s *starter) all() map[string]task.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.outcomes)
	for name, exit := range s.early {
		o := all[name]
		o.Exit = &exit
		all[name] = o
	}
	return all
}

// create makes one container. Its image may have been removed since it was pulled for
// this task: by force, or because its tag has moved on while others were pulled.
func (s *starter) create(ctx context.Context, c isolation.Container) error {
	err := s.r.Runtime.Create(ctx, c)
	if !errors.Is(err, isolation.ErrNoImage) {
		return err
	}
	if _, err := s.r.Images.Pull(ctx, c.Image); err != nil {
		return err
	}
	return s.r.Runtime.Create(ctx, c)
}

// waits reports whether some container may have to wait for the end of another.
func (s *starter) waits() bool {
	for _, p := range s.plans {
		for _, d := range p.DependsOn {
			if d.Condition != task.DependStart {
				return true
			}
		}
	}
	return false
}

// start starts one container and notes when.
func (s *starter) start(ctx context.Context, p task.ContainerPlan) error {
	st, err := s.r.Runtime.Start(ctx, s.t.ID, p.Name)
	if err != nil {
		return err
	}
	known := s.t.Container(p.Name) // by an earlier server, perhaps
	o := task.Outcome{RuntimeID: st.RuntimeID, StartedAt: known.StartedAt}
	if o.StartedAt.IsZero() {
		o.StartedAt = s.r.onTimeline(s.t, st.At)
	}
	s.note(p.Name, o)
	s.health.begin(s.t, p, task.Container{StartedAt: o.StartedAt, Health: known.Health})
	close(s.started[p.Name])
	return nil
}

// ended notes how a container ended, and returns what is known of that.
func (s *starter) ended(name string, exit task.Exit) task.Exit {
	if at := s.t.Container(name).ExitedAt; !at.IsZero() {
		exit.At = at
	} else {
		exit.At = s.r.onTimeline(s.t, exit.At)
	}
	s.mu.Lock()
	o := s.outcomes[name]
	s.mu.Unlock()
	if o.Exit != nil {
		return *o.Exit
	}
	o.Exit = &exit
	s.note(name, o)
	return exit
}

// note takes over what became of a container.
func (s *starter) note(name string, o task.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[name] = o
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *starter) plan(name string) task.ContainerPlan {
	for _, p := range s.plans {
		if p.Name == name {
			return p
		}
	}
	return task.ContainerPlan{}
}

// container says to the runtime what p is.
func (s *starter) container(p task.ContainerPlan) isolation.Container {
	c := isolation.Container{
		Task:                   s.t.ID,
		Name:                   p.Name,
		Image:                  s.t.Container(p.Name).ImageRef,
		EntryPoint:             p.EntryPoint,
		Command:                p.Command,
		WorkingDirectory:       p.WorkingDirectory,
		User:                   p.User,
		Env:                    p.Env,
		Secrets:                s.secrets(p),
		Hostname:               p.Hostname,
		CPU:                    p.CPU,
		Memory:                 p.Memory,
		MemoryReservation:      p.MemoryReservation,
		ReadonlyRootFilesystem: p.ReadonlyRootFilesystem,
		Init:                   p.Init,
		AddCapabilities:        p.AddCapabilities,
		DropCapabilities:       p.DropCapabilities,
		Sysctls:                p.Sysctls,
		Terminal:               p.Terminal,
		StdinOpen:              p.StdinOpen,
	}
	for _, m := range p.Mounts {
		c.Mounts = append(c.Mounts, isolation.Mount(m))
	}
	for _, f := range p.VolumesFrom {
		c.VolumesFrom = append(c.VolumesFrom, isolation.VolumesFrom(f))
	}
	for _, u := range p.Ulimits {
		c.Ulimits = append(c.Ulimits, isolation.Ulimit{Name: u.Name, Soft: uint64(u.SoftLimit), Hard: uint64(u.HardLimit)})
	}
	return c
}

// onTimeline puts a moment that the wall clock told onto t's time line, between
// t's latest stamp and now.
func (r *Runner) onTimeline(t task.Task, wall time.Time) time.Time {
	at := r.project(t, wall)
	if latest := t.Time(r.Now()); at.After(latest) {
		return latest
	}
	return t.InOrder(at)
}

// project is onTimeline for what may have been before t's latest stamp.
func (r *Runner) project(t task.Task, wall time.Time) time.Time {
	now := r.Now()
	return t.Clock.Project(now).Add(-now.Wall.Sub(wall))
}

// lookPatience is how long after it began a server may need to find that a process
// is lost. One that is found lost by then was lost before.
const lookPatience = 30 * time.Second

// stamp returns when what has just become known of t happened. That is now, with
// exceptions for what happened while nobody watched. After a restart of the host, or
// if a process was lost before this server began, it is the last moment at which an
// earlier one is known to have lived. When outcomes tell of containers that ended
// before this server began, it is the end of the last of them. Nobody pays for the
// time in which we were away.
func (r *Runner) stamp(t task.Task, outcomes ...task.Outcome) time.Time {
	now := r.Now()
	if r.restarted(t) {
		return t.InOrder(t.Clock.Project(r.beats[t.Clock.BootID]))
	}
	var end time.Time
	for _, o := range outcomes {
		var at time.Time
		switch lost := o.Ended && o.Exit == nil; {
		case o.Exit != nil:
			at = o.Exit.At
		case lost && now.Boot-r.began.Boot < lookPatience:
			at = t.Clock.Project(r.before)
		case lost:
			at = t.Time(now)
		}
		if at.After(end) {
			end = at
		}
	}
	if end.IsZero() {
		end = t.ExecutionStoppedAt
	}
	if end.IsZero() && len(outcomes) > 0 {
		end = t.StoppingAt // None of them ever ran.
	}
	if !end.IsZero() && end.Before(t.Clock.Project(r.began)) {
		return t.InOrder(end)
	}
	return t.Time(now)
}

// startedAt returns when the last of the containers that outcomes tell of started, or
// ended if others waited for that, if an earlier server saw to it all; else now.
func (r *Runner) startedAt(t task.Task, outcomes map[string]task.Outcome) time.Time {
	var last time.Time
	for _, o := range outcomes {
		at := o.StartedAt
		if o.Exit != nil {
			at = o.Exit.At
		}
		if at.After(last) {
			last = at
		}
	}
	if last.Before(t.Clock.Project(r.began)) {
		return t.InOrder(last)
	}
	return t.Time(r.Now())
}

// restarted reports whether the host restarted since t's world was made.
func (r *Runner) restarted(t task.Task) bool {
	return t.LastStatus != task.Provisioning && !t.Clock.SameBoot(r.Now())
}
