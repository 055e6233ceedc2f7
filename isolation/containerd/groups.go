package containerd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

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
	egress := appendTo(c, c.AddChain(&nftables.Chain{Table: table, Name: egressChain}))
	ingress := appendTo(c, c.AddChain(&nftables.Chain{Table: table, Name: ingressChain}))
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
