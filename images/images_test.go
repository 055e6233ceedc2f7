package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"

	"berth/fault"
)

const someDigest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestNormalise(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"busybox", "docker.io/library/busybox:latest"},
		{"busybox:1.36", "docker.io/library/busybox:1.36"},
		{"berth/demo", "docker.io/berth/demo:latest"},
		{"docker.io/library/busybox:latest", "docker.io/library/busybox:latest"},
		{"index.docker.io/busybox", "docker.io/library/busybox:latest"},
		{"localhost:5000/a/b", "localhost:5000/a/b:latest"},
		{"[::1]:5000/a", "[::1]:5000/a:latest"},
		{"public.ecr.aws/docker/library/httpd:2.4", "public.ecr.aws/docker/library/httpd:2.4"},
		{"busybox@" + someDigest, "docker.io/library/busybox@" + someDigest},
		{"busybox:1.36@" + someDigest, "docker.io/library/busybox@" + someDigest},
		{"", ""}, {"UPPER", ""}, {"a b", ""}, {"a:", ""}, {"busybox@sha256:12", ""}, {"https://x/y", ""}, {someDigest[7:], ""},
	} {
		got, err := Normalise(c.in)
		if f := (*fault.Error)(nil); c.want == "" && (!errors.As(err, &f) || f.Kind != fault.Invalid || f.Field != "image") {
			t.Errorf("%q: got %q, %v, want fault.Invalid at image", c.in, got, err)
		}
		if c.want != "" && (err != nil || got != c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("busybox")
	f.Add("localhost:5000/a/b:c@" + someDigest)
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseName(s)
		if err != nil {
			return
		}
		again, err := parseName(n.String())
		if err != nil || again != n || (n.tag == "") == (n.digest == "") {
			t.Errorf("%q became %v, and that %v, %v", s, n, again, err)
		}
	})
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	helper := `#!/bin/sh
read host
case $host in
helped.example) echo '{"Username":"h","Secret":"s3"}' ;;
token.example) echo '{"Username":"<token>","Secret":"tok"}' ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-fake"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	auths := `"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnB3"},"localhost:5000":{"username":"u","password":"p"},
		"https://old.example/v1/":{"auth":"bzpw"},"id.example":{"auth":"","identitytoken":"it"},"bad.example":{"auth":"***"}}`
	for _, c := range []struct{ config, host, want string }{
		{`{` + auths + `}`, "registry-1.docker.io", "hub pw <nil>"},
		{`{` + auths + `}`, "localhost:5000", "u p <nil>"},
		{`{` + auths + `}`, "localhost:5001", "  <nil>"},
		{`{` + auths + `}`, "old.example", "o p <nil>"},
		{`{` + auths + `}`, "id.example", " it <nil>"},
		{`{` + auths + `}`, "bad.example", "error"},
		{`{"credHelpers":{"helped.example":"fake"},` + auths + `}`, "helped.example", "h s3 <nil>"},
		{`{"credsStore":"fake",` + auths + `}`, "token.example", " tok <nil>"},
		{`{"credsStore":"fake",` + auths + `}`, "localhost:5000", "u p <nil>"},
		{`{"credsStore":"missing"}`, "a.example", "error"},
		{`{"credsStore":"../evil"}`, "a.example", "error"},
		{`{`, "a.example", "error"},
		{`{}`, "a.example", "  <nil>"},
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(c.config), 0o600); err != nil {
			t.Fatal(err)
		}
		user, secret, err := credentials{path, t.Context()}.lookup(c.host)
		if c.want == "error" && err == nil || c.want != "error" && fmt.Sprint(user, " ", secret, " ", err) != c.want {
			t.Errorf("%s with %.40s…: got %q %q %v, want %q", c.host, c.config, user, secret, err, c.want)
		}
	}
	for _, path := range []string{"", "/nonexistent/config.json"} {
		if user, secret, err := (credentials{path, t.Context()}).lookup("a.example"); user+secret != "" || err != nil {
			t.Errorf("path %q: %q %q %v", path, user, secret, err)
		}
	}
}

// bare returns a Store that can do all that needs no containerd.
func bare(t *testing.T, backoff ...time.Duration) *Store {
	return New(Config{Backoff: backoff, Log: zap.NewNop(), Now: time.Now})
}

// push puts one blob as a manifest into a registry; that it is none does not
// matter for resolving.
func push(t *testing.T, url, repo, tag, mediaType, text string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, url+"/v2/"+repo+"/manifests/"+tag, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode > 299 {
		t.Fatalf("push %s:%s: %s", repo, tag, resp.Status)
	}
	return digest.FromString(text).String()
}

// Loopback registries are asked over plain HTTP, with the credentials of the
// Docker config, and what they say becomes Fargate's words.
func TestResolve(t *testing.T) {
	plain := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	open := httptest.NewServer(plain)
	t.Cleanup(open.Close)
	status := http.StatusServiceUnavailable
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case strings.Contains(r.URL.Path, "/broken/"):
			w.WriteHeader(status)
		case user != "user" || password != "pass":
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			plain.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(guarded.Close)
	const text = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	want := push(t, open.URL, "app", "v1", ocispec.MediaTypeImageIndex, text)
	openHost, guardedHost := strings.TrimPrefix(open.URL, "http://"), strings.TrimPrefix(guarded.URL, "http://")

	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, []byte(`{"auths":{"`+guardedHost+`":{"auth":"dXNlcjpwYXNz"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	resolve := func(image, config string) (string, error) {
		s := bare(t)
		s.DockerConfig = config
		n, err := parseName(image)
		if err != nil {
			t.Fatal(err)
		}
		_, desc, err := s.resolver(t.Context()).Resolve(t.Context(), n.String())
		if err != nil {
			return "", pullFault(stepManifest, 1, resolveError(n, err))
		}
		return desc.Digest.String(), nil
	}
	for _, image := range []string{openHost + "/app:v1", openHost + "/app@" + want, guardedHost + "/app:v1"} {
		if got, err := resolve(image, config); got != want || err != nil {
			t.Errorf("%s: got %s, %v", image, got, err)
		}
	}
	for _, c := range []struct {
		image, config, want string
		kind                fault.Kind
	}{
		{openHost + "/app:none", config, "failed to resolve ref " + openHost + "/app:none: not found", fault.NotFound},
		{openHost + "/none", config, "failed to resolve ref " + openHost + "/none:latest: not found", fault.NotFound},
		{guardedHost + "/app:v1", "", "pull access denied, repository does not exist or may require authorization", fault.Invalid},
		{guardedHost + "/broken/app", config, "503 Service Unavailable", fault.Unavailable},
		{"127.0.0.1:1/app", config, "connect: connection refused", fault.Unavailable},
	} {
		_, err := resolve(c.image, c.config)
		got := fault.Message(err)
		if !strings.HasPrefix(got, "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "+c.image) ||
			!strings.Contains(got, c.want) || fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v: %s", c.image, fault.KindOf(err), got)
		}
	}
	status = http.StatusTeapot
	if _, err := resolve(guardedHost+"/broken/app", config); fault.KindOf(err) != fault.Invalid {
		t.Errorf("status %d: %v", status, err)
	}
}

// A mirror from the hosts directory is asked before the registry itself.
func TestResolveMirror(t *testing.T) {
	mirror := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(mirror.Close)
	want := push(t, mirror.URL, "library/app", "latest", ocispec.MediaTypeImageIndex, `{"schemaVersion":2}`)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docker.io"), 0o700); err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror.URL, mirror.URL)
	if err := os.WriteFile(filepath.Join(dir, "docker.io", "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	s := bare(t)
	s.HostsDir = dir
	_, desc, err := s.resolver(t.Context()).Resolve(t.Context(), "docker.io/library/app:latest")
	if err != nil || desc.Digest.String() != want {
		t.Errorf("got %v, %v", desc.Digest, err)
	}
}

func TestTry(t *testing.T) {
	temporary := errors.New("connection reset")
	permanent := fmt.Errorf("x: %w", errdefs.ErrNotFound)
	own := fmt.Errorf("containerd: %w", errdefs.ErrUnavailable)
	for _, c := range []struct {
		name     string
		again    bool
		errs     []error
		attempts int
		took     time.Duration
	}{
		{"good", true, []error{nil}, 1, 0},
		{"good later", true, []error{temporary, temporary, nil}, 3, 3 * time.Second},
		{"never", true, []error{temporary, temporary, temporary, nil}, 3, 3 * time.Second},
		{"not again", false, []error{temporary, nil}, 1, 0},
		{"permanent", true, []error{permanent, nil}, 1, 0},
		{"permanent later", true, []error{temporary, permanent, nil}, 2, time.Second},
		{"our own", true, []error{own, nil}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := bare(t, time.Second, 2*time.Second)
				begin, i := time.Now(), 0
				attempts, err := s.try(t.Context(), c.again, func() error { i++; return c.errs[i-1] })
				if attempts != c.attempts || !errors.Is(err, c.errs[c.attempts-1]) || time.Since(begin) != c.took {
					t.Errorf("%d attempts, %v, %v", attempts, err, time.Since(begin))
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := bare(t, time.Hour)
		if _, err := s.try(ctx, true, func() error { return temporary }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// A registry that stops sending fails; a slow one does not.
func TestStall(t *testing.T) {
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			<-stop
		}
		for range 10 {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
		if r.URL.Path == "/stall" {
			<-stop
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(stop) })
	c := &http.Client{Transport: &stallGuard{next: &http.Transport{}, after: 100 * time.Millisecond}}
	t.Cleanup(c.CloseIdleConnections)
	for path, want := range map[string]error{"/slow": nil, "/stall": errStalled, "/silent": errStalled} {
		resp, err := c.Get(srv.URL + path)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

func TestNameIn(t *testing.T) {
	for _, c := range []struct{ image, ref, want string }{
		{"docker.io/library/a:1", "1", "docker.io/library/a:1"},
		{"", "a:1", "docker.io/library/a:1"},
		{"", "example.com/a", "example.com/a:latest"},
		{"", "latest", ""}, // a bare tag names nothing
		{"", "", ""},
		{"a@" + someDigest, "", ""},
		{"!", "", ""},
	} {
		n, err := nameIn(ocispec.Descriptor{Annotations: map[string]string{images.AnnotationImageName: c.image, ocispec.AnnotationRefName: c.ref}})
		if c.want == "" && fault.KindOf(err) != fault.Invalid || c.want != "" && (err != nil || n.String() != c.want) {
			t.Errorf("%q, %q: got %v, %v", c.image, c.ref, n, err)
		}
	}
}

// The same program gives the same image, another one another.
func TestDemoDigest(t *testing.T) {
	var digests []string
	for _, program := range []string{"a", "a", "b"} {
		img, err := demo([]byte(program))
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] || digests[1] == digests[2] {
		t.Errorf("got %v", digests)
	}
}
