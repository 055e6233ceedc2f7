//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// Ensure a rule's webhook gets every event of tasks that its pattern selects, in order,
// although the server is killed again and again and the receiver fails now and then; and
// that what comes twice has the ID that it had.
func TestEventRuleOverKills(t *testing.T) {
	var mu sync.Mutex
	var got []string // task and version, as they came
	ids := make(map[string]string)
	n := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ev struct {
			ID     string `json:"id"`
			Detail struct {
				TaskARN    string `json:"taskArn"`
				LastStatus string `json:"lastStatus"`
			} `json:"detail"`
		}
		err := json.NewDecoder(r.Body).Decode(&ev)
		mu.Lock()
		defer mu.Unlock()
		what := ev.Detail.TaskARN + " " + ev.Detail.LastStatus
		if err != nil || r.Header.Get("Webhook-Id") != ev.ID || ids[ev.ID] != "" && ids[ev.ID] != what {
			t.Errorf("event %s is %s, was %s: %v", ev.ID, what, ids[ev.ID], err)
		}
		ids[ev.ID] = what
		if n++; n%4 == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if !slices.Contains(got, what) {
			got = append(got, what)
		}
	}))
	defer receiver.Close()
	s := start(t)
	if code := s.call("PUT", "/api/v1/event-rules/ends", fmt.Sprintf(`{"pattern":{"source":["aws.ecs"],"detail":{"lastStatus":["PENDING","STOPPED"]}},"webhook":"%s/hook"}`, receiver.URL), nil); code != http.StatusOK {
		t.Fatalf("the rule is answered with %d", code)
	}
	var want []string
	for range 4 {
		task := s.submit(definition("ev", "256", "512", "", "hello"))
		s.kill()
		s.run()
		s.until(task.id(), "STOPPED", 60*time.Second)
		want = append(want, task.TaskARN+" PENDING", task.TaskARN+" STOPPED")
	}
	s.kill()
	s.run()
	s.eventually(2*time.Minute, "all events have come", func() error {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) {
			return fmt.Errorf("there are %d of %d: %v", len(got), len(want), got)
		}
		return nil
	})
}
