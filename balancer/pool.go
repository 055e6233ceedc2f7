package balancer

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/task"
)

// pool is a group with its targets.
type pool struct {
	b   *Balancer
	end context.CancelFunc // of its listener

	mu      sync.Mutex
	group   TargetGroup
	targets []*target
	turns   uint64 // how often a target was chosen
}

// target is a port of a task. Its pool's mu guards what changes.
type target struct {
	pool      *pool
	task      task.ID
	arn       string
	container string
	host      string
	port      int

	// life ends when what the target was sent has to end.
	life context.Context
	cut  context.CancelFunc
	stop context.CancelFunc // ends its checks

	warm *http.Transport // keeps connections
	cold *http.Transport // has a new connection for each request

	health health
	since  time.Time // when it began to drain; zero if it does not
	open   int       // what it was sent and has not ended
	served uint64    // what it was ever sent
	turn   uint64    // when it was chosen last, counted in the pool's turns
	quiet  chan struct{}
}

func (t *target) address() string { return net.JoinHostPort(t.host, strconv.Itoa(t.port)) }

// phase is what a task's status means for its targets.
type phase int

const (
	none    phase = iota // it has no address yet
	open                 // it may be sent to
	closing              // it may end what it was sent
	gone                 // nothing of it runs
)

func phaseOf(t task.Task) phase {
	switch t.LastStatus {
	case task.Activating, task.Running:
		if t.DesiredStatus == task.Stopped {
			return closing
		}
		return open
	case task.Deactivating, task.Stopping:
		return closing
	case task.Deprovisioning, task.Stopped:
		return gone
	}
	return none
}

// see takes note of how a task is now.
func (p *pool) see(t task.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.group.has(t) {
		return
	}
	for _, l := range t.LoadBalancers {
		if l.TargetGroupARN != p.group.ARN {
			continue
		}
		i := slices.IndexFunc(p.targets, func(known *target) bool {
			return known.task == t.ID && known.container == l.ContainerName && known.port == l.ContainerPort
		})
		switch now := phaseOf(t); {
		case now == open && i < 0 && t.IPv4() != "":
			p.add(t, l)
		case now == closing && i >= 0:
			p.targets[i].drain(p.b.Now())
		case now == gone && i >= 0:
			p.targets[i].leave()
			p.targets = slices.Delete(p.targets, i, i+1)
		}
	}
}

// add begins with a new target. The caller holds p.mu.
func (p *pool) add(t task.Task, l task.LoadBalancer) {
	n := &target{
		pool: p, task: t.ID, arn: t.ARN, container: l.ContainerName, host: t.IPv4(), port: l.ContainerPort,
		health: newHealth(p.b.Now()), turn: p.turns, quiet: make(chan struct{}),
	}
	n.life, n.cut = context.WithCancel(p.b.life)
	n.warm, n.cold = p.b.transports()
	checking, stop := context.WithCancel(n.life)
	n.stop = stop
	p.targets = append(p.targets, n)
	p.b.spawn(func() { n.check(checking) })
}

// check looks at the target over and over until ctx ends.
func (t *target) check(ctx context.Context) {
	for ctx.Err() == nil {
		by := t.pool.settings().HealthCheck
		f := t.pool.b.look(ctx, by, t.host, t.port)
		if ctx.Err() != nil {
			return
		}
		t.pool.mu.Lock()
		t.health = t.health.after(f, t.pool.b.Now(), by)
		pause := t.health.pause(by)
		t.pool.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (p *pool) settings() TargetGroup {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.group
}

// take chooses the target that gets the next request or connection: of those that are
// healthy and not among tried, the one whose turn was longest ago. It is held until
// release; nil if there is none.
func (p *pool) take(tried []*target) *target {
	p.mu.Lock()
	defer p.mu.Unlock()
	var next *target
	for _, t := range p.targets {
		if t.health.State == Healthy && t.since.IsZero() && !slices.Contains(tried, t) && (next == nil || t.turn < next.turn) {
			next = t
		}
	}
	if next != nil {
		p.turns++
		next.turn = p.turns
		next.open++
		next.served++
	}
	return next
}

// release says that what the target was sent has ended.
func (t *target) release() {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	t.open--
	t.settle()
}

// drain lets nothing new through. The caller holds the pool's mu.
func (t *target) drain(at time.Time) {
	if !t.since.IsZero() {
		return
	}
	t.since = at
	t.stop()
	t.settle()
}

// settle notes whether a target that drains has ended all that it was sent. The caller
// holds the pool's mu.
func (t *target) settle() {
	if t.since.IsZero() || t.open > 0 {
		return
	}
	select {
	case <-t.quiet:
	default:
		close(t.quiet)
		t.warm.CloseIdleConnections()
	}
}

// leave ends all that is left of the target. The caller holds the pool's mu.
func (t *target) leave() {
	t.drain(t.pool.b.Now())
	t.cut()
	t.warm.CloseIdleConnections()
}

// Target is a port of a task that gets a share of what comes to its group (Elastic Load
// Balancing API, TargetHealthDescription).
type Target struct {
	TaskARN     string    `json:"taskArn"`
	Container   string    `json:"containerName"`
	IP          string    `json:"ip"`
	Port        int       `json:"port"`
	State       State     `json:"state" enum:"initial,healthy,unhealthy,draining"`
	Reason      string    `json:"reason,omitempty"`
	Description string    `json:"description,omitempty"`
	Since       time.Time `json:"since" doc:"When the state began"`
	Open        int       `json:"open" doc:"Requests or connections that go on"`
	Served      uint64    `json:"served" doc:"Requests or connections that it was ever sent by this server"`
}

// list returns the targets as they are, in the order of their tasks.
func (p *pool) list() []Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Target, 0, len(p.targets))
	for _, t := range p.targets {
		d := Target{
			TaskARN: t.arn, Container: t.container, IP: t.host, Port: t.port, State: t.health.State, Reason: t.health.Reason,
			Description: t.health.Description, Since: t.health.Since, Open: t.open, Served: t.served,
		}
		if !t.since.IsZero() {
			d.State, d.Reason, d.Description, d.Since = Draining, leaving, "Target deregistration is in progress", t.since
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.TaskARN, b.TaskARN), cmp.Compare(a.Port, b.Port))
	})
	return all
}

func seconds(n task.Seconds) time.Duration { return time.Duration(n) * time.Second }
