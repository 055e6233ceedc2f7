//go:build e2e

package store_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"berth/fault"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// Ensure a store on a full disk refuses to write and says so, goes on reading, can
// be opened, and writes again by itself when there is room. Nothing that was
// acknowledged is lost. Needs root, for a small disk.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
			syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
	s := storetest.OpenUnclosed(t, dir)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var made []task.ID
	create := func() error {
		tk := newTask(t)
		_, err := s.Create(t.Context(), []task.Task{tk}, nil, "", "")
		if err == nil {
			made = append(made, tk.ID)
		}
		return err
	}
	readAll := func() {
		t.Helper()
		for _, id := range made {
			if _, err := s.Task(t.Context(), id); err != nil {
				t.Errorf("acknowledged, and not there: %v", err)
			}
		}
	}
	ballast := filepath.Join(dir, "ballast")
	for round := range 3 {
		for range 10 {
			if err := create(); err != nil {
				t.Fatal(err)
			}
		}
		fill(t, ballast)
		err := refusal(t, create)
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("round %d: on a full disk: %v, want unavailable", round, err)
		}
		if s.Refusing() == nil {
			t.Error("the store does not say that it refuses to write")
		}
		readAll()
		if round == 1 { // The process may die and come back meanwhile.
			if err := s.Close(); err != nil {
				t.Errorf("close on a full disk: %v", err)
			}
			s = storetest.OpenUnclosed(t, dir)
			readAll()
			if err := refusal(t, create); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("opened on a full disk: %v, want unavailable", err)
			}
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		recovered(t, s)
	}
	if err := create(); err != nil {
		t.Error(err)
	}
	readAll()
	end, err := s.LastSeq(t.Context())
	if err != nil || int(end) < len(made) {
		t.Fatalf("the journal ends at %d after %d tasks (%v)", end, len(made), err)
	}
	last := task.Seq(0)
	for ev, err := range s.Follow(t.Context(), 0) {
		if err != nil || ev.Seq != last+1 {
			t.Fatalf("event %d follows event %d (%v)", ev.Seq, last, err)
		}
		if last = ev.Seq; last == end {
			break
		}
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// fill writes a file until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// refusal repeats create until it fails: the log may have room left in its file.
func refusal(t *testing.T, create func() error) error {
	t.Helper()
	for range 10_000 {
		if err := create(); err != nil {
			return err
		}
	}
	t.Fatal("ten thousand tasks fitted on a full disk")
	return nil
}

// recovered waits until s writes again.
func recovered(t *testing.T, s *store.Store) {
	t.Helper()
	late := time.After(20 * time.Second)
	for s.Refusing() != nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("there is room, and after 20 s: %v", s.Refusing())
		}
	}
}
