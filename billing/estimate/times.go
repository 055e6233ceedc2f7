package estimate

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/task"
)

// Basis says where the times of an estimate come from.
type Basis struct {
	Source string    `json:"source" enum:"MEASURED,GIVEN,ASSUMED"`
	Runs   int       `json:"runs,omitempty" doc:"That were measured"`
	From   time.Time `json:"from,omitzero" doc:"When the first of them stopped"`
	To     time.Time `json:"to,omitzero" doc:"When the last of them stopped"`
	Why    string    `json:"why" doc:"In words"`
}

// Where times come from.
const (
	Measured = "MEASURED" // runs of the same family
	Given    = "GIVEN"    // the request
	Assumed  = "ASSUMED"  // nobody knows; Basis.Why says what was taken instead
)

// Spread is the times of a short, a usual and a long run.
type Spread struct{ Low, Expected, High Times }

// Quantiles of measured runs, in percent.
const (
	lowPercent, usualPercent, highPercent = 5, 50, 95
)

// What is taken where nothing is known. A pull at 31 MiB a second, as measured on
// Fargate (docs/decisions/0016), makes them images of some 300 MiB and 2 GiB; here
// an image that was pulled before takes no time.
const (
	pullLow, pullUsual, pullHigh = 0, 10 * time.Second, 60 * time.Second

	runLow, runUsual, runHigh = time.Second, time.Hour, 24 * time.Hour
)

// mostRuns is how many of the latest runs are looked at.
const mostRuns = 200

// spread returns the times of a run of that size, and where the pull's and the
// rest's come from. given is how long it runs, 0 if nobody said; timeout is when
// it would be stopped, 0 for never.
func spread(runs []history.Run, size task.Size, given, timeout time.Duration) (s Spread, pull, rest Basis) {
	runs, other := comparable(runs, size)
	if len(runs) > 0 {
		measured := measuredBasis(runs, other)
		pull, rest = measured, measured
		byLength := slices.SortedStableFunc(slices.Values(runs), func(a, b history.Run) int { return cmp.Compare(a.Metered(), b.Metered()) })
		at := func(percent int) Times {
			r := byLength[rank(len(byLength), percent)]
			return Times{r.Pull, r.Rest}
		}
		s = Spread{at(lowPercent), at(usualPercent), at(highPercent)}
		if given > 0 { // Then the pulls count by themselves.
			byPull := slices.SortedStableFunc(slices.Values(runs), func(a, b history.Run) int { return cmp.Compare(a.Pull, b.Pull) })
			s.Low.Pull = byPull[rank(len(byPull), lowPercent)].Pull
			s.Expected.Pull = byPull[rank(len(byPull), usualPercent)].Pull
			s.High.Pull = byPull[rank(len(byPull), highPercent)].Pull
		}
	} else {
		s = Spread{Times{pullLow, runLow}, Times{pullUsual, runUsual}, Times{pullHigh, runHigh}}
		pull = Basis{Source: Assumed, Why: fmt.Sprintf("this family has not run to its end here; taken are %s, %s and %s for the pull, as for an image that is here, one of 300 MiB and one of 2 GiB",
			time.Duration(pullLow), pullUsual, pullHigh)}
		rest = Basis{Source: Assumed, Why: fmt.Sprintf("this family has not run to its end here and no duration is given; taken are %s, %s and %s", runLow, runUsual, runHigh)}
	}
	if given > 0 {
		s.Low.Rest, s.Expected.Rest, s.High.Rest = given, given, given
		rest = Basis{Source: Given, Why: "the request says " + given.String()}
	} else if timeout > 0 && len(runs) == 0 {
		s.Low.Rest, s.Expected.Rest, s.High.Rest = min(runLow, timeout), min(runUsual, timeout), timeout
		rest = Basis{Source: Given, Why: "at most timeoutSeconds, " + timeout.String()}
	}
	return s, pull, rest
}

// comparable returns the runs whose length says how long a run of that size
// takes: those of the same size, and only if there are none, those of others.
func comparable(runs []history.Run, size task.Size) (some []history.Run, other bool) {
	ended := slices.DeleteFunc(slices.Clone(runs), func(r history.Run) bool { return !r.Completed() })
	same := slices.DeleteFunc(slices.Clone(ended), func(r history.Run) bool { return r.Shape.Size() != size })
	if len(same) > 0 {
		return same, false
	}
	return ended, len(ended) > 0
}

func measuredBasis(runs []history.Run, other bool) Basis {
	b := Basis{Source: Measured, Runs: len(runs)}
	for _, r := range runs {
		if b.From.IsZero() || r.StoppedAt.Before(b.From) {
			b.From = r.StoppedAt
		}
		if r.StoppedAt.After(b.To) {
			b.To = r.StoppedAt
		}
	}
	noun := "runs"
	if len(runs) == 1 {
		noun = "run"
	}
	b.Why = fmt.Sprintf("P%d, P%d and P%d of %d %s of this family that came to their end", lowPercent, usualPercent, highPercent, len(runs), noun)
	if other {
		b.Why += ", at other sizes"
	}
	return b
}

// rank returns the index of the percentile among n sorted values, by the nearest
// rank: it is always one of them.
func rank(n, percent int) int { return max(0, (n*percent+99)/100-1) }

// always is the time of a month, in which a service never stops: 730 hours (AWS
// Pricing Calculator).
const always = 730 * time.Hour

// variants are the terms on which a shape can be had, the one asked for first.
func variants(s billing.Shape) []billing.Shape {
	all := []billing.Shape{s}
	for _, arch := range []string{"X86_64", "ARM64"} {
		for _, spot := range []bool{false, true} {
			v := s
			v.Arch, v.Spot = arch, spot
			if v != s {
				all = append(all, v)
			}
		}
	}
	return all
}
