package images

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	dialTimeout  = 10 * time.Second
	stallTimeout = 45 * time.Second // a registry that is silent for so long has failed
)

// resolver asks registries as they are configured now: HTTP for those on
// loopback, HTTPS for all others, and whatever the hosts directory says.
func (s *Store) resolver(ctx context.Context) remotes.Resolver {
	creds := credentials{path: s.DockerConfig, run: ctx}.lookup
	plain := docker.ConfigureDefaultRegistries(
		docker.WithClient(s.http),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(docker.WithAuthClient(s.http), docker.WithAuthCreds(creds))),
		docker.WithPlainHTTP(docker.MatchLocalhost))
	hosts := plain
	if s.HostsDir != "" {
		find := config.HostDirFromRoot(s.HostsDir)
		special := config.ConfigureHosts(ctx, config.HostOptions{
			HostDir:     find,
			Credentials: creds,
			UpdateClient: func(c *http.Client) error {
				if t, ok := c.Transport.(*http.Transport); ok {
					c.Transport = patient(t)
				}
				return nil
			},
		})
		hosts = func(host string) ([]docker.RegistryHost, error) {
			if dir, err := find(host); err == nil && dir != "" {
				return special(host)
			}
			return plain(host)
		}
	}
	return docker.NewResolver(docker.ResolverOptions{Hosts: hosts})
}

// pinned is a resolver that was asked already: it gives the answer that the pull
// began with, also if the tag moves meanwhile.
type pinned struct {
	remotes.Resolver
	ref  string
	desc ocispec.Descriptor
}

func (p pinned) Resolve(context.Context, string) (string, ocispec.Descriptor, error) {
	return p.ref, p.desc, nil
}

func newTransport() http.RoundTripper { return patient(docker.DefaultHTTPTransport(nil)) }

// patient bounds how long a request may stand still, not how long it may take.
func patient(t *http.Transport) http.RoundTripper {
	t.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	return &stallGuard{next: t, after: stallTimeout}
}

var errStalled = errors.New("the registry stopped sending")

// stallGuard fails a request when nothing comes for a while.
type stallGuard struct {
	next  http.RoundTripper
	after time.Duration
}

func (g *stallGuard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(g.after, func() { cancel(errStalled) })
	resp, err := g.next.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &stallBody{ReadCloser: resp.Body, guard: g, ctx: ctx, cancel: cancel, timer: timer}
	return resp, nil
}

func (g *stallGuard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// stallBody is a response body under guard. Only time spent waiting for the
// registry counts.
type stallBody struct {
	io.ReadCloser
	guard  *stallGuard
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (b *stallBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.guard.after)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *stallBody) Close() error {
	b.timer.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
