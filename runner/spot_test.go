package runner

import (
	"math"
	"testing"
	"time"

	"berth/task"
)

// Ensure interruptions come as often as was asked for, without memory, and only where
// they may.
func TestFate(t *testing.T) {
	const tasks, perHour = 20_000, 2.0
	var sum, late float64
	for range tasks {
		spot := task.Task{ID: task.NewID(), CapacityProvider: task.Spot}
		d, ok := fate(spot, perHour)
		if again, _ := fate(spot, perHour); !ok || again != d || d < 0 {
			t.Fatalf("fate = %v, %v, then %v", d, ok, again)
		}
		sum += d.Hours()
		if d > time.Hour {
			late++
		}
	}
	if mean := sum / tasks; math.Abs(mean-1/perHour) > 0.02 {
		t.Errorf("tasks last %.3f h, want %.3f", mean, 1/perHour)
	}
	if share := late / tasks; math.Abs(share-math.Exp(-perHour)) > 0.01 {
		t.Errorf("%.3f of them last an hour, want %.3f", share, math.Exp(-perHour))
	}
	if _, ok := fate(task.Task{ID: task.NewID()}, perHour); ok {
		t.Error("a task on demand is interrupted")
	}
	if _, ok := fate(task.Task{ID: task.NewID(), CapacityProvider: task.Spot}, 0); ok {
		t.Error("a rate of 0 interrupts")
	}
}
