//go:build e2e

package escape

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"berth/task"
)

// A measurement lasts working; hostile tasks begin before it and end after it.
const (
	working = 3 * time.Second
	hostile = 5 * time.Second
	rounds  = 3
)

// BenchmarkNeighbour measures how much less a task with a CPU of its own gets done beside
// a hostile one that does all it can within its limits, of a CPU too: the work of fixed
// time, alone and beside each kind of noise, in interleaved rounds. It is no test: on a
// host that others use, too, the difference between rounds may be more than what is
// measured.
func BenchmarkNeighbour(b *testing.B) {
	s := open(b)
	noises := [][]string{
		nil, {"flood", "cpu"}, {"flood", "copy"}, {"flood", "spawn"}, {"flood", "write"}, {"flood", "fd"}, {"flood", "log"}, {"noise"},
	}
	for work, noises := range map[string][][]string{"cpu": noises, "copy": {nil, {"noise"}}} {
		done := make([][]float64, len(noises))
		for range rounds {
			for i, noise := range noises {
				done[i] = append(done[i], s.work(work, noise))
			}
		}
		alone := median(done[0])
		for i, noise := range noises {
			slower := make([]float64, 0, rounds)
			for _, d := range done[i] {
				slower = append(slower, 100*(alone-d)/alone)
			}
			b.Logf("%s beside %v: %.1f %% slower than alone (%.1f to %.1f)", work, noise, median(slower), slices.Min(slower), slices.Max(slower))
		}
		b.ReportMetric(100*(alone-median(done[len(noises)-1]))/alone, "%slower-"+work)
	}
}

// work returns how much of something a task gets done beside a noise.
func (s *stage) work(kind string, noise []string) float64 {
	s.Helper()
	var attacker task.Task
	if noise != nil {
		attacker = s.run("", "1024", "2048", "", append(noise, hostile.String())...)
		s.until(attacker.ID, task.Running)
	}
	t := s.run("", "1024", "2048", "", "flood", kind, working.String())
	s.until(t.ID, task.Stopped)
	var r struct{ Got float64 }
	if err := json.Unmarshal([]byte(s.lastWord(t.ID)), &r); err != nil || r.Got == 0 {
		s.Fatalf("the neighbour said %q: %v", s.lastWord(t.ID), err)
	}
	if noise != nil {
		s.until(attacker.ID, task.Stopped)
	}
	return r.Got
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
