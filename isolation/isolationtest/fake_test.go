package isolationtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/isolationtest"
	"berth/task"
)

func TestFake(t *testing.T) {
	isolationtest.Suite(t, "probe@sha256:1", func(*testing.T) isolationtest.Host { return new(isolationtest.Fake) })
}

// run provisions a task and starts one container in it.
func run(t *testing.T, f *isolationtest.Fake, id task.ID, command ...string) {
	t.Helper()
	ctx := t.Context()
	if _, err := f.Provision(ctx, isolation.Sandbox{ID: id, Size: task.Size{CPU: 512, Memory: 1024}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(ctx, isolation.Container{Task: id, Name: "main", Image: "probe", Command: command}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Start(ctx, id, "main"); err != nil {
		t.Fatal(err)
	}
}

func TestScriptsRunOnTheClock(t *testing.T) {
	for _, tt := range []struct {
		name    string
		command []string
		stop    time.Duration // when Stop is called; 0: never
		takes   time.Duration
		code    int
	}{
		{"sleep", []string{"sleep", "90s"}, 0, 90 * time.Second, 0},
		{"exit", []string{"exit", "3"}, 0, 0, 3},
		{"entry point", []string{"/probe", "exit", "4"}, 0, 0, 4},
		{"stopped", []string{"sleep", "90s"}, time.Second, time.Second, 143},
		{"trap", []string{"trap", "TERM", "3s"}, time.Minute, time.Minute + 3*time.Second, 0},
		{"oom", []string{"oom", "64"}, 0, 0, 137},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, id, began := new(isolationtest.Fake), task.NewID(), time.Now()
				run(t, f, id, tt.command...)
				if tt.stop > 0 {
					time.Sleep(tt.stop)
					if _, err := f.Stop(t.Context(), id, "main"); err != nil {
						t.Fatal(err)
					}
				}
				e, err := f.Wait(t.Context(), id, "main")
				if err != nil || e.Code != tt.code || e.At.Sub(began) != tt.takes {
					t.Errorf("Wait = %+v after %v, %v; want code %d after %v", e, e.At.Sub(began), err, tt.code, tt.takes)
				}
			})
		})
	}
}

func TestFailTellsOfFailureAfterSuccess(t *testing.T) {
	refused := errors.New("connection lost")
	f := &isolationtest.Fake{Fail: func(call string, _ task.ID) error {
		if call == "start" {
			return refused
		}
		return nil
	}}
	id, ctx := task.NewID(), t.Context()
	if _, err := f.Provision(ctx, isolation.Sandbox{ID: id}); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(ctx, isolation.Container{Task: id, Name: "main", Command: []string{"exit", "3"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := f.Start(ctx, id, "main"); !errors.Is(err, refused) {
			t.Fatalf("Start: %v, want %v", err, refused)
		}
	}
	if n := f.Starts(id, "main"); n != 1 {
		t.Errorf("the process was started %d times", n)
	}
}

func TestRebootLosesProcesses(t *testing.T) {
	f, id := new(isolationtest.Fake), task.NewID()
	run(t, f, id, "sleep", "1h")
	f.Reboot()
	if _, err := f.Wait(t.Context(), id, "main"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Wait after a reboot: %v, want not found", err)
	}
	if _, err := f.Gauge(t.Context(), id); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Gauge after a reboot: %v, want not found", err)
	}
	if left := f.Leftovers(); len(left) != 1 {
		t.Errorf("leftovers after a reboot: %v, want the task", left)
	}
	if err := f.Remove(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if left := f.Leftovers(); len(left) != 0 {
		t.Errorf("leftovers after Remove: %v", left)
	}
}

func TestCountersFollowTheSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, id := new(isolationtest.Fake), task.NewID()
		run(t, f, id, "sleep", "10s")
		g, err := f.Gauge(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c, err := g.Read()
		if want := uint64(5 * time.Second); err != nil || c.CPUNanos != want {
			t.Errorf("Read = %+v, %v; want %d ns of CPU for 10 s at half a vCPU", c, err, want)
		}
	})
}
