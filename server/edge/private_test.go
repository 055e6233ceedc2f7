package edge_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/server/edge"
)

// Ensure nothing passes in the clear but what stays on this host, that proxies who are trusted
// say how their clients came, and that nobody else does.
func TestPrivate(t *testing.T) {
	var host, forwarded string
	passed := false
	h := edge.Private(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		passed, host, forwarded = true, r.Host, r.Header.Get("X-Forwarded-For")
	}), func(addr string) bool { return addr == "127.0.0.1" || addr == "10.0.0.2" })
	for name, c := range map[string]struct {
		remote, path string
		header       map[string]string
		tls, passes  bool
		host, client string // as the handler sees them
	}{
		"on this host":                    {remote: "127.0.0.1:1", passes: true, host: "inner:80"},
		"on this host, IPv6":              {remote: "[::1]:1", passes: true, host: "inner:80"},
		"stranger in the clear":           {remote: "203.0.113.9:1"},
		"stranger who says https":         {remote: "203.0.113.9:1", header: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}},
		"stranger over TLS who says more": {remote: "203.0.113.9:1", tls: true, header: map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "evil"}, passes: true, host: "inner:80"},
		"stranger who asks for health":    {remote: "203.0.113.9:1", path: "/healthz", passes: true, host: "inner:80"},
		"stranger who nearly does":        {remote: "203.0.113.9:1", path: "/healthz/../api/v1/tasks"},
		"proxy":                           {remote: "10.0.0.2:1", header: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "berth.example:8443"}, passes: true, host: "berth.example:8443", client: "203.0.113.9"},
		"proxy on this host":              {remote: "127.0.0.1:1", header: map[string]string{"X-Forwarded-Proto": "https"}, passes: true, host: "inner:80"},
		"proxy whose client had no TLS":   {remote: "127.0.0.1:1", header: map[string]string{"X-Forwarded-Proto": "http", "X-Forwarded-For": "203.0.113.9"}},
		"proxy that does not say":         {remote: "10.0.0.2:1"},
		"proxy with a strange host":       {remote: "10.0.0.2:1", header: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a b/c"}, passes: true, host: "inner:80"},
	} {
		passed, host, forwarded = false, "", ""
		path := c.path
		if path == "" {
			path = "/api/v1/tasks"
		}
		r := httptest.NewRequest("GET", "http://inner:80"+path, nil)
		r.RemoteAddr, r.TLS = c.remote, nil
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if passed != c.passes || host != c.host || forwarded != c.client {
			t.Errorf("%s: passes %t with host %q for %q", name, passed, host, forwarded)
		}
		if !c.passes && (rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), `"__type":"AccessDeniedException"`) ||
			!strings.Contains(rec.Body.String(), `"detail":"This server takes requests over HTTPS only`)) {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}
