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

	"berth/fault"
)

// pool is where subnets are chosen from: the shared address space (RFC 6598),
// which neither private networks nor Docker use.
var pool = netip.MustParsePrefix("100.64.0.0/10")

// subnetBits is the size of a server's subnet: room for 4,093 tasks.
const subnetBits = 20

// aliasPrefix marks a bridge with its subnet. Servers on one host see from it
// which ones are taken: a bridge without an address shows in no route.
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
	var taken []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
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

// ensureBridge makes the bridge if it is not there.
func ensureBridge(name string, subnet netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	var none netlink.LinkNotFoundError
	if err == nil {
		if link.Type() != "bridge" {
			return fault.New(fault.Conflict, "network interface %s is not a bridge", name)
		}
		return nil
	}
	if !errors.As(err, &none) {
		return fmt.Errorf("look for bridge %s: %w", name, err)
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(bridge); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create bridge %s: %w", name, err)
	}
	// Before it is up: it must not get an IPv6 address that tasks could reach.
	err = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep bridge %s from IPv6: %w", name, err)
	}
	if err := netlink.LinkSetAlias(bridge, aliasPrefix+subnet.String()); err != nil {
		return fmt.Errorf("mark bridge %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bring bridge %s up: %w", name, err)
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
