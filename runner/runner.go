// Package runner moves tasks through their states.
//
// There is one goroutine per unfinished task, and it runs drive: look at what is
// written down, do the one thing that this state calls for, write down what came
// of it, repeat. Whatever is done can be done again, so a runner that died
// resumes by starting over from what is written down. There is no other
// recovery.
//
// A wish is data and a context is a lifetime: "stop this task" is written on the
// task, and ending the context given to Run ends this process's part in it and
// leaves every task running.
package runner

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Store is what a Runner remembers by.
type Store interface {
	// ActiveCluster returns nil if tasks can be made in the cluster that in names, and
	// fault.NotFound if it does not exist or was deleted.
	ActiveCluster(ctx context.Context, in task.Realm) error

	// Definition returns the definition that ref names: a family (its latest
	// ACTIVE revision), family:revision or an ARN.
	Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)

	// Create remembers new tasks, all or none, and returns when they are
	// durable. If d is not nil they become tasks of the revision of its family
	// that says the same. If a request with the same token came before, it
	// returns the tasks made then, or fault.Conflict if hash differs.
	Create(ctx context.Context, ts []task.Task, d *task.Definition, token, hash string) ([]task.Task, error)

	// Requested returns the tasks that a request with that token made, nil if
	// there was none, or fault.Conflict if its hash differs.
	Requested(ctx context.Context, in task.Realm, token, hash string) ([]task.Task, error)

	// Advance applies tr to the task as it is now and returns the result once
	// it is durable.
	Advance(ctx context.Context, id task.ID, tr task.Transition) (task.Task, error)

	// AskStop writes the wish to stop on the task. The first wish counts.
	AskStop(ctx context.Context, id task.ID, code, reason string) (task.Task, error)

	Task(ctx context.Context, id task.ID) (task.Task, error)

	// Unfinished returns the tasks that have not stopped, oldest first, and the
	// position in the journal that this answer is true for.
	Unfinished(ctx context.Context) ([]task.Task, task.Seq, error)

	// Follow yields every event after seq, in order, then waits for more until
	// ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]

	// Groups returns all security groups, Group the one of that ID or name, or
	// fault.NotFound. PutGroup remembers one in place of the one of that name, and
	// RemoveGroup forgets one, unless it is in use: that is a fault.Conflict.
	Groups(ctx context.Context, in task.Realm) ([]task.SecurityGroup, error)
	Group(ctx context.Context, in task.Realm, ref string) (task.SecurityGroup, error)
	PutGroup(ctx context.Context, in task.Realm, g task.SecurityGroup) (task.SecurityGroup, error)
	RemoveGroup(ctx context.Context, in task.Realm, ref string) error

	// LastBeat returns the last moment of that life of the host at which a server
	// is known to have lived.
	LastBeat(ctx context.Context, bootID string) (beat task.Instant, ok bool, err error)
}

// Puller makes an image available here and returns its digest reference,
// name@digest, which stays valid as long as an unfinished task uses it. Errors other than
// fault.Internal say in Fargate's words why the task cannot start.
type Puller interface {
	Pull(ctx context.Context, name string) (ref string, err error)
}

// Config is what New needs. All fields are required but SpotRate, Latency,
// Environment, OpenLogs and Drain.
type Config struct {
	Store      Store
	Images     Puller
	Secrets    Secrets
	Runtime    isolation.Runtime
	Capacity   task.Size     // what all tasks together may reserve
	Largest    task.Size     // no single task may be larger: what the host really has
	PIDs       int64         // most processes and threads in one task
	Runtimes   task.Runtimes // runtime classes that are set up
	SpotRate   float64       // interruptions of a task on FARGATE_SPOT in an hour; 0: only by Interrupt
	Arch       string        // the host's CPU architecture in ECS's words: X86_64 or ARM64
	Latency    *Latency      // nil: tasks start as soon as they can
	SpotNotice time.Duration // between the warning of an interruption and the end
	Log        *zap.Logger
	Now        func() task.Instant
	NewID      func() task.ID

	// Environment returns the variables of a container of t, a task of d: own and what
	// the platform tells it. nil: own.
	Environment func(d task.Definition, t task.Task, container string, own []string) []string

	// OpenLogs readies what the logs of t, a task of d, are found under, before its
	// containers are made. It can be repeated. Errors of kinds that are the user's to mend
	// say in Fargate's words why the task cannot start. nil: nothing needs it.
	OpenLogs func(ctx context.Context, d task.Definition, t task.Task) error

	// Drain returns when no load balancer sends t anything any more and what it sent has
	// been answered, or was given time enough. An error other than ctx's repeats it. Tasks
	// whose time is up are not waited for: those that were interrupted, and those that
	// there is no money left for. nil: nothing balances.
	Drain func(ctx context.Context, t task.Task) error
}

// Runner runs tasks.
type Runner struct {
	Config
	capacity  *capacity
	enforcing sync.Mutex              // held while the rules of security groups are brought to the host
	began     task.Instant            // what ended before it, ended while nobody watched
	before    task.Instant            // the last moment of this life of the host at which an earlier server lived; began if there was none
	beats     map[string]task.Instant // boot ID → the last moment of an earlier life of the host at which a server lived
}

// New returns a Runner. It does nothing until Run. It asks the store when a server
// lived last, so it comes before this one's first beat.
func New(ctx context.Context, c Config) (*Runner, error) {
	r := &Runner{Config: c, capacity: newCapacity(c.Capacity), began: c.Now()}
	beat, ok, err := c.Store.LastBeat(ctx, r.began.BootID)
	if err != nil {
		return nil, fmt.Errorf("read last beat: %w", err)
	}
	if r.before = beat; !ok {
		r.before = r.began
	}
	return r, nil
}

// Stop writes down the wish that a task ends and returns before it has ended.
// An empty reason means task.ReasonUserStopped. Stopping a task that is on its
// way out, or has stopped, changes nothing.
func (r *Runner) Stop(ctx context.Context, id task.ID, reason string) (task.Task, error) {
	if reason == "" {
		reason = task.ReasonUserStopped
	}
	return r.Store.AskStop(ctx, id, task.UserInitiated, reason)
}

// Isolation reads back from the kernel what keeps a task apart. One that has no
// processes on the host, because it waits or has stopped, is fault.Conflict.
func (r *Runner) Isolation(ctx context.Context, id task.ID) (task.Isolation, error) {
	t, err := r.Store.Task(ctx, id)
	if err != nil {
		return task.Isolation{}, err
	}
	i, err := r.Runtime.Inspect(ctx, id)
	if fault.KindOf(err) == fault.Conflict {
		return i, fault.New(fault.Conflict, "task %s is %s: nothing of it is on the host", id, t.LastStatus)
	}
	i.TaskARN = t.ARN
	return i, err
}

// Load returns what all tasks may reserve together, what they reserve now, and
// how many tasks wait for capacity.
func (r *Runner) Load() (total, reserved task.Size, waiting int) { return r.capacity.load() }

// Run drives every unfinished task until ctx ends. Tasks keep running after
// that; the next Run finds them again.
func (r *Runner) Run(ctx context.Context) error {
	var drivers sync.WaitGroup
	defer drivers.Wait()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // so that drivers end also when the journal fails

	driven := make(map[task.ID]context.CancelFunc) // call to say: not wanted any more
	see := func(t task.Task) {
		if t.LastStatus.Final() {
			delete(driven, t.ID)
			return
		}
		if driven[t.ID] == nil {
			wanted, unwant := context.WithCancel(ctx)
			driven[t.ID] = unwant
			r.capacity.enter(t)
			drivers.Go(func() { defer unwant(); r.drive(ctx, wanted, t.ID) })
		}
		if t.DesiredStatus == task.Stopped {
			driven[t.ID]()
		}
	}

	if err := r.enforceGroups(ctx); err != nil {
		return err
	}
	traces, err := r.Runtime.List(ctx) // before Unfinished: a task made in between is no orphan
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", err)
	}
	tasks, seq, err := r.Store.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("list unfinished tasks: %w", err)
	}
	if err := r.findBeats(ctx, tasks); err != nil {
		return err
	}
	// Those that hold their share already come first: what is left is for the others,
	// whatever their IDs say of who came when.
	slices.SortStableFunc(tasks, func(a, b task.Task) int {
		return cmp.Compare(waiting(a), waiting(b))
	})
	for _, t := range tasks {
		see(t)
	}
	drivers.Go(func() { r.sweep(ctx, traces, tasks) })
	for ev, err := range r.Store.Follow(ctx, seq) {
		if err != nil {
			return fmt.Errorf("follow journal: %w", err)
		}
		see(ev.Task)
	}
	return nil
}

// waiting is 1 for a task that has not been admitted yet.
func waiting(t task.Task) int {
	if t.LastStatus == task.Provisioning {
		return 1
	}
	return 0
}

// findBeats finds out when the worlds of tasks from earlier lives of the host
// went down.
func (r *Runner) findBeats(ctx context.Context, tasks []task.Task) error {
	r.beats = make(map[string]task.Instant)
	for _, t := range tasks {
		boot := t.Clock.BootID
		if _, ok := r.beats[boot]; ok || !r.restarted(t) {
			continue
		}
		beat, _, err := r.Store.LastBeat(ctx, boot)
		if err != nil {
			return fmt.Errorf("read last beat of boot %s: %w", boot, err)
		}
		r.beats[boot] = beat
	}
	return nil
}

// sweep removes what is left on the host of tasks that nobody remembers.
func (r *Runner) sweep(ctx context.Context, traces []task.ID, unfinished []task.Task) {
	known := make(map[task.ID]bool, len(unfinished))
	for _, t := range unfinished {
		known[t.ID] = true
	}
	for _, id := range traces {
		if known[id] || ctx.Err() != nil {
			continue
		}
		if err := r.Runtime.Remove(ctx, id); err != nil {
			r.Log.Warn("leftover not removed", zap.String("task", string(id)), zap.Error(err))
			continue
		}
		r.Log.Info("leftover removed", zap.String("task", string(id)))
	}
}

// How a step that fails for the host's reasons is repeated: sooner at first,
// then every pauseMax. A task that has not run yet is given up when that has gone
// on for patience; one that has to be taken down never is.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = 10 * time.Second
	patience = time.Minute
)

// drive advances the task until it has stopped or ctx ends. wanted is part of
// ctx and ends early when the task is to stop.
func (r *Runner) drive(ctx, wanted context.Context, id task.ID) {
	log := r.Log.With(zap.String("task", string(id)))
	var failing time.Time // since when the step fails; zero if it does not
	pause := pauseMin
	wanted, settle := context.WithCancel(wanted)
	health := r.newChecks(wanted)
	defer health.running.Wait()
	defer settle()
	for ctx.Err() == nil {
		t, err := r.advance(ctx, wanted, id, health, failing)
		switch {
		case ctx.Err() != nil: // The next Run repeats this.
		case err != nil:
			if failing.IsZero() {
				failing = r.Now().Wall
			}
			log.Warn("step failed and will be repeated", zap.String("status", string(t.LastStatus)),
				zap.Duration("in", pause), zap.Error(err))
			sleep(ctx, pause)
			pause = min(2*pause, pauseMax)
		case t.LastStatus.Final():
			r.capacity.leave(id)
			log.Info("task stopped", zap.String("stopCode", t.StopCode), zap.String("reason", t.StoppedReason))
			return
		default:
			failing, pause = time.Time{}, pauseMin
			log.Debug("task moved", zap.String("status", string(t.LastStatus)))
		}
	}
}

// advance looks at what is written down, does the one thing that this calls for
// and writes down what came of it. failing is since when that fails, zero if it
// has not.
func (r *Runner) advance(ctx, wanted context.Context, id task.ID, health *checks, failing time.Time) (task.Task, error) {
	t, err := r.Store.Task(ctx, id)
	if err != nil || t.LastStatus.Final() {
		return t, err
	}
	tr, err := r.step(ctx, wanted, t, health)
	if ctx.Err() != nil {
		return t, ctx.Err() // What step saw may be our own end, not the task's.
	}
	if err != nil && !failing.IsZero() && r.Now().Wall.Sub(failing) > patience && t.StartedAt.IsZero() && t.StoppingAt.IsZero() {
		r.Log.Error("task given up", zap.String("task", string(id)), zap.Error(err))
		tr, err = task.GaveUp(t, t.Time(r.Now()), task.FailedToStart, givenUp(t, err), nil), nil
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", t.LastStatus, err)
	}
	news, _ := health.news(t)
	next, err := r.Store.Advance(ctx, id, tr.Knowing(news))
	if err != nil {
		return t, fmt.Errorf("write down step from %s: %w", t.LastStatus, err)
	}
	return next, nil
}

// givenUp is the reason why a task was given up. Some steps say it in whole.
func givenUp(t task.Task, err error) string {
	const word = "ResourceInitializationError: "
	text := fault.Message(err)
	if strings.HasPrefix(text, word) {
		return text
	}
	return word + unable[t.LastStatus] + ": " + text
}

// unable says to the user which step the host could not do.
var unable = map[task.Status]string{
	task.Provisioning: "unable to create the task's network, storage and cgroup",
	task.Pending:      "unable to pull the task's images",
	task.Activating:   "unable to start the task's containers",
}

// step does the one thing that t's status calls for and returns what came of it.
func (r *Runner) step(ctx, wanted context.Context, t task.Task, health *checks) (task.Transition, error) {
	if r.restarted(t) && t.StoppingAt.IsZero() {
		return r.lost(t), nil
	}
	switch t.LastStatus {
	case task.Provisioning:
		return r.provision(ctx, wanted, t)
	case task.Pending:
		return r.pull(wanted, t)
	case task.Activating:
		return r.start(wanted, t, health)
	case task.Running:
		return r.watch(wanted, t, health)
	case task.Deactivating:
		return r.deactivate(ctx, t)
	case task.Stopping:
		return r.end(ctx, t)
	case task.Deprovisioning:
		return r.remove(ctx, t)
	}
	return task.Transition{}, fmt.Errorf("no step for status %q", t.LastStatus)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
