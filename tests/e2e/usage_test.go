//go:build e2e

package e2e

import (
	"math"
	"net/url"
	"time"
)

// checkUsage checks that the minutes of tasks that have stopped add up to their final
// counters, and to the time for which they are charged, to the millisecond: each moment
// is in them once.
func (s *server) checkUsage(tasks []aTask) {
	s.t.Helper()
	type group struct {
		Key         map[string]string `json:"key"`
		TaskSeconds float64           `json:"taskSeconds"`
		CPUSeconds  float64           `json:"cpuSeconds"`
	}
	groups := make(map[string]group)
	for token := ""; ; {
		var page struct {
			Groups    []group `json:"groups"`
			NextToken string  `json:"nextToken"`
		}
		s.call("GET", "/api/v1/usage?groupBy=task&nextToken="+url.QueryEscape(token), "", &page)
		for _, g := range page.Groups {
			groups[g.Key["task"]] = g
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	for _, t := range tasks {
		if t.PullStartedAt.IsZero() {
			continue
		}
		var final struct {
			Usage *struct {
				CPUNanos int64 `json:"cpuNanos"`
			} `json:"usage"`
		}
		s.call("GET", "/api/v1/tasks/"+t.id(), "", &final)
		g := groups[t.id()]
		if ran := t.StoppedAt.Truncate(time.Millisecond).Sub(t.PullStartedAt.Truncate(time.Millisecond)); math.Abs(g.TaskSeconds-ran.Seconds()) > 1e-6 {
			s.t.Errorf("task %s ran for %s and its minutes for %v s", t.id(), ran, g.TaskSeconds)
		}
		if u := final.Usage; u != nil && math.Abs(g.CPUSeconds-float64(u.CPUNanos)/1e9) > 1e-9 {
			s.t.Errorf("task %s used %d ns of CPU and its minutes say %v s", t.id(), u.CPUNanos, g.CPUSeconds)
		}
	}
}
