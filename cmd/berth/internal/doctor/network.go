package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

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

func nftables(ctx context.Context, h host) verdict {
	for _, tool := range []string{"nft", "iptables"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			continue
		}
		args := map[string][]string{"nft": {"list", "tables"}, "iptables": {"-w", "-n", "-L", "FORWARD"}}[tool]
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
		cancel()
		if err == nil {
			return ok("%s works", path)
		}
		return warn("tasks run; they are not kept apart on the network. Load nf_tables, or run berth as root", "%s says: %s", path, firstLine(string(out)))
	}
	return warn("apt-get install nftables iptables", "neither nft nor iptables is installed")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
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
