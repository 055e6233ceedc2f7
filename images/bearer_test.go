//go:build e2e

package images

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"berth/fault"
)

// guarded is a registry as the public ones are: HTTPS, tokens of an authority of
// its own, and layers that are somewhere else. In front of it is a hub.
type guarded struct {
	hub   *hub
	front *httptest.Server

	mu      sync.Mutex
	valid   string // the token that counts now
	granted []string
	leaked  int // times that the place of the layers saw a token
}

const (
	guardedHost = "registry.example.com" // the names are those in httptest's certificate
	layersHost  = "layers.example.com"   // gets no token: it is not the registry
	realm       = "https://registry.example.com/token"
)

func newGuarded(t *testing.T) *guarded {
	g := &guarded{hub: newHub(t)}
	g.front = httptest.NewTLSServer(g)
	t.Cleanup(g.front.Close)
	return g
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); {
	case r.Host == layersHost:
		if r.Header.Get("Authorization") != "" {
			g.leaked++
		}
		g.pass(w, r)
	case r.URL.Path == "/token":
		user, password, ok := r.BasicAuth()
		scope := r.URL.Query().Get("scope")
		if r.Method == http.MethodPost { // OAuth2, which clients with a password may ask first
			http.NotFound(w, r)
			return
		}
		if strings.Contains(scope, "private") && (!ok || user != "user" || password != "pass") {
			http.Error(w, `{"details":"incorrect username or password"}`, http.StatusUnauthorized)
			return
		}
		g.granted = append(g.granted, scope)
		g.valid = "token-" + string(rune('a'+len(g.granted)))
		_ = json.NewEncoder(w).Encode(map[string]any{"token": g.valid, "expires_in": 300})
	case g.valid == "" || token != g.valid:
		repo := strings.TrimPrefix(r.URL.Path, "/v2/")
		repo, _, _ = strings.Cut(repo, "/manifests/")
		repo, _, _ = strings.Cut(repo, "/blobs/")
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="registry.example.com",scope="repository:`+repo+`:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet:
		http.Redirect(w, r, "https://"+layersHost+r.URL.Path, http.StatusTemporaryRedirect)
	default:
		g.pass(w, r)
	}
}

func (g *guarded) pass(w http.ResponseWriter, r *http.Request) {
	to, _ := url.Parse(g.hub.srv.URL)
	r.URL.Scheme, r.URL.Host, r.RequestURI = to.Scheme, to.Host, ""
	r.Header.Del("Authorization")
	g.hub.srv.Config.Handler.ServeHTTP(w, r)
}

// expire makes the token that was given out last worth nothing.
func (g *guarded) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.valid = "expired"
}

// reach makes s find the two names at the test's own server, and trust it.
func (g *guarded) reach(s *Store) {
	pool := g.front.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	addr := g.front.Listener.Addr().String()
	s.http.Transport = &stallGuard{after: stallTimeout, next: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}
}

// Ensure images come from a registry over HTTPS that gives out tokens: to anybody
// for what is public, for a password otherwise, and again when one has expired.
// No one but the registry ever sees them.
func TestPullWithTokens(t *testing.T) {
	s, _ := newStore(t)
	g := newGuarded(t)
	g.reach(s)
	public := guardedHost + "/team/app@" + g.hub.put(t, "team/app", "v1", picture(runtime.GOARCH, 50_000, 3))
	private := guardedHost + "/private/app@" + g.hub.put(t, "private/app", "v1", picture(runtime.GOARCH, 1000, 4))

	pull(t, s, guardedHost+"/team/app:v1", public)
	if len(g.granted) == 0 || g.granted[0] != "repository:team/app:pull" {
		t.Errorf("tokens were given for %q", g.granted)
	}
	_, err := s.Pull(t.Context(), guardedHost+"/private/app:v1")
	if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), "CannotPullContainerError: ") {
		t.Errorf("without a password: %v", err)
	}
	s.DockerConfig = filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(s.DockerConfig, []byte(`{"auths":{"`+guardedHost+`":{"auth":"dXNlcjpwYXNz"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pull(t, s, guardedHost+"/private/app:v1", private)
	g.expire()
	pull(t, s, guardedHost+"/private/app:v1", private)
	if g.leaked > 0 {
		t.Errorf("%d tokens were sent to the host that has the layers", g.leaked)
	}
}

// Ensure a registry whose certificate nobody vouches for is refused, with a reason.
func TestPullFromStranger(t *testing.T) {
	s, _ := newStore(t)
	g := newGuarded(t)
	g.reach(s)
	s.http.Transport.(*stallGuard).next.(*http.Transport).TLSClientConfig = nil
	g.hub.put(t, "app", "v1", picture(runtime.GOARCH, 1000, 1))
	_, err := s.Pull(t.Context(), guardedHost+"/app:v1")
	if err == nil || !strings.Contains(fault.Message(err), "certificate") {
		t.Errorf("pulled, or without saying why not: %v", err)
	}
}
