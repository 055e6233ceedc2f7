//go:build e2e

package userns_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation/userns"
)

// Ensure a try leaves nothing, also of one that died in the middle.
func TestTry(t *testing.T) {
	dir := t.TempDir()
	trial := filepath.Join(dir, "trial")
	if err := os.MkdirAll(filepath.Join(trial, "lower", "of", "before"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := userns.Try(trial); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := userns.TryView(dir, trial); err != nil {
		t.Error(err)
	}
	if err := userns.TryView(filepath.Join(dir, "none"), trial); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a view of what is not there: %v", err)
	}
	if err := userns.TryView("/proc", trial); err == nil {
		t.Error("the owners in /proc can be others")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("left: %v, %v", entries, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts are left in %s: %v", dir, err)
	}
}

// Ensure making a view twice makes one, which shows files with the owners of the namespace
// and takes no writes.
func TestView(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const r userns.Range = 0x70050000
	at := filepath.Join(t.TempDir(), "view")
	err := userns.Make(r, func(users, _ string) error {
		defer unmount(t, at)
		if err := errors.Join(userns.View(dir, at, users), userns.View(dir, at, users)); err != nil {
			return err
		}
		if uid := owner(t, filepath.Join(at, "file")); uid != r.Outside(uint32(os.Getuid())) {
			t.Errorf("the file belongs to %d", uid)
		}
		if err := os.WriteFile(filepath.Join(at, "file"), []byte("x"), 0); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing to the view: %v", err)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if n := strings.Count(string(mounts), " "+at+" "); n != 1 {
			t.Errorf("%d mounts, want 1", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func unmount(t *testing.T, at string) {
	t.Helper()
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

func owner(t *testing.T, path string) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}
