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
)

// linkLocal is where a cloud has the metadata service of its machines, and with it
// the credentials of this host.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// beforeOthers is when our chains look at a packet: before those of the host's
// administrator, which may refuse more.
const beforeOthers nftables.ChainPriority = -10

// setFilter gives the bridge its packet filter, one nftables table of the same name,
// in one transaction. It can be repeated.
//
// A task reaches what this host reaches, under the host's address, and nothing
// that is this host's: none of its addresses, whichever way the packet was made, no
// other task, no link-local address. Nothing from outside reaches a task; this host
// does.
func setFilter(bridge string, subnet netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return filterFault(err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: bridge})
	c.FlushTable(table)
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority) func(...[]expr.Any) {
		to := c.AddChain(&nftables.Chain{Table: table, Name: name, Type: kind, Hooknum: hook, Priority: &priority})
		return func(parts ...[]expr.Any) {
			c.AddRule(&nftables.Rule{Table: table, Chain: to, Exprs: slices.Concat(parts...)})
		}
	}
	in := chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, beforeOthers)
	in(comesFrom(bridge), answers(), verdict(expr.VerdictAccept))
	in(comesFrom(bridge), verdict(expr.VerdictDrop))

	through := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, beforeOthers)
	through(goesTo(bridge), answers(), verdict(expr.VerdictAccept))
	through(goesTo(bridge), verdict(expr.VerdictDrop))
	through(comesFrom(bridge), destination(linkLocal), verdict(expr.VerdictDrop))

	out := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource)
	out(goesElsewhere(bridge), source(subnet), []expr.Any{&expr.Masq{}})

	if err := c.Flush(); err != nil {
		return filterFault(err)
	}
	return nil
}

// hasFilter reports whether the filter is there: an administrator's "nft flush
// ruleset" takes it away too.
func hasFilter(bridge string) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, filterFault(err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, filterFault(err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == bridge }), nil
}

// removeFilter takes the filter away, if there is one.
func removeFilter(bridge string) error {
	there, err := hasFilter(bridge)
	if err != nil || !there {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return filterFault(err)
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: bridge})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return filterFault(err)
	}
	return nil
}

func filterFault(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return fault.Wrap(fault.Unavailable, err, "the kernel lacks part of nftables, without which tasks could reach this host; "+
			"load nf_tables, nft_ct, nft_masq and nft_chain_nat, or use a kernel that has them")
	}
	return fmt.Errorf("set packet filter: %w", err)
}

func comesFrom(link string) []expr.Any     { return linkIs(expr.MetaKeyIIFNAME, expr.CmpOpEq, link) }
func goesTo(link string) []expr.Any        { return linkIs(expr.MetaKeyOIFNAME, expr.CmpOpEq, link) }
func goesElsewhere(link string) []expr.Any { return linkIs(expr.MetaKeyOIFNAME, expr.CmpOpNeq, link) }

func linkIs(key expr.MetaKey, op expr.CmpOp, link string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: name}}
}

// answers are the packets of a connection that the other side began, and errors
// about it.
func answers() []expr.Any {
	known := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	none := make([]byte, len(known))
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(known)), Mask: known, Xor: none},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: none},
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
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: none},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: bits[:]},
	}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }
