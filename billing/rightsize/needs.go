package rightsize

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/billing/history"
	"berth/task"
)

// Evidence is what runs of one size used.
type Evidence struct {
	Minutes int `json:"minutes" doc:"In which CPU was measured; a run of less than one counts as one"`

	CPUP50 int `json:"cpuP50" doc:"CPU units in use in half of the minutes, at most; to the next 16"`
	CPUP95 int `json:"cpuP95"`
	CPU    int `json:"cpu" doc:"The same at the percentile that was asked for"`
	CPUMax int `json:"cpuMax" doc:"In the busiest minute"`

	PeakMiB       int `json:"peakMiB" doc:"The most memory of any run, page cache included"`
	WorkingSetMiB int `json:"workingSetMiB" doc:"The most memory of any run that could not be taken away; of a run of less than 10 s, its peak"`
	UsualPeakMiB  int `json:"usualPeakMiB" doc:"Half of the runs had at most this peak"`

	steady int // CPU without the runs that were brief and not held back

	ThrottledPercent int    `json:"throttledPercent" doc:"Of the periods in which the runs had something to do; rounded up"`
	OOMKills         uint64 `json:"oomKills"`
}

// Needs is what a task needs, and why.
type Needs struct {
	CPU    int      `json:"cpu" doc:"CPU units"`
	Memory int      `json:"memory" doc:"MiB"`
	Why    []string `json:"why"`
}

// evidenceOf looks at runs. permille is the percentile of CPU, in tenths of a percent.
func evidenceOf(runs []history.Run, permille int) Evidence {
	var e Evidence
	minutes, steady, inSteady := make(map[int]int), make(map[int]int), 0
	var periods, throttled, peak, working uint64
	var peaks []uint64
	for _, r := range runs {
		if r.Use == nil {
			continue
		}
		for step, n := range r.Use.Minutes {
			// More than it may use it does not: that is in the rounding, or in a reading over
			// less than a period.
			step = min(step, r.Shape.CPU/history.CPUStep)
			minutes[step] += n
			e.Minutes += n
			if r.Rest >= brief || r.Use.ThrottledPeriods*100 > r.Use.Periods*throttledMost {
				steady[step] += n
				inSteady += n
			}
		}
		periods, throttled = periods+r.Use.Periods, throttled+r.Use.ThrottledPeriods
		e.OOMKills += r.Use.OOMKills
		peak, working = max(peak, r.Use.PeakBytes), max(working, r.Use.WorkingSetBytes)
		if r.Rest < brief {
			working = max(working, r.Use.PeakBytes)
		}
		peaks = append(peaks, r.Use.PeakBytes)
	}
	e.CPUP50, e.CPUP95 = quantile(minutes, e.Minutes, 500), quantile(minutes, e.Minutes, 950)
	e.CPU, e.CPUMax = quantile(minutes, e.Minutes, permille), quantile(minutes, e.Minutes, 1000)
	e.steady = quantile(steady, inSteady, permille)
	e.PeakMiB, e.WorkingSetMiB = mebibytes(peak), mebibytes(working)
	if slices.Sort(peaks); len(peaks) > 0 {
		e.UsualPeakMiB = mebibytes(peaks[(len(peaks)-1)/2])
	}
	if periods > 0 {
		e.ThrottledPercent = int((throttled*100 + periods - 1) / periods)
	}
	return e
}

// brief is how long a run goes on of which there are too few readings to go by: of its CPU
// there may be one of the burst in which it starts, and of its memory none at the peak.
const brief = 10 * time.Second

// quantile returns the CPU units that at least so many of n minutes stayed within, by the
// nearest rank: always those of one of them, rounded up to a step.
func quantile(minutes map[int]int, n, permille int) int {
	rank := max((n*permille+999)/1000, 1)
	for _, step := range slices.Sorted(maps.Keys(minutes)) {
		if rank -= minutes[step]; rank <= 0 {
			return step * history.CPUStep
		}
	}
	return 0
}

// mebibytes rounds up.
func mebibytes(n uint64) int { return int((n + 1<<20 - 1) >> 20) }

// throttledMost is how many percent of throttled periods mean that CPU was not enough.
const throttledMost = 5

// needsOf returns what a task of a size needs that has used e. Headrooms are in percent of
// what is suggested.
func needsOf(e Evidence, size task.Size, q Request) Needs {
	n := Needs{
		CPU:    withRoom(e.CPU, *q.CPUHeadroomPercent),
		Memory: max(withRoom(e.WorkingSetMiB, *q.MemoryHeadroomPercent), e.PeakMiB),
	}
	n.Why = []string{
		fmt.Sprintf("%s %% of %d minutes used at most %d CPU units; with %d %% headroom: %d", q.CPUPercentile, e.Minutes, e.CPU, *q.CPUHeadroomPercent, n.CPU),
		fmt.Sprintf("the most memory in use was %d MiB, %d with page cache; with %d %% headroom on the former, and not below the latter: %d MiB",
			e.WorkingSetMiB, e.PeakMiB, *q.MemoryHeadroomPercent, n.Memory),
	}
	if n.CPU > size.CPU && withRoom(e.steady, *q.CPUHeadroomPercent) <= size.CPU && e.ThrottledPercent <= throttledMost {
		n.CPU = size.CPU
		n.Why = append(n.Why, fmt.Sprintf("only runs of less than %s used more than leaves that headroom, and they were not held back: %d are enough", brief, size.CPU))
	}
	if e.ThrottledPercent > throttledMost && n.CPU <= size.CPU {
		n.CPU = size.CPU + 1
		n.Why = append(n.Why, fmt.Sprintf("%d %% of the periods were throttled: more than the %d CPU units were wanted", e.ThrottledPercent, size.CPU))
	}
	if e.OOMKills > 0 && n.Memory <= size.Memory {
		n.Memory = size.Memory + 1
		n.Why = append(n.Why, fmt.Sprintf("%d processes were killed for want of memory: more than %d MiB are needed", e.OOMKills, size.Memory))
	}
	return n
}

// withRoom returns of what used leaves so many percent, rounded up.
func withRoom(used, percent int) int { return (used*100 + 99 - percent) / (100 - percent) }

// fits reports whether a size is enough.
func (n Needs) fits(s task.Size) bool { return s.CPU >= n.CPU && s.Memory >= n.Memory }
