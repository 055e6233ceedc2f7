//go:build e2e

package containerd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/isolation"
	"berth/isolation/containerd"
)

// Ensure a command that has to go takes what it started with it, and that one whose caller
// died is out of the way of the next.
func TestExecLeavesNothing(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "main", Init: true, Command: []string{"sleep", "1h"}}) // an init process reaps
	exec := func(patience time.Duration, command ...string) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return b.rt.Exec(ctx, b.id, "main", isolation.Command{Name: "check", Args: append([]string{"/probe"}, command...)})
	}
	if _, err := exec(time.Second, "family"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that does not end: %v", err)
	}
	if n, err := exec(10*time.Second, "pids"); err != nil || n != 3 { // init, the main process and itself
		t.Errorf("%d processes are in the container, %v; want 3", n, err)
	}

	// A server that dies leaves its command: the next one asks containerd for the same. What
	// lives on of the dead one here would clear away after its command, so that is made by hand.
	c, err := shared.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := namespaces.WithNamespace(t.Context(), containerd.Namespace)
	all, err := c.ContainerService().List(ctx, `labels."berth/task"==`+string(b.id))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d containers, %v", len(all), err)
	}
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(all[0].Spec, &spec); err != nil {
		t.Fatal(err)
	}
	left := *spec.Process
	left.Args, left.Terminal = []string{"/probe", "sleep", "1h"}, false
	encoded, err := typeurl.MarshalAny(&left)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.TaskService().Exec(ctx, &tasks.ExecProcessRequest{
		ContainerID: all[0].ID, ExecID: "exec-other", Spec: typeurl.MarshalProto(encoded), Stdout: "file:///dev/null", Stderr: "file:///dev/null",
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: all[0].ID, ExecID: "exec-other"}); err != nil {
		t.Fatal(err)
	}
	if code, err := b.rt.Exec(t.Context(), b.id, "main", isolation.Command{Name: "other", Args: []string{"/probe", "exit", "4"}}); err != nil || code != 4 {
		t.Errorf("the next of that name: %d, %v", code, err)
	}
	if n, err := exec(10*time.Second, "pids"); err != nil || n != 3 {
		t.Errorf("%d processes are in the container, %v; want 3", n, err)
	}
}

// Ensure the counters of a task go on over the restart of a container.
func TestCountersOverRestart(t *testing.T) {
	b, _ := newBox(t, small)
	b.run(isolation.Container{Name: "main", Command: []string{"spin", "500ms"}})
	g, err := b.rt.Gauge(t.Context(), b.id)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var last uint64
	for run := 1; run <= 3; run++ {
		b.wait("main")
		c, err := g.Read()
		if err != nil || c.CPUNanos < last+uint64(50*time.Millisecond) {
			t.Errorf("run %d: %d ns of CPU time after %d, %v", run, c.CPUNanos, last, err)
		}
		last = c.CPUNanos
		if _, err := b.rt.Restart(t.Context(), b.id, "main", run); err != nil {
			t.Fatal(err)
		}
	}
	b.wait("main")
}
