package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	nft "github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkKind checks that the kernel has a kind of network device.
func linkKind(kind string) func(context.Context, host) verdict {
	return func(_ context.Context, h host) verdict {
		if h.module(kind) || h.exists(kind) {
			return ok("present")
		}
		return fail("load it with \"modprobe "+kind+"\", or use a kernel that has it", "not found among modules, built-in ones or devices")
	}
}

// exists reports whether there is such a device already. A kernel without
// modules lists nothing, so making one is tried in vain and gone at once: the
// kernel answers "invalid argument" for a pair without a name, and "not
// supported" if it does not know the kind.
func (h host) exists(kind string) bool {
	links, err := netlink.LinkList()
	for _, l := range links {
		if err == nil && l.Type() == kind {
			return true
		}
	}
	name := "berth-doctor0"
	var link netlink.Link = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if kind == "veth" {
		link = &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "berth-doctor1"}
	}
	if err := netlink.LinkAdd(link); err != nil {
		return false
	}
	return netlink.LinkDel(link) == nil
}

// nftables looks whether the kernel has it, and whether somebody else's rules, such
// as Docker's, keep what tasks send from leaving, or from reaching the server.
func nftables(context.Context, host) verdict {
	c, err := nft.New()
	if err != nil {
		return fail("run berth as root, on a kernel with nf_tables", "%v", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return fail("load it with \"modprobe nf_tables\", or use a kernel that has it; and run berth as root", "%v", err)
	}
	var mend, found []string
	for _, chain := range chains {
		if chain.Hooknum == nil || chain.Policy == nil || *chain.Policy != nft.ChainPolicyDrop || chain.Type != nft.ChainTypeFilter {
			continue
		}
		switch *chain.Hooknum {
		case *nft.ChainHookInput: // Our own table lets in nothing but questions.
			mend = append(mend, `"iptables -I INPUT -i berth+ -j ACCEPT"`)
			found = append(found, fmt.Sprintf("chain %s of table %s drops what comes in, so tasks reach neither their metadata endpoint nor their name server", chain.Name, chain.Table.Name))
		case *nft.ChainHookForward:
			mend = append(mend, `"iptables -I FORWARD -i berth+ -j ACCEPT"`, `"iptables -I FORWARD -o berth+ -j ACCEPT"`)
			found = append(found, fmt.Sprintf("chain %s of table %s drops what is forwarded, so tasks reach nothing outside", chain.Name, chain.Table.Name))
		}
	}
	if len(found) > 0 {
		return warn("let packets through that come from or go to berth*, as in "+strings.Join(mend, " and "), "%s", strings.Join(found, "; "))
	}
	return ok("present")
}

func netem(_ context.Context, h host) verdict {
	if h.module("sch_netem") {
		return ok("present")
	}
	return warn("optional; use a kernel with CONFIG_NET_SCH_NETEM", "not found")
}

func port(ctx context.Context, h host) verdict {
	if h.Running {
		return ok("%s is our server's", h.Listen)
	}
	l, err := net.Listen("tcp", h.Listen)
	if errors.Is(err, unix.EADDRINUSE) {
		if version, found := berthAt(ctx, h.Listen); found {
			return warn("nothing to do if that is the server you mean; for another one choose another port with --listen",
				"%s is that of a Berth server, version %s, with another state directory", h.Listen, version)
		}
	}
	if err != nil {
		return fail("choose another one with --listen, or end what has it (ss -ltnp shows it)", "%v", err)
	}
	l.Close()
	return ok("%s is free", h.Listen)
}

// berthAt asks whoever listens there whether it is a Berth server.
func berthAt(ctx context.Context, address string) (version string, found bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return "", false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer resp.Body.Close()
	var health struct{ Status, Version string } // as api.Health
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&health)
	return health.Version, err == nil && health.Status != "" && health.Version != ""
}
