//go:build e2e

package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/zap/zaptest"
)

// address is the socket of the containerd that all tests of the package share,
// each in a namespace of its own.
var address string

// TestMain starts containerd below BERTH_TEST_STATE, a new temporary directory by
// default, from the programs in BERTH_LIBEXEC, ../bin/libexec by default.
func TestMain(m *testing.M) {
	code, err := withContainerd(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests need root and containerd:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func withContainerd(run func() int) (code int, err error) {
	libexec := os.Getenv("BERTH_LIBEXEC")
	if libexec == "" {
		if libexec, err = filepath.Abs("../bin/libexec"); err != nil {
			return 0, err
		}
	}
	// Sockets have short paths.
	dir, err := os.MkdirTemp(os.Getenv("BERTH_TEST_STATE"), "bi")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	address = filepath.Join(dir, "c.sock")
	config := fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "io.containerd.podsandbox.controller.v1.podsandbox"]
[grpc]
address = %q
`, dir+"/root", dir+"/state", address)
	if err := os.WriteFile(dir+"/config.toml", []byte(config), 0o600); err != nil {
		return 0, err
	}
	var output bytes.Buffer
	cmd := exec.Command(filepath.Join(libexec, "containerd"), "--config", dir+"/config.toml")
	cmd.Env = append(os.Environ(), "PATH="+libexec+":"+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}()
	for began := time.Now(); ; {
		c, err := client.New(address, client.WithTimeout(time.Second))
		if err == nil {
			_, err = c.Version(context.Background())
			c.Close()
			if err == nil {
				return run(), nil
			}
		}
		select {
		case died := <-ended:
			ended <- died
			return 0, fmt.Errorf("containerd ended: %v\n%s", died, output.Bytes())
		case <-time.After(20 * time.Millisecond):
			if time.Since(began) > 20*time.Second {
				return 0, fmt.Errorf("containerd does not answer: %w", err)
			}
		}
	}
}

var namespaces atomic.Int32

// tasks is what the tests let unfinished tasks need.
type tasks struct {
	mu    sync.Mutex
	names map[string]int
}

func (u *tasks) add(name string, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.names[name] += n
}

func (u *tasks) inUse(context.Context) (names []string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for name, n := range u.names {
		if n > 0 {
			names = append(names, name)
		}
	}
	return names, nil
}

// newStore returns a Store in a namespace that goes with the test.
func newStore(t *testing.T) (*Store, *tasks) {
	t.Helper()
	namespace := fmt.Sprintf("test-%d", namespaces.Add(1))
	c, err := client.New(address, client.WithDefaultNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	use := &tasks{names: make(map[string]int)}
	s := New(Config{
		Client: c, Snapshotter: "overlayfs", Backoff: []time.Duration{time.Millisecond, time.Millisecond},
		InUse: use.inUse, Log: zaptest.NewLogger(t), Now: time.Now,
	})
	t.Cleanup(func() {
		s.Close()
		ctx := context.Background()
		all, err := c.ImageService().List(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, img := range all {
			if err := s.delete(ctx, img.Name); err != nil {
				t.Error(err)
			}
		}
		if err := s.collect(ctx); err != nil {
			t.Error(err)
		}
		if left, err := s.occupied(ctx); err != nil || left != 0 {
			t.Errorf("%d bytes are left when all images are removed, %v", left, err)
		}
		if leases, err := c.LeasesService().List(ctx); err != nil || len(leases) > 0 {
			t.Errorf("leases are left: %v, %v", leases, err)
		}
		if err := c.NamespaceService().Delete(ctx, namespace); err != nil {
			t.Errorf("something is left in the namespace: %v", err)
		}
	})
	return s, use
}

// hub is a registry that counts and can be made to misbehave.
type hub struct {
	host string
	srv  *httptest.Server

	mu     sync.Mutex
	gets   map[string]int // requests by "METHOD path"
	before func(w http.ResponseWriter, r *http.Request) (handled bool)
}

func newHub(t *testing.T) *hub {
	h := &hub{gets: make(map[string]int)}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	h.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.gets[r.Method+" "+r.URL.Path]++
		before := h.before
		h.mu.Unlock()
		if before == nil || !before(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(h.srv.Close)
	h.host = strings.TrimPrefix(h.srv.URL, "http://")
	return h
}

func (h *hub) misbehave(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

func (h *hub) count(method, path string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for request, k := range h.gets {
		if strings.HasPrefix(request, method+" ") && strings.Contains(request, path) {
			n += k
		}
	}
	return n
}

func (h *hub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.gets)
}

// put stores an image under repo:tag.
func (h *hub) put(t *testing.T, repo, tag string, img v1.Image) string {
	t.Helper()
	send := func(method, path, kind string, body []byte) {
		req, err := http.NewRequest(method, h.srv.URL+"/v2/"+repo+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode > 299 {
			text, _ := io.ReadAll(resp.Body)
			t.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
		}
	}
	m := must(img.Manifest())
	for _, l := range must(img.Layers()) {
		r := must(l.Compressed())
		body := must(io.ReadAll(r))
		r.Close()
		send(http.MethodPost, "/blobs/uploads/?digest="+must(l.Digest()).String(), "application/octet-stream", body)
	}
	send(http.MethodPost, "/blobs/uploads/?digest="+m.Config.Digest.String(), "application/octet-stream", must(img.RawConfigFile()))
	send(http.MethodPut, "/manifests/"+tag, string(m.MediaType), must(img.RawManifest()))
	return must(img.Digest()).String()
}

// must is for what cannot fail on an image in memory.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// picture makes an image of random layers for a platform.
func picture(arch string, size int64, layers int) v1.Image {
	img := v1.Image(mutate.MediaType(empty.Image, types.DockerManifestSchema2))
	for range layers {
		l := must(random.Layer(size, types.DockerLayer))
		img = must(mutate.AppendLayers(img, l))
	}
	c := must(img.ConfigFile()).DeepCopy()
	c.OS, c.Architecture = "linux", arch
	c.Config.Cmd = []string{"/x"}
	return must(mutate.ConfigFile(img, c))
}
