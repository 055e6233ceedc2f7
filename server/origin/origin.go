// Package origin keeps web pages from using a server through their reader's browser.
package origin

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// Check decides which requests a browser may have been made to send.
//
// The Host has to be a name that is ours: a page that made its own name point here
// (DNS rebinding) still sends its own name. Addresses are no names, and nobody else
// can have ours. Requests that change something may not come from another origin
// (http.CrossOriginProtection).
type Check struct {
	hosts []string
	cross *http.CrossOriginProtection
}

// New returns a Check for a server that, besides localhost and addresses, is called by
// hosts, names in lower case.
func New(hosts []string) Check { return Check{hosts, http.NewCrossOriginProtection()} }

// Ours reports whether host, as in a Host header, is a name of this server.
func (c Check) Ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	return name == "localhost" || net.ParseIP(name) != nil || slices.Contains(c.hosts, name)
}

// SameOriginSocket is SameOrigin for a request that begins a WebSocket: it is a GET and does
// what others do with a POST.
func (c Check) SameOriginSocket(r *http.Request) bool {
	as := *r
	as.Method = http.MethodPost
	return c.SameOrigin(&as)
}

// SameOrigin reports whether r does not come from another web page.
func (c Check) SameOrigin(r *http.Request) bool { return c.cross.Check(r) == nil }
