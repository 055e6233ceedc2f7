package containerd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/fault"
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

	mu   sync.Mutex
	held map[netip.Addr]task.ID
	last netip.Addr // given out last: addresses come around as late as possible
}

// networkRecord is the choice of a subnet, made once: tasks may still be there
// when the server starts again.
type networkRecord struct{ Subnet netip.Prefix }

const networkFile = "network.json"

func openNetwork(c Config) (*network, error) {
	n := &network{bridge: c.Bridge, subnet: c.Subnet, held: make(map[netip.Addr]task.ID)}
	record, found, err := load[networkRecord](c.StateDir, networkFile)
	if err != nil {
		return nil, err
	}
	if !found || c.Subnet.IsValid() && c.Subnet != record.Subnet {
		if n.subnet, err = chooseSubnet(c.Bridge, c.Subnet); err != nil {
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

// ensure makes what all tasks share: first the filter, so that there is no moment
// without it, then the bridge.
func (n *network) ensure() error {
	if err := setFilter(n.bridge, n.subnet); err != nil {
		return err
	}
	return ensureBridge(n.bridge, n.subnet)
}

// recall reads from the records of tasks which addresses are held.
func (n *network) recall(c Config) error {
	entries, err := os.ReadDir(c.tasksDir())
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	for _, e := range entries {
		id, err := task.ParseID(e.Name())
		if err != nil {
			continue
		}
		record, _, err := load[sandboxRecord](c.taskDir(id), sandboxFile)
		if err != nil {
			return err
		}
		if addr, err := netip.ParseAddr(record.Network.IPv4); err == nil {
			n.held[addr] = id
		}
	}
	return nil
}

// reserve gives the task an address. It is the task's until release.
func (n *network) reserve(id task.ID) (task.Network, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	first := n.subnet.Addr().Next().Next() // .0 is the network, .1 is kept for the bridge
	addr := n.last
	for range 1 << (32 - n.subnet.Bits()) {
		if addr = addr.Next(); !n.subnet.Contains(addr.Next()) { // the last one is for broadcasts
			addr = first
		}
		if _, held := n.held[addr]; !held {
			n.held[addr], n.last = id, addr
			return task.Network{IPv4: addr.String(), MAC: mac(addr), Subnet: n.subnet.String()}, nil
		}
	}
	return task.Network{}, fault.New(fault.Exhausted, "no address is left in %s", n.subnet)
}

// release takes back what the task has of addresses.
func (n *network) release(id task.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for addr, holder := range n.held {
		if holder == id {
			delete(n.held, addr)
		}
	}
}

// mac is the hardware address that goes with an address: locally administered,
// and as unique on the bridge as that.
func mac(addr netip.Addr) string {
	b := addr.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}.String()
}

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
	hardware, err := net.ParseMAC(w.MAC)
	if err != nil {
		return err
	}
	inside, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer inside.Close()
	outer := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port(id), MasterIndex: bridge.Attrs().Index},
		PeerName:  eth0, PeerNamespace: netlink.NsFd(int(inside)), PeerHardwareAddr: hardware,
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

func (n *network) remove() error { return errors.Join(removeBridge(n.bridge), removeFilter(n.bridge)) }
