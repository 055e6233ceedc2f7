package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// Tasks runs tasks.
type Tasks interface {
	// Preview returns the tasks that Submit would make of r, and of which definition, or
	// the error that it would return, and does nothing. That the host could never hold them
	// is fault.Exhausted, and the definition is returned beside it.
	Preview(ctx context.Context, r task.Run) (task.Definition, []task.Task, error)

	// Submit runs r. With the same token and request it returns the same tasks.
	Submit(ctx context.Context, r task.Run) ([]task.Task, error)
}

// Journal knows what became of tasks.
type Journal interface {
	// Known returns those of the tasks that are remembered.
	Known(ctx context.Context, ids []task.ID) (map[task.ID]task.Task, error)

	// AskStop writes the wish to stop on a task. The first wish counts.
	AskStop(ctx context.Context, id task.ID, code, reason string) (task.Task, error)

	// LastSeq returns the position of the newest event.
	LastSeq(ctx context.Context) (task.Seq, error)

	// Follow yields every event after seq, in order, then waits for more until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]
}

// News is what is written down with a service.
type News struct {
	Events    []Event
	Rollouts  []Rollout // new ones and those that have changed
	Revisions []Revision
}

// Book keeps services.
type Book interface {
	// PutService writes s and its news, whole or not at all, and has them durable when it
	// returns. Version must be one more than what is there, 1 for a service that is new;
	// else it is ErrStale and nothing is written. Two services of one cluster that are not
	// INACTIVE cannot have the same name: that is ErrStale too.
	PutService(ctx context.Context, s Service, n News) error

	// Service returns a service, or fault.NotFound.
	Service(ctx context.Context, id ID) (Service, error)

	// ServiceNamed returns the newest service of that name in a cluster, or fault.NotFound.
	ServiceNamed(ctx context.Context, r task.Realm, name string) (Service, error)

	// Unfinished returns the services that are not INACTIVE.
	UnfinishedServices(ctx context.Context) ([]Service, error)

	// ForgetServices forgets those that became INACTIVE before then.
	ForgetServices(ctx context.Context, before time.Time) error

	Archive
}

// Targets is what load balancers say of tasks.
type Targets interface {
	// Health returns whether all target groups of a task find it healthy. known is false
	// while they have not found out.
	Health(id task.ID) (healthy, known bool)
}

// Config is what New needs. All fields are required but Targets.
type Config struct {
	Tasks   Tasks
	Journal Journal
	Book    Book
	Targets Targets // nil: no target is known to be healthy or not

	Log       *zap.Logger
	Now       func() time.Time
	NewID     func() string // 32 hex digits
	NewNumber func() string // 19 digits, not the same twice
}

// Scheduler keeps services as they are wished. Its methods can be called side by side;
// nothing is done but in Run.
type Scheduler struct {
	Config
	mu      sync.Mutex
	rousers map[string]chan struct{} // group and cluster of a service → has room for one: look at it
	fresh   chan ID                  // services that Run does not know yet
}

// New returns a Scheduler. It does nothing until Run.
func New(c Config) *Scheduler {
	if c.Targets == nil {
		c.Targets = untold{}
	}
	return &Scheduler{Config: c, rousers: make(map[string]chan struct{}), fresh: make(chan ID, 1)}
}

type untold struct{}

func (untold) Health(task.ID) (healthy, known bool) { return false, false }

const (
	retry      = 2 * time.Second // after something failed
	forgetTick = time.Hour
	remembered = 24 * time.Hour // how long an INACTIVE service can be described
)

// Run keeps services until ctx ends. Tasks keep running after that; the next Run finds them
// again. There is one goroutine for each service that is not INACTIVE.
func (s *Scheduler) Run(ctx context.Context) error {
	var keepers sync.WaitGroup
	defer keepers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	seq, err := s.Journal.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("read the journal's end: %w", err)
	}
	failed := make(chan error, 1)
	keepers.Go(func() { failed <- s.follow(ctx, seq) })
	all, err := s.Book.UnfinishedServices(ctx)
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	kept := make(map[ID]bool)
	keep := func(id ID) {
		if !kept[id] {
			kept[id] = true
			keepers.Go(func() { s.keep(ctx, id) })
		}
	}
	for _, v := range all {
		keep(v.ID)
	}
	tick := time.NewTicker(forgetTick)
	defer tick.Stop()
	for {
		select {
		case id := <-s.fresh:
			keep(id)
		case <-tick.C:
			if err := s.Book.ForgetServices(ctx, s.Now().Add(-remembered)); err != nil && ctx.Err() == nil {
				s.Log.Warn("old services not forgotten", zap.Error(err))
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// follow rouses services whose tasks change.
func (s *Scheduler) follow(ctx context.Context, seq task.Seq) error {
	for ev, err := range s.Journal.Follow(ctx, seq) {
		if err != nil {
			return fmt.Errorf("follow journal: %w", err)
		}
		if strings.HasPrefix(ev.Task.Group, groupPrefix) {
			s.rouse(ev.Task.ClusterARN + ev.Task.Group)
		}
	}
	return nil
}

// rouser returns the channel by which the keeper of a service is roused.
func (s *Scheduler) rouser(key string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rousers[key] == nil {
		s.rousers[key] = make(chan struct{}, 1)
	}
	return s.rousers[key]
}

func (s *Scheduler) rouse(key string) {
	select {
	case s.rouser(key) <- struct{}{}:
	default:
	}
}

func (v Service) key() string { return v.Realm.ClusterARN() + v.Group() }

// keep looks at a service whenever there may be something to do, until it is INACTIVE or ctx
// ends.
func (s *Scheduler) keep(ctx context.Context, id ID) {
	log := s.Log.With(zap.String("service", string(id)))
	for ctx.Err() == nil {
		v, wake, err := s.turn(ctx, id)
		pause := time.Duration(-1)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && fault.KindOf(err) == fault.NotFound && v.ID == "":
			return // It is forgotten.
		case err != nil:
			log.Warn("service did not go on, will be tried again", zap.String("name", v.Name), zap.Error(err))
			pause = retry
		case v.Status == Inactive:
			log.Info("service ended", zap.String("name", v.Name))
			return
		case !wake.IsZero():
			pause = max(0, wake.Sub(s.Now()))
		}
		wait(ctx, pause, s.rouser(v.key()))
	}
}

// wait waits for roused, for d if it is not negative, or until ctx ends.
func wait(ctx context.Context, d time.Duration, roused <-chan struct{}) {
	var due <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-roused:
	case <-due:
	case <-ctx.Done():
	}
}

// turn does for a service what can be done now, and returns when to look again though
// nothing has happened, zero for not at all.
func (s *Scheduler) turn(ctx context.Context, id ID) (Service, time.Time, error) {
	for {
		v, err := s.Book.Service(ctx, id)
		if err != nil || v.Status == Inactive {
			return v, time.Time{}, err
		}
		again, wake, err := s.step(ctx, v)
		if errors.Is(err, ErrStale) {
			continue // Somebody wishes something else.
		}
		if err != nil || !again {
			return v, wake, err
		}
	}
}

// step does the one thing that v calls for. It reports false if there is nothing to do but
// wait.
func (s *Scheduler) step(ctx context.Context, v Service) (again bool, wake time.Time, err error) {
	tasks, err := s.Journal.Known(ctx, v.TaskIDs())
	if err != nil {
		return false, wake, fmt.Errorf("read tasks: %w", err)
	}
	for _, f := range v.fleets() {
		for _, m := range f.Members {
			if t, ok := tasks[m.Task]; ok && m.Stop != "" && t.DesiredStatus != task.Stopped {
				if tasks[m.Task], err = s.Journal.AskStop(ctx, m.Task, task.ServiceScheduler, m.Stop); err != nil {
					return false, wake, fmt.Errorf("stop task %s: %w", m.Task, err)
				}
			}
		}
	}
	if ordered(&v) { // after those are asked to stop that make room
		return true, wake, s.submit(ctx, v)
	}
	d := plan(v, world{now: s.Now(), tasks: tasks, target: s.Targets.Health}, s.NewID)
	if !d.changed {
		return false, d.wake, nil
	}
	return true, wake, s.put(ctx, d)
}

// ordered reports whether there are orders that were not submitted, as far as is known.
func ordered(v *Service) bool {
	return slices.ContainsFunc(v.fleets(), func(f *Fleet) bool {
		return slices.ContainsFunc(f.Members, func(m Member) bool { return m.Task == "" })
	})
}

// put writes a draft.
func (s *Scheduler) put(ctx context.Context, d *draft) error {
	d.Version++
	n := News{Events: d.events, Rollouts: d.ended}
	if d.Rollout != nil {
		n.Rollouts = append(n.Rollouts, *d.Rollout)
	}
	if err := s.Book.PutService(ctx, d.Service, n); err != nil {
		return fmt.Errorf("write down service %s: %w", d.Name, err)
	}
	return nil
}

// submit submits what is ordered and notes what became of it.
func (s *Scheduler) submit(ctx context.Context, v Service) error {
	d := &draft{Service: v.clone(), world: world{now: s.Now()}, newID: s.NewID}
	var failed error
	for i := range d.Deployments {
		p := &d.Deployments[i]
		who := d.who()
		failed = cmp.Or(failed, s.submitFleet(ctx, d, &p.Fleet, p.ID, p.Template, who, i == 0 && p.State == InProgress))
	}
	for i := range d.TaskSets {
		t := &d.TaskSets[i]
		who := fmt.Sprintf("(service %s, taskSet %s)", d.Name, t.ID)
		failed = cmp.Or(failed, s.submitFleet(ctx, d, &t.Fleet, t.ID, t.Template, who, false))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if d.changed {
		if err := s.put(ctx, d); err != nil {
			return err
		}
	}
	return failed
}

func (s *Scheduler) submitFleet(ctx context.Context, d *draft, f *Fleet, id string, tm Template, who string, counting bool) error {
	var started []string
	var left []Member
	var failed error
	for _, m := range f.Members {
		if m.Task != "" || failed != nil {
			left = append(left, m)
			continue
		}
		ts, err := s.Tasks.Submit(ctx, d.run(id, tm, m))
		kind := fault.KindOf(err)
		switch {
		case err == nil:
			m.Task, m.Order, d.changed = ts[0].ID, nil, true
			started = append(started, "(task "+string(m.Task)+")")
			left = append(left, m)
		case ctx.Err() != nil || kind == fault.Internal || kind == fault.Unavailable || kind == fault.Throttled:
			failed = fmt.Errorf("submit task %d of %s: %w", m.N, id, err)
			left = append(left, m)
		default:
			d.failure(f, m.N, false, counting)
			d.say(Event{Name: "SERVICE_TASK_PLACEMENT_FAILURE", Level: "ERROR", Reason: fault.Message(err)},
				"%s was unable to place a task. Reason: %s", who, strings.TrimSuffix(fault.Message(err), ".")+".")
		}
	}
	f.Members = left
	if len(started) > 0 {
		d.say(Event{}, "%s has started %d tasks: %s.", who, len(started), strings.Join(started, " "))
	}
	return failed
}

// run is what a member is submitted as: the same whenever it is submitted.
func (v Service) run(id string, tm Template, m Member) task.Run {
	r := task.Run{
		Realm: v.Realm, Definition: tm.Definition, Count: 1, Service: v.Name, Group: v.Group(), StartedBy: id,
		Network: tm.Network, LoadBalancers: tm.LoadBalancers, Token: fmt.Sprintf("%s/%d", id, m.N),
	}
	if m.Order != nil {
		r.Tags, r.ManagedTags, r.EnableExecuteCommand = m.Order.Tags, m.Order.Managed, m.Order.Exec
	}
	if m.Provider != "" {
		r.Providers = []task.CapacityProvider{{Name: m.Provider, Weight: 1}}
	}
	return r
}
