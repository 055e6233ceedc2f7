// Package discovery tells tasks where others are: it is the name server of the network that
// tasks share.
//
// A service called web in cluster shop has the name web.shop.berth.internal, or just web for
// tasks of the same cluster. Behind it are the addresses of its tasks that run and are not
// unhealthy. What has a name follows from the journal; nothing is registered.
//
// Who asks is known by the address of the task, so that accounts and regions do not meet:
// each has names of its own. Everything that is no name of a task is asked of the host's
// name servers.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"berth/task"
)

// Journal tells what becomes of tasks.
type Journal interface {
	// Unfinished returns the tasks that have not stopped, and the position in the journal
	// that this answer is true for.
	Unfinished(ctx context.Context) ([]task.Task, task.Seq, error)

	// Follow yields every event after seq, in order, then waits for more until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]

	// Definition returns the definition that ref names.
	Definition(ctx context.Context, in task.Realm, ref string) (task.Definition, error)
}

// Service is a service of the asking task's account and region.
type Service struct {
	Cluster string
	Name    string
}

// Config is what New needs. All fields are required but Aliases.
type Config struct {
	Journal Journal

	// Holder returns the task that has an address, Subnet is where tasks have theirs.
	Holder func(addr netip.Addr) (task.ID, bool)
	Subnet netip.Prefix

	// Aliases returns the services that have a further name for the tasks of a cluster: that
	// of Service Connect or Cloud Map. name is in lower case, without a dot at its end;
	// nothing if it is nobody's. nil: there are none.
	Aliases func(ctx context.Context, in task.Realm, name string) ([]Service, error)

	// Forward asks a name server of the host. network is udp or tcp.
	Forward func(ctx context.Context, q *dns.Msg, network string) (*dns.Msg, error)

	// Shuffle puts n things in a random order (math/rand/v2, Shuffle).
	Shuffle func(n int, swap func(i, j int))

	Log *zap.Logger
	Now func() time.Time
}

// Server answers questions for names.
type Server struct {
	Config
	pace *pace
	open chan struct{} // holds one for each question that the host's name servers are asked

	mu    sync.Mutex
	tasks map[task.ID]task.Task
	homes map[home]map[task.ID]bool

	definitions sync.Map // ARN → task.Definition, which never changes what it listens at
}

// home is where a service's name is; names are in lower case.
type home struct{ account, region, cluster, service string }

// New returns a Server. It knows nobody until Run.
func New(c Config) *Server {
	return &Server{Config: c, pace: newPace(c.Now), open: make(chan struct{}, maxOpen), tasks: make(map[task.ID]task.Task), homes: make(map[home]map[task.ID]bool)}
}

// Run answers what comes to the two listeners until ctx ends, and closes them.
func (s *Server) Run(ctx context.Context, stream net.Listener, packets net.PacketConn) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	for _, srv := range []*dns.Server{
		{Listener: stream, Net: "tcp", ReadTimeout: tcpPatience, WriteTimeout: tcpPatience, IdleTimeout: func() time.Duration { return tcpPatience }, MaxTCPQueries: -1},
		{PacketConn: packets, Net: "udp", UDPSize: maxPacket},
	} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		srv.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.serve(ctx, w, q) })
		ended := make(chan struct{})
		running.Go(func() {
			defer close(ended)
			if err := srv.ActivateAndServe(); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("answer names over %s: %w", srv.Net, err)
				cancel()
			}
		})
		running.Go(func() {
			select {
			case <-started:
			case <-ended:
				return
			}
			<-ctx.Done()
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer stop()
			_ = srv.ShutdownContext(last) // Who asks still asks again.
		})
	}
	err := s.follow(ctx)
	select {
	case served := <-failed:
		err = errors.Join(served, err)
	default:
	}
	return err
}

// follow keeps what is known of tasks up to date until ctx ends.
func (s *Server) follow(ctx context.Context) error {
	tasks, seq, err := s.Journal.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("list unfinished tasks: %w", err)
	}
	for _, t := range tasks {
		s.see(t)
	}
	for ev, err := range s.Journal.Follow(ctx, seq) {
		if err != nil {
			return fmt.Errorf("follow journal: %w", err)
		}
		s.see(ev.Task)
	}
	return nil
}

// see takes note of how a task is now.
func (s *Server) see(t task.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, of := homeOf(t)
	if t.LastStatus.Final() {
		delete(s.tasks, t.ID)
	} else {
		s.tasks[t.ID] = t
	}
	if !of {
		return
	}
	if answers(t) {
		if s.homes[at] == nil {
			s.homes[at] = make(map[task.ID]bool)
		}
		s.homes[at][t.ID] = true
		return
	}
	delete(s.homes[at], t.ID)
	if len(s.homes[at]) == 0 {
		delete(s.homes, at)
	}
}

// answers reports whether t can be asked something.
func answers(t task.Task) bool {
	return t.LastStatus == task.Running && t.DesiredStatus == task.Running && t.Health != task.Unhealthy && t.IPv4() != ""
}

// asker returns the task that has an address, as far as it is known.
func (s *Server) asker(addr netip.Addr) (task.Task, bool) {
	id, ok := s.Holder(addr)
	if !ok {
		return task.Task{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tasks[id]
	return t, ok
}

// behind returns the tasks of a service, in no order.
func (s *Server) behind(h home) []task.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []task.Task
	for id := range s.homes[h] {
		all = append(all, s.tasks[id])
	}
	return all
}

// ports returns the portMappings of a task.
func (s *Server) ports(ctx context.Context, t task.Task) ([]task.PortMapping, error) {
	known, ok := s.definitions.Load(t.DefinitionARN)
	if !ok {
		d, err := s.Journal.Definition(ctx, t.Realm(), t.DefinitionARN)
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		known, _ = s.definitions.LoadOrStore(t.DefinitionARN, d)
	}
	var all []task.PortMapping
	for _, c := range known.(task.Definition).ContainerDefinitions {
		all = append(all, c.PortMappings...)
	}
	return all, nil
}
