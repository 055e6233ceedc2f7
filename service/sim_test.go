package service

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// host is a book, a runner and a scheduler that dies now and then. What is written survives.
type host struct {
	t     *testing.T
	seed  uint64
	book  *book
	farm  *farm
	s     *Scheduler
	crash func()

	mu    sync.Mutex
	calls int    // of this life of the scheduler
	dies  int    // at which call; 0: never
	die   func() // ends this life
	n     int    // of IDs
}

var here = task.Realm{Region: "us-east-1", Account: "000000000000", Cluster: "default"}

func newHost(t *testing.T, seed uint64) *host {
	h := &host{t: t, seed: seed, book: newBook(), farm: newFarm(seed)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.farm.run(ctx) }()
	h.start(0)
	t.Cleanup(func() { h.crash(); stop(); <-done })
	return h
}

// start starts a scheduler that dies at its call number dies, in the middle of it.
func (h *host) start(dies int) {
	ctx, cancel := context.WithCancel(context.Background())
	h.mu.Lock()
	h.calls, h.dies, h.die = 0, dies, cancel
	h.mu.Unlock()
	h.s = New(Config{
		Tasks: mortal{h, ctx}, Journal: mortal{h, ctx}, Book: mortalBook{h.book, h, ctx}, Targets: h.farm, Log: zap.NewNop(), Now: time.Now,
		NewID: func() string { return fmt.Sprintf("%032x", h.next()) }, NewNumber: func() string { return fmt.Sprintf("%019d", h.next()) },
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.s.Run(ctx); err != nil && ctx.Err() == nil {
			h.t.Error("the scheduler gave up:", err)
		}
	}()
	h.crash = func() { cancel(); <-done }
}

func (h *host) next() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	return h.n
}

// restart lets the scheduler die, if it has not, and starts the next.
func (h *host) restart(dies int) {
	h.crash()
	h.start(dies)
}

// around does a call, or dies before it, after it, or lets it work and says that it failed.
func (h *host) around(ctx, life context.Context, what string, call func() error) error {
	if life.Err() != nil {
		return life.Err()
	}
	h.mu.Lock()
	h.calls++
	n, dies, die := h.calls, h.dies, h.die
	h.mu.Unlock()
	if dies > 0 && n >= dies {
		defer die()
		if n%2 == 0 {
			return context.Canceled
		}
		call()
		return context.Canceled
	}
	if h.seed > 0 {
		f := fnv.New64a()
		fmt.Fprint(f, h.seed, what, n)
		switch f.Sum64() % 16 {
		case 0:
			return fault.New(fault.Unavailable, "bad luck before")
		case 1:
			call()
			return fault.New(fault.Unavailable, "bad luck after")
		}
	}
	return call()
}

// mortal is the farm as a life of the scheduler sees it.
type mortal struct {
	h    *host
	life context.Context
}

func (m mortal) Preview(_ context.Context, r task.Run) (task.Definition, []task.Task, error) {
	return m.h.farm.preview(r)
}

func (m mortal) Submit(ctx context.Context, r task.Run) (ts []task.Task, err error) {
	err = m.h.around(ctx, m.life, "submit", func() (err error) { ts, err = m.h.farm.submit(r); return err })
	return ts, err
}

func (m mortal) Known(ctx context.Context, ids []task.ID) (ts map[task.ID]task.Task, err error) {
	err = m.h.around(ctx, m.life, "known", func() error { ts = m.h.farm.known(ids); return nil })
	return ts, err
}

func (m mortal) AskStop(ctx context.Context, id task.ID, code, reason string) (t task.Task, err error) {
	err = m.h.around(ctx, m.life, "stop", func() error { t = m.h.farm.stop(id, code, reason); return nil })
	return t, err
}

func (m mortal) LastSeq(context.Context) (task.Seq, error) { return m.h.farm.last(), nil }

func (m mortal) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return m.h.farm.follow(ctx, seq)
}

type mortalBook struct {
	*book
	h    *host
	life context.Context
}

func (m mortalBook) PutService(ctx context.Context, s Service, n News) error {
	return m.h.around(ctx, m.life, "put", func() error { return m.book.PutService(ctx, s, n) })
}

// book is a Book in memory.
type book struct {
	Archive
	mu        sync.Mutex
	services  map[ID]Service
	events    []Event
	rollouts  map[string]Rollout
	revisions map[string]Revision
}

func newBook() *book {
	return &book{services: make(map[ID]Service), rollouts: make(map[string]Rollout), revisions: make(map[string]Revision)}
}

func (b *book) PutService(_ context.Context, s Service, n News) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Version != b.services[s.ID].Version+1 {
		return ErrStale
	}
	for _, o := range b.services {
		if o.ID != s.ID && o.Name == s.Name && o.Status != Inactive && s.Status != Inactive {
			return ErrStale
		}
	}
	b.services[s.ID] = s.clone()
	b.events = append(b.events, n.Events...)
	for _, r := range n.Rollouts {
		b.rollouts[r.ARN] = r
	}
	for _, r := range n.Revisions {
		b.revisions[r.ARN] = r
	}
	return nil
}

func (b *book) Service(_ context.Context, id ID) (Service, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.services[id]
	if !ok {
		return s, fault.New(fault.NotFound, "no service %s", id)
	}
	return s.clone(), nil
}

func (b *book) ServiceNamed(_ context.Context, _ task.Realm, name string) (Service, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found Service
	for _, s := range b.services {
		if s.Name == name && s.ID > found.ID {
			found = s
		}
	}
	if found.ID == "" {
		return found, fault.New(fault.NotFound, "no service %s", name)
	}
	return found.clone(), nil
}

func (b *book) UnfinishedServices(context.Context) (all []Service, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.services {
		if s.Status != Inactive {
			all = append(all, s.clone())
		}
	}
	return all, nil
}

func (b *book) ForgetServices(context.Context, time.Time) error { return nil }

func (b *book) Rollouts(_ context.Context, arns []string) (all []Rollout, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range arns {
		if r, ok := b.rollouts[a]; ok {
			all = append(all, r)
		}
	}
	return all, nil
}

func (b *book) said(text string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

// farm runs tasks as their definition's family says:
//
//	good     comes to run and goes on
//	checked  has a health check, and is healthy after a while
//	sick     has a health check, which fails
//	broken   never runs
//	crash    runs for three seconds
type farm struct {
	mu      sync.Mutex
	grown   chan struct{}
	seed    uint64
	tokens  map[string]task.ID
	hashes  map[string]string
	tasks   map[task.ID]*task.Task
	events  []task.Event
	targets map[task.ID]bool // what a load balancer says
	mortal  bool             // good tasks die now and then
	again   int              // how often a request was made that had been made before
	refuse  error            // of Submit
	check   func(*farm)      // of invariants, whenever something has changed
	hold    time.Duration    // how long tasks take to end
	stops   map[task.ID]bool // asked to stop by us
}

func newFarm(seed uint64) *farm {
	return &farm{seed: seed, grown: make(chan struct{}), tokens: make(map[string]task.ID), hashes: make(map[string]string), tasks: make(map[task.ID]*task.Task), stops: make(map[task.ID]bool), targets: make(map[task.ID]bool), hold: 3 * time.Second}
}

func family(arn string) string {
	name, _, _ := strings.Cut(arn[strings.LastIndexByte(arn, '/')+1:], ":")
	return name
}

func (f *farm) preview(r task.Run) (task.Definition, []task.Task, error) {
	fam := family(r.Definition)
	c := task.ContainerDefinition{Name: "main", PortMappings: []task.PortMapping{{ContainerPort: 80, Name: "web"}}}
	if fam == "checked" || fam == "sick" {
		c.HealthCheck = &task.HealthCheck{Command: []string{"CMD", "x"}}
	}
	d := task.Definition{Family: fam, ContainerDefinitions: []task.ContainerDefinition{c}, Tags: []task.Tag{{Key: "of", Value: "definition"}}}
	d.ARN, d.Status = "arn:aws:ecs:us-east-1:000000000000:task-definition/"+strings.TrimPrefix(r.Definition, "arn:aws:ecs:us-east-1:000000000000:task-definition/"), task.Active
	return d, nil, r.Validate()
}

func (f *farm) submit(r task.Run) ([]task.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := r.Validate(); err != nil {
		return nil, err
	}
	token := r.Token
	r.Token = ""
	hash, err := hashOf(r)
	if err != nil {
		return nil, err
	}
	if id, ok := f.tokens[token]; ok {
		if f.hashes[token] != hash {
			return nil, fault.New(fault.Conflict, "another request with token %s", token)
		}
		f.again++
		return []task.Task{*f.tasks[id]}, nil
	}
	if f.refuse != nil {
		return nil, f.refuse
	}
	id := task.ID(fmt.Sprintf("%032x", len(f.tasks)+1))
	t := &task.Task{ID: id, ClusterARN: here.ClusterARN(), DefinitionARN: r.Definition, Group: r.Group, StartedBy: r.StartedBy, Tags: append(r.Tags, r.ManagedTags...), LastStatus: task.Pending, DesiredStatus: task.Running, CreatedAt: time.Now(), Health: task.Unknown}
	if len(r.Providers) > 0 {
		t.CapacityProvider = r.Providers[0].Name
	}
	f.tokens[token], f.hashes[token], f.tasks[id] = id, hash, t
	f.tell(t)
	return []task.Task{*t}, nil
}

func (f *farm) tell(t *task.Task) {
	f.events = append(f.events, task.Event{Seq: task.Seq(len(f.events) + 1), At: time.Now(), Task: *t})
	close(f.grown)
	f.grown = make(chan struct{})
	if f.check != nil {
		f.check(f)
	}
}

func (f *farm) known(ids []task.ID) map[task.ID]task.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[task.ID]task.Task)
	for _, id := range ids {
		if t := f.tasks[id]; t != nil {
			all[id] = *t
		}
	}
	return all
}

func (f *farm) stop(id task.ID, code, reason string) task.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tasks[id]
	if t.DesiredStatus != task.Stopped {
		t.DesiredStatus, t.StopCode, t.StoppedReason, t.StoppingAt = task.Stopped, code, reason, time.Now()
		f.tell(t)
	}
	return *t
}

// Health is what a load balancer says: nothing of a task that it has not seen long enough.
func (f *farm) Health(id task.ID) (healthy, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	healthy, known = f.targets[id]
	return healthy, known
}

func (f *farm) last() task.Seq {
	f.mu.Lock()
	defer f.mu.Unlock()
	return task.Seq(len(f.events))
}

func (f *farm) follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for at := int(seq); ctx.Err() == nil; {
			f.mu.Lock()
			more, grown := slices.Clone(f.events[at:]), f.grown
			f.mu.Unlock()
			for _, e := range more {
				if ctx.Err() != nil || !yield(e, nil) {
					return
				}
			}
			at += len(more)
			select {
			case <-grown:
			case <-ctx.Done():
			}
		}
	}
}

// run moves tasks on.
func (f *farm) run(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.mu.Lock()
			for _, id := range slices.Sorted(maps.Keys(f.tasks)) {
				if t := f.tasks[id]; t.LastStatus != task.Stopped && f.move(t, time.Now()) {
					f.tell(t)
				}
			}
			f.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// luck is a number below n that follows from a task and what is asked.
func (f *farm) luck(t *task.Task, what string, n uint64) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, f.seed, t.ID, what)
	return time.Duration(h.Sum64() % n)
}

func (f *farm) move(t *task.Task, now time.Time) (changed bool) {
	ends := func(code string) bool {
		if t.StopCode == "" {
			t.StopCode = code
		}
		t.DesiredStatus, t.LastStatus, t.StoppedAt = task.Stopped, task.Stopped, now
		return true
	}
	kind := family(t.DefinitionARN)
	starts := t.CreatedAt.Add((2 + f.luck(t, "start", 8)) * time.Second)
	switch {
	case t.DesiredStatus == task.Stopped:
		return now.After(t.StoppingAt.Add(f.hold)) && ends("")
	case t.LastStatus == task.Pending && !now.Before(starts):
		if kind == "broken" {
			return ends(task.FailedToStart)
		}
		t.LastStatus, t.StartedAt = task.Running, now
		return true
	case t.LastStatus != task.Running:
		return false
	}
	ran := now.Sub(t.StartedAt)
	switch {
	case kind == "crash" && ran >= 3*time.Second:
		return ends(task.EssentialExited)
	case kind == "checked" && t.Health == task.Unknown && ran >= 10*time.Second:
		t.Health = task.Healthy
		return true
	case kind == "sick" && t.Health == task.Unknown && ran >= 10*time.Second:
		t.Health = task.Unhealthy
		return true
	case f.mortal && kind == "good" && ran >= (60+f.luck(t, "life", 600))*time.Second:
		return ends(task.EssentialExited)
	}
	return false
}

// live returns how many tasks there are that nobody asked to stop, and how many of them are
// healthy by the rules of ECS.
func (f *farm) live() (all, healthy int) {
	for _, t := range f.tasks {
		if t.LastStatus == task.Stopped || t.DesiredStatus == task.Stopped {
			continue
		}
		all++
		switch kind := family(t.DefinitionARN); {
		case t.LastStatus != task.Running:
		case kind == "checked" || kind == "sick":
			if t.Health == task.Healthy {
				healthy++
			}
		case time.Since(t.StartedAt) >= HealthyAfter:
			healthy++
		}
	}
	return all, healthy
}

func (h *host) create(r Request) Service {
	h.t.Helper()
	r.Realm, r.Name = here, cmp.Or(r.Name, "web")
	r.Propagate, r.Rebalancing = cmp.Or(r.Propagate, PropagateNone), "ENABLED"
	if r.Network == nil {
		r.Network = &task.NetworkConfiguration{AWSVPC: task.AWSVPC{Subnets: []string{"subnet-1"}}}
	}
	return h.wish(func() (Service, error) {
		v, err := h.s.Create(h.t.Context(), r)
		if err != nil && fault.Message(err) == "Creation of service was not idempotent." { // It worked and said that it failed.
			return h.s.Named(h.t.Context(), here, r.Name)
		}
		return v, err
	})
}

func (h *host) update(ch Change) Service {
	h.t.Helper()
	return h.wish(func() (Service, error) { return h.s.Update(h.t.Context(), here, "web", ch) })
}

// wish repeats what a user wishes until it is heard.
func (h *host) wish(f func() (Service, error)) Service {
	h.t.Helper()
	for {
		v, err := f()
		switch {
		case err == nil:
			return v
		case fault.KindOf(err) == fault.Unavailable:
		case context.Cause(h.t.Context()) == nil && err.Error() == "context canceled":
			h.restart(0)
		default:
			h.t.Fatal(err)
		}
	}
}

func (h *host) service() Service {
	h.t.Helper()
	v, err := h.book.ServiceNamed(h.t.Context(), here, "web")
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// settled checks that a service has what it wants, and that nothing else is there.
func (h *host) settled(want int, kind string) {
	h.t.Helper()
	v := h.service()
	h.farm.mu.Lock()
	defer h.farm.mu.Unlock()
	var ids []task.ID
	for id, t := range h.farm.tasks {
		if t.LastStatus != task.Stopped {
			ids = append(ids, id)
			if family(t.DefinitionARN) != kind {
				h.t.Errorf("task %s is of %s", id, t.DefinitionARN)
			}
		}
	}
	known := v.TaskIDs()
	slices.Sort(ids)
	slices.Sort(known)
	if len(ids) != want || !slices.Equal(ids, known) {
		h.t.Errorf("%d tasks are there, want %d; the service knows %d", len(ids), want, len(known))
	}
	if len(v.Deployments) != 1 || v.Deployments[0].State != Completed || !v.Steady {
		h.t.Errorf("not steady: %+v", v)
	}
}

func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func rnd(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }
