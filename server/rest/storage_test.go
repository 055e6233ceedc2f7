package rest_test

import (
	"strings"
	"testing"

	"berth/task"
)

// Ensure Prometheus sees what each task that runs has of its storage, and of no other.
func TestStorageMetrics(t *testing.T) {
	w := newWorld(t)
	series := func() (found []string) {
		for line := range strings.Lines(w.serve(request("GET", "/metrics", "")).Body.String()) {
			if strings.HasPrefix(line, "berth_ephemeral_storage_") {
				found = append(found, strings.TrimSpace(line))
			}
		}
		return found
	}
	w.run(t, `{"taskDefinition":`+hello+`}`)
	if got := series(); len(got) != 0 {
		t.Errorf("before it runs: %q", got)
	}
	live(w.Fake, first)
	got := strings.Join(series(), "\n")
	if want := `berth_ephemeral_storage_reserved_bytes{family="hello",task="` + first + `"} 2.147483648e+10
berth_ephemeral_storage_utilized_bytes{family="hello",task="` + first + `"} 2.73678336e+08`; got != want {
		t.Errorf("while it runs:\n%s\nwant\n%s", got, want)
	}
	stop(w.Fake, first, 0)
	if got := series(); len(got) != 0 {
		t.Errorf("after it ended: %q", got)
	}

	many := 0 // more than are looked at in one go
	for range 51 {
		for _, run := range w.run(t, `{"count":10,"taskDefinition":`+hello+`}`).Tasks {
			live(w.Fake, task.ID(run.ID))
			many++
		}
	}
	if got := series(); len(got) != 2*many {
		t.Errorf("%d series of %d tasks", len(got), many)
	}
}
