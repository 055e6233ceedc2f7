package tuning

import (
	"fmt"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// ID names a tuning for ever: 32 lower-case hex digits, as a task's. IDs sort by the
// time they were made.
type ID string

// ParseID reads an ID. What is none is fault.NotFound.
func ParseID(s string) (ID, error) {
	id, err := task.ParseID(s)
	if err != nil || string(id) != s {
		return "", fault.New(fault.NotFound, "no tuning %q: its ID is 32 hex digits", s)
	}
	return ID(id), nil
}

// Status is where a tuning is in its life.
type Status string

// The states of a tuning.
const (
	Waiting       Status = "WAITING"        // for the tunings before it: one at a time, so that they do not disturb each other
	Running       Status = "RUNNING"        //
	Stopping      Status = "STOPPING"       // starts nothing more and waits until what runs has stopped
	Completed     Status = "COMPLETED"      // every size has its runs, or is skipped
	BudgetReached Status = "BUDGET_REACHED" // the next run might have cost more than was left
	Cancelled     Status = "CANCELLED"      //
	Failed        Status = "FAILED"         // a run was refused, and another would have been too
)

// Ended reports whether nothing more happens to a tuning by itself.
func (s Status) Ended() bool {
	return s == Completed || s == BudgetReached || s == Cancelled || s == Failed
}

// Size is one of the sizes that are tried.
type Size struct {
	CPU    int `json:"cpu" doc:"CPU units; 1024 are one vCPU"`
	Memory int `json:"memory" doc:"MiB"`
}

// String returns the size as the command line takes it: 256:512.
func (s Size) String() string { return fmt.Sprintf("%d:%d", s.CPU, s.Memory) }

// Tuning is what is tried, and how far it has come. Amounts are US dollars as decimal
// strings.
type Tuning struct {
	ID             ID     `json:"tuningId"`
	Status         Status `json:"status" enum:"WAITING,RUNNING,STOPPING,COMPLETED,BUDGET_REACHED,CANCELLED,FAILED"`
	Reason         string `json:"reason,omitempty" doc:"Why it ended, or is about to"`
	Version        int64  `json:"version" doc:"Grows with every change"`
	TaskDefinition string `json:"taskDefinition" doc:"ARN of the definition that is run"`

	Sizes              []Trial         `json:"sizes" doc:"In the order of the first round; each round begins one further"`
	Runs               int             `json:"runs" doc:"At each size"`
	Parallelism        int             `json:"parallelism" doc:"Runs side by side"`
	MaxCost            billing.Money   `json:"maxCost" doc:"That all runs together may cost"`
	MayOverrun         billing.Money   `json:"mayOverrun" doc:"How much more than maxCost it can be at most while the server runs: what runs cost between being over it and having stopped"`
	MaxDurationSeconds int64           `json:"maxDurationSeconds" doc:"A run that goes on for longer is stopped and counts as TIMED_OUT"`
	Balance            float64         `json:"balance" doc:"Weight of the cost, from 0 to 1, in what is the best balance; the rest is that of the duration"`
	WarmUp             bool            `json:"warmUp" doc:"One run before all others does not count"`
	Overrides          *task.Overrides `json:"overrides,omitempty" doc:"Of every run"`
	Notes              []string        `json:"notes" doc:"What was decided where the request left it open, and what to keep in mind"`

	Spent     billing.Money `json:"spent" doc:"By the runs that have ended, also those that do not count"`
	CreatedAt time.Time     `json:"createdAt"`
	StartedAt time.Time     `json:"startedAt,omitzero"`
	EndedAt   time.Time     `json:"endedAt,omitzero"`

	Ending Status `json:"ending,omitempty" doc:"While STOPPING: what it will be"`
}

// Trial is a size of a Tuning.
type Trial struct {
	Size
	Least    billing.Money `json:"leastCost" doc:"Of one run, however short: the minimum charge"`
	Expected billing.Money `json:"expectedCost" doc:"Of one run, estimated before the first"`
	High     billing.Money `json:"highCost" doc:"Of one run that takes long; what has to be left of maxCost for one as long as there is none to go by"`
	Unfit    string        `json:"unfit,omitempty" doc:"Why this host cannot run it"`
}

// State is where a Run is in its life.
type State string

// The states of a Run.
const (
	Submitting State = "SUBMITTING" // will be, or has been, submitted: written before that
	Going      State = "RUNNING"    // its task is known
	Ended      State = "ENDED"      // its task has stopped, and its bill is final
)

// Outcome is how a Run ended.
type Outcome string

// The outcomes. All but Succeeded and Discarded are failures of its size.
const (
	Succeeded  Outcome = "SUCCEEDED"   // every essential container ended with 0
	OutOfMem   Outcome = "OOM_KILLED"  // the kernel killed it for memory
	ExitCode   Outcome = "EXIT_CODE"   // an essential container ended with another code
	TimedOut   Outcome = "TIMED_OUT"   // it was stopped after maxDuration
	NotStarted Outcome = "NOT_STARTED" // it did not come to run
	StoppedBy  Outcome = "STOPPED"     // somebody or something else stopped it
	Lost       Outcome = "LOST"        // its task was forgotten before its end was read
	Discarded  Outcome = "DISCARDED"   // the tuning itself stopped it, or did not submit it; does not count, and is made up for after Resume
)

// Run is one run of a Tuning. Durations are on its task's time line.
type Run struct {
	Size
	N       int     `json:"run" doc:"From 1; 0 is the warm-up"`
	Attempt int     `json:"attempt" doc:"From 1; more if those before were DISCARDED"`
	State   State   `json:"state" enum:"SUBMITTING,RUNNING,ENDED"`
	Task    task.ID `json:"taskId,omitempty"`
	Outcome Outcome `json:"outcome,omitempty" enum:"SUCCEEDED,OOM_KILLED,EXIT_CODE,TIMED_OUT,NOT_STARTED,STOPPED,LOST,DISCARDED"`
	Reason  string  `json:"reason,omitempty" doc:"Of the outcome, in words"`

	Held             billing.Money `json:"held" doc:"Of maxCost, while it runs"`
	Cost             billing.Money `json:"cost" doc:"By the ledger"`
	BilledSeconds    int64         `json:"billedSeconds"`
	PullNanos        time.Duration `json:"pullNanos" doc:"ns, of its images; part of what is billed"`
	RunNanos         time.Duration `json:"runNanos" doc:"ns, from the end of the pull until it had stopped"`
	ExitCode         int           `json:"exitCode,omitempty" doc:"Of the first essential container that failed"`
	Periods          uint64        `json:"periods" doc:"In which it was runnable"`
	ThrottledPeriods uint64        `json:"throttledPeriods" doc:"Of those, the ones in which it was held back"`
	PeakBytes        uint64        `json:"peakBytes" doc:"Of memory, page cache included"`
	OOMKills         uint64        `json:"oomKills"`
	EndedAt          time.Time     `json:"endedAt,omitzero"`
}

// metered returns how long the run was charged for before rounding up.
func (r Run) metered() time.Duration { return r.PullNanos + r.RunNanos }

// counts reports whether r is one of the runs that were asked for, and has ended.
func (r Run) counts() bool { return r.State == Ended && r.Outcome != Discarded && r.N > 0 }

// token makes submitting r again return the same task.
func (r Run) token(id ID) string {
	return fmt.Sprintf("tuning-%s-%d-%d-%d-%d", id, r.CPU, r.Memory, r.N, r.Attempt)
}

// StartedBy is what the tasks of a tuning bear as startedBy.
func StartedBy(id ID) string { return history.Trial + string(id) }

// ended returns r with what became of t, which has stopped and whose bill is b. ours
// says that the tuning itself has asked it to stop.
func (r Run) ended(t task.Task, b billing.Bill, ours bool, now time.Time) Run {
	h := history.Of(t, nil)
	r.State, r.EndedAt = Ended, now
	r.Cost, r.BilledSeconds = b.Total, b.BilledSeconds
	r.PullNanos, r.RunNanos, r.ExitCode = h.Pull, h.Rest, h.ExitCode
	if u := t.Usage; u != nil {
		r.Periods, r.ThrottledPeriods, r.PeakBytes, r.OOMKills = u.Periods, u.ThrottledPeriods, u.MemoryPeakBytes, u.OOMKills
	}
	r.Outcome, r.Reason = outcome(t, h, ours)
	return r
}

// outcome says how t ended, whose record is h.
func outcome(t task.Task, h history.Run, ours bool) (Outcome, string) {
	why := t.StoppedReason
	for _, c := range t.Containers {
		if c.Reason == task.ReasonOutOfMemory {
			return OutOfMem, c.Reason
		}
	}
	switch {
	case h.Completed() && h.ExitCode == 0:
		return Succeeded, ""
	case h.Completed():
		return ExitCode, fmt.Sprintf("exit code %d", h.ExitCode)
	case h.Ran && t.Timeout > 0 && t.StopCode == task.UserInitiated && !t.StoppingAt.Before(t.StartedAt.Add(time.Duration(t.Timeout)*time.Second)):
		return TimedOut, why
	case ours && t.StopCode == task.UserInitiated:
		return Discarded, why
	case t.StopCode == task.FailedToStart:
		return NotStarted, why
	}
	return StoppedBy, why // by somebody, a budget, Spot or the end of the host
}
