// Package balancer shares what comes to ports of this host among tasks: the part of Elastic
// Load Balancing that services rest on.
//
// A target group is remembered, with the port that leads to it. Its targets are not: they
// are the tasks in the journal that name the group, from ACTIVATING on, for as long as they
// are to run. So a server that starts anew has the same targets as the one before, and
// nobody registers or deregisters anything.
//
//	journal ─▶ targets ─▶ checks ─▶ healthy ─▶ round robin ◀─ listener ◀─ clients
//
// Whoever ends a task asks Drain first, which returns when the task has ended what it was
// sent.
package balancer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// Journal tells what becomes of tasks.
type Journal interface {
	// Unfinished returns the tasks that have not stopped, and the position in the journal
	// that this answer is true for.
	Unfinished(ctx context.Context) ([]task.Task, task.Seq, error)

	// Follow yields every event after seq, in order, then waits for more until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]
}

// Book remembers target groups. ref is a name or an ARN.
type Book interface {
	// TargetGroups returns the groups of an account and region, by name; all if in is zero.
	TargetGroups(ctx context.Context, in task.Realm) ([]TargetGroup, error)

	// TargetGroup returns one, or fault.NotFound.
	TargetGroup(ctx context.Context, in task.Realm, ref string) (TargetGroup, error)

	// PutTargetGroup remembers a group in place of the one of that name, whose ARN and
	// time of creation it keeps. If another one has its ListenPort it is fault.Conflict.
	PutTargetGroup(ctx context.Context, in task.Realm, g TargetGroup) (TargetGroup, error)

	// RemoveTargetGroup forgets a group. One that an unfinished task names is
	// fault.Conflict.
	RemoveTargetGroup(ctx context.Context, in task.Realm, ref string) error
}

// Config is what New needs. All fields are required.
type Config struct {
	Book    Book
	Journal Journal

	// Listen makes the listener of a port, Dial connects to an address of a task.
	Listen func(ctx context.Context, port int) (net.Listener, error)
	Dial   func(ctx context.Context, address string) (net.Conn, error)

	Log *zap.Logger
	Now func() time.Time
}

// Balancer balances load. Its methods wait until Run has begun.
type Balancer struct {
	Config
	checks  *http.Transport
	buffers buffers

	begun    chan struct{} // closed when life is there
	life     context.Context
	running  sync.WaitGroup
	applying sync.Mutex // held while a group is changed

	mu    sync.Mutex
	ended bool             // nothing is begun any more
	pools map[string]*pool // by ARN
	tasks map[task.ID]task.Task
}

// New returns a Balancer. It does nothing until Run.
func New(c Config) *Balancer {
	b := &Balancer{Config: c, begun: make(chan struct{}), pools: make(map[string]*pool), tasks: make(map[task.ID]task.Task)}
	b.checks = b.transport()
	b.checks.DisableKeepAlives = true
	return b
}

// Run balances load until ctx ends. It can be called once.
func (b *Balancer) Run(ctx context.Context) error {
	life, end := context.WithCancel(ctx)
	defer func() {
		b.mu.Lock()
		b.ended = true
		b.mu.Unlock()
		end()
		b.running.Wait()
	}()
	b.life = life
	groups, err := b.Book.TargetGroups(ctx, task.Realm{})
	if err != nil {
		return fmt.Errorf("list target groups: %w", err)
	}
	tasks, seq, err := b.Journal.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("list unfinished tasks: %w", err)
	}
	for _, g := range groups {
		b.adopt(g, nil)
	}
	for _, t := range tasks {
		b.see(t)
	}
	close(b.begun)
	for ev, err := range b.Journal.Follow(ctx, seq) {
		if err != nil {
			return fmt.Errorf("follow journal: %w", err)
		}
		b.see(ev.Task)
	}
	return nil
}

// ready waits until Run has begun.
func (b *Balancer) ready(ctx context.Context) error {
	select {
	case <-b.begun:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spawn runs f beside everything else; f ends when the Balancer's life does. The caller
// holds nothing of what f waits for.
func (b *Balancer) spawn(f func()) { b.running.Go(f) }

// see takes note of how a task is now. What is older than what is known changes nothing.
func (b *Balancer) see(t task.Task) {
	if len(t.LoadBalancers) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.tasks[t.ID]; b.ended || ok && known.Version >= t.Version {
		return
	}
	if b.tasks[t.ID] = t; phaseOf(t) == gone {
		delete(b.tasks, t.ID)
	}
	for _, p := range b.pools {
		p.see(t)
	}
}

// adopt begins with a group, or goes on with how it is now. l is the listener of its port,
// if there is a new one already.
func (b *Balancer) adopt(g TargetGroup, l net.Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		if l != nil {
			l.Close()
		}
		return
	}
	p := b.pools[g.ARN]
	if p == nil {
		p = &pool{b: b, end: func() {}}
		b.pools[g.ARN] = p
	}
	before := p.settings()
	p.mu.Lock()
	p.group = g
	p.mu.Unlock()
	if g.ListenPort != before.ListenPort || g.Protocol != before.Protocol {
		p.end()
		var ctx context.Context
		ctx, p.end = context.WithCancel(b.life)
		if g.ListenPort != 0 {
			b.spawn(func() { p.listen(ctx, g, l) })
		}
	}
	for _, t := range b.tasks {
		p.see(t)
	}
}

// drop ends a group.
func (b *Balancer) drop(arn string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pools[arn]
	if p == nil {
		return
	}
	delete(b.pools, arn)
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.targets {
		t.leave()
	}
	p.targets = nil
}

// Groups returns the target groups of an account and region, by name.
func (b *Balancer) Groups(ctx context.Context, in task.Realm) ([]TargetGroup, error) {
	return b.Book.TargetGroups(ctx, in)
}

// Group returns the target group of that name or ARN, or fault.NotFound.
func (b *Balancer) Group(ctx context.Context, in task.Realm, ref string) (TargetGroup, error) {
	return b.Book.TargetGroup(ctx, in, ref)
}

// PutGroup makes a target group, or changes the one of that name, whose targets stay.
// When it returns, its port is open. A port that another group or program has is
// fault.Conflict. Repeating it changes nothing.
func (b *Balancer) PutGroup(ctx context.Context, in task.Realm, g TargetGroup) (TargetGroup, error) {
	g = g.WithDefaults()
	if err := g.Validate(); err != nil {
		return g, err
	}
	if err := b.ready(ctx); err != nil {
		return g, err
	}
	b.applying.Lock()
	defer b.applying.Unlock()
	before, err := b.Book.TargetGroup(ctx, in, g.Name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return g, err
	}
	var l net.Listener
	if g.ListenPort != 0 && g.ListenPort != before.ListenPort {
		if l, err = b.Listen(ctx, g.ListenPort); err != nil {
			return g, fault.Wrap(fault.Conflict, err, "nothing can listen on port %d of this host: another target group or program has it", g.ListenPort)
		}
	}
	if g, err = b.Book.PutTargetGroup(ctx, in, g); err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return g, err
	}
	b.adopt(g, l)
	return g, nil
}

// RemoveGroup removes the target group of that name or ARN, and shuts its port. One that
// an unfinished task names is fault.Conflict.
func (b *Balancer) RemoveGroup(ctx context.Context, in task.Realm, ref string) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	b.applying.Lock()
	defer b.applying.Unlock()
	g, err := b.Book.TargetGroup(ctx, in, ref)
	if err != nil {
		return err
	}
	if err := b.Book.RemoveTargetGroup(ctx, in, g.ARN); err != nil {
		return err
	}
	b.drop(g.ARN)
	return nil
}

// Targets returns the targets of the group of that name or ARN as they are now, those that
// drain included.
func (b *Balancer) Targets(ctx context.Context, in task.Realm, ref string) ([]Target, error) {
	g, err := b.Book.TargetGroup(ctx, in, ref)
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	p := b.pools[g.ARN]
	b.mu.Unlock()
	if p == nil {
		return []Target{}, nil
	}
	return p.list(), nil
}

// Health returns whether a task is healthy in all groups that it names. It is not known
// while one of them does not exist, has not seen the task yet, or has not found out how it is.
func (b *Balancer) Health(id task.ID) (healthy, known bool) {
	targets, all := b.targets(id)
	healthy, known = all, all
	for _, t := range targets {
		t.pool.mu.Lock()
		switch {
		case !t.since.IsZero() || t.health.State == Unhealthy:
			healthy = false
		case t.health.State == Initial:
			healthy, known = false, false
		}
		t.pool.mu.Unlock()
	}
	return healthy, known
}

// targets returns the targets that a task is, and whether that is as many as it names.
func (b *Balancer) targets(id task.ID) (found []*target, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.tasks[id]
	if !ok {
		return nil, false
	}
	for _, p := range b.pools {
		p.mu.Lock()
		for _, each := range p.targets {
			if each.task == id {
				found = append(found, each)
			}
		}
		p.mu.Unlock()
	}
	named := slices.Clone(t.LoadBalancers)
	slices.SortFunc(named, compare)
	return found, len(found) == len(slices.Compact(named))
}

func compare(a, b task.LoadBalancer) int {
	switch {
	case a == b:
		return 0
	case a.TargetGroupARN < b.TargetGroupARN,
		a.TargetGroupARN == b.TargetGroupARN && a.ContainerName < b.ContainerName,
		a.TargetGroupARN == b.TargetGroupARN && a.ContainerName == b.ContainerName && a.ContainerPort < b.ContainerPort:
		return -1
	}
	return 1
}

// Drain sends a task nothing more, and returns when it has ended what it was sent, or when
// the delays of its groups, which begin with its stoppingAt, are over: then what is left is
// cut off. Ending ctx ends the wait only; repeating it goes on with it.
func (b *Balancer) Drain(ctx context.Context, t task.Task) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	b.see(t)
	targets, _ := b.targets(t.ID)
	for _, each := range targets {
		each.pool.mu.Lock()
		each.drain(b.Now())
		delay := seconds(each.pool.group.DeregistrationDelay)
		each.pool.mu.Unlock()
		timer := time.NewTimer(delay - b.Now().Sub(t.StoppingAt))
		select {
		case <-each.quiet:
		case <-timer.C:
			b.Log.Info("what a task was sent has been cut off", zap.String("task", string(t.ID)), zap.String("targetGroup", each.pool.settings().Name))
			each.cut()
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
