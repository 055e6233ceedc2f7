//go:build e2e

package images

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

// However pulls, removals and collections meet: an image that Pull returned to a
// task is here until the task has stopped.
func TestCollectIsSafe(t *testing.T) {
	s, use := newStore(t)
	h := newHub(t)
	refs := make([]string, 4)
	for i := range refs {
		refs[i] = h.host + "/app@" + h.put(t, "app", fmt.Sprint("v", i), picture(runtime.GOARCH, 1000, 1))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var runs, collections int
	var mu sync.Mutex
	for i := range 4 {
		all.Go(func() {
			name, ref := fmt.Sprintf("%s/app:v%d", h.host, i), refs[i]
			for ctx.Err() == nil {
				use.add(name, 1) // the task is accepted before its image is pulled
				got, err := s.Pull(t.Context(), name)
				if err != nil || got != ref {
					t.Errorf("got %s, %v", got, err)
					return
				}
				use.add(ref, 1) // and then known by its digest
				use.add(name, -1)
				for range 3 {
					s.verify(ref, false)
					if ok, err := s.usable(t.Context(), ref); !ok || err != nil {
						t.Errorf("the image of a task is gone: %v", err)
						return
					}
				}
				use.add(ref, -1)
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // now and then it is collected
				mu.Lock()
				runs++
				mu.Unlock()
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Collect(t.Context(), -time.Hour); err != nil {
				t.Error(err)
			}
			err := s.Remove(t.Context(), h.host+"/app:v0", false)
			if k := fault.KindOf(err); err != nil && k != fault.Conflict && k != fault.NotFound {
				t.Error(err)
			}
			collections++
		}
	})
	all.Wait()
	t.Logf("%d runs, %d collections, %d blobs fetched", runs, collections, h.count("GET", "/blobs/"))
	if runs < 20 || collections < 5 || h.count("GET", "/blobs/") < 20 {
		t.Error("nothing was put to the test")
	}
}

func TestRemove(t *testing.T) {
	s, use := newStore(t)
	h := newHub(t)
	img := picture(runtime.GOARCH, 100_000, 1)
	want := h.host + "/app@" + h.put(t, "app", "v1", img)
	h.put(t, "app", "v2", img)
	pull(t, s, h.host+"/app:v1", want)
	pull(t, s, h.host+"/app:v2", want)
	use.add(want, 1)
	for image, kind := range map[string]fault.Kind{want: fault.Conflict, h.host + "/none": fault.NotFound, "A": fault.Invalid} {
		if err := s.Remove(t.Context(), image, false); fault.KindOf(err) != kind || err == nil {
			t.Errorf("remove %s: %v", image, err)
		}
	}
	if err := s.Remove(t.Context(), h.host+"/app:v2", false); err != nil {
		t.Errorf("one of two tags: %v", err)
	}
	if err := s.Remove(t.Context(), h.host+"/app:v1", false); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the last tag: %v", err)
	}
	if err := s.Remove(t.Context(), h.host+"/app:v1", true); err != nil {
		t.Errorf("by force: %v", err)
	}
	if err := s.Remove(t.Context(), want, true); fault.KindOf(err) != fault.NotFound {
		t.Errorf("what was removed by force is still there: %v", err)
	}
	use.add(want, -1)
	pull(t, s, h.host+"/app:v1", want)
	if err := s.Remove(t.Context(), h.host+"/app:v1", false); err != nil {
		t.Error(err)
	}
	if n, err := s.occupied(t.Context()); err != nil || n != 0 {
		t.Errorf("%d bytes are left, %v", n, err)
	}
}

// Have finds images by any of their names, and what is not here it does not fetch.
func TestHave(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	want := h.host + "/app@" + h.put(t, "app", "v1", picture(runtime.GOARCH, 1000, 1))
	h.put(t, "app", "v2", picture(runtime.GOARCH, 1000, 2))
	ask := func() map[string]task.Image {
		t.Helper()
		here, err := s.Have(t.Context(), []string{h.host + "/app:v1", want, h.host + "/app:v2", "A"})
		if err != nil {
			t.Fatal(err)
		}
		return here
	}
	if here := ask(); len(here) != 0 {
		t.Errorf("before the pull it has %v", here)
	}
	pull(t, s, h.host+"/app:v1", want)
	here := ask()
	if tag := here[h.host+"/app:v1"]; len(here) != 2 || tag.SizeBytes == 0 || here[want].Digest != tag.Digest || h.host+"/app@"+tag.Digest != want {
		t.Errorf("after the pull it has %v", here)
	}
}

// Collect says what it freed, and leaves what was used lately.
func TestCollect(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	want := h.host + "/app@" + h.put(t, "app", "v1", picture(runtime.GOARCH, 500_000, 2))
	pull(t, s, h.host+"/app:v1", want)
	if freed, err := s.Collect(t.Context(), time.Hour); err != nil || freed != 0 {
		t.Errorf("freed %d, %v", freed, err)
	}
	if freed, err := s.Collect(t.Context(), -time.Hour); err != nil || freed < 2_000_000 { // packed and unpacked
		t.Errorf("freed %d, %v", freed, err)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// What a process held that died is let go by the next one.
func TestSweep(t *testing.T) {
	s, _ := newStore(t)
	held, _, err := s.hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.write(held, picture(runtime.GOARCH, 1000, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.occupied(t.Context()); err != nil || n == 0 {
		t.Errorf("what is held was collected: %v", err)
	}
	for range 2 {
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Collect(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if n, err := s.occupied(t.Context()); err != nil || n != 0 {
		t.Errorf("%d bytes are left, %v", n, err)
	}
}
