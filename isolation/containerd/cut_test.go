//go:build e2e

package containerd_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/fault"
	"berth/isolation"
)

// Ensure a container whose start was cut short, after that was written down and
// before containerd was asked, can be stopped and killed: it never runs, and
// nobody waits for it.
func TestStopOfACutStart(t *testing.T) {
	b, _ := newBox(t, small)
	for name, end := range map[string]func() error{
		"stopped": func() error { _, err := b.rt.Stop(t.Context(), b.id, "stopped"); return err },
		"killed":  func() error { return b.rt.Kill(t.Context(), b.id, "killed") },
	} {
		c := isolation.Container{Task: b.id, Name: name, Image: shared.image, Command: []string{"sleep", "1h"}}
		if err := b.rt.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		dirs, err := filepath.Glob(filepath.Join(shared.state, "tasks", string(b.id), "*", "container.json"))
		if err != nil || len(dirs) == 0 {
			t.Fatalf("records %v, %v", dirs, err)
		}
		for _, d := range dirs { // the other one ended before
			intent := filepath.Join(filepath.Dir(d), "starting.json")
			if err := os.WriteFile(intent, []byte(`{"At":"2026-11-23T14:29:41Z"}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := end(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if e, err := b.rt.Wait(ctx, b.id, name); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: Wait = %+v, %v; want that there is nothing to wait for", name, e, err)
		}
		if _, err := b.rt.Start(t.Context(), b.id, name); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: started after all: %v", name, err)
		}
	}
}

// Ensure that, whenever the caller of a creation or a start goes away, what is
// there can be stopped, waited for and removed, and nothing is left.
func TestCalledOff(t *testing.T) {
	for range 25 {
		b, _ := newBox(t, small)
		after := time.Duration(rand.IntN(150)) * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), after)
		c := isolation.Container{Task: b.id, Name: "c", Image: shared.image, Command: []string{"sleep", "1h"}}
		err := b.rt.Create(ctx, c)
		if err == nil {
			_, err = b.rt.Start(ctx, b.id, "c")
		}
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			t.Errorf("called off after %v: %v", after, err)
		}
		if err := b.rt.Kill(t.Context(), b.id, "c"); err != nil {
			t.Errorf("kill after %v: %v", after, err)
		}
		soon, done := context.WithTimeout(t.Context(), 20*time.Second)
		if e, err := b.rt.Wait(soon, b.id, "c"); err != nil && fault.KindOf(err) != fault.NotFound || err == nil && e.Code != 137 {
			t.Errorf("called off after %v: Wait = %+v, %v", after, e, err)
		}
		done()
		if err := b.rt.Remove(t.Context(), b.id); err != nil {
			t.Errorf("remove after %v: %v", after, err)
		}
	}
}
