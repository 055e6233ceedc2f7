package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"go.uber.org/zap"

	"berth/isolation"
	"berth/task"
)

// Tasks ask the bridge's own address for names. Who answers there is this server, while it
// lives: the packet filter knows that from an element of a set that the kernel takes away
// unless it is renewed. Then it passes questions on to the name server of this host, so
// that tasks find what is outside whether there is a server or not. One name server is all
// that a task has: some C libraries ask all they have at once and believe the first answer,
// and those of the host know no service.

const (
	// nameLease is how long the kernel believes that the server lives.
	nameLease = 15 * time.Second

	// answering is the name of the set of ports where names are answered.
	answering = "answering"
)

// NameListeners listens for what tasks ask the bridge's address on port 53, over TCP and
// UDP, and for nothing else. Questions come from the tasks' own addresses; see Holder.
// Tasks that begin from now on have that address as their name server. The caller closes
// both.
func (r *Runtime) NameListeners(ctx context.Context) (net.Listener, net.PacketConn, error) {
	stream, packets, err := listenBoth(ctx, gateway(r.network.subnet))
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the tasks' questions for names: %w", err)
	}
	r.network.mu.Lock()
	r.network.names = stream.Addr().(*net.TCPAddr).AddrPort().Port()
	r.network.mu.Unlock()
	if err := r.network.filter(); err != nil {
		return nil, nil, errors.Join(err, stream.Close(), packets.Close())
	}
	return stream, packets, nil
}

// listenBoth listens on one port over TCP and UDP.
func listenBoth(ctx context.Context, at netip.Addr) (net.Listener, net.PacketConn, error) {
	var c net.ListenConfig
	for try := 0; ; try++ {
		stream, err := c.Listen(ctx, "tcp4", netip.AddrPortFrom(at, 0).String())
		if err != nil {
			return nil, nil, err
		}
		packets, err := c.ListenPacket(ctx, "udp4", stream.Addr().String())
		if err == nil {
			return stream, packets, nil
		}
		if err = errors.Join(err, stream.Close()); try == 10 { // Others have UDP ports too.
			return nil, nil, err
		}
	}
}

// KeepNames tells the kernel over and over that names are answered. When ctx ends it passes
// questions on to the host's name server at once.
func (r *Runtime) KeepNames(ctx context.Context) error {
	tick := time.NewTicker(nameLease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := r.network.renew(); err != nil {
				r.Log.Warn("tasks may not find one another by name for a while", zap.Error(err))
			}
		case <-ctx.Done():
			r.network.mu.Lock()
			r.network.names = 0
			r.network.mu.Unlock()
			return r.network.filter()
		}
	}
}

// renew extends the lease.
func (n *network) renew() error {
	n.mu.Lock()
	port := n.names
	n.mu.Unlock()
	if port == 0 {
		return nil
	}
	n.filtering.Lock()
	defer n.filtering.Unlock()
	err := n.change(func(c *nftables.Conn) error {
		set := answeringSet(&nftables.Table{Family: nftables.TableFamilyINet, Name: n.bridge})
		c.FlushSet(set)
		return c.SetAddElements(set, lease(port))
	})
	if err != nil {
		return fmt.Errorf("set packet filter: %w", err)
	}
	return nil
}

func answeringSet(table *nftables.Table) *nftables.Set {
	return &nftables.Set{Table: table, Name: answering, KeyType: nftables.TypeInetService, HasTimeout: true, Timeout: nameLease}
}

// lease is a port of the bridge where names are answered, for now.
func lease(port uint16) []nftables.SetElement {
	return []nftables.SetElement{{Key: binaryutil.BigEndian.PutUint16(port), Timeout: nameLease}}
}

// passNames sends what tasks ask the bridge for to who answers: the server that listens at
// f.names, as long as its lease lasts, and then the host's own name server, if there is one.
func (f rules) passNames(c *nftables.Conn, table *nftables.Table, before rule) error {
	set := answeringSet(table)
	var living []nftables.SetElement
	if f.names != 0 {
		living = lease(f.names)
	}
	if err := c.AddSet(set, living); err != nil {
		return fmt.Errorf("set packet filter: %w", err)
	}
	here := destination(netip.PrefixFrom(gateway(f.subnet), 32))
	for _, protocol := range []string{"udp", "tcp"} {
		question := portsFrom(protocol, domainPort, domainPort)
		if f.names != 0 {
			before(comesFrom(f.bridge), here, question, []expr.Any{
				&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(f.names)},
				&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
			}, passOn(published{task.Port{Container: int(f.names)}, gateway(f.subnet)}))
		}
		if f.upstream.IsValid() {
			before(comesFrom(f.bridge), here, question, passOn(published{task.Port{Container: domainPort}, f.upstream}))
		}
	}
	return nil
}

// letAskNames lets in what passNames sent here. Nobody reaches that port by its own address.
func (f rules) letAskNames(in rule) {
	if f.names == 0 {
		return
	}
	for _, protocol := range []string{"udp", "tcp"} {
		here, port := destination(netip.PrefixFrom(gateway(f.subnet), 32)), portsFrom(protocol, int(f.names), int(f.names))
		in(comesFrom(f.bridge), passedOn(), here, port, verdict(expr.VerdictAccept))
		in(here, port, verdict(expr.VerdictDrop))
	}
}

// letNamesOut lets out what passNames sent to the host's name server, whatever groups say.
func (f rules) letNamesOut(through rule) {
	if !f.upstream.IsValid() {
		return
	}
	for _, protocol := range []string{"udp", "tcp"} {
		through(comesFrom(f.bridge), goesElsewhere(f.bridge), destination(netip.PrefixFrom(f.upstream, 32)),
			portsFrom(protocol, domainPort, domainPort), passedOn(), verdict(expr.VerdictAccept))
	}
}

// resolvConf is the content of a new task's resolv.conf.
func (r *Runtime) resolvConf(s isolation.Sandbox) string {
	host := resolvConf(resolverFiles)
	r.network.mu.Lock()
	answered := r.network.names != 0
	r.network.mu.Unlock()
	if !answered {
		return host
	}
	return namedConf(host, gateway(r.network.subnet), s.Search)
}

// namedConf is the host's resolv.conf with another name server and with domains where short
// names are looked for first.
func namedConf(host string, server netip.Addr, search []string) string {
	domains := search
	options := ""
	for line := range strings.Lines(host) {
		switch words := strings.Fields(line); words[0] {
		case "search", "domain": // The last one counts (resolv.conf(5)).
			domains = append(search[:len(search):len(search)], words[1:]...)
		case "options":
			options += line
		}
	}
	text := "nameserver " + server.String() + "\n"
	if len(domains) > 0 {
		text += "search " + strings.Join(domains, " ") + "\n"
	}
	return text + options
}

// hostResolver is the first name server of this host that tasks can reach, if there is one.
func hostResolver() netip.Addr {
	for _, addr := range nameServers(resolvConf(resolverFiles)) {
		return addr
	}
	return netip.Addr{}
}
