package containerd

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// link is a port of the bridge, and the addresses that the task behind it has.
type link struct {
	name string
	mac  net.HardwareAddr
	addr netip.Addr
}

// The guard sees to it that a task speaks for itself only: of what comes into the
// bridge it lets pass IPv4 with the hardware and the IP address that belong to the port,
// and ARP that says no other. Anything else is dropped, IPv6 included.

// senders is the name of the guard's set of name, hardware and IP address of ports.
const senders = "senders"

var senderType = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr)

func senderSet(bridge string) *nftables.Set {
	table := &nftables.Table{Family: nftables.TableFamilyBridge, Name: bridge}
	return &nftables.Set{Table: table, Name: senders, KeyType: senderType, Concatenation: true}
}

func (l link) element() []nftables.SetElement {
	// The parts of a key are padded to whole registers of four bytes.
	key := make([]byte, unix.IFNAMSIZ+8+4)
	copy(key, l.name)
	copy(key[unix.IFNAMSIZ:], l.mac)
	copy(key[unix.IFNAMSIZ+8:], l.addr.AsSlice())
	return []nftables.SetElement{{Key: key}}
}

// linkGroup is the group that the ports of a bridge are in. A frame in the bridge tells
// of its port, and only some kernels tell of its bridge (NFT_BRIDGE_META).
func linkGroup(bridge string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(bridge))
	return h.Sum32()
}

// before everything else that looks at frames (NF_BR_PRI_NAT_DST_BRIDGED).
const guardPriority nftables.ChainPriority = -300

// guard adds the guard's table.
func (f rules) guard(c *nftables.Conn) {
	set := senderSet(f.bridge)
	c.AddTable(set.Table)
	c.DelTable(set.Table)
	c.AddTable(set.Table)
	var all []nftables.SetElement
	for _, l := range f.ports {
		all = append(all, l.element()...)
	}
	// AddSet fails for sets of anonymous keys only.
	_ = c.AddSet(set, all)
	priority := guardPriority
	in := appendTo(c, c.AddChain(&nftables.Chain{
		Table: set.Table, Name: "prerouting", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: &priority,
	}))
	here := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(linkGroup(f.bridge))},
	}
	const (
		frameSender = 6 // in an Ethernet header (IEEE 802.3)
		arpMAC      = 8 // in an ARP packet for IPv4 (RFC 826)
		arpIP       = 14
	)
	known := func(macBase expr.PayloadBase, mac, ip uint32) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Payload{DestRegister: 2, Base: macBase, Offset: mac, Len: 6},
			&expr.Payload{DestRegister: unix.NFT_REG32_06, Base: expr.PayloadBaseNetworkHeader, Offset: ip, Len: 4},
			&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
		}
	}
	in(here, etherType(unix.ETH_P_IP), known(expr.PayloadBaseLLHeader, frameSender, sourceAt), verdict(expr.VerdictAccept))
	in(here, etherType(unix.ETH_P_ARP), known(expr.PayloadBaseLLHeader, frameSender, arpIP),
		known(expr.PayloadBaseNetworkHeader, arpMAC, arpIP), verdict(expr.VerdictAccept))
	in(here, verdict(expr.VerdictDrop))
}

func etherType(kind uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(kind >> 8), byte(kind)}},
	}
}

// know lets a task speak, or not any more. Repeating it changes nothing.
func (n *network) know(l link, known bool) error {
	n.filtering.Lock()
	defer n.filtering.Unlock()
	err := n.change(func(c *nftables.Conn) error {
		if known {
			return c.SetAddElements(senderSet(n.bridge), l.element())
		}
		return c.SetDeleteElements(senderSet(n.bridge), l.element())
	})
	if !known && errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set packet filter: %w", err)
	}
	return nil
}
