// Package edge is for servers behind a proxy: it takes what a client sent from what the proxy
// made of it, and refuses what came past the proxy in the clear.
package edge

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"berth/access"
	"berth/fault"
	"berth/server/api"
)

// forwarding are the headers in which proxies say whose request they pass on.
var forwarding = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Server", "X-Real-Ip", "Forwarded"}

// hostForm is what X-Forwarded-Host may be: a name or an address, perhaps with a port.
var hostForm = regexp.MustCompile(`^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// Private passes requests on to h that came over TLS, to this server or to a proxy that is
// trusted, with the Host that their client wrote, which is what it signed. It refuses all
// others with 403: their credentials were in the clear. Exempt are programs on this host,
// and /healthz and /readyz, which load balancers ask in the clear.
//
// What others say in the headers of proxies is taken away, so that nobody behind believes it.
func Private(h http.Handler, trusted func(addr string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied := slices.ContainsFunc(forwarding, func(name string) bool { return r.Header.Get(name) != "" })
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		peer := from.Addr().Unmap()
		local := err == nil && peer.IsLoopback() && !proxied
		_, secure := access.Origin(r, trusted)
		if proxied {
			r = r.Clone(r.Context())
			if err == nil && trusted(peer.String()) {
				if host := last(r.Header.Values("X-Forwarded-Host")); hostForm.MatchString(host) {
					r.Host = host
				}
			} else {
				for _, name := range forwarding {
					r.Header.Del(name)
				}
			}
		}
		if !secure && !local && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			refuse(w)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// last returns the last of a header's values, which the nearest proxy wrote.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return strings.TrimSpace(line[strings.LastIndexByte(line, ',')+1:])
}

// refuse answers in the shapes of the native API and of AWS's at once, as it does not look
// at which of them was meant.
func refuse(w http.ResponseWriter) {
	const text = "This server takes requests over HTTPS only; a credential that was in this one should be replaced"
	body, _ := json.Marshal(struct { // Nothing in it can fail.
		AWS     string `json:"__type"`
		Message string `json:"message"`
		api.Fault
	}{"AccessDeniedException", text, api.Fault{
		Type: api.FaultType + fault.Denied.String(), Title: http.StatusText(http.StatusForbidden), Status: http.StatusForbidden, Detail: text,
	}})
	w.Header().Set("Content-Type", api.Problem)
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusForbidden)
	w.Write(body) // Who is gone needs no answer.
}
