package runner

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/task"
)

// Ensure that, whatever comes and goes, tasks are admitted in the order in which
// they came, never more than fit, and never fewer than the head of the queue
// allows.
func TestCapacity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := task.Size{CPU: 2048, Memory: 4096}
		c := newCapacity(total)
		var waiting, running []task.Task // the model: waiting in order
		admit := func() {
			for len(waiting) > 0 {
				sum := waiting[0].Size()
				for _, r := range running {
					sum.CPU += r.Size().CPU
					sum.Memory += r.Size().Memory
				}
				if sum.CPU > total.CPU || sum.Memory > total.Memory {
					return
				}
				running, waiting = append(running, waiting[0]), waiting[1:]
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for n := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch all := append(append([]task.Task(nil), running...), waiting...); {
			case rapid.Bool().Draw(t, "come") || len(all) == 0:
				tk := task.Task{
					ID: task.ID(fmt.Sprint(n)), LastStatus: task.Provisioning,
					CPU:    fmt.Sprint(256 << rapid.IntRange(0, 3).Draw(t, "cpu")),
					Memory: fmt.Sprint(512 << rapid.IntRange(0, 3).Draw(t, "memory")),
				}
				c.enter(tk)
				waiting = append(waiting, tk)
			default:
				gone := all[rapid.IntRange(0, len(all)-1).Draw(t, "who")]
				c.leave(gone.ID)
				c.leave(gone.ID)
				running, waiting = without(running, gone.ID), without(waiting, gone.ID)
			}
			admit()
			var want task.Size
			for _, tk := range running {
				want.CPU += tk.Size().CPU
				want.Memory += tk.Size().Memory
				if err := c.wait(ended, tk.ID); err != nil && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			_, got, queued := c.load()
			if got != want || queued != len(waiting) {
				t.Fatalf("reserved %+v with %d waiting, want %+v with %d", got, queued, want, len(waiting))
			}
		}
	})
}

func without(ts []task.Task, id task.ID) []task.Task {
	var rest []task.Task
	for _, t := range ts {
		if t.ID != id {
			rest = append(rest, t)
		}
	}
	return rest
}

// Ensure a waiting task goes on as soon as there is room, and not before.
func TestCapacityWait(t *testing.T) {
	c := newCapacity(task.Size{CPU: 256, Memory: 512})
	first := task.Task{ID: "1", LastStatus: task.Running, CPU: "256", Memory: "512"}
	second := task.Task{ID: "2", LastStatus: task.Provisioning, CPU: "256", Memory: "512"}
	c.enter(first)
	c.enter(second)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.wait(short, second.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("admitted to a full host: %v", err)
	}
	c.leave(first.ID)
	if err := c.wait(t.Context(), second.ID); err != nil {
		t.Errorf("not admitted to an empty host: %v", err)
	}
}

// Ensure what is forecast is what happens: that many of some tasks are admitted if they
// come now, whatever is there already, and to forecast changes nothing.
func TestCapacityForecast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(id string) task.Task {
			return task.Task{
				ID: task.ID(id), LastStatus: task.Provisioning,
				CPU:    fmt.Sprint(256 << rapid.IntRange(0, 3).Draw(t, "cpu")),
				Memory: fmt.Sprint(512 << rapid.IntRange(0, 3).Draw(t, "memory")),
			}
		}
		c := newCapacity(task.Size{CPU: 4096, Memory: 8192})
		for n := range rapid.IntRange(0, 8).Draw(t, "before") {
			c.enter(draw(fmt.Sprint("before", n)))
		}
		each, count := draw("new"), rapid.IntRange(1, 10).Draw(t, "count")
		f := c.forecast(each.Size(), count)
		_, reserved, waiting := c.load()
		if f.Reserved != reserved || f.Ahead != waiting {
			t.Fatalf("forecast says %+v and %d wait, and it is %+v and %d", f.Reserved, f.Ahead, reserved, waiting)
		}
		for n := range count {
			each.ID = task.ID(fmt.Sprint("new", n))
			c.enter(each)
		}
		if _, _, queued := c.load(); count-(queued-waiting) != f.StartNow {
			t.Fatalf("%d of %d were admitted, and forecast were %d", count-(queued-waiting), count, f.StartNow)
		}
	})
}
