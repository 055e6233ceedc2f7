package containerd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"berth/fault"
)

// pool is where subnets are chosen from: the shared address space (RFC 6598),
// which neither private networks nor Docker use.
var pool = netip.MustParsePrefix("100.64.0.0/10")

// subnetBits is the size of a server's subnet: room for 4,093 tasks.
const subnetBits = 20

// aliasPrefix marks a bridge with its subnet. Servers on one host see from it
// which ones are taken: routes may lie in another table.
const aliasPrefix = "berth "

// chooseSubnet returns wish if it is valid, or a subnet of the pool that nobody
// on this host uses. A wish that overlaps a route of the host's is a
// fault.Conflict.
func chooseSubnet(bridge string, wish netip.Prefix) (netip.Prefix, error) {
	taken, err := takenSubnets(bridge)
	if err != nil {
		return netip.Prefix{}, err
	}
	if wish.IsValid() {
		if by, ok := overlap(wish, taken); ok {
			return netip.Prefix{}, fault.New(fault.Conflict, "subnet %s overlaps %s, which this host uses", wish, by)
		}
		return wish.Masked(), nil
	}
	h := fnv.New32a()
	h.Write([]byte(bridge))
	return freeSubnet(h.Sum32(), taken)
}

// freeSubnet returns the first free subnet of the pool, looking from the one
// that seed chooses.
func freeSubnet(seed uint32, taken []netip.Prefix) (netip.Prefix, error) {
	blocks := uint32(1) << (subnetBits - pool.Bits())
	base := binary.BigEndian.Uint32(pool.Addr().AsSlice())
	for i := range blocks {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], base+(seed+i)%blocks<<(32-subnetBits))
		subnet := netip.PrefixFrom(netip.AddrFrom4(b), subnetBits)
		if _, ok := overlap(subnet, taken); !ok {
			return subnet, nil
		}
	}
	return netip.Prefix{}, fault.New(fault.Conflict, "this host uses all of %s; configure a subnet for tasks", pool)
}

func overlap(p netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if p.Overlaps(t) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// takenSubnets returns the networks that the host has routes to, but the default
// route, and those of other servers' bridges.
func takenSubnets(bridge string) ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	own, err := findBridge(bridge)
	if err != nil {
		return nil, err
	}
	var taken []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil || own != nil && r.LinkIndex == own.Attrs().Index {
			continue
		}
		if p, ok := prefix(*r.Dst); ok && p.Bits() > 0 {
			taken = append(taken, p)
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	for _, l := range links {
		text, ok := strings.CutPrefix(l.Attrs().Alias, aliasPrefix)
		if p, err := netip.ParsePrefix(text); ok && err == nil && l.Attrs().Name != bridge {
			taken = append(taken, p)
		}
	}
	return taken, nil
}

func prefix(n net.IPNet) (netip.Prefix, bool) {
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), ok
}

// gateway is the bridge's own address, through which tasks leave.
func gateway(subnet netip.Prefix) netip.Addr { return subnet.Masked().Addr().Next() }

// findBridge returns the bridge, nil if there is none.
func findBridge(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for bridge %s: %w", name, err)
	case link.Type() != "bridge":
		return nil, fault.New(fault.Conflict, "network interface %s is not a bridge", name)
	}
	return link, nil
}

// bridgeSettings are set before the bridge has an address. Over IPv6 tasks would
// reach the host; the next keep what they send from lying about where it comes
// from, and the host from telling of its other addresses. Tasks are no neighbours of one
// another, so the host answers for them, at once, and what they send one another comes
// through the packet filter. What programs of the host send from 127.0.0.1 to a published
// port may come out here.
var bridgeSettings = []struct{ name, value string }{
	{"ipv6/conf/%s/disable_ipv6", "1"},
	{"ipv4/conf/%s/rp_filter", "1"},
	{"ipv4/conf/%s/arp_ignore", "1"},
	{"ipv4/conf/%s/send_redirects", "0"},
	{"ipv4/conf/%s/proxy_arp_pvlan", "1"},
	{"ipv4/neigh/%s/proxy_delay", "0"},
	{"ipv4/conf/%s/route_localnet", "1"},
}

// ensureBridge makes the bridge, with its address, as far as it is not there.
func ensureBridge(name string, subnet netip.Prefix) error {
	bridge, err := findBridge(name)
	if err != nil {
		return err
	}
	if bridge == nil {
		bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := netlink.LinkAdd(bridge); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create bridge %s: %w", name, err)
		}
	}
	// Otherwise it is the lowest of its ports', and changes with them behind the back of
	// tasks that remember it.
	if err := netlink.LinkSetHardwareAddr(bridge, mac(gateway(subnet))); err != nil {
		return fmt.Errorf("give bridge %s its hardware address: %w", name, err)
	}
	for _, s := range bridgeSettings {
		err := os.WriteFile("/proc/sys/net/"+fmt.Sprintf(s.name, name), []byte(s.value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set up bridge %s: %w", name, err)
		}
	}
	if err := netlink.LinkSetAlias(bridge, aliasPrefix+subnet.String()); err != nil {
		return fmt.Errorf("mark bridge %s: %w", name, err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: gateway(subnet).AsSlice(), Mask: net.CIDRMask(subnet.Bits(), 32)}}
	if err := netlink.AddrReplace(bridge, address); err != nil {
		return fmt.Errorf("give bridge %s its address: %w", name, err)
	}
	if err := keepAddress(bridge, address); err != nil {
		return fmt.Errorf("take from bridge %s an address of another subnet: %w", name, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bring bridge %s up: %w", name, err)
	}
	return nil
}

// keepAddress takes all other addresses away: those of a subnet that it had before.
func keepAddress(bridge netlink.Link, address *netlink.Addr) error {
	all, err := netlink.AddrList(bridge, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.IPNet.String() == address.IPNet.String() {
			continue
		}
		if err := netlink.AddrDel(bridge, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	return nil
}

// forwardingFile says whether this host passes on what is not for itself.
const forwardingFile = "/proc/sys/net/ipv4/ip_forward"

// allowForwarding lets packets of tasks leave this host. Docker and Kubernetes
// change the same setting; like them we leave it when we go, as others may rely on
// it by then.
func allowForwarding() error {
	now, err := os.ReadFile(forwardingFile)
	if err == nil && strings.TrimSpace(string(now)) != "1" {
		err = os.WriteFile(forwardingFile, []byte("1"), 0)
	}
	if err != nil {
		return fmt.Errorf("allow forwarding: %w", err)
	}
	return nil
}

func removeBridge(name string) error {
	err := netlink.LinkDel(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	var none netlink.LinkNotFoundError
	if err == nil || errors.As(err, &none) || strings.Contains(err.Error(), "no such device") {
		return nil
	}
	return fmt.Errorf("remove bridge %s: %w", name, err)
}
