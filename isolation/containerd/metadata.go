package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"

	"berth/task"
)

// metadataAddress is where a task asks about itself (ECS developer guide, "Task
// metadata endpoint").
var metadataAddress = netip.MustParseAddrPort("169.254.170.2:80")

// MetadataListener listens for what tasks send to 169.254.170.2:80, and for nothing
// else: the address that it really has is shut to tasks and everybody else. Connections
// come from the tasks' own addresses; see Holder. The caller closes it. Of several
// listeners the last one counts.
func (r *Runtime) MetadataListener(ctx context.Context) (net.Listener, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp4", netip.AddrPortFrom(gateway(r.network.subnet), 0).String())
	if err != nil {
		return nil, fmt.Errorf("listen for the tasks' questions: %w", err)
	}
	r.network.mu.Lock()
	r.network.metadata = l.Addr().(*net.TCPAddr).AddrPort().Port()
	r.network.mu.Unlock()
	if err := r.network.filter(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Holder returns the task that has that address.
func (r *Runtime) Holder(addr netip.Addr) (task.ID, bool) {
	r.network.mu.Lock()
	defer r.network.mu.Unlock()
	h, ok := r.network.held[addr.Unmap()]
	return h.id, ok
}

// Life implements isolation.Runtime.
func (r *Runtime) Life(id task.ID, container string) (task.ContainerLife, error) {
	dir := r.containerDir(id, container)
	c, found, err := load[containerRecord](dir, containerFile)
	if err != nil || !found {
		return task.ContainerLife{}, err
	}
	life := task.ContainerLife{Made: c.Made, Restarts: c.Run}
	start, _, err := load[startRecord](dir, ofRun(startedFile, c.Run))
	if start.Failure == "" {
		life.Started = start.At
	}
	return life, err
}

// StorageUsed returns how many bytes of its ephemeral storage a task uses, logs included;
// false if that is not known.
func (r *Runtime) StorageUsed(id task.ID) (bytes uint64, known bool) {
	used, known := r.storageUsed(id)
	if !known {
		return 0, false
	}
	return used + r.logsUsed(id), true
}

// Subnet is where tasks have their addresses. Its first one is the gateway.
func (r *Runtime) Subnet() netip.Prefix { return r.network.subnet }

// Resolver returns the name servers that a task asks, and the domains in which it looks
// for short names; nothing if it is not here.
func (r *Runtime) Resolver(id task.ID) (servers, search []string) {
	record, found, err := load[sandboxRecord](r.taskDir(id), sandboxFile)
	if err != nil || !found {
		return nil, nil
	}
	for line := range strings.Lines(record.ResolvConf) {
		switch words := strings.Fields(line); words[0] {
		case "nameserver":
			servers = append(servers, words[1])
		case "search", "domain":
			search = words[1:]
		}
	}
	return servers, search
}

// passQuestions sends what tasks send to the metadata address to where it is answered.
func (f rules) passQuestions(before rule) {
	if f.metadata != 0 {
		before(comesFrom(f.bridge), destination(netip.PrefixFrom(metadataAddress.Addr(), 32)), tcpPort(metadataAddress.Port()),
			passOn(published{task.Port{Container: int(f.metadata)}, gateway(f.subnet)}))
	}
}

// letAsk lets in what passQuestions sent. Nobody reaches that port by its own address.
func (f rules) letAsk(in rule) {
	if f.metadata != 0 {
		here, port := destination(netip.PrefixFrom(gateway(f.subnet), 32)), tcpPort(f.metadata)
		in(comesFrom(f.bridge), passedOn(), here, port, verdict(expr.VerdictAccept))
		in(here, port, verdict(expr.VerdictDrop))
	}
}

func tcpPort(port uint16) []expr.Any { return portsFrom("tcp", int(port), int(port)) }
