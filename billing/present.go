package billing

import (
	"time"

	"berth/task"
)

// Present is what a task that is metered uses now.
type Present struct {
	Subject
	Last task.Sample // the newest
	CPU  float64     // CPU units in use (1024 are one vCPU), on average over the last minute or since the task began
}

// Present returns what all metered tasks that were sampled use, in no order.
func (m *Meter) Present() []Present {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Present
	for _, mt := range m.tasks {
		if p, some := mt.series.present(); some {
			p.Subject = mt.subject
			all = append(all, p)
		}
	}
	return all
}

// mark is how much CPU time a task had used by a time.
type mark struct {
	at  time.Time
	cpu uint64
}

const (
	markEvery = 5 * time.Second
	marks     = int(time.Minute / markEvery)
)

// note remembers a sample of the last minute now and then.
func (s *series) note(sample task.Sample) {
	if n := len(s.marks); n > 0 && sample.At.Sub(s.marks[n-1].at) < markEvery {
		return
	}
	if len(s.marks) > marks {
		s.marks = append(s.marks[:0], s.marks[1:]...)
	}
	s.marks = append(s.marks, mark{sample.At, sample.CPUNanos})
}

func (s *series) present() (Present, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.marks) == 0 {
		return Present{}, false
	}
	p := Present{Last: s.last}
	if d := s.last.At.Sub(s.marks[0].at); d > 0 {
		p.CPU = 1024 * grown(s.marks[0].cpu, s.last.CPUNanos) / float64(d)
	}
	return p, true
}
