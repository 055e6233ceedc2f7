// Package isolationtest offers a fake [isolation.Runtime] and the suite that
// every Runtime passes.
package isolationtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Fake is a Runtime without processes. It is the host: throwing away everything
// that uses it and starting again with the same Fake is a crash of our process
// and its restart. All its time comes from package time, so that under
// testing/synctest hours pass at once. The zero value is ready.
//
// A container's command is its script; see [parse] for the words. The program
// in isolationtest/probe does the same for real, so that one suite runs on both.
// An image whose name begins with "missing" is not on this host. A Runtime
// reports that, like an entry point "/missing", as the user's fault.
type Fake struct {
	// Fail, if set, is asked after every call that took effect whether to
	// report an error all the same. That is the failure that is hard to handle.
	// call is the method's name in lower case; id is empty for list. Fail may
	// be called concurrently and may call the Fake.
	Fail func(call string, id task.ID) error

	// Usage, if set, says what a task's counters show after its processes ran
	// for that long, all together. By default they use all the CPU and half
	// the memory that the task has.
	Usage func(s isolation.Sandbox, ran time.Duration) task.Counters

	// Check, if set, says how commands of Exec end, in place of their script.
	Check func(id task.ID, container string) (code int)

	mu      sync.Mutex
	worlds  map[task.ID]*world
	addrs   int
	starts  map[process]int
	groups  []task.SecurityGroup
	secrets map[process][]string

	sessions map[string]bool // IDs of those that go on
}

type process struct {
	task      task.ID
	container string
}

// world is what the host has of a task.
type world struct {
	sandbox     isolation.Sandbox
	provisioned bool
	network     task.Network
	containers  map[string]*container
	listens     map[string]bool // ports
	ooms        uint64
	ran         time.Duration // of processes that have ended
}

type container struct {
	spec    isolation.Container
	script  script
	run     int
	made    time.Time
	started time.Time // zero: never
	stopped time.Time // got the stop signal then
	timer   *time.Timer
	exit    task.Exit
	lost    bool
	void    bool          // was stopped before it was started
	done    chan struct{} // closed when exit or lost is known
}

func (c *container) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return !c.started.IsZero()
	}
}

// unstarted reports whether c is there, was never started and can be.
func (c *container) unstarted() bool { return c != nil && c.started.IsZero() && !c.void && !c.lost }

// annul makes sure that c is never started. The caller holds the Fake's mu.
func (c *container) annul() {
	c.void = true
	close(c.done)
}

var _ isolation.Runtime = (*Fake)(nil)

// Open returns f: whoever opens a Runtime on this host gets what is there.
func (f *Fake) Open() (isolation.Runtime, error) { return f, nil }

// Provision implements isolation.Runtime.
func (f *Fake) Provision(_ context.Context, s isolation.Sandbox) (task.Network, error) {
	f.mu.Lock()
	w := f.worlds[s.ID]
	if w == nil {
		if f.worlds == nil {
			f.worlds, f.starts = make(map[task.ID]*world), make(map[process]int)
		}
		w = &world{containers: make(map[string]*container), listens: make(map[string]bool)}
		f.worlds[s.ID] = w
	}
	if !w.provisioned {
		f.addrs++
		host := f.addrs + 1 // .1 is the bridge's
		w.sandbox, w.provisioned = s, true
		w.network = task.Network{
			IPv4:   fmt.Sprintf("100.64.%d.%d", host>>8&0xf, host&0xff),
			MAC:    fmt.Sprintf("02:00:64:40:%02x:%02x", host>>8&0xf, host&0xff),
			Subnet: "100.64.0.0/20",
		}
		for i, p := range s.Publish {
			p.Host = 49152 + i
			w.network.Published = append(w.network.Published, p)
		}
	}
	n := w.network
	f.mu.Unlock()
	return n, f.fail("provision", s.ID)
}

// SetGroups implements isolation.Runtime.
func (f *Fake) SetGroups(_ context.Context, all []task.SecurityGroup) error {
	f.mu.Lock()
	f.groups = slices.Clone(all)
	f.mu.Unlock()
	return f.fail("groups", "")
}

// Groups returns what SetGroups was last called with.
func (f *Fake) Groups() []task.SecurityGroup {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.groups)
}

// Create implements isolation.Runtime.
func (f *Fake) Create(ctx context.Context, c isolation.Container) error {
	if err := f.learn(ctx, c); err != nil {
		return err
	}
	if err := f.create(c); err != nil {
		return err
	}
	return f.fail("create", c.Task)
}

// learn asks for the secrets of a container that is not there.
func (f *Fake) learn(ctx context.Context, c isolation.Container) error {
	f.mu.Lock()
	_, known := f.find(process{c.Task, c.Name})
	f.mu.Unlock()
	if c.Secrets == nil || known != nil {
		return nil
	}
	env, err := c.Secrets(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.secrets == nil {
		f.secrets = make(map[process][]string)
	}
	f.secrets[process{c.Task, c.Name}] = env
	return nil
}

// Secrets returns what a container was told in confidence.
func (f *Fake) Secrets(id task.ID, container string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.secrets[process{id, container}]
}

// VolumesFrom returns which others a container was made with the volumes of.
func (f *Fake) VolumesFrom(id task.ID, container string) []isolation.VolumesFrom {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, c := f.find(process{id, container}); c != nil {
		return c.spec.VolumesFrom
	}
	return nil
}

func (f *Fake) create(c isolation.Container) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.worlds[c.Task]
	if w == nil || !w.provisioned {
		return fault.Wrap(fault.Conflict, isolation.ErrNotProvisioned, "task %s is not provisioned", c.Task)
	}
	if w.containers[c.Name] != nil {
		return nil
	}
	if strings.HasPrefix(c.Image, "missing") {
		return fault.New(fault.NotFound, "CannotCreateContainerError: image %s is not on this host", c.Image)
	}
	for _, from := range c.VolumesFrom {
		if w.containers[from.Container] == nil {
			return fault.New(fault.Conflict, "container %s is to have volumes of container %s, which is not made", c.Name, from.Container)
		}
	}
	script, err := parse(append(slices.Clone(c.EntryPoint), c.Command...))
	if err != nil {
		return err
	}
	w.containers[c.Name] = &container{spec: c, script: script, made: time.Now(), done: make(chan struct{})}
	return nil
}

// Start implements isolation.Runtime.
func (f *Fake) Start(_ context.Context, id task.ID, name string) (isolation.Started, error) {
	st, err := f.start(process{id, name})
	if err != nil {
		return isolation.Started{}, err
	}
	return st, f.fail("start", id)
}

func (f *Fake) start(p process) (isolation.Started, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, c := f.find(p)
	if c == nil {
		return isolation.Started{}, fault.New(fault.NotFound, "no container %s in task %s", p.container, p.task)
	}
	if c.void {
		return isolation.Started{}, fault.New(fault.Invalid, "container %s was stopped before it started", p.container)
	}
	if c.started.IsZero() {
		c.started = time.Now()
		f.starts[p]++
		w.run(f, c)
	}
	return isolation.Started{RuntimeID: task.RuntimeID(p.task, p.container), At: c.started}, nil
}

// Restart implements isolation.Runtime.
func (f *Fake) Restart(_ context.Context, id task.ID, name string, run int) (isolation.Started, error) {
	f.mu.Lock()
	w, c := f.find(process{id, name})
	switch {
	case c == nil:
		f.mu.Unlock()
		return isolation.Started{}, fault.New(fault.NotFound, "no container %s in task %s", name, id)
	case c.run == run:
	case c.run != run-1 || c.running() || c.started.IsZero() || c.lost:
		f.mu.Unlock()
		return isolation.Started{}, fault.New(fault.Conflict, "container %s cannot begin run %d", name, run)
	default:
		w.containers[name] = &container{spec: c.spec, script: c.script, run: run, made: c.made, done: make(chan struct{})}
	}
	f.mu.Unlock()
	st, err := f.start(process{id, name})
	if err != nil {
		return isolation.Started{}, err
	}
	return st, f.fail("restart", id)
}

// Life implements isolation.Runtime.
func (f *Fake) Life(id task.ID, name string) (task.ContainerLife, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, c := f.find(process{id, name})
	if c == nil {
		return task.ContainerLife{}, nil
	}
	return task.ContainerLife{Made: c.made, Started: c.started, Restarts: c.run}, nil
}

// Exec implements isolation.Runtime. The command is a script as the container's is: how
// long it runs and how it ends.
func (f *Fake) Exec(ctx context.Context, id task.ID, name string, c isolation.Command) (int, error) {
	f.mu.Lock()
	_, in := f.find(process{id, name})
	running := in != nil && in.running()
	f.mu.Unlock()
	if !running {
		return 0, fault.New(fault.Conflict, "container %s does not run", name)
	}
	s, err := parse(c.Args)
	if err != nil {
		return 0, err
	}
	if f.Check != nil {
		s.code = f.Check(id, name)
	}
	timer := time.NewTimer(s.runs)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.code, f.fail("exec", id)
	case <-in.done:
		return 0, fault.New(fault.Conflict, "container %s does not run", name)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Inspect implements isolation.Runtime. What it says is what was asked for.
func (f *Fake) Inspect(_ context.Context, id task.ID) (task.Isolation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.worlds[id]
	if w == nil || !w.provisioned {
		return task.Isolation{}, fault.New(fault.Conflict, "task %s is not provisioned", id)
	}
	i := task.Isolation{Runtime: "fake", Containers: []task.ContainerIsolation{}}
	i.Cgroup.VCPU, i.Cgroup.MemoryBytes = float64(w.sandbox.Size.CPU)/1024, int64(w.sandbox.Size.Memory)<<20
	for name := range w.containers {
		i.Containers = append(i.Containers, task.ContainerIsolation{Name: name})
	}
	slices.SortFunc(i.Containers, func(a, b task.ContainerIsolation) int { return strings.Compare(a.Name, b.Name) })
	return i, nil
}

// Wait implements isolation.Runtime.
func (f *Fake) Wait(ctx context.Context, id task.ID, name string) (task.Exit, error) {
	f.mu.Lock()
	_, c := f.find(process{id, name})
	f.mu.Unlock()
	if c == nil {
		return task.Exit{}, fault.New(fault.NotFound, "no container %s in task %s", name, id)
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return task.Exit{}, ctx.Err()
	}
	if c.lost || c.void {
		return task.Exit{}, fault.New(fault.NotFound, "the process of container %s was lost, or never was", name)
	}
	return c.exit, f.fail("wait", id)
}

// Stop implements isolation.Runtime.
func (f *Fake) Stop(_ context.Context, id task.ID, name string) (time.Time, error) {
	f.mu.Lock()
	w, c := f.find(process{id, name})
	if c.unstarted() {
		c.annul()
	} else if c != nil && c.running() && c.stopped.IsZero() {
		c.stopped = time.Now()
		switch s := c.script; {
		case s.ignores:
		case s.lingers > 0:
			c.timer.Stop()
			c.timer = f.after(s.lingers, func() { w.end(c, task.Exit{Code: 0}) })
		default:
			w.end(c, task.Exit{Code: 128 + 15})
		}
	}
	var asked time.Time
	if c != nil {
		asked = c.stopped
	}
	f.mu.Unlock()
	return asked, f.fail("stop", id)
}

// Kill implements isolation.Runtime.
func (f *Fake) Kill(_ context.Context, id task.ID, name string) error {
	f.mu.Lock()
	if w, c := f.find(process{id, name}); c.unstarted() {
		c.annul()
	} else if c != nil && c.running() {
		w.end(c, task.Exit{Code: 128 + 9})
	}
	f.mu.Unlock()
	return f.fail("kill", id)
}

// Remove implements isolation.Runtime.
func (f *Fake) Remove(_ context.Context, id task.ID) error {
	f.mu.Lock()
	if w := f.worlds[id]; w != nil {
		for _, c := range w.containers {
			w.lose(c)
		}
		delete(f.worlds, id)
	}
	f.mu.Unlock()
	return f.fail("remove", id)
}

// List implements isolation.Runtime.
func (f *Fake) List(context.Context) ([]task.ID, error) {
	ids := f.Leftovers()
	return ids, f.fail("list", "")
}

// Leftovers returns the tasks that were not removed, in order.
func (f *Fake) Leftovers() []task.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]task.ID, 0, len(f.worlds))
	for id := range f.worlds {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Starts returns how often a container's main process was started. It remembers
// removed tasks too.
func (f *Fake) Starts(id task.ID, container string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts[process{id, container}]
}

// Lose makes the process of a container vanish, so that nobody will ever know
// how it ended.
func (f *Fake) Lose(id task.ID, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w, c := f.find(process{id, name})
	if c == nil {
		return fault.New(fault.NotFound, "no container %s in task %s", name, id)
	}
	if !c.started.IsZero() {
		w.lose(c)
	}
	return nil
}

// Reboot is a restart of the host: every process, cgroup and network namespace
// is gone; what is on disk is still there.
func (f *Fake) Reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.worlds {
		for name, c := range w.containers {
			w.lose(c)
			if c.started.IsZero() {
				delete(w.containers, name)
			}
		}
		w.provisioned = false
	}
}

// find returns a container and the world it is in, or nil. The caller holds mu.
func (f *Fake) find(p process) (*world, *container) {
	w := f.worlds[p.task]
	if w == nil {
		return nil, nil
	}
	return w, w.containers[p.container]
}

// after runs do under mu when d has passed.
func (f *Fake) after(d time.Duration, do func()) *time.Timer {
	return time.AfterFunc(d, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		do()
	})
}

func (f *Fake) fail(call string, id task.ID) error {
	if f.Fail == nil {
		return nil
	}
	return f.Fail(call, id)
}

// run plays c's script. The caller holds the Fake's mu.
func (w *world) run(f *Fake, c *container) {
	s := c.script
	exit := task.Exit{Code: s.code}
	switch {
	case s.oom:
		w.ooms++
		exit = task.Exit{Code: 128 + 9, OOMKilled: true}
	case s.listens != "":
		w.listens[s.listens] = true
	case s.dials != "" && !w.listens[s.dials]:
		exit.Code = 1
	}
	if s.runs > 0 {
		c.timer = f.after(s.runs, func() { w.end(c, exit) })
		return
	}
	w.end(c, exit)
}

// end ends c's process, unless it has ended. The caller holds the Fake's mu.
func (w *world) end(c *container, e task.Exit) {
	if !c.running() {
		return
	}
	e.At = time.Now()
	c.exit = e
	w.close(c)
}

// lose ends c without an outcome. The caller holds the Fake's mu.
func (w *world) lose(c *container) {
	select {
	case <-c.done:
	default:
		c.lost = true
		w.close(c)
	}
}

func (w *world) close(c *container) {
	if c.timer != nil {
		c.timer.Stop()
	}
	if !c.started.IsZero() {
		w.ran += time.Since(c.started)
	}
	delete(w.listens, c.script.listens)
	close(c.done)
}
