//go:build e2e

package containerd_test

import (
	"strings"
	"testing"

	"berth/isolation"
	"berth/task"
)

// Ensure /tmp is in the task's storage also in gVisor, which would have it in memory, looks
// like the image's, and cannot be written to where the root file system cannot.
func TestGVisorTmp(t *testing.T) {
	needGVisor(t)
	const storage = 128 << 20
	s := small
	s.Storage, s.Containers, s.Runtime = storage, 4, task.GVisor
	b, _ := newBox(t, s)
	if got := b.sees("looks", isolation.Container{}, "/tmp"); got["mode"] != "dtrwxrwxrwx" {
		t.Errorf("/tmp is %v", got)
	}
	if code := b.does("readonly", isolation.Container{ReadonlyRootFilesystem: true, WorkingDirectory: "/"}, "flood", "/tmp/big"); code != 0 {
		t.Errorf("a container with a root that cannot be written to ended with %d", code)
	}
	if text, _ := b.report("readonly")["error"].(string); !strings.Contains(text, "read-only") {
		t.Errorf("there it may write to /tmp: %q", text)
	}
	if code := b.does("user", isolation.Container{}, "uses", "/tmp"); code != 0 {
		t.Errorf("a user of /tmp ended with %d", code)
	}
	if failed, ok := b.report("user")["failed"].(map[string]any); !ok || len(failed) > 0 {
		t.Errorf("in /tmp failed: %v", failed)
	}
	if n := b.floods("hog", isolation.Container{}, "/tmp/big"); n < storage/2 || n > storage {
		t.Errorf("%.0f bytes went into /tmp of a storage of %d", n, storage)
	}
	g, err := b.rt.Gauge(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if c, err := g.Read(); err != nil || c.EphemeralStorageBytes < storage/2 {
		t.Errorf("a full storage of %d says %d, %v", storage, c.EphemeralStorageBytes, err)
	}
}
