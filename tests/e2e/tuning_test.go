//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// aTuning is what these tests read of a tuning.
type aTuning struct {
	TuningID string `json:"tuningId"`
	Status   string `json:"status"`
	Reason   string `json:"reason"`
	Version  int64  `json:"version"`
	Made     int    `json:"madeRuns"`
	Planned  int    `json:"plannedRuns"`
	Spent    string `json:"spent"`
	Results  []struct {
		CPU              int
		Runs, Succeeded  int
		Run              struct{ MedianNanos int64 }
		BilledSeconds    int
		MedianCost       string
		ThrottledPercent float64
		PeakMemoryBytes  uint64
	}
	Best struct {
		Cheapest, Fastest *struct{ CPU int }
	}
	Log []struct {
		CPU, Run, Attempt int
		State, Outcome    string
		TaskID            string
		Cost              string
	}
}

// Ensure a job that needs so much CPU time is faster at each larger size, that the tuning
// says so, and that each run is made once although the server is killed between two and
// in the middle of one.
func TestTuning(t *testing.T) {
	s := start(t, "--vcpu", "2", "--memory", "8192")
	def := definition("job", "256", "512", "", "work", "700ms")
	if code := s.call("POST", "/api/v1/task-definitions", def, nil); code != http.StatusCreated {
		t.Fatalf("register: %d", code)
	}
	var u aTuning
	if code := s.call("POST", "/api/v1/tunings", `{"taskDefinition":"job","sizes":[{"cpu":256,"memory":512},{"cpu":512,"memory":1024},{"cpu":1024,"memory":2048}],
		"runs":2,"maxDurationSeconds":60,"maxCost":"0.05"}`, &u); code != http.StatusCreated || u.Planned != 6 {
		t.Fatalf("tune: %d, %+v", code, u)
	}
	path := "/api/v1/tunings/" + u.TuningID
	reached := func(what string, f func() bool) {
		t.Helper()
		s.eventually(50*time.Second, what, func() error {
			u = aTuning{}
			if _, err := s.try("GET", path, "", &u); err != nil {
				return err
			}
			if !f() {
				return fmt.Errorf("it is %s %s with %d of %d runs", u.Status, u.Reason, u.Made, u.Planned)
			}
			return nil
		})
	}
	reached("a run goes on", func() bool { return len(u.Log) > 0 && u.Log[0].State == "RUNNING" })
	s.kill()
	s.run()
	reached("two runs are made", func() bool { return u.Made >= 2 })
	s.kill()
	s.run()
	reached("it is complete", func() bool { return u.Status == "COMPLETED" })

	var out struct{ Tasks []aTask }
	s.call("GET", "/api/v1/tasks?startedBy=tuning/"+u.TuningID, "", &out)
	if len(out.Tasks) != 6 || len(u.Log) != 6 {
		t.Errorf("%d tasks and %d runs, want 6", len(out.Tasks), len(u.Log))
	}
	for _, task := range out.Tasks {
		s.checkBill(task)
	}
	seen := make(map[string]bool)
	for _, r := range u.Log {
		var bill struct{ Status, Total string }
		s.call("GET", "/api/v1/tasks/"+r.TaskID+"/bill", "", &bill)
		if seen[r.TaskID] || bill.Status != "FINAL" || bill.Total != r.Cost || r.Outcome != "SUCCEEDED" || r.Attempt != 1 {
			t.Errorf("run %+v, and its bill %+v", r, bill)
		}
		seen[r.TaskID] = true
	}
	for i, r := range u.Results {
		t.Logf("%4d CPU units: %v, %d s billed, $%s, %.0f %% throttled, %d KiB", r.CPU, time.Duration(r.Run.MedianNanos), r.BilledSeconds, r.MedianCost, r.ThrottledPercent, r.PeakMemoryBytes>>10)
		if r.Runs != 2 || r.Succeeded != 2 || r.BilledSeconds != 60 || r.PeakMemoryBytes == 0 {
			t.Errorf("%+v", r)
		}
		if i > 0 && r.Run.MedianNanos >= u.Results[i-1].Run.MedianNanos {
			t.Errorf("%d CPU units are no faster than %d", r.CPU, u.Results[i-1].CPU)
		}
	}
	if u.Results[0].ThrottledPercent < 50 {
		t.Errorf("a quarter of a CPU is throttled in %.0f %% of its periods", u.Results[0].ThrottledPercent)
	}
	if b := u.Best; b.Cheapest == nil || b.Cheapest.CPU != 256 || b.Fastest.CPU != 1024 {
		t.Errorf("best: %+v", b)
	}
}

// Ensure a tuning that is cancelled leaves nothing running.
func TestTuningCancelled(t *testing.T) {
	s := start(t, "--vcpu", "2", "--memory", "4096")
	s.call("POST", "/api/v1/task-definitions", definition("job", "256", "512", `,"stopTimeout":2`, "sleep", "1h"), nil)
	var u aTuning
	s.call("POST", "/api/v1/tunings", `{"taskDefinition":"job","sizes":[{"cpu":256,"memory":512}],"runs":3,"parallelism":2}`, &u)
	path := "/api/v1/tunings/" + u.TuningID
	going := func() error {
		u = aTuning{}
		if _, err := s.try("GET", path, "", &u); err != nil {
			return err
		}
		if len(u.Log) != 2 || u.Log[1].TaskID == "" {
			return fmt.Errorf("%d runs go on", len(u.Log))
		}
		return nil
	}
	s.eventually(20*time.Second, "two runs go on", going)
	s.until(u.Log[0].TaskID, "RUNNING", 20*time.Second)
	s.call("POST", path+"/cancel", "", nil)
	s.kill()
	s.run()
	s.eventually(30*time.Second, "it is cancelled", func() error {
		if s.call("GET", path, "", &u); u.Status != "CANCELLED" {
			return fmt.Errorf("it is %s", u.Status)
		}
		return nil
	})
	for _, r := range u.Log {
		if got := s.task(r.TaskID); got.LastStatus != "STOPPED" || r.Outcome != "DISCARDED" {
			t.Errorf("run %+v is %s", r, got.LastStatus)
		}
	}
}
