package main

import (
	"testing"

	"berth/task"
)

// Ensure that a task that was cut off for want of money is no success, whatever its program
// made of the stop signal.
func TestExitCode(t *testing.T) {
	code := func(n int) *int { return &n }
	for _, tt := range []struct {
		stop string
		exit *int
		want int
	}{
		{task.EssentialExited, code(0), 0}, {task.EssentialExited, code(3), 3}, {task.SpendLimit, code(0), codeBerth}, {task.SpendLimit, code(143), 143}, {task.FailedToStart, nil, codeBerth},
	} {
		got := exitCode(task.Task{StopCode: tt.stop, Containers: []task.Container{{Essential: true, ExitCode: tt.exit}}})
		if got != tt.want {
			t.Errorf("%s, %v: %d, want %d", tt.stop, tt.exit, got, tt.want)
		}
	}
}
