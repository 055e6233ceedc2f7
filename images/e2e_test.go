//go:build e2e

package images

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

// Twenty tasks that start at once with the same image cost one download; later
// ones cost one question.
func TestPullShared(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	img := picture(runtime.GOARCH, 200_000, 3)
	want := h.host + "/team/app@" + h.put(t, "team/app", "v1", img)
	h.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			time.Sleep(100 * time.Millisecond) // so that all come while one is under way
		}
		return false
	})
	h.forget()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if ref, err := s.Pull(t.Context(), h.host+"/team/app:v1"); err != nil || ref != want {
				t.Errorf("got %s, %v, want %s", ref, err, want)
			}
		})
	}
	all.Wait()
	if n := h.count("HEAD", "/manifests/"); n != 1 {
		t.Errorf("the tag was resolved %d times", n)
	}
	if n := h.count("GET", "/blobs/"); n != 4 {
		t.Errorf("%d blobs were fetched, want 3 layers and a config", n)
	}
	h.forget()
	for _, name := range []string{h.host + "/team/app:v1", want} {
		if ref, err := s.Pull(t.Context(), name); err != nil || ref != want {
			t.Errorf("got %s, %v, want %s", ref, err, want)
		}
	}
	if n := h.count("GET", ""); n != 0 || h.count("HEAD", "") != 1 {
		t.Errorf("again: %v", h.gets)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Name != h.host+"/team/app:v1" || list[0].SizeBytes < 600_000 || list[0].InUse || list[0].Imported {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// A tag that moved is noticed, and the old image stays for whom it was pulled.
func TestPullTagMoves(t *testing.T) {
	s, use := newStore(t)
	h := newHub(t)
	name := h.host + "/app:latest"
	old := h.host + "/app@" + h.put(t, "app", "latest", picture(runtime.GOARCH, 1000, 1))
	pull(t, s, name, old)
	use.add(old, 1)
	fresh := h.host + "/app@" + h.put(t, "app", "latest", picture(runtime.GOARCH, 1000, 2))
	pull(t, s, name, fresh)
	list, err := s.List(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != name || list[1].Name != old || !list[1].InUse || list[0].InUse {
		t.Errorf("list: %+v, %v", list, err)
	}
	if _, err := s.Collect(t.Context(), -time.Hour); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.usable(t.Context(), old); !ok || err != nil {
		t.Errorf("the image of a task was collected: %v", err)
	}
	if ok, _ := s.usable(t.Context(), fresh); ok {
		t.Error("an unused image was not collected")
	}
}

func pull(t *testing.T, s *Store, name, want string) {
	t.Helper()
	if ref, err := s.Pull(t.Context(), name); err != nil || ref != want {
		t.Fatalf("pull %s: got %s, %v, want %s", name, ref, err, want)
	}
}

func TestPullWithCredentials(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	want := h.host + "/private@" + h.put(t, "private", "latest", picture(runtime.GOARCH, 1000, 1))
	h.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "user" && password == "pass" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := s.Pull(t.Context(), h.host+"/private")
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), "has been retried 1 time(s): failed to resolve ref") ||
		!strings.Contains(fault.Message(err), "pull access denied") {
		t.Errorf("without credentials: %v", err)
	}
	s.DockerConfig = filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(s.DockerConfig, []byte(`{"auths":{"`+h.host+`":{"auth":"dXNlcjpwYXNz"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pull(t, s, h.host+"/private", want)
}

// A download goes on while one task wants it, and is given up with the last.
func TestPullCancel(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	h.put(t, "slow", "latest", picture(runtime.GOARCH, 100_000, 1))
	begun, gone := make(chan struct{}, 10), make(chan struct{}, 10)
	h.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		begun <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
		gone <- struct{}{}
		return true
	})
	var contexts [2]context.CancelFunc
	outcome := make(chan error, 2)
	for i := range contexts {
		ctx, cancel := context.WithCancel(t.Context())
		contexts[i] = cancel
		go func() {
			_, err := s.Pull(ctx, h.host+"/slow")
			outcome <- err
		}()
	}
	<-begun
	for deadline := time.Now().Add(10 * time.Second); s.waiting(h.host+"/slow:latest") != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the second did not join the first")
		}
	}
	contexts[0]()
	if err := <-outcome; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-gone:
		t.Error("the download was given up while a task wanted it")
	case <-time.After(200 * time.Millisecond):
	}
	contexts[1]()
	<-gone
	if err := <-outcome; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.Close()
	if n := h.count("HEAD", "/manifests/latest"); n != 1 {
		t.Errorf("resolved %d times", n)
	}
	// And it can be wanted again.
	h.misbehave(nil)
	if _, err := s.Pull(t.Context(), h.host+"/slow"); err != nil {
		t.Error(err)
	}
}

func (s *Store) waiting(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[name]; f != nil {
		return f.waiters
	}
	return 0
}

func TestPullFails(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	h.put(t, "foreign", "latest", picture(other, 1000, 1))
	h.put(t, "good", "latest", picture(runtime.GOARCH, 1000, 1))
	h.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v2/corrupt/") {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				io.WriteString(w, "not what was asked for")
				return true
			}
		}
		if strings.HasPrefix(r.URL.Path, "/v2/down/") {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	h.put(t, "corrupt", "latest", picture(runtime.GOARCH, 1000, 1))
	for _, c := range []struct {
		image string
		kind  fault.Kind
		want  string
	}{
		{h.host + "/none:v9", fault.NotFound, "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref " + h.host + "/none:v9: not found"},
		{h.host + "/foreign", fault.Invalid, "CannotPullContainerError: pull image manifest has been retried 1 time(s): image Manifest does not contain descriptor matching platform 'linux/" + runtime.GOARCH + "'"},
		{h.host + "/down/app", fault.Unavailable, "CannotPullContainerError: pull image manifest has been retried 3 time(s): failed to resolve ref " + h.host + "/down/app:latest: "},
		{h.host + "/corrupt", fault.Unavailable, "CannotPullContainerError: ref pull has been retried 3 time(s): "},
		{"127.0.0.1:1/app", fault.Unavailable, "CannotPullContainerError: pull image manifest has been retried 3 time(s): failed to resolve ref 127.0.0.1:1/app:latest: "},
		{"Not A Name", fault.Invalid, "CannotPullContainerError: \"Not A Name\" is not an image name: "},
	} {
		_, err := s.Pull(t.Context(), c.image)
		if !strings.HasPrefix(fault.Message(err), c.want) || fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v: %s", c.image, fault.KindOf(err), fault.Message(err))
		}
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if err := s.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.occupied(t.Context()); err != nil || n != 0 {
		t.Errorf("%d bytes are left of pulls that failed, %v", n, err)
	}
}

// A registry that cannot be reached does not stop a task whose image is here.
func TestPullRegistryDown(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	want := h.host + "/app@" + h.put(t, "app", "latest", picture(runtime.GOARCH, 1000, 1))
	pull(t, s, h.host+"/app", want)
	h.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	pull(t, s, h.host+"/app", want)
	h.srv.Close()
	pull(t, s, h.host+"/app", want)
	pull(t, s, want, want)
	if _, err := s.Pull(t.Context(), h.host+"/app:other"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a tag that is not here: %v", err)
	}
	// The tag alone is gone: the image is found by its digest all the same.
	if err := s.Client.ImageService().Delete(t.Context(), h.host+"/app:latest"); err != nil {
		t.Fatal(err)
	}
	pull(t, s, want, want)
}

// What was lost below us is fetched again.
func TestPullMends(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	want := h.host + "/app@" + h.put(t, "app", "latest", picture(runtime.GOARCH, 1000, 2))
	pull(t, s, h.host+"/app", want)
	if err := s.Client.ImageService().Delete(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	pull(t, s, h.host+"/app", want)
	if _, err := s.Client.ImageService().Get(t.Context(), want); err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	h.put(t, "app", "latest", picture(runtime.GOARCH, 300_000, 2))
	more := make(chan struct{})
	h.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			select {
			case <-more:
			case <-t.Context().Done():
			}
		}
		return false
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		if _, err := s.Pull(ctx, h.host+"/app"); err != nil {
			t.Error(err)
		}
	}()
	var seen []string
	var last task.PullProgress
	for p := range s.Watch(ctx) {
		if len(seen) == 0 || seen[len(seen)-1] != p.Status {
			seen = append(seen, p.Status)
		}
		if p.DoneBytes < last.DoneBytes {
			t.Errorf("done bytes went from %d to %d", last.DoneBytes, p.DoneBytes)
		}
		last = p
		if p.Status == downloading && len(p.Layers) == 3 {
			select {
			case <-more:
			default:
				if len(s.Progress(ctx)) != 1 {
					t.Error("the pull is not in Progress")
				}
				close(more)
			}
		}
		if p.Status == done || p.Status == failed {
			break
		}
	}
	if last.Status != done || last.DoneBytes != last.TotalBytes || last.TotalBytes < 600_000 || last.Image != h.host+"/app:latest" ||
		!strings.HasPrefix(last.Digest, "sha256:") || last.StartedAt.IsZero() {
		t.Errorf("seen %v, last %+v", seen, last)
	}
	if len(seen) < 2 || seen[len(seen)-2] == resolving {
		t.Errorf("seen %v", seen)
	}
}
