package containerd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"berth/fault"
	"berth/task"
)

// SetGroups implements isolation.Runtime.
func (r *Runtime) SetGroups(_ context.Context, all []task.SecurityGroup) error {
	return r.network.setGroups(all)
}

// The chains that say for tasks in security groups what goes out and what comes in.
// What nothing in them allows is dropped.
const (
	egressChain  = "egress"
	ingressChain = "ingress"
)

// groupSets are sets of the addresses of tasks: of all that are in groups, and of those
// in each.
type groupSets struct {
	all *nftables.Set
	by  map[string]*nftables.Set
}

// groupChains adds the chains of the groups, and their sets.
func (f rules) groupChains(c *nftables.Conn, table *nftables.Table) (groupSets, error) {
	sets := groupSets{by: make(map[string]*nftables.Set)}
	set := func(name string, members []netip.Addr) (*nftables.Set, error) {
		s := &nftables.Set{Table: table, Name: name, KeyType: nftables.TypeIPAddr}
		elements := make([]nftables.SetElement, len(members))
		for i, m := range members {
			elements[i].Key = m.AsSlice()
		}
		if err := c.AddSet(s, elements); err != nil {
			return nil, fmt.Errorf("set packet filter: %w", err)
		}
		return s, nil
	}
	var everybody []netip.Addr
	for _, m := range f.members {
		everybody = append(everybody, m...)
	}
	slices.SortFunc(everybody, netip.Addr.Compare)
	var err error
	if sets.all, err = set("grouped", slices.Compact(everybody)); err != nil {
		return sets, err
	}
	for _, g := range f.groups {
		if sets.by[g.ID], err = set(g.ID, f.members[g.ID]); err != nil {
			return sets, err
		}
	}
	egress := add(c, c.AddChain(&nftables.Chain{Table: table, Name: egressChain}))
	ingress := add(c, c.AddChain(&nftables.Chain{Table: table, Name: ingressChain}))
	for _, g := range f.groups {
		for _, p := range g.Egress {
			for _, peer := range sets.peers(destinationAt, p) {
				egress(addressAmong(sourceAt, sets.by[g.ID]), kindOf(p), peer, verdict(expr.VerdictReturn))
			}
		}
		for _, p := range g.Ingress {
			for _, peer := range sets.peers(sourceAt, p) {
				ingress(addressAmong(destinationAt, sets.by[g.ID]), kindOf(p), peer, verdict(expr.VerdictAccept))
			}
		}
	}
	egress(verdict(expr.VerdictDrop))
	ingress(verdict(expr.VerdictDrop))
	return sets, nil
}

// peers are packets one of whose addresses is such as p says, for each that it says.
func (s groupSets) peers(offset uint32, p task.Permission) [][]expr.Any {
	var all [][]expr.Any
	for _, r := range p.Ranges {
		if prefix, err := netip.ParsePrefix(r.CIDR); err == nil { // Validate saw to it.
			all = append(all, addressIn(offset, prefix))
		}
	}
	for _, pair := range p.Pairs {
		if set := s.by[pair.GroupID]; set != nil { // else nobody can be in it
			all = append(all, addressAmong(offset, set))
		}
	}
	return all
}

// kindOf are packets of the protocol and to the ports that p says.
func kindOf(p task.Permission) []expr.Any {
	switch {
	case p.Protocol == "-1":
		return nil
	case p.FromPort == nil || p.Protocol == "icmp":
		return protocolIs(p.Protocol)
	}
	return portsFrom(p.Protocol, *p.FromPort, *p.ToPort)
}

// dynamicPorts are those of the host that are published: as for containers on EC2
// whose host port is 0, out of those that nobody has by agreement (RFC 6335).
const firstDynamic, lastDynamic = 49152, 65535

// choosePorts chooses the ports of this host that lead to those of a task: none that
// another task or a program of this host has. The caller holds n.mu.
func (n *network) choosePorts(wanted []task.Port) ([]task.Port, error) {
	type held struct {
		protocol string
		port     int
	}
	taken := make(map[held]bool)
	for _, h := range n.held {
		for _, p := range h.published {
			taken[held{p.Protocol, p.Host}] = true
		}
	}
	chosen := slices.Clone(wanted)
	for i, p := range chosen {
		for range lastDynamic - firstDynamic + 1 {
			if n.lastPort++; n.lastPort < firstDynamic || n.lastPort > lastDynamic {
				n.lastPort = firstDynamic
			}
			if !taken[held{p.Protocol, n.lastPort}] && portIsFree(p.Protocol, n.lastPort) {
				chosen[i].Host = n.lastPort
				taken[held{p.Protocol, n.lastPort}] = true
				break
			}
		}
		if chosen[i].Host == 0 {
			return nil, fault.New(fault.Exhausted, "no port of this host is free from %d to %d", firstDynamic, lastDynamic)
		}
	}
	return chosen, nil
}

// portIsFree reports whether no program of this host has that port.
func portIsFree(protocol string, port int) bool {
	address := fmt.Sprintf(":%d", port)
	if protocol == "udp" {
		l, err := net.ListenPacket("udp4", address)
		return err == nil && l.Close() == nil
	}
	l, err := net.Listen("tcp4", address)
	return err == nil && l.Close() == nil
}
