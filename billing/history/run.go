// Package history remembers what became of tasks: of each one record of its run,
// and the estimate that was made when it was submitted. Both outlive the task.
//
// The one rule: it follows from the journal. The Recorder reads events in order
// and makes the estimate of a task from the runs that ended before the task was
// submitted, so reading the journal again makes the same records.
//
//	journal ─▶ Recorder ─┬─▶ a task is new      ─▶ Quote     what it was expected to cost
//	                     └─▶ a task has stopped ─▶ Run       how long, how much of what, how it ended
package history

import (
	"slices"
	"time"

	"berth/billing"
	"berth/task"
)

// Trial begins the startedBy of tasks that only try a size out.
const Trial = "tuning/"

// Run is what became of one task. Durations are on its own time line.
type Run struct {
	Task      task.ID       `json:"task"`
	Account   string        `json:"account,omitempty"` // none of runs before there were accounts
	Family    string        `json:"family"`
	Revision  int           `json:"revision"`
	Shape     billing.Shape `json:"shape"`
	StartedBy string        `json:"startedBy,omitempty"`
	StoppedAt time.Time     `json:"stoppedAt"`
	Charged   bool          `json:"charged"`       // its pull began, and with it the charge
	Ran       bool          `json:"ran"`           // it came to RUNNING
	Pull      time.Duration `json:"pull"`          // ns, of its images; part of what is charged
	Rest      time.Duration `json:"rest"`          // ns, from the end of the pull until it had stopped
	StopCode  string        `json:"stopCode"`      // of the ECS API; none of a run so far
	ExitCode  int           `json:"exitCode"`      // of the first essential container that failed; 0 if none did
	Use       *Use          `json:"use,omitempty"` // nil if nothing was measured
}

// Use is what a run used of what it reserved.
type Use struct {
	CPUNanos         uint64 `json:"cpuNanos"`
	PeakBytes        uint64 `json:"peakBytes"` // of memory, page cache included
	Periods          uint64 `json:"periods"`   // in which it was runnable
	ThrottledPeriods uint64 `json:"throttledPeriods"`
	OOMKills         uint64 `json:"oomKills"`

	// WorkingSetBytes is the most memory that could not be taken away: without
	// inactive page cache.
	WorkingSetBytes uint64 `json:"workingSetBytes"`

	// Minutes counts the minutes of the run by the CPU units that were in use on
	// average: a key k stands for more than (k−1) × CPUStep and at most k × CPUStep.
	// A run of less than a minute counts as one.
	Minutes map[int]int `json:"minutes,omitempty"`
}

// CPUStep is the resolution of Use.Minutes, in CPU units: a sixteenth of the
// smallest task.
const CPUStep = 16

// Metered returns how long the run was charged for before rounding up.
func (r Run) Metered() time.Duration { return r.Pull + r.Rest }

// Completed reports whether the run came to its end by itself: whether its
// length says how long such a run takes.
func (r Run) Completed() bool { return r.Ran && r.StopCode == task.EssentialExited }

// Failed reports whether the run did not do what it was for: it did not come to
// run, or an essential container failed.
func (r Run) Failed() bool { return !r.Ran || r.ExitCode != 0 }

// Of returns the record of t, which has stopped, from the samples that were taken
// of it, which may be none.
func Of(t task.Task, samples []task.Sample) Run {
	family, revision, _ := task.ParseDefinitionRef(t.DefinitionARN) // New writes nothing else.
	r := Run{
		Task: t.ID, Account: t.Realm().Account, Family: family, Revision: revision, Shape: billing.ShapeOf(t), StartedBy: t.StartedBy,
		StoppedAt: t.StoppedAt, Charged: !t.PullStartedAt.IsZero(), Ran: !t.StartedAt.IsZero(), StopCode: t.StopCode,
	}
	if r.Charged {
		pulled := t.PullStoppedAt
		if pulled.IsZero() {
			pulled = t.StoppedAt // It ended over the pull.
		}
		r.Pull, r.Rest = pulled.Sub(t.PullStartedAt), t.StoppedAt.Sub(pulled)
	}
	for _, c := range t.Containers {
		if c.Essential && c.ExitCode != nil && *c.ExitCode != 0 {
			r.ExitCode = *c.ExitCode
			break
		}
	}
	r.Use = useOf(t, samples)
	return r
}

// SoFar returns the record of t, which runs, as if it stopped at a time; u is what it has
// used, nil if that is not known yet.
func SoFar(t task.Task, u *Use, at time.Time) Run {
	t.StoppedAt = at
	r := Of(t, nil)
	r.Use = u
	return r
}

// useOf returns what t used, nil if that is not known.
func useOf(t task.Task, samples []task.Sample) *Use {
	if t.Usage != nil && (len(samples) == 0 || t.ExecutionStoppedAt.After(samples[len(samples)-1].At)) {
		samples = append(slices.Clip(samples), task.Sample{At: t.ExecutionStoppedAt, Counters: *t.Usage})
	}
	if len(samples) == 0 || t.StartedAt.IsZero() {
		return nil
	}
	last := samples[len(samples)-1]
	u := &Use{
		CPUNanos: last.CPUNanos, Periods: last.Periods, ThrottledPeriods: last.ThrottledPeriods, OOMKills: last.OOMKills,
		Minutes: make(map[int]int),
	}
	before := task.Sample{At: t.StartedAt}
	for i, s := range samples {
		u.PeakBytes = max(u.PeakBytes, s.MemoryPeakBytes)
		u.WorkingSetBytes = max(u.WorkingSetBytes, s.WorkingSetBytes)
		whole, final := s.At.Sub(before.At) >= time.Minute, i == len(samples)-1
		if !s.At.After(before.At) || !whole && !(final && len(u.Minutes) == 0) {
			continue // The rest of a minute is not one, unless there is nothing else.
		}
		u.Minutes[step(s.CPUNanos-min(before.CPUNanos, s.CPUNanos), s.At.Sub(before.At))]++
		before = s
	}
	return u
}

// step returns the key of Use.Minutes for so much CPU time in d.
func step(cpu uint64, d time.Duration) int {
	units := float64(cpu) / float64(d) * 1024 // No money depends on it.
	k := int(units / CPUStep)
	if float64(k*CPUStep) < units {
		k++
	}
	return max(k, 1)
}

// Quote is what a task was expected to cost when it was submitted.
type Quote struct {
	Task      task.ID       `json:"-"`
	At        time.Time     `json:"at" doc:"When the task was submitted"`
	Low       billing.Money `json:"low"`
	Expected  billing.Money `json:"expected"`
	High      billing.Money `json:"high"`
	Basis     string        `json:"basis" enum:"MEASURED,GIVEN,ASSUMED" doc:"Where the duration came from: measured runs, the request's timeout, or nowhere"`
	Runs      int           `json:"runs" doc:"That were measured before"`
	PriceList string        `json:"priceList"`

	ExpectedSeconds int64 `json:"expectedSeconds" doc:"That would be billed"`
}

// Query selects runs. Zero fields do not filter.
type Query struct {
	Account  string
	Family   string
	Since    time.Time // that stopped then or later
	Until    time.Time // that stopped before
	Limit    int       // at most so many, the latest; 0: all
	Revision int
}
