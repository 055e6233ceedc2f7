package balancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/balancer"
	"berth/fault"
	"berth/task"
)

var realm = task.Realm{Region: "eu-west-1", Account: "123456789012", Cluster: task.DefaultCluster}

// world is a network without a kernel, a journal and a book, for a bubble of synctest.
type world struct {
	t     *testing.T
	b     *balancer.Balancer
	crash func() // ends it

	mu      sync.Mutex
	servers map[string]*listener // by address of a task; those that listen
	ports   map[int]*listener    // of this host
	groups  map[string]balancer.TargetGroup
	tasks   map[task.ID]task.Task
	events  []task.Event
	grown   chan struct{}
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, servers: make(map[string]*listener), ports: make(map[int]*listener), groups: make(map[string]balancer.TargetGroup),
		tasks: make(map[task.ID]task.Task), grown: make(chan struct{}),
	}
	w.crash = w.start()
	return w
}

// start starts a Balancer, which ends with the test.
func (w *world) start() (crash func()) {
	b := balancer.New(balancer.Config{Book: w, Journal: w, Listen: w.listen, Dial: w.dial, Log: zap.NewNop(), Now: time.Now})
	w.b = b
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	}()
	crash = func() { cancel(); <-done }
	w.t.Cleanup(crash)
	return crash
}

// listener is a listener of this network.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()

	mu   sync.Mutex
	open []net.Conn
}

func newListener(closed func()) *listener {
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done); closed() })
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.close(); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// kill closes the listener and all connections.
func (l *listener) kill() {
	l.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
}

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		l.mu.Lock()
		l.open = append(l.open, b)
		l.mu.Unlock()
		return a, nil
	case <-l.done:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *world) dial(ctx context.Context, address string) (net.Conn, error) {
	w.mu.Lock()
	l := w.servers[address]
	w.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	return l.dial(ctx)
}

func (w *world) listen(_ context.Context, port int) (net.Listener, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ports[port] != nil {
		return nil, syscall.EADDRINUSE
	}
	w.ports[port] = newListener(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ports, port)
	})
	return w.ports[port], nil
}

// connect connects to a port of this host.
func (w *world) connect(ctx context.Context, port int) (net.Conn, error) {
	w.mu.Lock()
	l := w.ports[port]
	w.mu.Unlock()
	if l == nil {
		return nil, syscall.ECONNREFUSED
	}
	return l.dial(ctx)
}

// client asks this host's ports; the port is that of the URL.
func (w *world) client(port int) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.connect(ctx, port) }}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// serve serves HTTP at an address until kill or shut, which lets requests end.
func (w *world) serve(address string, h http.Handler) (kill, shut func()) {
	l := newListener(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.servers, address)
	})
	w.mu.Lock()
	w.servers[address] = l
	w.mu.Unlock()
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	kill = func() { l.kill(); _ = srv.Close(); <-done }
	shut = func() { _ = srv.Shutdown(context.WithoutCancel(w.t.Context())); <-done }
	w.t.Cleanup(kill)
	return kill, shut
}

// put writes a task down.
func (w *world) put(t task.Task) task.Task {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Version = w.tasks[t.ID].Version + 1
	w.tasks[t.ID] = t
	w.events = append(w.events, task.Event{Seq: task.Seq(len(w.events) + 1), At: time.Now(), Task: t})
	close(w.grown)
	w.grown = make(chan struct{})
	return t
}

// newTask writes a task down that is a target of the groups, on port 80.
func (w *world) newTask(n int, groups ...balancer.TargetGroup) task.Task {
	id := task.NewID()
	t := task.Task{
		ID: id, ARN: realm.TaskARN(id), ClusterARN: realm.ClusterARN(), LastStatus: task.Activating, DesiredStatus: task.Running,
		Attachments: []task.Attachment{{Type: "ElasticNetworkInterface", Status: "ATTACHED", Details: []task.KeyValuePair{{Name: "privateIPv4Address", Value: fmt.Sprintf("10.0.%d.%d", n/250, n%250+1)}}}},
	}
	for _, g := range groups {
		t.LoadBalancers = append(t.LoadBalancers, task.LoadBalancer{TargetGroupARN: g.ARN, ContainerName: "web", ContainerPort: 80})
	}
	return w.put(t)
}

// become writes a task's status down.
func (w *world) become(t task.Task, s task.Status) task.Task {
	t.LastStatus = s
	if s == task.Deactivating {
		t.DesiredStatus, t.StoppingAt = task.Stopped, time.Now()
	}
	return w.put(t)
}

func (w *world) Unfinished(context.Context) ([]task.Task, task.Seq, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []task.Task
	for _, t := range w.tasks {
		if !t.LastStatus.Final() {
			all = append(all, t)
		}
	}
	return all, task.Seq(len(w.events)), nil
}

func (w *world) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for {
			w.mu.Lock()
			batch, grown := slices.Clone(w.events[seq:]), w.grown
			w.mu.Unlock()
			for _, ev := range batch {
				if seq = ev.Seq; !yield(ev, nil) {
					return
				}
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (w *world) TargetGroups(context.Context, task.Realm) ([]balancer.TargetGroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []balancer.TargetGroup
	for _, g := range w.groups {
		all = append(all, g)
	}
	return all, nil
}

func (w *world) TargetGroup(_ context.Context, _ task.Realm, ref string) (balancer.TargetGroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.groups {
		if g.ARN == ref || g.Name == ref {
			return g, nil
		}
	}
	return balancer.TargetGroup{}, balancer.NoGroup(ref)
}

func (w *world) PutTargetGroup(_ context.Context, in task.Realm, g balancer.TargetGroup) (balancer.TargetGroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.Name == "unlucky" {
		return g, errors.New("the disk is full")
	}
	g.ARN = balancer.ARN(in, g.Name, fmt.Sprintf("%016x", len(g.Name)))
	w.groups[g.ARN] = g
	return g, nil
}

func (w *world) RemoveTargetGroup(_ context.Context, _ task.Realm, ref string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		for _, l := range t.LoadBalancers {
			if l.TargetGroupARN == ref && !t.LastStatus.Final() {
				return fault.New(fault.Conflict, "task %s names it", t.ID)
			}
		}
	}
	delete(w.groups, ref)
	return nil
}

// group makes a target group that looks after its targets each second.
func (w *world) group(g balancer.TargetGroup) balancer.TargetGroup {
	w.t.Helper()
	g.Port = 80
	if g.HealthCheck.Interval == 0 {
		g.HealthCheck.Interval, g.HealthCheck.Timeout = 1, 1
	}
	g, err := w.b.PutGroup(w.t.Context(), realm, g)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// get asks a port of this host and returns the code and the body.
func get(t *testing.T, c *http.Client, path string) (int, string) {
	t.Helper()
	resp, err := c.Get("http://web.test" + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(body)
}

// says answers with its name.
func says(name string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, name) })
}
