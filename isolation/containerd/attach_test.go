//go:build e2e

package containerd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"berth/isolation"
	"berth/task"
)

// attach runs the probe in a session and returns what it printed.
func (b *box) attach(ctx context.Context, name string, command ...string) (int, string, error) {
	var out bytes.Buffer
	code, err := b.rt.Attach(ctx, b.id, name, isolation.Session{
		ID: string(task.NewID()), Args: append([]string{"/probe"}, command...), Stdout: &out, Stderr: &out,
	})
	return code, out.String(), err
}

// Ensure a session takes with it what it started, also what began a session of its own.
func TestAttachLeavesNothing(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "main", Init: true, Command: []string{"sleep", "1h"}}) // an init process reaps
	left := func(when string) {
		t.Helper()
		if n, _, err := b.attach(t.Context(), "main", "pids"); err != nil || n != 3 { // init, the main process and itself
			t.Errorf("%d processes are in the container %s, %v; want 3", n, when, err)
		}
	}
	if code, _, err := b.attach(t.Context(), "main", "daemon"); code != 0 || err != nil {
		t.Errorf("a command that leaves a daemon behind = %d, %v", code, err)
	}
	left("after a daemon")
	soon, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, _, err := b.attach(soon, "main", "family"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that does not end: %v", err)
	}
	left("after a family")
}

// Ensure a session is root's, whoever the container's user is, has what the container is
// told in confidence, and no more rights than the container.
func TestAttachIsRoot(t *testing.T) {
	b, _ := newBox(t, small)
	secrets := func(context.Context) ([]string, error) { return []string{"PASSWORD=hush"}, nil }
	b.run(isolation.Container{
		Name: "main", User: "1000:1000", Command: []string{"sleep", "1h"}, Env: []string{"PLAIN=seen"},
		DropCapabilities: []string{"NET_RAW"}, Secrets: secrets,
	})
	for _, kv := range [][2]string{{"PASSWORD", "hush"}, {"PLAIN", "seen"}} {
		if code, out, err := b.attach(t.Context(), "main", "knows", kv[0], kv[1]); code != 0 || err != nil {
			t.Errorf("knows %s = %d, %v: %s", kv[0], code, err, out)
		}
	}
	code, out, err := b.attach(t.Context(), "main", "inspect", "1ms")
	var seen struct {
		UID    int
		CapEff string
	}
	if err != nil || code != 0 || json.Unmarshal([]byte(out), &seen) != nil {
		t.Fatalf("inspect = %d, %v: %s", code, err, out)
	}
	const netRaw, chown = 13, 0
	eff, _ := strconv.ParseUint(seen.CapEff, 16, 64)
	if seen.UID != 0 || eff>>netRaw&1 != 0 || eff>>chown&1 != 1 {
		t.Errorf("a session sees itself as %+v", seen)
	}
}
