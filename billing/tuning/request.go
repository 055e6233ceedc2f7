package tuning

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Request asks for a tuning.
type Request struct {
	TaskDefinition string `json:"taskDefinition" doc:"Name of a definition: family, family:revision or ARN"`

	Sizes              []Size          `json:"sizes,omitempty" maxItems:"20" doc:"Sizes that Fargate has; half, once, twice and four times the definition's CPU, as far as the host has it, if left out"`
	Runs               int             `json:"runs,omitempty" minimum:"0" maximum:"100" doc:"At each size; 5 if left out"`
	Parallelism        int             `json:"parallelism,omitempty" minimum:"0" maximum:"10" doc:"Runs side by side, which disturb each other; 1 if left out"`
	MaxCost            *billing.Money  `json:"maxCost,omitempty" doc:"US dollars that all runs together may cost; twice the estimate if left out"`
	MaxDurationSeconds int64           `json:"maxDurationSeconds,omitempty" minimum:"0" maximum:"1209600" doc:"A run that goes on for longer is stopped and counts as TIMED_OUT; 900 if left out"`
	Balance            *float64        `json:"balance,omitempty" minimum:"0" maximum:"1" doc:"Weight of the cost, from 0 to 1, in what is the best balance; 0.5 if left out"`
	WarmUp             bool            `json:"warmUp,omitempty" doc:"One run more, before all others, that does not count: the images are here then"`
	Overrides          *task.Overrides `json:"overrides,omitempty" doc:"Of every run, as POST /tasks takes them; without cpu and memory"`
}

// Limits and defaults of a Request.
const (
	maxSizes       = 20
	maxRuns        = 100
	maxParallelism = 10
	maxSeconds     = 14 * 24 * 3600 // of task.Run

	usualRuns    = 5
	usualSeconds = 900 // the most that AWS Lambda gives
)

func (r Request) validate() error {
	switch {
	case len(r.Sizes) > maxSizes:
		return fault.At("sizes", "at most %d are possible", maxSizes)
	case r.Runs < 0 || r.Runs > maxRuns:
		return fault.At("runs", "must be from 1 to %d", maxRuns)
	case r.Parallelism < 0 || r.Parallelism > maxParallelism:
		return fault.At("parallelism", "must be from 1 to %d", maxParallelism)
	case r.MaxCost != nil && *r.MaxCost <= 0:
		return fault.At("maxCost", "must be more than nothing")
	case r.MaxDurationSeconds < 0 || r.MaxDurationSeconds > maxSeconds:
		return fault.At("maxDurationSeconds", "must be from 1 to %d (14 days)", maxSeconds)
	case r.Balance != nil && !(*r.Balance >= 0 && *r.Balance <= 1):
		return fault.At("balance", "must be from 0 to 1")
	case r.Overrides != nil && (r.Overrides.CPU != "" || r.Overrides.Memory != ""):
		return fault.At("overrides", "cpu and memory are what is tried: say them in sizes")
	}
	for i, s := range r.Sizes {
		at := fmt.Sprintf("sizes[%d]", i)
		if _, err := task.ParseSize(strconv.Itoa(s.CPU), strconv.Itoa(s.Memory)); err != nil {
			return fault.At(at, "%s", fault.Message(err))
		}
		if slices.Contains(r.Sizes[:i], s) {
			return fault.At(at, "%s is there twice", s)
		}
	}
	return nil
}

// ladder returns sizes around s: half, once, twice and four times its CPU, with its
// memory or what of Fargate's comes nearest to it.
func ladder(s task.Size) []Size {
	var all []Size
	for _, cpu := range []int{s.CPU / 2, s.CPU, s.CPU * 2, s.CPU * 4} {
		best, found := 0, false
		for _, f := range task.Sizes() {
			if f.CPU == cpu && (!found || far(f.Memory, s.Memory) < far(best, s.Memory)) {
				best, found = f.Memory, true
			}
		}
		if found {
			all = append(all, Size{cpu, best})
		}
	}
	return all
}

func far(a, b int) int { return max(a-b, b-a) }

// plan makes the tuning that r asks for, without an ID. It asks what each size costs,
// and whether the host could hold it.
func (t *Tuner) plan(ctx context.Context, r Request) (Tuning, error) {
	if err := r.validate(); err != nil {
		return Tuning{}, err
	}
	u := Tuning{
		Status: Waiting, Runs: or(r.Runs, usualRuns), Parallelism: or(r.Parallelism, 1), Balance: 0.5,
		MaxDurationSeconds: int64(or(int(r.MaxDurationSeconds), usualSeconds)),
		WarmUp:             r.WarmUp, Overrides: r.Overrides, Notes: []string{},
	}
	if r.Balance != nil {
		u.Balance = *r.Balance
	}
	sizes, free, err := t.sizes(ctx, r, &u)
	if err != nil {
		return u, err
	}
	var after billing.Money
	for _, s := range sizes {
		trial, more, err := t.trial(ctx, u, s)
		if err != nil {
			return u, err
		}
		if after = max(after, more); trial.Unfit == "" || !free {
			u.Sizes = append(u.Sizes, trial)
		} else {
			u.Notes = append(u.Notes, fmt.Sprintf("%s is left out: %s", s, trial.Unfit))
		}
	}
	if u.MayOverrun = after * billing.Money(u.Parallelism); len(u.Sizes) == 0 {
		return u, fault.New(fault.Exhausted, "this host can hold none of the sizes around the definition's")
	}
	if !slices.ContainsFunc(u.Sizes, func(s Trial) bool { return s.Unfit == "" }) {
		return u, fault.New(fault.Exhausted, "this host can hold none of the sizes: %s", u.Sizes[0].Unfit)
	}
	if err := u.budget(r); err != nil {
		return u, err
	}
	if u.Parallelism > 1 {
		u.Notes = append(u.Notes, fmt.Sprintf("%d runs at a time disturb each other: durations are longer and spread more than one at a time", u.Parallelism))
	}
	return u, nil
}

// sizes returns what to try, and whether that was free to choose. It pins the revision.
func (t *Tuner) sizes(ctx context.Context, r Request, u *Tuning) ([]Size, bool, error) {
	u.TaskDefinition = r.TaskDefinition
	d, _, err := t.Tasks.Preview(ctx, u.run(Run{}, ""))
	if err != nil && !unfit(err) { // The definition's own size may be of no interest.
		return nil, false, err
	}
	if u.TaskDefinition = d.ARN; len(r.Sizes) > 0 {
		return r.Sizes, false, nil
	}
	own, err := task.ParseSize(d.CPU, d.Memory)
	return ladder(own), true, err
}

// What a run may still take after it was over the budget, beside the stop timeout of
// its containers: until that is noticed, also if it fails once, with the second that is
// rounded up, and until its network and disks are removed.
const (
	notice  = every + retry + time.Second
	removal = 10 * time.Second
)

// trial returns size s with what a run there costs, and what it costs between being
// over the budget and having stopped.
func (t *Tuner) trial(ctx context.Context, u Tuning, s Size) (trial Trial, after billing.Money, err error) {
	trial = Trial{Size: s}
	d, ts, err := t.Tasks.Preview(ctx, u.run(Run{Size: s}, ""))
	if unfit(err) {
		trial.Unfit = fault.Message(err)
		return trial, 0, nil
	}
	if err != nil {
		return trial, 0, err
	}
	q, err := t.Quote(ctx, ts[0])
	if err != nil {
		return trial, 0, err
	}
	if trial.Least, err = t.Price(ctx, ts[0], time.Minute); err != nil {
		return trial, 0, err
	}
	trial.Expected, trial.High = max(q.Expected, trial.Least), max(q.High, trial.Least)
	most, err := t.Price(ctx, ts[0], time.Minute+notice+removal+stopTimeout(d))
	return trial, most - trial.Least, err
}

// stopTimeout is the most that a container of d may take to stop.
func stopTimeout(d task.Definition) (most time.Duration) {
	for _, c := range d.ContainerDefinitions {
		patience := task.DefaultStopTimeout
		if c.StopTimeout != nil {
			patience = time.Duration(*c.StopTimeout) * time.Second
		}
		most = max(most, patience)
	}
	return most
}

// unfit reports whether err says that the host could never hold such a task, in the
// words of the ECS API.
func unfit(err error) bool {
	return fault.KindOf(err) == fault.Exhausted && strings.HasPrefix(fault.Message(err), "RESOURCE:")
}

// budget says how much u may cost.
func (u *Tuning) budget(r Request) error {
	runs, warm := int64(u.Runs), u.WarmUp
	var expected billing.Money
	for _, s := range u.Sizes {
		if s.Unfit != "" {
			continue
		}
		expected += s.Expected * billing.Money(runs)
		if warm {
			expected, warm = expected+s.Expected, false
		}
	}
	if expected < 0 || expected > 1<<61 {
		return fault.New(fault.Invalid, "so many runs would cost more than 9.2 billion USD")
	}
	if r.MaxCost != nil {
		if u.MaxCost = *r.MaxCost; u.MaxCost < expected {
			u.Notes = append(u.Notes, fmt.Sprintf("maxCost is less than the $%s that all runs are expected to cost", expected))
		}
		return nil
	}
	u.MaxCost = 2 * expected
	why := "twice what all runs are expected to cost"
	if dearest := u.dearest(); dearest > u.MaxCost {
		u.MaxCost, why = dearest, "what a single long run costs"
	}
	u.Notes = append(u.Notes, fmt.Sprintf("maxCost was left out and is $%s, %s", u.MaxCost, why))
	return nil
}

// dearest returns what a long run costs at the dearest of the sizes.
func (u *Tuning) dearest() (most billing.Money) {
	for _, s := range u.Sizes {
		most = max(most, s.High)
	}
	return most
}

// run returns what to submit for r, with that token.
func (u Tuning) run(r Run, token string) task.Run {
	out := task.Run{Definition: u.TaskDefinition, Token: token, Timeout: task.Seconds(u.MaxDurationSeconds)}
	if family, _, err := task.ParseDefinitionRef(u.TaskDefinition); err == nil {
		out.Group = "tuning:" + family[:min(len(family), 248)] // Costs by group tell it from work; 255 characters are possible.
	}
	if u.ID != "" {
		out.StartedBy = StartedBy(u.ID)
	}
	if u.Overrides != nil {
		out.Overrides = *u.Overrides
	}
	if r.CPU > 0 {
		out.Overrides.CPU, out.Overrides.Memory = strconv.Itoa(r.CPU), strconv.Itoa(r.Memory)
	}
	return out
}

func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}
