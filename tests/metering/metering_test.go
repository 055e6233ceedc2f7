//go:build e2e

// Package metering measures what it costs to meter many tasks on the kernel of this
// host.
package metering

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/billing"
	"berth/fault"
	"berth/isolation/cgroup"
	"berth/store/storetest"
	"berth/task"
)

const (
	tasks   = 1000
	warming = 5 * time.Second // gauges are opened, and memory.stat is read of all
	measure = 30 * time.Second
)

// BenchmarkSampling1000 is the meter as the server has it, with a database that is
// synced, on the cgroups of 1,000 tasks of one container each. It reports the CPU time
// that this process took in a second, of one core.
func BenchmarkSampling1000(b *testing.B) {
	tree, err := cgroup.Open("/berth-bench-" + string(task.NewID())[20:])
	if err != nil {
		b.Fatal(err)
	}
	h := &host{tree: tree, begun: time.Now()}
	b.Cleanup(func() { h.remove(b) })
	for range tasks {
		h.make(b)
	}
	ctx, cancel := context.WithCancel(b.Context())
	m := billing.NewMeter(billing.Config{
		Journal: h, Ledger: storetest.Open(b, b.TempDir()), Probe: h, Prices: billing.BuiltIn(), Clock: h.now, Log: zap.NewNop(),
	})
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	time.Sleep(warming)
	for b.Loop() {
		cpu, wall := cpuTime(b), time.Now()
		time.Sleep(measure)
		used, took := cpuTime(b)-cpu, time.Since(wall)
		b.ReportMetric(100*used.Seconds()/took.Seconds(), "%core")
		b.ReportMetric(float64(used.Nanoseconds())/took.Seconds()/tasks, "ns/sample")
	}
	u, err := m.Usage(ctx, h.tasks[tasks/2].ID, billing.UsageQuery{})
	if err != nil || len(u.Samples) < int(measure/time.Second) {
		b.Errorf("%d samples in %s, %v", len(u.Samples), warming+measure, err)
	}
	b.ReportMetric(0, "ns/op")
	b.Log(tree.Layout())
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// host is a journal and a probe of tasks that have cgroups and nothing else.
type host struct {
	tree  *cgroup.Tree
	begun time.Time
	tasks []task.Task
}

func (h *host) now() task.Instant {
	return task.Instant{Wall: time.Now().UTC(), Boot: time.Since(h.begun), BootID: "boot"}
}

// make makes the cgroups of one task and of a container in it.
func (h *host) make(b *testing.B) {
	now := h.now()
	t := task.Task{
		ID: task.NewID(), LastStatus: task.Running, DesiredStatus: task.Running, CPU: "256", Memory: "512", Arch: "X86_64",
		PullStartedAt: now.Wall, Clock: now,
	}
	t.ARN = "arn:aws:ecs:us-east-1:000000000000:task/default/" + string(t.ID)
	h.tasks = append(h.tasks, t)
	if err := h.tree.Create(string(t.ID), cgroup.Limits{CPU: 256, Memory: 512, PIDs: 99}); err != nil {
		b.Fatal(err)
	}
	memory := "/sys/fs/cgroup/memory"
	if h.tree.Unified() {
		memory = "/sys/fs/cgroup"
	}
	if err := os.Mkdir(filepath.Join(memory, h.tree.Path(string(t.ID)), "main"), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		b.Fatal(err)
	}
}

// remove removes everything that make made, also when it failed half-way.
func (h *host) remove(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, t := range h.tasks {
		if err := h.tree.Remove(ctx, string(t.ID)); err != nil {
			b.Error(err)
		}
	}
	if err := h.tree.Close(ctx); err != nil {
		b.Error(err)
	}
	if left, err := h.tree.List(); err != nil || len(left) > 0 {
		b.Errorf("%d cgroups are left, %v", len(left), err)
	}
}

func (h *host) Open(_ context.Context, id task.ID) (billing.Gauge, error) {
	return h.tree.Gauge(string(id), "")
}

func (h *host) Unfinished(context.Context) ([]task.Task, task.Seq, error) { return h.tasks, 1, nil }

func (h *host) Follow(ctx context.Context, _ task.Seq) iter.Seq2[task.Event, error] {
	return func(func(task.Event, error) bool) { <-ctx.Done() }
}

func (h *host) Task(_ context.Context, id task.ID) (task.Task, error) {
	for _, t := range h.tasks {
		if t.ID == id {
			return t, nil
		}
	}
	return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
}

func (h *host) Beat(context.Context, task.Instant) error { return nil }
