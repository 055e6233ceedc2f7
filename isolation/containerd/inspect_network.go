package containerd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"berth/task"
)

// inspect reads back how a task is connected, and the rules that hold for it.
func (n *network) inspect(id task.ID, path string, w task.Network) (task.NetworkIsolation, error) {
	i := task.NetworkIsolation{Interfaces: []string{}, SenderGuard: []string{}, Groups: []string{}, Rules: []string{}, Published: []task.Port{}}
	addr, err := netip.ParseAddr(w.IPv4)
	if err != nil {
		return i, fmt.Errorf("read the task's address: %w", err)
	}
	if err := inspectNamespace(&i, path); err != nil {
		return i, fmt.Errorf("look into the task's network: %w", err)
	}
	link, err := netlink.LinkByName(port(id))
	if err == nil {
		var protection netlink.Protinfo
		protection, err = netlink.LinkGetProtinfo(link)
		i.PortIsolated = protection.Isolated
	}
	if err != nil {
		return i, fmt.Errorf("look at the task's port: %w", err)
	}
	c, err := nftables.New()
	if err != nil {
		return i, filterFault(err)
	}
	if err := n.inspectGuard(c, &i, port(id)); err != nil {
		return i, fmt.Errorf("read packet filter: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: n.bridge}
	if err := inspectGroups(c, &i, table, addr); err != nil {
		return i, fmt.Errorf("read packet filter: %w", err)
	}
	if err := inspectPublished(c, &i, table, addr); err != nil {
		return i, fmt.Errorf("read packet filter: %w", err)
	}
	return i, nil
}

func inspectNamespace(i *task.NetworkIsolation, path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	i.Namespace = fmt.Sprintf("net:[%d]", st.Ino)
	inside, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer inside.Close()
	within, err := netlink.NewHandleAt(inside)
	if err != nil {
		return err
	}
	defer within.Close()
	links, err := within.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		text := l.Attrs().Name
		addrs, err := within.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			text += " " + a.IPNet.String()
		}
		i.Interfaces = append(i.Interfaces, text)
	}
	return nil
}

// inspectGuard reads under which addresses a port may speak.
func (n *network) inspectGuard(c *nftables.Conn, i *task.NetworkIsolation, port string) error {
	elements, err := c.GetSetElements(senderSet(n.bridge))
	if err != nil {
		return err
	}
	for _, e := range elements {
		if len(e.Key) < unix.IFNAMSIZ+8+4 || unix.ByteSliceToString(e.Key[:unix.IFNAMSIZ]) != port {
			continue
		}
		mac, ip := e.Key[unix.IFNAMSIZ:unix.IFNAMSIZ+6], e.Key[unix.IFNAMSIZ+8:unix.IFNAMSIZ+12]
		i.SenderGuard = append(i.SenderGuard, net.HardwareAddr(mac).String()+" "+net.IP(ip).String())
	}
	return nil
}

// inspectGroups reads which security groups an address is in, and how many rules those
// have.
func inspectGroups(c *nftables.Conn, i *task.NetworkIsolation, table *nftables.Table, addr netip.Addr) error {
	sets, err := c.GetSets(table)
	if err != nil {
		return err
	}
	member := make(map[string]bool)
	for _, s := range sets {
		if !task.GroupID.MatchString(s.Name) {
			continue
		}
		elements, err := c.GetSetElements(s)
		if err != nil {
			return err
		}
		for _, e := range elements {
			if ip, ok := netip.AddrFromSlice(e.Key); ok && ip == addr {
				member[s.Name] = true
				i.Groups = append(i.Groups, s.Name)
			}
		}
	}
	for _, chain := range []string{egressChain, ingressChain} {
		rules, err := c.GetRules(table, &nftables.Chain{Name: chain})
		if err != nil {
			return err
		}
		count := make(map[string]int)
		for _, r := range rules {
			if set := firstSet(r); member[set] {
				count[set]++
			}
		}
		for _, g := range i.Groups {
			i.Rules = append(i.Rules, fmt.Sprintf("%s %s: %d", chain, g, count[g]))
		}
	}
	return nil
}

// firstSet is the set that a rule looks into first: the group whose rule it is.
func firstSet(r *nftables.Rule) string {
	for _, e := range r.Exprs {
		if l, ok := e.(*expr.Lookup); ok {
			return l.SetName
		}
	}
	return ""
}

// inspectPublished reads which ports of the host lead to an address.
func inspectPublished(c *nftables.Conn, i *task.NetworkIsolation, table *nftables.Table, addr netip.Addr) error {
	rules, err := c.GetRules(table, &nftables.Chain{Name: "prerouting"})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	for _, r := range rules {
		var p task.Port
		var to netip.Addr
		for _, e := range r.Exprs {
			switch e := e.(type) {
			case *expr.Cmp:
				switch {
				case len(e.Data) == 1:
					for name, number := range protocols {
						if e.Data[0] == number {
							p.Protocol = name
						}
					}
				case len(e.Data) == 2 && e.Op == expr.CmpOpGte:
					p.Host = int(binary.BigEndian.Uint16(e.Data))
				}
			case *expr.Immediate:
				switch {
				case len(e.Data) == 4:
					to, _ = netip.AddrFromSlice(e.Data)
				case len(e.Data) == 2:
					p.Container = int(binary.BigEndian.Uint16(e.Data))
				}
			}
		}
		if to == addr {
			i.Published = append(i.Published, p)
		}
	}
	return nil
}
