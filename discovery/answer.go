package discovery

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"berth/task"
)

const (
	// ttl is how many seconds an answer about tasks may be remembered: they come and go.
	ttl = 3

	// maxAnswers is how many tasks one answer names at most (Cloud Map, multivalue answer
	// routing).
	maxAnswers = 8

	maxOpen = 256 // questions that the host's name servers are asked at once

	maxPacket   = 1232             // bytes over UDP that are not fragmented (DNS Flag Day 2020)
	tcpPatience = 10 * time.Second // of a connection on which nobody asks
	patience    = 10 * time.Second // of one question, all tries of the host's name servers included
)

// serve answers one question.
func (s *Server) serve(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	from, err := netip.ParseAddrPort(w.RemoteAddr().String())
	if err != nil || !s.pace.allow(from.Addr().Unmap()) {
		w.Close() // As Amazon's: what is too much is not answered.
		return
	}
	network, room := "udp", dns.MinMsgSize
	if _, ok := w.RemoteAddr().(*net.TCPAddr); ok {
		network, room = "tcp", dns.MaxMsgSize
	} else if opt := q.IsEdns0(); opt != nil {
		room = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxPacket)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r := s.Answer(ctx, from.Addr().Unmap(), q, network)
	r.Truncate(room)
	_ = w.WriteMsg(r) // Who has gone needs no answer.
}

// Answer returns the answer to what somebody at that address asks over a network, udp or
// tcp. Only tasks are answered.
func (s *Server) Answer(ctx context.Context, from netip.Addr, q *dns.Msg, network string) *dns.Msg {
	who, known := s.asker(from)
	switch {
	case !known:
		return refuse(q, dns.RcodeRefused)
	case q.Opcode != dns.OpcodeQuery:
		return refuse(q, dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return refuse(q, dns.RcodeFormatError)
	case q.Question[0].Qclass != dns.ClassINET:
		return refuse(q, dns.RcodeRefused)
	}
	asked := question{name: strings.ToLower(strings.TrimSuffix(q.Question[0].Name, ".")), kind: q.Question[0].Qtype, raw: q.Question[0].Name, in: who.Realm()}
	found, ours, err := s.find(ctx, asked)
	switch {
	case err != nil:
		s.Log.Warn("name not looked up", zap.String("name", asked.name), zap.Error(err))
		return refuse(q, dns.RcodeServerFailure)
	case !ours:
		return s.pass(ctx, q, network)
	}
	r := new(dns.Msg)
	r.SetReply(q)
	r.Authoritative, r.RecursionAvailable = true, true
	r.Answer, r.Extra = found.answer, found.extra
	if !found.exists {
		r.Rcode = dns.RcodeNameError
	}
	if len(r.Answer) == 0 {
		r.Ns = []dns.RR{authority()} // how long nothing may be remembered (RFC 2308)
	}
	if q.IsEdns0() != nil {
		r.SetEdns0(maxPacket, false)
	}
	return r
}

// pass asks the host's name servers instead.
func (s *Server) pass(ctx context.Context, q *dns.Msg, network string) *dns.Msg {
	select {
	case s.open <- struct{}{}:
		defer func() { <-s.open }()
	default:
		return refuse(q, dns.RcodeServerFailure)
	}
	out := q.Copy()
	out.Id = dns.Id()
	r, err := s.Forward(ctx, out, network)
	if err != nil || r == nil || len(r.Question) != 1 || !strings.EqualFold(r.Question[0].Name, q.Question[0].Name) || r.Question[0].Qtype != q.Question[0].Qtype {
		if ctx.Err() == nil {
			s.Log.Debug("question not answered by the host's name servers", zap.String("name", q.Question[0].Name), zap.Error(err))
		}
		return refuse(q, dns.RcodeServerFailure)
	}
	r.Id, r.Question = q.Id, q.Question
	return r
}

func refuse(q *dns.Msg, code int) *dns.Msg {
	r := new(dns.Msg)
	r.SetRcode(q, code)
	r.RecursionAvailable = true
	return r
}

// authority says who answers for names of tasks.
func authority() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: task.Domain + ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns." + task.Domain + ".", Mbox: "hostmaster." + task.Domain + ".", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
	}
}

// question is what a task asks.
type question struct {
	name string // in lower case, without a dot at its end
	kind uint16
	raw  string // as it was asked
	in   task.Realm
}

func (q question) header(kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.raw, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func (q question) wants(kind uint16) bool { return q.kind == kind || q.kind == dns.TypeANY }

// finding is what a name has.
type finding struct {
	exists        bool
	answer, extra []dns.RR
}

// find looks a name up; ours is false if it is none of the tasks' network.
func (s *Server) find(ctx context.Context, q question) (f finding, ours bool, err error) {
	if q.name == task.Domain {
		f.exists = true
		if q.wants(dns.TypeSOA) {
			f.answer = []dns.RR{authority()}
		}
		return f, true, nil
	}
	if rest, ok := strings.CutSuffix(q.name, "."+task.Domain); ok {
		f, err = s.named(ctx, q, strings.Split(rest, "."))
		return f, true, err
	}
	if f, ours = s.numbered(q); ours {
		return f, true, nil
	}
	if s.Aliases == nil {
		return f, false, nil
	}
	services, err := s.Aliases(ctx, q.in, q.name)
	if err != nil || len(services) == 0 {
		return f, false, err
	}
	var tasks []task.Task
	for _, each := range services {
		tasks = append(tasks, s.behind(q.home(each.Cluster, each.Name))...)
	}
	f, err = s.records(ctx, q, tasks, "")
	f.exists = true // Whoever has the name, nobody outside has it.
	return f, true, err
}

func (q question) home(cluster, service string) home {
	return home{q.in.Account, q.in.Region, strings.ToLower(cluster), strings.ToLower(service)}
}

// homeOf returns where the name of t's service is.
func homeOf(t task.Task) (home, bool) {
	service, ok := strings.CutPrefix(t.Group, "service:")
	return question{in: t.Realm()}.home(t.Realm().Cluster, service), ok
}

// named looks up what is before the domain: SERVICE.CLUSTER, _PORT._PROTOCOL.SERVICE.CLUSTER
// or TASK.SERVICE.CLUSTER.
func (s *Server) named(ctx context.Context, q question, labels []string) (finding, error) {
	n := len(labels)
	if n < 2 {
		s.mu.Lock()
		defer s.mu.Unlock()
		for h := range s.homes {
			if h == q.home(labels[0], h.service) {
				return finding{exists: true}, nil
			}
		}
		return finding{}, nil
	}
	tasks := s.behind(q.home(labels[n-1], labels[n-2]))
	switch {
	case len(tasks) == 0 || n > 4:
		return finding{}, nil
	case n == 2:
		return s.records(ctx, q, tasks, "")
	case n == 3:
		for _, t := range tasks {
			if string(t.ID) == labels[0] {
				return s.records(ctx, q, []task.Task{t}, "")
			}
		}
		return finding{}, nil
	}
	port, ok1 := strings.CutPrefix(labels[0], "_")
	protocol, ok2 := strings.CutPrefix(labels[1], "_")
	if !ok1 || !ok2 {
		return finding{}, nil
	}
	return s.records(ctx, q, tasks, port+"/"+protocol)
}

// records makes the answer of tasks: their addresses, and their ports if SRV records are
// asked for; of those only the one that is called so, with its protocol, if only is not
// empty.
func (s *Server) records(ctx context.Context, q question, tasks []task.Task, only string) (finding, error) {
	f := finding{exists: only == "" && len(tasks) > 0}
	slices.SortFunc(tasks, func(a, b task.Task) int { return cmp.Compare(a.ID, b.ID) })
	s.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	for _, t := range tasks[:min(len(tasks), maxAnswers)] {
		address := &dns.A{Hdr: q.header(dns.TypeA), A: net.ParseIP(t.IPv4()).To4()}
		if q.wants(dns.TypeA) && only == "" {
			f.answer = append(f.answer, address)
		}
		if !q.wants(dns.TypeSRV) && only == "" {
			continue
		}
		ports, err := s.ports(ctx, t)
		if err != nil {
			return f, err
		}
		h, _ := homeOf(t)
		own := string(t.ID) + "." + h.service + "." + h.cluster + "." + task.Domain + "."
		for _, p := range ports {
			if p.ContainerPort == 0 || only != "" && !called(p, only) {
				continue
			}
			f.exists = true
			if q.wants(dns.TypeSRV) {
				f.answer = append(f.answer, &dns.SRV{Hdr: q.header(dns.TypeSRV), Priority: 1, Weight: 1, Port: uint16(p.ContainerPort), Target: own})
				a := *address
				a.Hdr.Name = own
				if !slices.ContainsFunc(f.extra, func(r dns.RR) bool { return r.Header().Name == own }) {
					f.extra = append(f.extra, &a)
				}
			}
		}
	}
	return f, nil
}

// called reports whether a port has that name or number and protocol, as in http/tcp.
func called(p task.PortMapping, text string) bool {
	protocol := cmp.Or(p.Protocol, "tcp")
	return text == strings.ToLower(p.Name)+"/"+protocol && p.Name != "" || text == strconv.Itoa(p.ContainerPort)+"/"+protocol
}

// numbered looks up the names that Amazon's VPC makes of addresses, ip-10-0-0-5.ec2.internal,
// and the addresses themselves, if they are those of tasks.
func (s *Server) numbered(q question) (f finding, ours bool) {
	label, domain, _ := strings.Cut(q.name, ".")
	if _, own, _ := strings.Cut(q.in.DNSName(""), "."); domain == own && strings.HasPrefix(label, "ip-") {
		addr, err := netip.ParseAddr(strings.ReplaceAll(strings.TrimPrefix(label, "ip-"), "-", "."))
		if err != nil || !s.Subnet.Contains(addr) {
			return f, false
		}
		if f.exists = s.neighbour(q, addr); f.exists && q.wants(dns.TypeA) {
			f.answer = []dns.RR{&dns.A{Hdr: q.header(dns.TypeA), A: addr.AsSlice()}}
		}
		return f, true
	}
	reverse, ok := strings.CutSuffix(q.name, ".in-addr.arpa")
	if !ok {
		return f, false
	}
	parts := strings.Split(reverse, ".")
	slices.Reverse(parts)
	addr, err := netip.ParseAddr(strings.Join(parts, "."))
	if err != nil || !s.Subnet.Contains(addr) {
		return f, false
	}
	if f.exists = s.neighbour(q, addr); f.exists && q.wants(dns.TypePTR) {
		f.answer = []dns.RR{&dns.PTR{Hdr: q.header(dns.TypePTR), Ptr: q.in.DNSName(addr.String()) + "."}}
	}
	return f, true
}

// neighbour reports whether a task of the same account and region has that address.
func (s *Server) neighbour(q question, addr netip.Addr) bool {
	t, ok := s.asker(addr)
	return ok && t.Realm().Account == q.in.Account && t.Realm().Region == q.in.Region
}
