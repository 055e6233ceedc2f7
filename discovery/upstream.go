package discovery

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Upstream is the name servers of this host, also those on its loopback, which tasks do not
// reach themselves.
type Upstream struct {
	File string // resolv.conf(5), read again when it may have changed
	Now  func() time.Time

	mu      sync.Mutex
	read    time.Time
	servers []string
}

// How the host's name servers are asked.
const (
	upstreamPatience = 2 * time.Second // for each
	upstreamRounds   = 2
	upstreamFresh    = 5 * time.Second // how long File is not read again
)

// errNoUpstream says that nobody can be asked.
var errNoUpstream = errors.New("this host has no name server")

// Forward asks one after the other until one answers. What is cut off is asked again by who
// asked, over tcp.
func (u *Upstream) Forward(ctx context.Context, q *dns.Msg, network string) (*dns.Msg, error) {
	servers := u.list()
	err := errNoUpstream
	for range upstreamRounds {
		for _, server := range servers {
			c := dns.Client{Net: network, Timeout: upstreamPatience, UDPSize: dns.MaxMsgSize}
			var r *dns.Msg
			if r, _, err = c.ExchangeContext(ctx, q, server); err == nil && r.Rcode != dns.RcodeServerFailure && r.Rcode != dns.RcodeRefused {
				return r, nil
			}
			if err == nil {
				err = errors.New("name server " + server + " answers " + dns.RcodeToString[r.Rcode])
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return nil, err
}

// list returns the addresses of the name servers, with their port.
func (u *Upstream) list() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := u.Now(); u.read.IsZero() || now.Sub(u.read) > upstreamFresh {
		u.read, u.servers = now, nil
		f, err := os.Open(u.File)
		if err != nil {
			return nil
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			words := strings.Fields(lines.Text())
			if len(words) < 2 || words[0] != "nameserver" {
				continue
			}
			if addr, err := netip.ParseAddr(words[1]); err == nil {
				u.servers = append(u.servers, net.JoinHostPort(addr.String(), "53"))
			}
		}
	}
	return u.servers
}
