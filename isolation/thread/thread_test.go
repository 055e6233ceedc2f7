package thread_test

import (
	"errors"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation/thread"
)

func TestNeverTheMainThread(t *testing.T) {
	var calls sync.WaitGroup
	for range 200 {
		calls.Go(func() {
			err := thread.Apart(func() error {
				runtime.Gosched()
				if unix.Gettid() == unix.Getpid() {
					t.Error("the code runs on the main thread")
				}
				return unix.EBUSY
			})
			if !errors.Is(err, unix.EBUSY) {
				t.Errorf("Apart = %v, want what the code returned", err)
			}
		})
	}
	calls.Wait()
}

// A thread that did not end would be used again and again.
func TestThreadsEnd(t *testing.T) {
	seen := make(map[int]bool)
	for range 50 {
		if err := thread.Apart(func() error { seen[unix.Gettid()] = true; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 10 {
		t.Errorf("50 calls shared %d threads", len(seen))
	}
}
