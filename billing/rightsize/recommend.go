package rightsize

import (
	"fmt"
	"slices"
	"time"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/task"
)

// recommend looks at runs of one shape, of which there is at least one, that stopped since
// a time or go on.
func recommend(runs []history.Run, list billing.PriceList, q Request, since, now time.Time) (Recommendation, error) {
	r := Recommendation{Shape: runs[0].Shape, Runs: len(runs), Reasons: []string{}, Because: []string{}, Options: []Option{}}
	measured := 0
	var ran time.Duration // those that were measured
	for _, run := range runs {
		if run.Failed() {
			r.Failed++
		}
		if r.From.IsZero() || run.StoppedAt.Before(r.From) {
			r.From = run.StoppedAt
		}
		if run.StoppedAt.After(r.To) {
			r.To = run.StoppedAt
		}
		if run.Use != nil {
			measured++
			ran += run.Rest
		}
		r.Seconds += int64(billing.Billed(run.Metered()) / time.Second)
	}
	size := r.Shape.Size()
	r.Evidence = evidenceOf(runs, percentiles[q.CPUPercentile])
	r.Needs = needsOf(r.Evidence, size, q)

	best, enough, err := cheapest(r.Shape, r.Needs, list)
	if err != nil {
		return r, err
	}
	switch {
	case r.Evidence.Minutes == 0 || measured < enoughRuns && ran < enoughTime:
		r.Finding = Insufficient
		r.Because = append(r.Because, fmt.Sprintf("runs of which it is known what they used: %d, of %s in all; %d, or %d hours of them, are enough to go by",
			measured, ran.Round(time.Second), enoughRuns, enoughTime/time.Hour))
		best = size
	case !enough:
		r.Finding = Underprovisioned
		r.Because = append(r.Because, "no size of Fargate is enough")
		best = size
	default:
		s := r.Shape
		s.CPU, s.Memory = best.CPU, best.Memory
		r.Suggested = &s
		r.Finding = Optimized
		if best != size {
			r.Finding = Overprovisioned
			if !r.Needs.fits(size) {
				r.Finding = Underprovisioned
			}
		}
	}
	if r.Finding != Insufficient {
		r.Reasons = append(r.Reasons, reasons(best, size, r.Needs)...)
	}
	if err := r.price(best, list, paceOf(runs, q, since, now)); err != nil {
		return r, err
	}
	r.trust(runs, measured, ran)
	return r, nil
}

// cheapest returns the cheapest size that is enough, the one of s if that costs no more;
// false if none is.
func cheapest(s billing.Shape, n Needs, list billing.PriceList) (best task.Size, ok bool, err error) {
	var least billing.Money
	for _, size := range append([]task.Size{s.Size()}, task.Sizes()...) {
		if !n.fits(size) {
			continue
		}
		s.CPU, s.Memory = size.CPU, size.Memory
		hour, err := estimate.Total(s, list, time.Hour)
		if err != nil {
			return best, false, err
		}
		if !ok || hour < least {
			best, least, ok = size, hour, true
		}
	}
	return best, ok, nil
}

// reasons says in which way best differs from size.
func reasons(best, size task.Size, n Needs) (all []string) {
	switch {
	case n.CPU > size.CPU:
		all = append(all, CPUUnder)
	case best.CPU < size.CPU:
		all = append(all, CPUOver)
	}
	switch {
	case n.Memory > size.Memory:
		all = append(all, MemoryUnder)
	case best.Memory < size.Memory:
		all = append(all, MemoryOver)
	}
	return all
}

// around returns size, best, and the sizes of Fargate next to best: with less and more
// memory, and the smallest with less and more CPU that have at least its memory.
func around(size, best task.Size) []task.Size {
	all := []task.Size{size}
	add := func(s task.Size) {
		if s != (task.Size{}) && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	var lessMemory, moreMemory, lessCPU, moreCPU task.Size
	for _, s := range task.Sizes() { // by CPU, then memory
		switch {
		case s.CPU == best.CPU && s.Memory < best.Memory:
			lessMemory = s
		case s.CPU == best.CPU && s.Memory > best.Memory && moreMemory.CPU == 0:
			moreMemory = s
		case s.CPU < best.CPU && s.Memory >= best.Memory && s.CPU > lessCPU.CPU:
			lessCPU = s
		case s.CPU > best.CPU && s.Memory >= best.Memory && moreCPU.CPU == 0:
			moreCPU = s
		}
	}
	for _, s := range []task.Size{best, lessMemory, moreMemory, lessCPU, moreCPU} {
		add(s)
	}
	return all
}

// trust says how far the runs can be gone by.
func (r *Recommendation) trust(runs []history.Run, measured int, ran time.Duration) {
	level := 2
	doubt := func(less int, format string, args ...any) {
		level -= less
		r.Because = append(r.Because, fmt.Sprintf(format, args...))
	}
	e := r.Evidence
	if r.Finding == Insufficient {
		level = 0
	} else if r.Runs < 5*enoughRuns && e.Minutes < 7*24*60 {
		doubt(1, "%d runs, and %d minutes of them; of %d runs or a week of minutes one knows more", r.Runs, e.Minutes, 5*enoughRuns)
	}
	if e.UsualPeakMiB > 0 && 2*e.PeakMiB > 3*e.UsualPeakMiB {
		doubt(1, "memory differs much between runs: usually %d MiB, once %d", e.UsualPeakMiB, e.PeakMiB)
	}
	if 10*r.Failed > r.Runs {
		doubt(1, "%d of %d runs failed, and may have used less than they would have", r.Failed, r.Runs)
	}
	revisions := make(map[int]bool)
	cut := 0 // short
	for _, run := range runs {
		revisions[run.Revision] = true
		if run.Ran && !run.Completed() && run.StopCode != "" {
			cut++
		}
	}
	if 10*cut > r.Runs && ran < enoughTime { // Services are always stopped.
		doubt(1, "%d of %d runs were stopped before they had come to their end, and may have used more after that", cut, r.Runs)
	}
	if 20*measured < 19*len(runs) {
		doubt(1, "of %d of %d runs it is not known what they used", len(runs)-measured, len(runs))
	}
	if r.Failed == r.Runs {
		doubt(0, "how long a run takes is not known: all of them failed")
	}
	if len(revisions) > 1 {
		doubt(0, "the runs are of %d revisions", len(revisions))
	}
	// A task that uses all of its CPU most of the time is as long as CPU makes it.
	if 10*e.CPUP50 >= 9*r.Shape.CPU && 10*e.steady >= 9*r.Shape.CPU {
		doubt(0, "its CPU makes it as long as it is: with more it may be faster and cost as much; \"berth rightsize tune\" measures that")
	}
	r.Confidence = []string{"LOW", "MEDIUM", "HIGH"}[max(level, 0)]
}
