package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/discovery"
	"berth/task"
)

// world is a journal and the addresses of its tasks.
type world struct {
	mu      sync.Mutex
	tasks   []task.Task
	events  chan task.Event
	forward func(q *dns.Msg, network string) (*dns.Msg, error)
	aliases map[string][]discovery.Service
}

var (
	ours   = task.Realm{Region: "eu-west-1", Account: "123456789012", Cluster: "shop"}
	theirs = task.Realm{Region: "eu-west-1", Account: "999999999999", Cluster: "shop"}
)

// newTask returns a task of a service that runs, at 10.0.0.n.
func newTask(in task.Realm, service string, n int) task.Task {
	id := task.ID(fmt.Sprintf("%032x", n))
	t := task.Task{
		ID: id, ARN: in.TaskARN(id), ClusterARN: in.ClusterARN(), DefinitionARN: in.DefinitionARN("web", 1), LastStatus: task.Running, DesiredStatus: task.Running,
		Group: "service:" + service, Health: task.Unknown, Version: 1,
		Attachments: []task.Attachment{{Type: "ElasticNetworkInterface", Status: "ATTACHED", Details: []task.KeyValuePair{{Name: "privateIPv4Address", Value: fmt.Sprintf("10.0.0.%d", n)}}}},
	}
	return t
}

func (w *world) Unfinished(context.Context) ([]task.Task, task.Seq, error) { return w.tasks, 0, nil }

func (w *world) Follow(ctx context.Context, _ task.Seq) iter.Seq2[task.Event, error] {
	return func(yield func(task.Event, error) bool) {
		for {
			select {
			case ev := <-w.events:
				if !yield(ev, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (w *world) Definition(context.Context, task.Realm, string) (task.Definition, error) {
	return task.Definition{ContainerDefinitions: []task.ContainerDefinition{{PortMappings: []task.PortMapping{
		{ContainerPort: 8080, Name: "http"}, {ContainerPort: 9000, Protocol: "udp"},
	}}}}, nil
}

func (w *world) holder(addr netip.Addr) (task.ID, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tasks {
		if t.IPv4() == addr.String() {
			return t.ID, true
		}
	}
	return "", false
}

// serve starts a server on loopback and returns it and its address. Whoever asks it there is
// no task.
func serve(t testing.TB, w *world) (*discovery.Server, string) {
	t.Helper()
	w.events = make(chan task.Event)
	var l net.ListenConfig
	stream, err := l.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	packets, err := l.ListenPacket(t.Context(), "udp4", stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := discovery.New(discovery.Config{
		Journal: w, Holder: w.holder, Subnet: netip.MustParsePrefix("10.0.0.0/24"),
		Aliases: func(_ context.Context, in task.Realm, name string) ([]discovery.Service, error) {
			if in.Account != ours.Account {
				return nil, nil
			}
			return w.aliases[name], nil
		},
		Forward: func(_ context.Context, q *dns.Msg, network string) (*dns.Msg, error) {
			if w.forward == nil {
				return nil, errors.New("nobody is there")
			}
			return w.forward(q, network)
		},
		Shuffle: rand.Shuffle, Log: zap.NewNop(), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, stream, packets) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	w.tell(t, w.tasks...) // It follows by the time that it has taken this.
	return s, stream.Addr().String()
}

// tell writes tasks down, and returns when that is known.
func (w *world) tell(t testing.TB, tasks ...task.Task) {
	t.Helper()
	for _, one := range append(tasks, task.Task{ID: "nobody", LastStatus: task.Stopped}) {
		select {
		case w.events <- task.Event{Task: one}:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody follows the journal")
		}
	}
}

// ask asks as the task at 10.0.0.from.
func ask(t testing.TB, s *discovery.Server, from int, name string, kind uint16) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), kind)
	r := s.Answer(t.Context(), netip.AddrFrom4([4]byte{10, 0, 0, byte(from)}), q, "udp")
	if _, err := r.Pack(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return r
}

// text is an answer in one line.
func text(r *dns.Msg) string {
	all := []string{dns.RcodeToString[r.Rcode]}
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			all = append(all, rr.A.String())
		case *dns.SRV:
			all = append(all, fmt.Sprintf("%d@%s", rr.Port, strings.TrimLeft(rr.Target, "0")))
		case *dns.PTR:
			all = append(all, rr.Ptr)
		default:
			all = append(all, dns.TypeToString[rr.Header().Rrtype])
		}
	}
	slices.Sort(all[1:])
	return strings.Join(all, " ")
}

// Ensure each task finds the services of its own account by their names, in their state of
// now, and that everything else is asked of the host.
func TestNames(t *testing.T) {
	sick, ends := newTask(ours, "web", 4), newTask(ours, "web", 5)
	sick.Health, ends.DesiredStatus = task.Unhealthy, task.Stopped
	starts := newTask(ours, "web", 6)
	starts.LastStatus = task.Activating
	lone := newTask(ours, "", 7)
	lone.Group = "family:web"
	w := &world{
		tasks: []task.Task{newTask(ours, "web", 2), newTask(ours, "web", 3), sick, ends, starts, lone, newTask(theirs, "web", 8), newTask(theirs, "db", 9)},
		aliases: map[string][]discovery.Service{
			"api": {{Cluster: "shop", Name: "web"}}, "db.corp.example": {{Cluster: "shop", Name: "none"}},
		},
		forward: func(q *dns.Msg, _ string) (*dns.Msg, error) {
			r := new(dns.Msg)
			r.SetReply(q)
			rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.1")
			r.Answer = []dns.RR{rr}
			return r, err
		},
	}
	s, _ := serve(t, w)
	const id2, id3 = "00000000000000000000000000000002", "00000000000000000000000000000003"
	for _, tt := range []struct {
		from int
		name string
		kind uint16
		want string
	}{
		{2, "web.shop.berth.internal", dns.TypeA, "NOERROR 10.0.0.2 10.0.0.3"},
		{7, "WEB.Shop.berth.INTERNAL", dns.TypeA, "NOERROR 10.0.0.2 10.0.0.3"},
		{6, "web.shop.berth.internal", dns.TypeA, "NOERROR 10.0.0.2 10.0.0.3"}, // who starts may ask
		{8, "web.shop.berth.internal", dns.TypeA, "NOERROR 10.0.0.8"},
		{2, "db.shop.berth.internal", dns.TypeA, "NXDOMAIN"}, // somebody else's
		{2, "web.other.berth.internal", dns.TypeA, "NXDOMAIN"},
		{2, "web.shop.berth.internal", dns.TypeAAAA, "NOERROR"},
		{2, "shop.berth.internal", dns.TypeA, "NOERROR"},
		{2, "other.berth.internal", dns.TypeA, "NXDOMAIN"},
		{2, "berth.internal", dns.TypeSOA, "NOERROR SOA"},
		{2, "a.b.c.d.berth.internal", dns.TypeA, "NXDOMAIN"},
		{2, id2 + ".web.shop.berth.internal", dns.TypeA, "NOERROR 10.0.0.2"},
		{2, id2 + ".db.shop.berth.internal", dns.TypeA, "NXDOMAIN"},
		{2, "_http._tcp.web.shop.berth.internal", dns.TypeSRV, "NOERROR 8080@2.web.shop.berth.internal. 8080@3.web.shop.berth.internal."},
		{2, "_9000._udp.web.shop.berth.internal", dns.TypeSRV, "NOERROR 9000@2.web.shop.berth.internal. 9000@3.web.shop.berth.internal."},
		{2, "_9000._tcp.web.shop.berth.internal", dns.TypeSRV, "NXDOMAIN"},
		{8, "web.shop.berth.internal", dns.TypeSRV, "NOERROR 8080@8.web.shop.berth.internal. 9000@8.web.shop.berth.internal."},
		{2, "api", dns.TypeA, "NOERROR 10.0.0.2 10.0.0.3"},
		{8, "api", dns.TypeA, "NOERROR 192.0.2.1"},
		{2, "db.corp.example", dns.TypeA, "NOERROR"}, // a name of a service that has no tasks
		{2, "ip-10-0-0-3.eu-west-1.compute.internal", dns.TypeA, "NOERROR 10.0.0.3"},
		{2, "ip-10-0-0-8.eu-west-1.compute.internal", dns.TypeA, "NXDOMAIN"},
		{2, "ip-172-31-0-8.eu-west-1.compute.internal", dns.TypeA, "NOERROR 192.0.2.1"},
		{2, "3.0.0.10.in-addr.arpa", dns.TypePTR, "NOERROR ip-10-0-0-3.eu-west-1.compute.internal."},
		{2, "9.0.0.10.in-addr.arpa", dns.TypePTR, "NXDOMAIN"},
		{2, "example.com", dns.TypeA, "NOERROR 192.0.2.1"},
		{99, "web.shop.berth.internal", dns.TypeA, "REFUSED"}, // no task
		{99, "example.com", dns.TypeA, "REFUSED"},
	} {
		r := ask(t, s, tt.from, tt.name, tt.kind)
		if got := text(r); got != tt.want {
			t.Errorf("%d asks for %s %s: %s, want %s", tt.from, tt.name, dns.TypeToString[tt.kind], got, tt.want)
		}
		if r.Authoritative && len(r.Answer) == 0 && len(r.Ns) != 1 {
			t.Errorf("%s: nobody says how long that may be remembered", tt.name)
		}
		for _, rr := range r.Answer {
			if r.Authoritative && rr.Header().Ttl > 5 {
				t.Errorf("%s: %v", tt.name, rr)
			}
		}
	}
	w.tell(t, func() task.Task { now := w.tasks[0]; now.LastStatus = task.Deactivating; return now }())
	if got := text(ask(t, s, 7, "web.shop.berth.internal", dns.TypeA)); got != "NOERROR 10.0.0.3" {
		t.Errorf("after one has ended: %s", got)
	}
	w.forward = nil
	if got := text(ask(t, s, 7, "example.com", dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("without a name server: %s", got)
	}
	w.forward = func(q *dns.Msg, _ string) (*dns.Msg, error) {
		other := new(dns.Msg)
		return other.SetQuestion("evil.example.", dns.TypeA), nil
	}
	if got := text(ask(t, s, 7, "example.com", dns.TypeA)); got != "SERVFAIL" {
		t.Errorf("an answer to another question: %s", got)
	}
}

// Ensure an answer has tasks that run and no others, each once, all if they are few, and
// over time each of them first.
func TestSharesOut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(rt, "tasks")
		w := &world{}
		up := make(map[string]bool)
		for i := range n {
			one := newTask(ours, "web", i+2)
			if one.LastStatus = rapid.SampledFrom([]task.Status{task.Running, task.Running, task.Pending, task.Stopping}).Draw(rt, "status"); one.LastStatus == task.Running {
				up[one.IPv4()] = true
			}
			w.tasks = append(w.tasks, one)
		}
		s := discovery.New(discovery.Config{Journal: w, Holder: w.holder, Subnet: netip.MustParsePrefix("10.0.0.0/24"), Shuffle: rand.Shuffle, Log: zap.NewNop(), Now: time.Now})
		w.events = make(chan task.Event)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, newSilent(), newSilent()) }()
		defer func() { cancel(); <-done }()
		w.tell(t)
		first := make(map[string]bool)
		for range 300 {
			r := ask(t, s, 2, "web.shop.berth.internal", dns.TypeA)
			seen := make(map[string]bool)
			for i, rr := range r.Answer {
				addr := rr.(*dns.A).A.String()
				if !up[addr] || seen[addr] {
					rt.Fatalf("%s is answered, of %v", addr, up)
				}
				if seen[addr] = true; i == 0 {
					first[addr] = true
				}
			}
			if len(r.Answer) != min(len(up), 8) {
				rt.Fatalf("%d of %d tasks are answered", len(r.Answer), len(up))
			}
		}
		if len(first) != len(up) {
			rt.Fatalf("%d of %d tasks were ever first", len(first), len(up))
		}
	})
}

// silent is a network over which nobody asks.
type silent struct {
	net.Listener
	net.PacketConn
	ended chan struct{}
	end   func()
}

func newSilent() silent {
	ended := make(chan struct{})
	return silent{ended: ended, end: sync.OnceFunc(func() { close(ended) })}
}

func (s silent) Accept() (net.Conn, error)              { <-s.ended; return nil, net.ErrClosed }
func (s silent) ReadFrom([]byte) (int, net.Addr, error) { <-s.ended; return 0, nil, net.ErrClosed }
func (s silent) SetReadDeadline(at time.Time) error {
	if at.Before(time.Now()) {
		s.end()
	}
	return nil
}

func (s silent) Close() error { s.end(); return nil }

// Ensure both listeners answer, and that strangers learn nothing.
func TestStrangers(t *testing.T) {
	_, address := serve(t, &world{tasks: []task.Task{newTask(ours, "web", 2)}})
	q := new(dns.Msg)
	q.SetQuestion("web.shop.berth.internal.", dns.TypeA)
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		r, _, err := c.ExchangeContext(t.Context(), q, address)
		if err != nil || r.Rcode != dns.RcodeRefused {
			t.Errorf("%s: %v, %v", network, r, err)
		}
	}
}

// Ensure the host's name servers are asked in turn, over the network that the task asked
// over, and that a changed file counts.
func TestUpstream(t *testing.T) {
	var clock time.Time
	file := filepath.Join(t.TempDir(), "resolv.conf")
	u := &discovery.Upstream{File: file, Now: func() time.Time { return clock }}
	q := new(dns.Msg)
	q.SetQuestion("example.com.", dns.TypeA)
	clock = time.Unix(100, 0)
	if _, err := u.Forward(t.Context(), q, "udp"); err == nil {
		t.Error("without a file somebody answers")
	}
	if err := os.WriteFile(file, []byte("# none\nnameserver nonsense\nnameserver 127.0.0.2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.Forward(ctx, q, "udp"); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a file that was read just now is read again: %v", err)
	}
	clock = clock.Add(time.Minute)
	if _, err := u.Forward(ctx, q, "tcp"); !errors.Is(err, context.Canceled) {
		t.Errorf("the name server of the file is not asked: %v", err)
	}
}
