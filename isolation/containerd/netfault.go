package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// Faults in a task's network are made in its own namespace, with a table of nftables and
// a queueing discipline, and are asked of the kernel: so they are known to the next
// server, and end with the namespace. The task itself has no capability to change them.

// faultTable is the table of a task's faults, in the families that they need.
const faultTable = "berth-faults"

// Fault reports whether f is there or, if it is of a kind of which there is one at most,
// any of its kind. If the task has no network, the error is fault.NotFound.
func (r *Runtime) Fault(_ context.Context, id task.ID, f task.NetworkFault) (there bool, err error) {
	err = r.inNetwork(id, func(ns netns.NsHandle) error {
		if f.Kind == task.Latency {
			there, err = delays(ns)
			return err
		}
		chains, err := faultChains(ns)
		there = slices.ContainsFunc(chains, func(c *nftables.Chain) bool { return c.Name == chainOf(f) })
		return err
	})
	return there, err
}

// StartFault makes f, which must not be there. What the kernel cannot do is
// fault.Unavailable.
func (r *Runtime) StartFault(_ context.Context, id task.ID, f task.NetworkFault) error {
	return r.inNetwork(id, func(ns netns.NsHandle) error {
		switch f.Kind {
		case task.Latency:
			return delay(ns, f)
		case task.PacketLoss:
			return lose(ns, f)
		}
		return blackhole(ns, f)
	})
}

// StopFault takes f away, if it is there.
func (r *Runtime) StopFault(_ context.Context, id task.ID, f task.NetworkFault) error {
	return r.inNetwork(id, func(ns netns.NsHandle) error {
		if f.Kind == task.Latency {
			return undelay(ns)
		}
		chains, err := faultChains(ns)
		if err != nil {
			return err
		}
		c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
		if err != nil {
			return faultFault(err)
		}
		for _, chain := range chains {
			if chain.Name == chainOf(f) {
				c.FlushChain(chain)
				c.DelChain(chain)
			}
		}
		return faultFault(c.Flush())
	})
}

// inNetwork calls do with the task's network namespace.
func (r *Runtime) inNetwork(id task.ID, do func(netns.NsHandle) error) error {
	_, there, err := r.world(id)
	if err != nil {
		return err
	}
	if !there {
		return fault.New(fault.NotFound, "task %s is not provisioned", id)
	}
	ns, err := netns.GetFromPath(r.netns(id))
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer ns.Close()
	return do(ns)
}

// chainOf is the name of the chain that is f.
func chainOf(f task.NetworkFault) string {
	if f.Kind != task.BlackholePort {
		return string(f.Kind)
	}
	way := "egress"
	if f.Ingress {
		way = "ingress"
	}
	return fmt.Sprintf("%s-%s-%d", way, f.Protocol, f.Port)
}

// faultChains returns the chains of our tables in ns.
func faultChains(ns netns.NsHandle) ([]*nftables.Chain, error) {
	c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return nil, faultFault(err)
	}
	var ours []*nftables.Chain
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyNetdev} {
		chains, err := c.ListChainsOfTableFamily(family)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			return nil, faultFault(err)
		}
		for _, chain := range chains {
			if chain.Table.Name == faultTable {
				ours = append(ours, chain)
			}
		}
	}
	return ours, nil
}

// faultRules makes a chain with rules in one transaction.
func faultRules(ns netns.NsHandle, family nftables.TableFamily, chain nftables.Chain, rules ...[][]expr.Any) error {
	c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return err
	}
	chain.Table = c.AddTable(&nftables.Table{Family: family, Name: faultTable})
	chain.Type, chain.Priority = nftables.ChainTypeFilter, nftables.ChainPriorityFilter
	made := c.AddChain(&chain)
	for _, parts := range rules {
		c.AddRule(&nftables.Rule{Table: chain.Table, Chain: made, Exprs: slices.Concat(parts...)})
	}
	return c.Flush()
}

// blackhole loses the packets of one port.
func blackhole(ns netns.NsHandle, f task.NetworkFault) error {
	hook, peer := nftables.ChainHookOutput, destination
	if f.Ingress {
		hook, peer = nftables.ChainHookInput, source
	}
	var rules [][][]expr.Any
	for _, p := range ipv4(f.Except) {
		rules = append(rules, [][]expr.Any{peer(p), verdict(expr.VerdictReturn)})
	}
	rules = append(rules, [][]expr.Any{portsFrom(f.Protocol, int(f.Port), int(f.Port)), verdict(expr.VerdictDrop)})
	return faultFault(faultRules(ns, nftables.TableFamilyINet, nftables.Chain{Name: chainOf(f), Hooknum: hook}, rules...))
}

// lose loses some of what is sent. Where the kernel can (Linux 5.16), that happens when
// a packet has left its program's sight; elsewhere a program that sends no TCP may be
// told that it was not permitted to.
func lose(ns netns.NsHandle, f task.NetworkFault) error {
	var rules [][][]expr.Any
	for _, p := range ipv4(f.Except) {
		rules = append(rules, [][]expr.Any{sentTo(p), verdict(expr.VerdictReturn)})
	}
	for _, p := range ipv4(f.Sources) {
		rules = append(rules, [][]expr.Any{sentTo(p), percent(f.LossPercent), verdict(expr.VerdictDrop)})
	}
	out := nftables.Chain{Name: chainOf(f), Hooknum: nftables.ChainHookEgress, Device: eth0}
	err := faultRules(ns, nftables.TableFamilyNetdev, out, rules...)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		out.Hooknum, out.Device = nftables.ChainHookOutput, ""
		err = faultRules(ns, nftables.TableFamilyINet, out, rules...)
	}
	return faultFault(err)
}

// ipv4 are those of ps that a task can have to do with.
func ipv4(ps []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(ps), func(p netip.Prefix) bool { return !p.Addr().Is4() })
}

// sentTo is destination where packets have a link layer already.
func sentTo(p netip.Prefix) []expr.Any {
	bits, none := p.Masked().Addr().As4(), make([]byte, 4)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(unix.ETH_P_IP)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: destinationAt, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: none},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bits[:]},
	}
}

// percent is so many of a hundred packets, by chance.
func percent(n int) []expr.Any {
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: 100, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(uint32(n))},
	}
}

// Handles of the disciplines that delay, and what their bands mean: 1:1 is delayed, and
// everything is in 1:3 that no filter sends elsewhere.
var (
	delayRoot  = netlink.MakeHandle(1, 0)
	delayBand  = netlink.MakeHandle(1, 1)
	promptBand = netlink.MakeHandle(1, 3)
	delayQueue = netlink.MakeHandle(10, 0)
)

// delay lets what is sent to f's sources leave later.
func delay(ns netns.NsHandle, f task.NetworkFault) (err error) {
	h, link, err := interfaceIn(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	index := link.Attrs().Index
	root := netlink.NewPrio(netlink.QdiscAttrs{LinkIndex: index, Handle: delayRoot, Parent: netlink.HANDLE_ROOT})
	for i := range root.PriorityMap {
		root.PriorityMap[i] = 2
	}
	queue := netlink.NewNetem(netlink.QdiscAttrs{LinkIndex: index, Handle: delayQueue, Parent: delayBand},
		netlink.NetemQdiscAttrs{Latency: uint32(f.Delay.Microseconds()), Jitter: uint32(f.Jitter.Microseconds())})
	if err := h.QdiscAdd(root); err != nil {
		return delayFault(err)
	}
	defer func() {
		if err != nil { // All or nothing.
			err = errors.Join(err, h.QdiscDel(root))
		}
	}()
	if err := h.QdiscAdd(queue); err != nil {
		return delayFault(err)
	}
	for priority, to := range []struct {
		band uint32
		ps   []netip.Prefix
	}{{promptBand, f.Except}, {delayBand, f.Sources}} {
		for _, p := range ipv4(to.ps) {
			if err := h.FilterAdd(towards(index, uint16(priority+1), p, to.band)); err != nil {
				return delayFault(err)
			}
		}
	}
	return nil
}

// towards is a filter that puts what is sent to p into a band.
func towards(index int, priority uint16, p netip.Prefix, band uint32) netlink.Filter {
	addr := p.Masked().Addr().As4()
	return &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: delayRoot, Priority: priority, Protocol: unix.ETH_P_IP},
		ClassId:     band,
		Sel: &netlink.TcU32Sel{
			Nkeys: 1, Flags: netlink.TC_U32_TERMINAL,
			Keys: []netlink.TcU32Key{{
				Mask: uint32(uint64(0xffffffff) << (32 - p.Bits())),
				Val:  uint32(addr[0])<<24 | uint32(addr[1])<<16 | uint32(addr[2])<<8 | uint32(addr[3]),
				Off:  destinationAt,
			}},
		},
	}
}

// delays reports whether delay was called.
func delays(ns netns.NsHandle) (bool, error) {
	h, link, err := interfaceIn(ns)
	if err != nil {
		return false, err
	}
	defer h.Close()
	queues, err := h.QdiscList(link)
	if err != nil {
		return false, fmt.Errorf("list queueing disciplines: %w", err)
	}
	return slices.ContainsFunc(queues, func(q netlink.Qdisc) bool {
		return q.Attrs().Handle == delayQueue && q.Attrs().Parent == delayBand
	}), nil
}

// undelay takes away what delay made.
func undelay(ns netns.NsHandle) error {
	there, err := delays(ns)
	if !there || err != nil {
		return err
	}
	h, link, err := interfaceIn(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	root := netlink.NewPrio(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: delayRoot, Parent: netlink.HANDLE_ROOT})
	if err := h.QdiscDel(root); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove queueing discipline: %w", err)
	}
	return nil
}

// interfaceIn opens ns and finds the task's interface in it. The caller closes the
// handle.
func interfaceIn(ns netns.NsHandle) (*netlink.Handle, netlink.Link, error) {
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, nil, fmt.Errorf("enter namespace: %w", err)
	}
	link, err := h.LinkByName(eth0)
	if err != nil {
		h.Close()
		return nil, nil, fmt.Errorf("find %s: %w", eth0, err)
	}
	return h, link, nil
}

func delayFault(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fault.Wrap(fault.Unavailable, err, "this host's kernel cannot delay packets: it lacks netem (sch_netem, sch_prio and cls_u32)")
	}
	return fmt.Errorf("delay packets: %w", err)
}

func faultFault(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return fault.Wrap(fault.Unavailable, err, "this host's kernel cannot lose packets: it lacks part of nftables (nf_tables, nft_numgen)")
	}
	return fmt.Errorf("set the faults of a network: %w", err)
}
