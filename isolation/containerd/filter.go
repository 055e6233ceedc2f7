package containerd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/task"
)

// linkLocal is where a cloud has the metadata service of its machines, and with it
// the credentials of this host.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// beforeOthers is when our chains look at a packet: before those of the host's
// administrator, which may refuse more.
const beforeOthers nftables.ChainPriority = -10

// rules are what a filter is made of.
type rules struct {
	bridge    string
	subnet    netip.Prefix
	groups    []task.SecurityGroup
	members   map[string][]netip.Addr // group ID → addresses of the tasks in it
	published []published
	questions []question
	ports     []link
	names     uint16     // port of the bridge's own address where names are answered; 0: none
	upstream  netip.Addr // who is asked for names while nobody answers there; invalid: nobody
	metadata  uint16     // port of the bridge's own address where tasks' questions are answered; 0: none
}

// published is a port of the host that leads to one of a task.
type published struct {
	task.Port
	to netip.Addr
}

// question is who may ask which name server.
type question struct{ from, to netip.Addr }

// add gives the bridge its packet filter, in place of the one before, all in one
// transaction: an nftables table of the same name. It can be repeated.
//
// A task reaches what this host reaches, under the host's address, and nothing
// that is this host's: none of its addresses, whichever way the packet was made, no
// other task, no link-local address. Nothing from outside reaches a task, but this
// host, and what comes to a port that it publishes. Where a task is in security groups
// those say what goes out, also to other tasks, and what comes in, but for what a task
// asks its own name servers, wherever outside they are, or the bridge's address for names. What a task sends to
// the metadata address comes to the port for it, and nothing else does.
func (f rules) add(c *nftables.Conn) error {
	f.guard(c)
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: f.bridge}
	c.AddTable(table)
	c.DelTable(table)
	c.AddTable(table)
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) rule {
		return appendTo(c, c.AddChain(&nftables.Chain{Table: table, Name: name, Type: kind, Hooknum: hook, Priority: &priority}))
	}
	g, err := f.groupChains(c, table)
	if err != nil {
		return err
	}
	questions, err := f.questionSet(c, table)
	if err != nil {
		return err
	}
	from, to, elsewhere := comesFrom(f.bridge), goesTo(f.bridge), goesElsewhere(f.bridge)

	in := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, beforeOthers)
	in(from, answers(), verdict(expr.VerdictAccept))
	f.letAsk(in)
	f.letAskNames(in)
	in(from, verdict(expr.VerdictDrop))

	through := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, beforeOthers)
	through(to, answers(), verdict(expr.VerdictAccept))
	through(from, answers(), verdict(expr.VerdictAccept))
	for _, protocol := range []string{"udp", "tcp"} {
		through(from, elsewhere, asks(questions), portsFrom(protocol, domainPort, domainPort), verdict(expr.VerdictAccept))
	}
	f.letNamesOut(through)
	through(from, destination(linkLocal), verdict(expr.VerdictDrop))
	through(from, addressAmong(sourceAt, g.all), jump(egressChain))
	through(to, addressAmong(destinationAt, g.all), jump(ingressChain))
	through(to, comesElsewhere(f.bridge), passedOn(), verdict(expr.VerdictAccept))
	through(to, verdict(expr.VerdictDrop))

	before := chain("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, *nftables.ChainPriorityNATDest)
	f.passQuestions(before)
	if err := f.passNames(c, table, before); err != nil {
		return err
	}
	own := chain("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, *nftables.ChainPriorityNATDest)
	for _, p := range f.published {
		before(comesElsewhere(f.bridge), toThisHost(), portIs(p), passOn(p))
		own(toThisHost(), portIs(p), passOn(p))
	}
	out := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource)
	out(elsewhere, source(f.subnet), []expr.Any{&expr.Masq{}})
	out(to, source(loopback), []expr.Any{&expr.Masq{}}) // a program of this host that says localhost
	return nil
}

// domainPort is where name servers listen (RFC 1035).
const domainPort = 53

// questionSet adds the set of all questions.
func (f rules) questionSet(c *nftables.Conn, table *nftables.Table) (*nftables.Set, error) {
	s := &nftables.Set{Table: table, Name: "questions", KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr), Concatenation: true}
	var all []nftables.SetElement
	for _, q := range f.questions {
		all = append(all, nftables.SetElement{Key: slices.Concat(q.from.AsSlice(), q.to.AsSlice())})
	}
	if err := c.AddSet(s, all); err != nil {
		return nil, fmt.Errorf("set packet filter: %w", err)
	}
	return s, nil
}

// asks are packets whose sender and receiver are in a set. In a header the one follows
// the other.
func asks(set *nftables.Set) []expr.Any {
	load := loadAddress(sourceAt)
	load[len(load)-1] = &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: sourceAt, Len: 8}
	return append(load, &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID})
}

// loopback is where this host's programs reach it.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// rule adds one rule to the end of a chain.
type rule func(parts ...[]expr.Any)

func appendTo(c *nftables.Conn, to *nftables.Chain) rule {
	return func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: to.Table, Chain: to, Exprs: slices.Concat(parts...)})
	}
}

// hasFilter reports whether the filter is there, whole: an administrator's "nft flush
// ruleset" takes it away too.
func hasFilter(bridge string) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, filterFault(err)
	}
	for _, family := range families {
		tables, err := c.ListTablesOfFamily(family)
		if err != nil {
			return false, filterFault(err)
		}
		if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == bridge }) {
			return false, nil
		}
	}
	return true, nil
}

// families are those in which the filter has a table.
var families = []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyBridge}

func filterFault(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return fault.Wrap(fault.Unavailable, err, "the kernel lacks part of nftables, without which tasks could reach this host; "+
			"load nf_tables, nft_ct, nft_fib_inet, nft_nat, nft_masq and nft_chain_nat, or use a kernel that has them")
	}
	return fmt.Errorf("set packet filter: %w", err)
}

func comesFrom(link string) []expr.Any      { return linkIs(expr.MetaKeyIIFNAME, expr.CmpOpEq, link) }
func comesElsewhere(link string) []expr.Any { return linkIs(expr.MetaKeyIIFNAME, expr.CmpOpNeq, link) }
func goesTo(link string) []expr.Any         { return linkIs(expr.MetaKeyOIFNAME, expr.CmpOpEq, link) }
func goesElsewhere(link string) []expr.Any  { return linkIs(expr.MetaKeyOIFNAME, expr.CmpOpNeq, link) }

func linkIs(key expr.MetaKey, op expr.CmpOp, link string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: name}}
}

// answers are the packets of a connection that the other side began, and errors
// about it.
func answers() []expr.Any {
	return anyBit(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// destinationChanged is IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const destinationChanged = 1 << 5

// passedOn are packets to a port that the host publishes.
func passedOn() []expr.Any { return anyBit(expr.CtKeySTATUS, destinationChanged) }

func anyBit(key expr.CtKey, bits uint32) []expr.Any {
	mask := binaryutil.NativeEndian.PutUint32(bits)
	none := make([]byte, len(mask))
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(mask)), Mask: mask, Xor: none},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: none},
	}
}

// toThisHost are packets to one of this host's addresses.
func toThisHost() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func portIs(p published) []expr.Any { return portsFrom(p.Protocol, p.Host, p.Host) }

// passOn sends a packet to a task's port instead.
func passOn(p published) []expr.Any {
	addr := p.to.As4()
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: addr[:]},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(uint16(p.Container))},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
	}
}

// protocols are the numbers of those that a rule can name (IANA).
var protocols = map[string]byte{"icmp": unix.IPPROTO_ICMP, "tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP}

// destinationPortAt is where it is in the headers of TCP (RFC 9293) and UDP (RFC 768).
const destinationPortAt = 2

// portsFrom are packets of a protocol to a range of ports.
func portsFrom(protocol string, first, last int) []expr.Any {
	return slices.Concat(protocolIs(protocol), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPortAt, Len: 2},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(first))},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(last))},
	})
}

func protocolIs(name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocols[name]}},
	}
}

// Offsets in an IPv4 header (RFC 791).
const (
	sourceAt      = 12
	destinationAt = 16
)

func source(p netip.Prefix) []expr.Any      { return addressIn(sourceAt, p) }
func destination(p netip.Prefix) []expr.Any { return addressIn(destinationAt, p) }

func addressIn(offset uint32, p netip.Prefix) []expr.Any {
	bits, none := p.Masked().Addr().As4(), make([]byte, 4)
	return append(loadAddress(offset),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: none},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bits[:]},
	)
}

// addressAmong are packets one of whose addresses is in a set.
func addressAmong(offset uint32, set *nftables.Set) []expr.Any {
	return append(loadAddress(offset), &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID})
}

func loadAddress(offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}
