package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// provision waits until the host has room for the task, then gives it its cgroup
// and its network.
func (r *Runner) provision(ctx, wanted context.Context, t task.Task) (task.Transition, error) {
	if err := r.capacity.wait(wanted, t.ID); err != nil {
		return r.gaveUp(t, task.UserInitiated, task.ReasonUserStopped), nil
	}
	if r.Latency.provision(r, wanted, t); wanted.Err() != nil {
		return r.gaveUp(t, task.UserInitiated, task.ReasonUserStopped), nil
	}
	n, err := r.Runtime.Provision(ctx, isolation.Sandbox{
		ID: t.ID, Size: t.Size(), PIDs: r.PIDs, Storage: t.Storage(), Containers: len(t.Containers),
		Groups: t.Groups(), Publish: t.Publish(), Search: []string{t.Realm().ServiceDomain()}, Runtime: t.Runtime,
	})
	if err != nil {
		return task.Transition{}, err
	}
	return task.Provisioned(t, r.Now(), n, string(r.NewID())), nil
}

// pull makes the images of all containers available, side by side.
func (r *Runner) pull(wanted context.Context, t task.Task) (task.Transition, error) {
	var mu sync.Mutex
	refs := make(map[string]string)
	g, ctx := errgroup.WithContext(wanted)
	for _, c := range t.Containers {
		g.Go(func() error {
			ref, err := r.Images.Pull(ctx, c.Image)
			if err != nil {
				return containerError{c.Name, err}
			}
			mu.Lock()
			defer mu.Unlock()
			refs[c.Name] = ref
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		// The puller has tried again already where that helps.
		return r.startFailed(wanted, t, err, fault.KindOf(err) != fault.Internal, nil)
	}
	if err := r.Latency.pull(r, wanted, t, refs); err != nil || wanted.Err() != nil {
		return r.startFailed(wanted, t, err, false, nil)
	}
	return task.Pulled(t.Time(r.Now()), refs), nil
}

// start makes the task's containers and starts each as soon as the containers it
// depends on are where it wants them.
func (r *Runner) start(wanted context.Context, t task.Task, health *checks) (task.Transition, error) {
	d, err := r.Store.Definition(wanted, t.Realm(), t.DefinitionARN)
	if err != nil {
		return r.startFailed(wanted, t, err, false, nil)
	}
	if r.Latency.start(r, wanted, t); wanted.Err() != nil {
		return r.startFailed(wanted, t, wanted.Err(), false, nil)
	}
	if r.OpenLogs != nil {
		if err := r.OpenLogs(wanted, d, t); err != nil {
			return r.startFailed(wanted, t, err, slices.Contains(users, fault.KindOf(err)), nil)
		}
	}
	s := newStarter(r, t, r.equip(d, t, task.Plan(d, t)), health)
	if err := s.run(wanted); err != nil {
		return r.startFailed(wanted, t, err, slices.Contains(users, fault.KindOf(err)), s.all())
	}
	return task.Started(r.startedAt(t, s.outcomes), s.outcomes), nil
}

// users are the kinds of errors of starting that are the user's to mend.
var users = []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict}

// startFailed decides what an error before the task runs means: the end of the
// task if somebody asked for that or the error is final, and else that the step
// is worth repeating. outcomes is what became of its containers until then.
func (r *Runner) startFailed(wanted context.Context, t task.Task, err error, final bool, outcomes map[string]task.Outcome) (task.Transition, error) {
	at := func(more ...task.Outcome) time.Time {
		return r.stamp(t, append(slices.Collect(maps.Values(outcomes)), more...)...)
	}
	if wanted.Err() != nil {
		return task.GaveUp(t, r.stamp(t), task.UserInitiated, task.ReasonUserStopped, outcomes), nil
	}
	if errors.Is(err, isolation.ErrNotProvisioned) {
		return task.GaveUp(t, at(task.Outcome{Ended: true}), task.Infrastructure, reasonGone, outcomes), nil
	}
	if !final {
		return task.Transition{}, err
	}
	var early errEssentialExited
	if errors.As(err, &early) {
		return task.GaveUp(t, at(), task.EssentialExited, task.ReasonEssentialExited, outcomes), nil
	}
	// The reason is for the user. Its cause may say what only the operator can mend.
	r.Log.Warn("task could not be started", zap.String("task", string(t.ID)), zap.Error(err))
	var ce containerError
	if errors.As(err, &ce) {
		if outcomes == nil {
			outcomes = make(map[string]task.Outcome)
		}
		o := outcomes[ce.container]
		o.Reason = fault.Message(err)
		outcomes[ce.container] = o
	}
	return task.GaveUp(t, at(), task.FailedToStart, fault.Message(err), outcomes), nil
}

func (r *Runner) gaveUp(t task.Task, code, reason string) task.Transition {
	return task.GaveUp(t, r.stamp(t), code, reason, nil)
}

// lost ends a task whose world went down with the host.
func (r *Runner) lost(t task.Task) task.Transition {
	if t.LastStatus == task.Running {
		return task.Quit(r.stamp(t), task.Infrastructure, reasonRestarted, nil)
	}
	return r.gaveUp(t, task.Infrastructure, reasonRestarted)
}

const (
	reasonRestarted = "The host restarted while the task was on it"
	reasonGone      = "What the task had on the host was removed while no server ran"
	reasonVanished  = "ContainerVanishedError: the container's process was lost"
)

// watch waits until something happens that a running task has to hear of: a
// container ends or its health changes, the task's time is up, somebody wants it stopped.
func (r *Runner) watch(wanted context.Context, t task.Task, health *checks) (task.Transition, error) {
	d, err := r.Store.Definition(wanted, t.Realm(), t.DefinitionARN)
	if err != nil && wanted.Err() == nil {
		return task.Transition{}, fmt.Errorf("read definition: %w", err)
	}
	plans := make(map[string]task.ContainerPlan)
	for _, p := range task.Plan(d, t) {
		plans[p.Name] = p
	}
	for _, c := range t.Containers {
		switch {
		case wanted.Err() != nil:
		case c.Restarting():
			return r.restart(wanted, t, c)
		case c.LastStatus == task.Running:
			health.begin(t, plans[c.Name], c)
		}
	}
	ctx, cancel := context.WithCancel(wanted)
	defer cancel()
	if t.Timeout > 0 {
		left := t.StartedAt.Add(time.Duration(t.Timeout) * time.Second).Sub(t.Time(r.Now()))
		ctx, cancel = context.WithTimeout(ctx, left)
		defer cancel()
	}
	due, doomed := fate(t, r.SpotRate)
	if doomed {
		var shorten context.CancelFunc
		ctx, shorten = context.WithTimeoutCause(ctx, t.StartedAt.Add(due).Sub(t.Time(r.Now())), errInterrupted)
		defer shorten()
	}
	var name string
	var o task.Outcome
	for {
		news, changed := health.news(t)
		if len(news) > 0 && ctx.Err() == nil {
			return task.Observed(t.Time(r.Now()), nil), nil // advance adds the news.
		}
		if name, o, err = r.first(ctx, t, changed); !errors.Is(err, errHealth) {
			break
		}
	}
	switch {
	case wanted.Err() != nil:
		return task.Quit(r.stamp(t), task.UserInitiated, task.ReasonUserStopped, nil), nil
	case err != nil && errors.Is(context.Cause(ctx), errInterrupted):
		t, err := r.Interrupt(wanted, t.ID) // Everybody hears of it while the task still runs.
		return task.Quit(t.Time(r.Now()), t.StopCode, t.StoppedReason, nil), err
	case err != nil && ctx.Err() != nil:
		return task.Quit(r.stamp(t), task.UserInitiated,
			fmt.Sprintf("Task stopped after its timeoutSeconds of %d", t.Timeout), nil), nil
	case err != nil:
		return task.Transition{}, err
	}
	if o.Exit != nil && plans[name].Restarts(t.Container(name).StartedAt, *o.Exit) {
		return task.Observed(r.stamp(t, o), map[string]task.Outcome{name: {Restart: true}}), nil
	}
	return r.over(t, name, o), nil
}

// over says what the end of a container means for its task.
func (r *Runner) over(t task.Task, name string, o task.Outcome) task.Transition {
	outcomes := map[string]task.Outcome{name: o}
	if !t.Container(name).Essential {
		return task.Observed(r.stamp(t, o), outcomes)
	}
	if o.Exit == nil {
		return task.Quit(r.stamp(t, o), task.Infrastructure, reasonVanished, outcomes)
	}
	return task.Quit(r.stamp(t, o), task.EssentialExited, task.ReasonEssentialExited, outcomes)
}

// restart starts a container anew. That it is to be is written down, with the number of
// the run, so that each run is started once.
func (r *Runner) restart(wanted context.Context, t task.Task, c task.Container) (task.Transition, error) {
	st, err := r.Runtime.Restart(wanted, t.ID, c.Name, c.RestartCount)
	switch kind := fault.KindOf(err); {
	case wanted.Err() != nil:
		return task.Quit(r.stamp(t), task.UserInitiated, task.ReasonUserStopped, nil), nil
	case kind == fault.NotFound:
		return r.over(t, c.Name, task.Outcome{Ended: true, Reason: reasonVanished}), nil
	case kind == fault.Invalid:
		o := task.Outcome{Ended: true, Reason: fault.Message(err)}
		if c.Essential {
			return task.Quit(r.stamp(t), task.EssentialExited, task.ReasonEssentialExited, map[string]task.Outcome{c.Name: o}), nil
		}
		return r.over(t, c.Name, o), nil
	case err != nil:
		return task.Transition{}, fmt.Errorf("restart container %s: %w", c.Name, err)
	}
	started := task.Outcome{RuntimeID: st.RuntimeID, StartedAt: r.onTimeline(t, st.At)}
	return task.Observed(t.Time(r.Now()), map[string]task.Outcome{c.Name: started}), nil
}

// errInterrupted says that the time of a task on FARGATE_SPOT is up.
var errInterrupted = errors.New("the task is interrupted")

// errHealth says that the health of a container has changed.
var errHealth = errors.New("the health of a container has changed")

// first waits for the first container of the task that ends and returns its name
// and what became of it. A process that was lost ends without an exit. It is errHealth if
// changed is closed before.
func (r *Runner) first(ctx context.Context, t task.Task, changed <-chan struct{}) (string, task.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	type ended struct {
		name string
		o    task.Outcome
		err  error
	}
	var waits sync.WaitGroup
	defer waits.Wait()
	defer cancel()

	ends := make(chan ended)
	for _, c := range t.Containers {
		if c.LastStatus == task.Stopped {
			continue
		}
		waits.Go(func() {
			o, err := r.outcome(ctx, t, c.Name)
			select {
			case ends <- ended{c.Name, o, err}:
			case <-ctx.Done():
			}
		})
	}
	select {
	case e := <-ends:
		return e.name, e.o, e.err
	case <-changed:
		return "", task.Outcome{}, errHealth
	case <-ctx.Done():
		return "", task.Outcome{}, ctx.Err()
	}
}

// outcome waits for the end of one container and says how it was. A container
// of which there is nothing to wait for has no exit.
func (r *Runner) outcome(ctx context.Context, t task.Task, container string) (task.Outcome, error) {
	exit, err := r.Runtime.Wait(ctx, t.ID, container)
	if fault.KindOf(err) == fault.NotFound {
		if c := t.Container(container); c.StartedAt.IsZero() {
			return task.Outcome{}, nil // It never began.
		}
		return task.Outcome{Ended: true, Reason: reasonVanished}, nil
	}
	if err != nil {
		return task.Outcome{}, fmt.Errorf("wait for container %s: %w", container, err)
	}
	exit.At = r.onTimeline(t, exit.At)
	o := task.Outcome{Exit: &exit}
	if c := t.Container(container); !c.StartedAt.IsZero() || c.RestartCount > 0 {
		return o, nil
	}
	// The server that started it may have died before it wrote that down.
	life, err := r.Runtime.Life(t.ID, container)
	if err != nil {
		return task.Outcome{}, fmt.Errorf("find out when container %s started: %w", container, err)
	}
	if life.Started.IsZero() {
		return o, nil
	}
	o.RuntimeID, o.StartedAt = task.RuntimeID(t.ID, container), r.project(t, life.Started)
	if o.StartedAt.Before(t.PullStoppedAt) {
		o.StartedAt = t.PullStoppedAt
	}
	if o.StartedAt.After(exit.At) {
		o.StartedAt = exit.At
	}
	return o, nil
}

// deactivate waits until load balancers have let go of the task.
func (r *Runner) deactivate(ctx context.Context, t task.Task) (task.Transition, error) {
	if r.Drain != nil && len(t.LoadBalancers) > 0 && !t.Interrupted() && !t.OverSpent() {
		if err := r.Drain(ctx, t); err != nil {
			return task.Transition{}, fmt.Errorf("drain: %w", err)
		}
	}
	return task.Deactivated(t.Time(r.Now())), nil
}

// end stops every container and takes the last reading of the task's counters.
func (r *Runner) end(ctx context.Context, t task.Task) (task.Transition, error) {
	d, err := r.Store.Definition(ctx, t.Realm(), t.DefinitionARN)
	if err != nil {
		return task.Transition{}, fmt.Errorf("read definition: %w", err)
	}
	stop := r.endInOrder
	if t.Interrupted() {
		stop = r.takeAway
	}
	outcomes, err := stop(ctx, t, task.Plan(d, t))
	if err != nil {
		return task.Transition{}, err
	}
	usage, err := r.reading(ctx, t)
	if err != nil {
		return task.Transition{}, err
	}
	all := make([]task.Outcome, 0, len(outcomes))
	for _, o := range outcomes {
		all = append(all, o)
	}
	return task.Ended(r.stamp(t, all...), outcomes, usage), nil
}

// endInOrder stops every container, those that depend on others before those. If there is
// no money left for the task, all have SpendGrace together.
func (r *Runner) endInOrder(ctx context.Context, t task.Task, plans []task.ContainerPlan) (map[string]task.Outcome, error) {
	ended := make(map[string]chan struct{}, len(plans))
	for _, p := range plans {
		ended[p.Name] = make(chan struct{})
	}
	var last time.Time
	if t.OverSpent() {
		last = t.StoppingAt.Add(task.SpendGrace)
	}
	var mu sync.Mutex
	outcomes := make(map[string]task.Outcome)
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range plans {
		g.Go(func() error {
			defer close(ended[p.Name])
			for _, q := range plans {
				if q.Needs(p.Name) {
					select {
					case <-ended[q.Name]:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			o, err := r.endContainer(ctx, t, p, time.Time{}, last)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[p.Name] = o
			return nil
		})
	}
	return outcomes, g.Wait()
}

// endContainer asks a container to end, waits until the deadline or, if that is zero, as
// long as its definition says, but not beyond last if there is one, and then kills it. An
// earlier server may have asked it.
func (r *Runner) endContainer(ctx context.Context, t task.Task, p task.ContainerPlan, deadline, last time.Time) (task.Outcome, error) {
	asked, err := r.Runtime.Stop(ctx, t.ID, p.Name)
	if err != nil {
		return task.Outcome{}, fmt.Errorf("stop container %s: %w", p.Name, err)
	}
	if deadline.IsZero() {
		deadline = r.onTimeline(t, asked).Add(p.StopTimeout)
	}
	if !last.IsZero() && deadline.After(last) {
		deadline = last
	}
	patience, cancel := context.WithTimeout(ctx, deadline.Sub(t.Time(r.Now())))
	defer cancel()
	o, err := r.outcome(patience, t, p.Name)
	if err == nil || patience.Err() == nil || ctx.Err() != nil {
		return o, err
	}
	if err := r.Runtime.Kill(ctx, t.ID, p.Name); err != nil {
		return task.Outcome{}, fmt.Errorf("kill container %s: %w", p.Name, err)
	}
	return r.outcome(ctx, t, p.Name)
}

// reading returns the task's counters, or nil if there are none any more.
func (r *Runner) reading(ctx context.Context, t task.Task) (*task.Counters, error) {
	g, err := r.Runtime.Gauge(context.WithoutCancel(ctx), t.ID)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open counters: %w", err)
	}
	defer g.Close()
	c, err := g.Read()
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return &c, nil
}

// remove takes away all that is left of the task on the host.
func (r *Runner) remove(ctx context.Context, t task.Task) (task.Transition, error) {
	if err := r.Runtime.Remove(ctx, t.ID); err != nil {
		return task.Transition{}, fmt.Errorf("remove: %w", err)
	}
	return task.Removed(r.stamp(t)), nil
}
