package containerd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// eth0 is the interface of a task, in its own network namespace.
const eth0 = "eth0"

// network gives tasks an address on a bridge that belongs to this server alone.
//
// The bridge's ports are isolated, so tasks are no neighbours of one another; what
// they may reach beyond the bridge is for setFilter to say.
//
// Which task has which address is written in the tasks' records, before it takes
// effect; what is kept here is a copy of that.
type network struct {
	bridge string
	subnet netip.Prefix

	mu       sync.Mutex
	held     map[netip.Addr]holder
	last     netip.Addr // given out last: addresses come around as late as possible
	lastPort int        // published last
	groups   []task.SecurityGroup
	metadata uint16 // see rules
	names    uint16

	filtering sync.Mutex     // held while the filter is changed
	conn      *nftables.Conn // see change
	port      atomic.Uint32
	gone      bool // the filter was taken away for good
}

// holder is the task that has an address.
type holder struct {
	id        task.ID
	groups    []string // IDs of its security groups
	published []task.Port
	resolvers []netip.Addr // name servers that it may ask whatever its groups say
}

// networkRecord is the choice of a subnet, made once: tasks may still be there
// when the server starts again.
type networkRecord struct{ Subnet netip.Prefix }

const networkFile = "network.json"

func openNetwork(c Config) (*network, error) {
	c.Subnet = c.Subnet.Masked()
	n := &network{bridge: c.Bridge, held: make(map[netip.Addr]holder)}
	record, found, err := load[networkRecord](c.StateDir, networkFile)
	if err != nil {
		return nil, err
	}
	if !found || c.Subnet.IsValid() && c.Subnet != record.Subnet {
		if n.subnet, err = chooseSubnet(c.Bridge, c.Subnet); err != nil {
			return nil, err
		}
		if err := c.mayUse(n.subnet); err != nil {
			return nil, err
		}
		if err := saveDurably(c.StateDir, networkFile, networkRecord{n.subnet}); err != nil {
			return nil, err
		}
	} else {
		n.subnet = record.Subnet
	}
	if err := n.recall(c); err != nil {
		return nil, err
	}
	if err := allowForwarding(); err != nil {
		c.Log.Warn("tasks reach nothing outside this host", zap.Error(err))
	}
	return n, n.ensure()
}

// mayUse refuses a subnet, as fault.Conflict, while tasks have addresses of another one:
// what they send would leave with an address that nothing outside knows the way to. Tasks
// of an earlier life of the host, and those that were being removed, have none.
func (c Config) mayUse(subnet netip.Prefix) error {
	var from string
	var there []string
	var errs []error
	err := c.eachWorld(func(id task.ID, record sandboxRecord) {
		attached, err := pinned(c.netns(id))
		if errs = append(errs, err); attached && record.Network.Subnet != subnet.String() {
			from, there = record.Network.Subnet, append(there, string(id))
		}
	})
	if err := errors.Join(append(errs, err)...); err != nil || len(there) == 0 {
		return err
	}
	return fault.New(fault.Conflict, "tasks use subnet %s and would lose their way out with %s (%s): "+
		"keep it with --bridge-subnet %s, or start with that and stop them before the subnet is changed",
		from, subnet, strings.Join(there, ", "), from)
}

// ensure makes what all tasks share: first the filter, so that there is no moment
// without it, then the bridge.
func (n *network) ensure() error {
	if err := n.filter(); err != nil {
		return err
	}
	return ensureBridge(n.bridge, n.subnet)
}

// filter makes the packet filter as it has to be now.
func (n *network) filter() error {
	n.filtering.Lock()
	defer n.filtering.Unlock()
	f := n.rules()
	if err := n.change(f.add); err != nil {
		return filterFault(err)
	}
	return nil
}

func (n *network) rules() rules {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := rules{bridge: n.bridge, subnet: n.subnet, groups: n.groups, members: make(map[string][]netip.Addr), metadata: n.metadata, names: n.names, upstream: hostResolver()}
	for addr, h := range n.held {
		f.ports = append(f.ports, linkOf(h.id, addr))
		for _, g := range h.groups {
			f.members[g] = append(f.members[g], addr)
		}
		if h.special() {
			for _, to := range h.resolvers {
				f.questions = append(f.questions, question{addr, to})
			}
		}
		for _, p := range h.published {
			f.published = append(f.published, published{p, addr})
		}
	}
	return f
}

// setGroups sets what security groups allow.
func (n *network) setGroups(all []task.SecurityGroup) error {
	n.mu.Lock()
	n.groups = slices.Clone(all)
	n.mu.Unlock()
	return n.filter()
}

// recall reads from the records of tasks which addresses are held.
func (n *network) recall(c Config) error {
	return c.eachWorld(func(id task.ID, record sandboxRecord) {
		if addr, err := netip.ParseAddr(record.Network.IPv4); err == nil {
			n.held[addr] = holder{id, record.Sandbox.Groups, record.Network.Published, nameServers(record.ResolvConf)}
		}
	})
}

// reserve gives the task an address, and the ports of this host that it publishes. They
// are the task's until release.
func (n *network) reserve(s isolation.Sandbox, resolvers []netip.Addr) (task.Network, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := n.subnet.Addr().Next().Next() // .0 is the network, .1 is kept for the bridge
	addr := n.last
	for range 1 << (32 - n.subnet.Bits()) {
		if addr = addr.Next(); !n.subnet.Contains(addr.Next()) { // the last one is for broadcasts
			addr = first
		}
		if _, held := n.held[addr]; !held {
			ports, err := n.choosePorts(s.Publish)
			if err != nil {
				return task.Network{}, err
			}
			n.held[addr], n.last = holder{s.ID, s.Groups, ports, resolvers}, addr
			return task.Network{IPv4: addr.String(), MAC: mac(addr).String(), Subnet: n.subnet.String(), Published: ports}, nil
		}
	}
	return task.Network{}, fault.New(fault.Exhausted, "no address is left in %s", n.subnet)
}

// release takes back what the task has of addresses and ports.
func (n *network) release(id task.ID) error {
	n.mu.Lock()
	var gone []link
	special := false
	for addr, h := range n.held {
		if h.id == id {
			delete(n.held, addr)
			gone = append(gone, linkOf(id, addr))
			special = special || h.special()
		}
	}
	n.mu.Unlock()
	if special {
		return n.filter()
	}
	for _, l := range gone {
		if err := n.know(l, false); err != nil {
			return err
		}
	}
	return nil
}

// special reports whether there are rules for this task.
func (h holder) special() bool {
	return len(h.groups) > 0 || len(h.published) > 0 || slices.ContainsFunc(h.resolvers, linkLocal.Contains)
}

// admit lets the task speak, before it is attached, and makes the rules that it needs.
func (n *network) admit(id task.ID, addr netip.Addr) error {
	n.mu.Lock()
	special := n.held[addr].special()
	n.mu.Unlock()
	if special {
		return n.filter()
	}
	return n.know(linkOf(id, addr), true)
}

// mac is the hardware address that goes with an address: locally administered,
// and as unique on the bridge as that.
func mac(addr netip.Addr) net.HardwareAddr {
	b := addr.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
}

func linkOf(id task.ID, addr netip.Addr) link { return link{port(id), mac(addr), addr} }

// port is the name of the host's end of a task's link: the last digits of an ID
// are its random ones, and an interface's name has 15 bytes.
func port(id task.ID) string { return "bt" + string(id[len(id)-12:]) }

// attach links the namespace to the bridge, with the address that was reserved.
// It must not be linked yet.
func (n *network) attach(id task.ID, path string, w task.Network) error {
	if err := n.link(id, path, w); err != nil {
		return fmt.Errorf("attach task %s to the network: %w", id, err)
	}
	return nil
}

func (n *network) link(id task.ID, path string, w task.Network) error {
	bridge, err := n.intact()
	if err != nil {
		return err
	}
	own, err := netip.ParseAddr(w.IPv4)
	if err != nil {
		return err
	}
	if err := n.admit(id, own); err != nil {
		return err
	}
	inside, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer inside.Close()
	outer := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port(id), MasterIndex: bridge.Attrs().Index, Group: linkGroup(n.bridge)},
		PeerName:  eth0, PeerNamespace: netlink.NsFd(int(inside)), PeerHardwareAddr: mac(own),
	}
	if err := netlink.LinkAdd(outer); err != nil {
		return fmt.Errorf("add link: %w", err)
	}
	if err := netlink.LinkSetIsolated(outer, true); err != nil {
		return fmt.Errorf("isolate link: %w", err)
	}
	if err := netlink.LinkSetUp(outer); err != nil {
		return fmt.Errorf("bring link up: %w", err)
	}
	within, err := netlink.NewHandleAt(inside)
	if err != nil {
		return fmt.Errorf("enter namespace: %w", err)
	}
	defer within.Close()
	inner, err := within.LinkByName(eth0)
	if err != nil {
		return fmt.Errorf("find %s: %w", eth0, err)
	}
	addr, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", w.IPv4, n.subnet.Bits()))
	if err != nil {
		return err
	}
	if err := within.AddrAdd(inner, addr); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	if err := within.LinkSetUp(inner); err != nil {
		return fmt.Errorf("bring %s up: %w", eth0, err)
	}
	out := &netlink.Route{LinkIndex: inner.Attrs().Index, Gw: gateway(n.subnet).AsSlice()}
	if err := within.RouteAdd(out); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	return nil
}

// intact returns the bridge. If somebody removed it or its filter, they are made
// again before a task is attached.
func (n *network) intact() (netlink.Link, error) {
	filtered, err := hasFilter(n.bridge)
	if err != nil {
		return nil, err
	}
	bridge, err := findBridge(n.bridge)
	if err != nil || filtered && bridge != nil {
		return bridge, err
	}
	if err := n.ensure(); err != nil {
		return nil, err
	}
	return netlink.LinkByName(n.bridge)
}

// detach takes the link away, if it is there. The namespace may be gone already.
func (n *network) detach(id task.ID) error {
	var none netlink.LinkNotFoundError
	link, err := netlink.LinkByName(port(id))
	if errors.As(err, &none) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err == nil || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		return nil // It went with its namespace in between.
	}
	return fmt.Errorf("detach task %s from the network: %w", id, err)
}

// remove takes everything away, for good.
func (n *network) remove() error {
	n.filtering.Lock()
	defer n.filtering.Unlock()
	errs := []error{removeBridge(n.bridge)}
	for _, family := range families {
		err := n.change(func(c *nftables.Conn) error {
			table := &nftables.Table{Family: family, Name: n.bridge}
			c.AddTable(table) // It may not be there.
			c.DelTable(table)
			return nil
		})
		if err != nil {
			errs = append(errs, filterFault(err))
		}
	}
	n.gone = true
	if n.conn != nil {
		errs = append(errs, n.conn.CloseLasting())
		n.conn = nil
	}
	return errors.Join(errs...)
}
