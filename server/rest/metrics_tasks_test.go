package rest_test

import (
	"strings"
	"testing"
)

// Ensure Prometheus sees what each task uses while it runs, and how many there are.
func TestTaskMetrics(t *testing.T) {
	w := newWorld(t)
	series := func() (found []string) {
		for line := range strings.Lines(w.serve(request("GET", "/metrics", "")).Body.String()) {
			line = strings.TrimSpace(line)
			if strings.Contains(line, "task_count") || strings.Contains(line, `family="hello"`) && !strings.Contains(line, "ephemeral") {
				if !strings.HasPrefix(line, "#") {
					found = append(found, line)
				}
			}
		}
		return found
	}
	w.run(t, `{"taskDefinition":`+hello+`}`)
	if got, want := strings.Join(series(), "\n"), "berth_pending_task_count 1\nberth_running_task_count 0\nberth_task_count 1"; got != want {
		t.Errorf("before it runs:\n%s\nwant\n%s", got, want)
	}
	live(w.Fake, first)
	labels := `{family="hello",task="` + first + `"} `
	want := "berth_cpu_reserved_units" + labels + "256\n" +
		"berth_cpu_seconds_total" + labels + "5\n" +
		"berth_cpu_throttled_seconds_total" + labels + "1\n" +
		"berth_cpu_utilized_units" + labels + "128\n" +
		"berth_memory_reserved_bytes" + labels + "5.36870912e+08\n" +
		"berth_memory_utilized_bytes" + labels + "2.68435456e+08\n" +
		"berth_network_rx_bytes_total" + labels + "30\n" +
		"berth_network_tx_bytes_total" + labels + "40\n" +
		"berth_oom_kills_total" + labels + "1\n" +
		"berth_pending_task_count 0\n" +
		"berth_running_task_count 1\n" +
		"berth_storage_read_bytes_total" + labels + "10\n" +
		"berth_storage_write_bytes_total" + labels + "20\n" +
		"berth_task_count 1"
	if got := strings.Join(series(), "\n"); got != want {
		t.Errorf("while it runs:\n%s\nwant\n%s", got, want)
	}
	stop(w.Fake, first, 0)
	if got, want := strings.Join(series(), "\n"), "berth_pending_task_count 0\nberth_running_task_count 0\nberth_task_count 0"; got != want {
		t.Errorf("after it ended:\n%s\nwant\n%s", got, want)
	}
}
