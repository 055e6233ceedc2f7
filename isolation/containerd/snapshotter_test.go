//go:build e2e

package containerd_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/isolation/containerd"
)

// Ensure root file systems are copied where an overlay could be read and not
// written, as below another overlay, and that nothing is left of finding out.
func TestSnapshotter(t *testing.T) {
	c, err := shared.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if shared.config.Snapshotter != "overlayfs" {
		t.Fatalf("the tests' own state directory, %s, cannot hold an overlay: set BERTH_TEST_STATE to one that can", shared.state)
	}
	below, err := os.MkdirTemp(shared.state, "below-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(below) })
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(below, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(below, "merged")
	options := "lowerdir=" + below + "/lower,upperdir=" + below + "/upper,workdir=" + below + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(merged, 0); err != nil {
			t.Error(err)
		}
	})
	for dir, want := range map[string]string{merged: "native", shared.state: shared.config.Snapshotter} {
		got, err := containerd.Snapshotter(t.Context(), c, dir, shared.log)
		if err != nil || got != want {
			t.Errorf("below %s: %s, %v; want %s", dir, got, err, want)
		}
		if left, err := filepath.Glob(dir + "/overlay-*"); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v", dir, errors.Join(err))
		}
	}
}
