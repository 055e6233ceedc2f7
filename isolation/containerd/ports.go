package containerd

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// dynamicPorts are those of the host that are published: as for containers on EC2
// whose host port is 0, out of those that nobody has by agreement (RFC 6335).
const firstDynamic, lastDynamic = 49152, 65535

// hostPort is a port of this host.
type hostPort struct {
	protocol string
	port     int
}

// choosePorts chooses the ports of this host that lead to those of a task: none that
// another task or a program of this host has, nor a task of another server. Servers begin
// at different ports, since two of them may choose at once. The caller holds n.mu.
func (n *network) choosePorts(wanted []task.Port) ([]task.Port, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	taken, err := passedOnByOthers(n.bridge)
	if err != nil {
		return nil, err
	}
	for _, h := range n.held {
		for _, p := range h.published {
			taken[hostPort{p.Protocol, p.Host}] = true
		}
	}
	if n.lastPort == 0 {
		h := fnv.New32a()
		h.Write([]byte(n.bridge))
		n.lastPort = firstDynamic + int(h.Sum32()%(lastDynamic-firstDynamic+1))
	}
	chosen := slices.Clone(wanted)
	for i, p := range chosen {
		for range lastDynamic - firstDynamic + 1 {
			if n.lastPort++; n.lastPort < firstDynamic || n.lastPort > lastDynamic {
				n.lastPort = firstDynamic
			}
			if !taken[hostPort{p.Protocol, n.lastPort}] && portIsFree(p.Protocol, n.lastPort) {
				chosen[i].Host = n.lastPort
				taken[hostPort{p.Protocol, n.lastPort}] = true
				break
			}
		}
		if chosen[i].Host == 0 {
			return nil, fault.New(fault.Exhausted, "no port of this host is free from %d to %d", firstDynamic, lastDynamic)
		}
	}
	return chosen, nil
}

// passedOnByOthers returns the ports of this host that rules of other tables than ours pass
// on to somebody (DNAT). No program listens at them, so they look free.
func passedOnByOthers(own string) (map[hostPort]bool, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, filterFault(err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return nil, filterFault(err)
	}
	all := make(map[hostPort]bool)
	for _, chain := range chains {
		if chain.Table.Name == own || chain.Type != nftables.ChainTypeNAT {
			continue
		}
		rules, err := c.GetRules(chain.Table, chain)
		if errors.Is(err, unix.ENOENT) {
			continue // It went meanwhile.
		}
		if err != nil {
			return nil, filterFault(err)
		}
		for _, r := range rules {
			if protocol, first, last, ok := passedOnBy(r.Exprs); ok {
				for port := max(first, firstDynamic); port <= min(last, lastDynamic); port++ {
					all[hostPort{protocol, port}] = true
				}
			}
		}
	}
	return all, nil
}

// passedOnBy returns which ports a rule passes on, if that is what it does.
func passedOnBy(parts []expr.Any) (protocol string, first, last int, ok bool) {
	var loaded string // what the register holds that is compared next
	last = 1<<16 - 1
	for _, part := range parts {
		switch e := part.(type) {
		case *expr.Meta:
			loaded = map[bool]string{true: "protocol"}[e.Key == expr.MetaKeyL4PROTO]
		case *expr.Payload:
			loaded = map[bool]string{true: "port"}[e.Base == expr.PayloadBaseTransportHeader && e.Offset == destinationPortAt && e.Len == 2]
		case *expr.Cmp:
			switch {
			case loaded == "protocol" && len(e.Data) == 1:
				for name, number := range protocols {
					if number == e.Data[0] {
						protocol = name
					}
				}
			case loaded == "port" && len(e.Data) == 2:
				port := int(binaryutil.BigEndian.Uint16(e.Data))
				if e.Op == expr.CmpOpEq || e.Op == expr.CmpOpGte {
					first = port
				}
				if e.Op == expr.CmpOpEq || e.Op == expr.CmpOpLte {
					last = port
				}
			}
		case *expr.Range:
			if loaded == "port" && len(e.FromData) == 2 && len(e.ToData) == 2 {
				first, last = int(binaryutil.BigEndian.Uint16(e.FromData)), int(binaryutil.BigEndian.Uint16(e.ToData))
			}
		case *expr.NAT:
			ok = e.Type == expr.NATTypeDestNAT && protocol != "" && first > 0
		}
	}
	return protocol, first, last, ok
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
