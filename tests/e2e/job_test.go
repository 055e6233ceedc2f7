//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Ensure the main job works from end to end: a task is submitted, runs, is
// logged, metered every second and billed to the nano-dollar.
func TestMainJob(t *testing.T) {
	s := start(t)
	id := s.submit(definition("hello", ".25 vCPU", "0.5 GB", "", "hello", "-for", "5s")).id()
	got := s.until(id, "STOPPED", 60*time.Second)

	if got.StopCode != "EssentialContainerExited" || got.StoppedReason != "Essential container in task exited" || got.code("main") != 0 {
		t.Errorf("ended as %s (%s), code %d", got.StopCode, got.StoppedReason, got.code("main"))
	}
	if got.CPU != "256" || got.Memory != "512" {
		t.Errorf("size %s/%s, want 256/512", got.CPU, got.Memory)
	}
	stamps := []time.Time{got.CreatedAt, got.PullStartedAt, got.PullStoppedAt, got.StartedAt, got.StoppingAt, got.ExecutionStoppedAt, got.StoppedAt}
	for i := 1; i < len(stamps); i++ {
		if stamps[i].IsZero() || stamps[i].Before(stamps[i-1]) {
			t.Errorf("time stamp %d is %v, the one before it %v", i, stamps[i], stamps[i-1])
		}
	}
	if ran := got.ExecutionStoppedAt.Sub(got.StartedAt); ran < 5*time.Second || ran > 7*time.Second {
		t.Errorf("ran for %v, want 5 s", ran)
	}
	streams := make(map[string]int)
	for _, e := range s.logs(id) {
		streams[e.Stream]++
		if e.Container != "main" || e.Time.Before(got.PullStoppedAt.Add(-time.Second)) || e.Time.After(got.StoppedAt.Add(time.Second)) {
			t.Errorf("odd log entry %+v", e)
		}
	}
	if streams["stdout"] < 5 || streams["stderr"] < 5 {
		t.Errorf("log lines %v, want at least 5 of each stream", streams)
	}
	s.checkBill(got)

	var usage struct {
		Samples []struct {
			Time        time.Time `json:"time"`
			MemoryBytes int64     `json:"memoryBytes"`
		} `json:"samples"`
	}
	s.eventually(15*time.Second, "usage is written", func() error {
		usage.Samples = nil
		if _, err := s.try("GET", "/api/v1/tasks/"+id+"/usage", "", &usage); err != nil {
			return err
		}
		if n := len(usage.Samples); n < 5 || n > 9 {
			return fmt.Errorf("%d samples of 5 s", n)
		}
		return nil
	})
	for i, u := range usage.Samples {
		if i > 0 && !u.Time.After(usage.Samples[i-1].Time) {
			t.Errorf("sample %d at %v, the one before it at %v", i, u.Time, usage.Samples[i-1].Time)
		}
	}
}

// Ensure a task may use what its size says and not more, and that the host stays
// usable whatever it tries.
func TestLimits(t *testing.T) {
	s := start(t)
	t.Run("CPU", func(t *testing.T) {
		id := s.submit(definition("spin", "256", "512", "", "spin", "-for", "12s", "-threads", "4")).id()
		s.until(id, "RUNNING", 20*time.Second)
		got := s.until(id, "STOPPED", 60*time.Second)
		var usage struct {
			Samples []struct {
				Time     time.Time `json:"time"`
				CPUNanos int64     `json:"cpuNanos"`
			} `json:"samples"`
		}
		s.call("GET", "/api/v1/tasks/"+id+"/usage", "", &usage)
		n := len(usage.Samples)
		if n < 11 {
			t.Fatalf("%d samples of a task that ran 12 s: %+v", n, got)
		}
		first, last := usage.Samples[0], usage.Samples[n-2]
		share := float64(last.CPUNanos-first.CPUNanos) / float64(last.Time.Sub(first.Time))
		if share < 0.25*0.95 || share > 0.25*1.05 {
			t.Errorf("it got %.4f of a CPU over %v, want 0.25 ± 5 %%", share, last.Time.Sub(first.Time))
		}
	})
	t.Run("Memory", func(t *testing.T) {
		id := s.submit(definition("hog", "256", "512", "", "hog", "600")).id()
		got := s.until(id, "STOPPED", 60*time.Second)
		c := got.Containers[0]
		if got.code("main") != 137 || !strings.HasPrefix(c.Reason, "OutOfMemoryError") {
			t.Errorf("code %d, reason %q", got.code("main"), c.Reason)
		}
		s.checkBill(got)
		fits := s.until(s.submit(definition("fits", "256", "512", "", "hog", "400")).id(), "STOPPED", 60*time.Second)
		if fits.code("main") != 0 {
			t.Errorf("400 MiB in a task of 512: code %d, %s", fits.code("main"), fits.Containers[0].Reason)
		}
	})
	t.Run("ForkBomb", func(t *testing.T) {
		id := s.submit(definition("bomb", "256", "512", "", "fork")).id()
		s.until(id, "RUNNING", 20*time.Second)
		for range 50 {
			begun := time.Now()
			if code := s.call("GET", "/healthz", "", nil); code != http.StatusOK {
				t.Errorf("healthz: %d", code)
			}
			if d := time.Since(begun); d > 100*time.Millisecond {
				t.Errorf("healthz took %v while a fork bomb ran", d)
			}
			time.Sleep(50 * time.Millisecond)
		}
		s.call("POST", "/api/v1/tasks/"+id+"/stop", `{"reason":"enough"}`, nil)
		s.until(id, "STOPPED", 60*time.Second)
	})
}

// Ensure a task is asked to end, then made to.
func TestStop(t *testing.T) {
	s := start(t)
	polite := s.submit(definition("polite", "256", "512", "", "trap", "TERM")).id()
	stubborn := s.submit(definition("stubborn", "256", "512", `,"stopTimeout":2`, "ignore", "TERM")).id()
	for _, id := range []string{polite, stubborn} {
		s.until(id, "RUNNING", 20*time.Second)
	}
	s.eventually(10*time.Second, "both have set up their handlers", func() error {
		if len(s.logs(polite)) == 0 || len(s.logs(stubborn)) == 0 {
			return fmt.Errorf("no word of them yet")
		}
		return nil
	})
	for _, id := range []string{polite, stubborn} {
		if code := s.call("POST", "/api/v1/tasks/"+id+"/stop", `{"reason":"enough"}`, nil); code != http.StatusAccepted && code != http.StatusOK {
			t.Errorf("stop: status %d", code)
		}
	}
	got := s.until(polite, "STOPPED", 20*time.Second)
	if got.code("main") != 0 || got.StopCode != "UserInitiated" || got.StoppedReason != "enough" {
		t.Errorf("polite ended with %d, %s %q", got.code("main"), got.StopCode, got.StoppedReason)
	}
	got = s.until(stubborn, "STOPPED", 20*time.Second)
	if d := got.ExecutionStoppedAt.Sub(got.StoppingAt); got.code("main") != 137 || d < 2*time.Second || d > 5*time.Second {
		t.Errorf("stubborn ended with %d after %v, want 137 after 2 s", got.code("main"), d)
	}
}

// Ensure every way not to start has Fargate's words, and leaves nothing.
func TestFailures(t *testing.T) {
	s := start(t)
	for _, tt := range []struct{ name, definition, code, reason string }{
		{"no such image", strings.Replace(definition("x", "256", "512", "", "exit", "0"), "berth/demo:latest", "127.0.0.1:1/none:latest", 1), "TaskFailedToStart", "CannotPullContainerError"},
		{"no such command", definition("x", "256", "512", `,"entryPoint":["/nothing"]`, "a"), "TaskFailedToStart", "CannotStartContainerError"},
		{"no such user", definition("x", "256", "512", `,"user":"nobody-here"`, "id"), "TaskFailedToStart", "Cannot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := s.until(s.submit(tt.definition).id(), "STOPPED", 90*time.Second)
			if got.StopCode != tt.code || !strings.Contains(got.StoppedReason, tt.reason) {
				t.Errorf("ended as %s %q, want %s %q", got.StopCode, got.StoppedReason, tt.code, tt.reason)
			}
			s.checkBill(got)
		})
	}
}

// Ensure several containers are one task: essential ones end it, others do not,
// and the order among them holds.
func TestContainers(t *testing.T) {
	s := start(t)
	def := func(containers ...map[string]any) string {
		for _, c := range containers {
			c["image"] = "berth/demo:latest"
		}
		b, _ := json.Marshal(map[string]any{"family": "many", "networkMode": "awsvpc", "cpu": "256", "memory": "512",
			"requiresCompatibilities": []string{"FARGATE"}, "containerDefinitions": containers})
		return string(b)
	}
	got := s.until(s.submit(def(
		map[string]any{"name": "prepare", "essential": false, "command": []string{"exit", "0"}},
		map[string]any{"name": "side", "essential": false, "command": []string{"trap", "TERM"}},
		map[string]any{"name": "main", "command": []string{"exit", "7"}, "dependsOn": []map[string]string{{"containerName": "prepare", "condition": "SUCCESS"}}},
	)).id(), "STOPPED", 60*time.Second)
	if got.code("prepare") != 0 || got.code("main") != 7 || got.code("side") != 0 || got.StopCode != "EssentialContainerExited" {
		t.Errorf("prepare %d, main %d, side %d, %s", got.code("prepare"), got.code("main"), got.code("side"), got.StopCode)
	}
	got = s.until(s.submit(def(
		map[string]any{"name": "prepare", "essential": false, "command": []string{"exit", "3"}},
		map[string]any{"name": "main", "command": []string{"exit", "0"}, "dependsOn": []map[string]string{{"containerName": "prepare", "condition": "SUCCESS"}}},
	)).id(), "STOPPED", 60*time.Second)
	if got.StopCode != "TaskFailedToStart" || !strings.Contains(got.StoppedReason, "did not exit successfully") || got.code("main") != -1 {
		t.Errorf("main %d, %s %q", got.code("main"), got.StopCode, got.StoppedReason)
	}
}

// Ensure a run is stopped when its time is up, one that does not fit waits, and
// one that never can is refused.
func TestAdmission(t *testing.T) {
	s := start(t, "--vcpu", "0.5", "--memory", "1024")
	var out struct{ Tasks []aTask }
	code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+definition("long", "256", "512", "", "sleep", "1h")+`,"count":3,"timeoutSeconds":3}`, &out)
	if code != http.StatusCreated || len(out.Tasks) != 3 {
		t.Fatalf("status %d, %d tasks", code, len(out.Tasks))
	}
	third := out.Tasks[2].id()
	s.until(out.Tasks[1].id(), "RUNNING", 20*time.Second)
	if got := s.task(third); got.LastStatus != "PROVISIONING" {
		t.Errorf("the third task is %s while two fill the host", got.LastStatus)
	}
	first := s.until(out.Tasks[0].id(), "STOPPED", 30*time.Second)
	if ran := first.StoppingAt.Sub(first.StartedAt); ran < 3*time.Second || ran > 4*time.Second || !strings.Contains(first.StoppedReason, "timeoutSeconds") {
		t.Errorf("timed out after %v: %q", ran, first.StoppedReason)
	}
	s.until(third, "STOPPED", 40*time.Second)

	var p problem
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+definition("big", "1024", "2048", "", "exit", "0")+`}`, &p); code < 400 || !strings.Contains(p.Detail, "RESOURCE:CPU") {
		t.Errorf("a task that never fits: %d %q", code, p.Detail)
	}
}
