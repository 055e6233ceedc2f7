package tuning

import (
	"cmp"
	"slices"
	"time"

	"berth/billing"
)

// Report is a Tuning and what it has found so far.
type Report struct {
	Tuning
	Planned int      `json:"plannedRuns" doc:"That count, at the sizes that are not skipped, and those that were made at the others"`
	Made    int      `json:"madeRuns" doc:"Of those, the ones that have ended"`
	Results []Result `json:"results" doc:"By size, smallest first"`
	Best    Best     `json:"best"`
	Chart   []Point  `json:"chart" doc:"Of the sizes with a success, smallest first, in whole numbers"`
	Log     []Run    `json:"log" doc:"Every run, also those under way and those that do not count, in the order in which they began"`
}

// Best says which sizes are best. Only those are looked at at which a run succeeded and
// none failed; that somebody stopped one, or one was lost, says nothing about its size.
// A size is left out if there is none.
type Best struct {
	Cheapest *Size `json:"cheapest,omitempty" doc:"With the lowest median of the cost; of equals, the fastest"`
	Fastest  *Size `json:"fastest,omitempty" doc:"With the lowest median of the duration, pulls left out; of equals, the cheapest"`
	Balanced *Size `json:"balanced,omitempty" doc:"With the lowest balance × cost / highest cost + (1 − balance) × duration / longest duration, of medians, as AWS Lambda Power Tuning has it"`
}

// Result is what was found at one size. Durations and costs are of the runs that
// succeeded.
type Result struct {
	Size
	Runs        int             `json:"runs" doc:"That count and have ended"`
	Succeeded   int             `json:"succeeded"`
	Failures    map[Outcome]int `json:"failures" doc:"How many runs ended how, of those that failed"`
	LastFailure string          `json:"lastFailure,omitempty" doc:"Why the last of them failed"`
	Skipped     string          `json:"skipped,omitempty" doc:"Why no more runs are made at this size"`

	Run           Spread `json:"run" doc:"From the end of the pull until it had stopped"`
	Billed        Spread `json:"billed" doc:"With the pull, before rounding up"`
	BilledSeconds int64  `json:"billedSeconds" doc:"Median: rounded up, a minute at least"`
	Minimum       int    `json:"minimumCharges" doc:"How many runs were charged for a minute because they were shorter"`

	MedianCost  billing.Money `json:"medianCost" doc:"Of a run"`
	MeanCost    billing.Money `json:"meanCost" doc:"Of a run, rounded half up to a nano-dollar"`
	FailureCost billing.Money `json:"failureCost" doc:"Of all runs that failed"`

	ThrottledPercent float64 `json:"throttledPercent" doc:"Of the periods in which a run was runnable, those in which the CPU limit held it back, in all runs"`
	PeakMemoryBytes  uint64  `json:"peakMemoryBytes" doc:"The most of any run, page cache included"`
	OOMKills         uint64  `json:"oomKills" doc:"Processes that the kernel killed for memory, in all runs"`
}

// Spread is how long runs took.
type Spread struct {
	Median time.Duration `json:"medianNanos"`
	Least  time.Duration `json:"minNanos"`
	Most   time.Duration `json:"maxNanos"`
}

// Point is a size in a chart of duration and cost.
type Point struct {
	Size
	RunMillis int64 `json:"runMillis" doc:"Median, without the pull"`
	CostNanos int64 `json:"costNanos" doc:"Median, in nano-dollars"`
}

// report says what runs have found for u.
func report(u Tuning, runs []Run) Report {
	r := Report{Tuning: u, Log: slices.Clone(runs), Results: []Result{}, Chart: []Point{}}
	if r.Log == nil {
		r.Log = []Run{}
	}
	for _, s := range u.Sizes {
		res := result(s.Size, runs)
		res.Skipped = u.skipped(s, runs)
		r.Made += res.Runs
		if r.Planned += u.Runs; res.Skipped != "" {
			r.Planned += res.Runs - u.Runs
		}
		r.Results = append(r.Results, res)
	}
	slices.SortFunc(r.Results, func(a, b Result) int { return bySize(a.Size, b.Size) })
	for _, res := range r.Results {
		if res.Succeeded > 0 {
			r.Chart = append(r.Chart, Point{res.Size, res.Run.Median.Milliseconds(), int64(res.MedianCost)})
		}
	}
	r.Best = best(r.Results, u.Balance)
	return r
}

func bySize(a, b Size) int { return cmp.Or(a.CPU-b.CPU, a.Memory-b.Memory) }

// result sums up the runs at s.
func result(s Size, runs []Run) Result {
	res := Result{Size: s, Failures: make(map[Outcome]int)}
	var took, billed []time.Duration
	var seconds []int64
	var costs []billing.Money
	var sum billing.Money
	var periods, throttled uint64
	for _, r := range runs {
		if r.Size != s || !r.counts() {
			continue
		}
		res.Runs++
		periods, throttled = periods+r.Periods, throttled+r.ThrottledPeriods
		res.PeakMemoryBytes, res.OOMKills = max(res.PeakMemoryBytes, r.PeakBytes), res.OOMKills+r.OOMKills
		if r.Outcome != Succeeded {
			res.Failures[r.Outcome]++
			res.LastFailure, res.FailureCost = r.Reason, res.FailureCost+r.Cost
			continue
		}
		res.Succeeded++
		took, billed = append(took, r.RunNanos), append(billed, r.metered())
		seconds, costs, sum = append(seconds, r.BilledSeconds), append(costs, r.Cost), sum+r.Cost
		if billing.Billed(r.metered()) > r.metered()+time.Second {
			res.Minimum++
		}
	}
	if periods > 0 {
		res.ThrottledPercent = 100 * float64(throttled) / float64(periods)
	}
	if n := billing.Money(res.Succeeded); n > 0 {
		res.Run, res.Billed = spread(took), spread(billed)
		res.BilledSeconds, res.MedianCost, res.MeanCost = median(seconds), median(costs), (sum+n/2)/n
	}
	return res
}

func spread(ds []time.Duration) Spread {
	return Spread{Median: median(ds), Least: slices.Min(ds), Most: slices.Max(ds)}
}

// median returns the middle one, of an even number the lower of two: it is always one
// of them.
func median[T cmp.Ordered](all []T) T {
	return slices.Sorted(slices.Values(all))[(len(all)-1)/2]
}

// best returns the best of the sizes at which nothing failed.
func best(all []Result, balance float64) (b Best) {
	sound := slices.DeleteFunc(slices.Clone(all), func(r Result) bool {
		return r.Succeeded == 0 || r.Succeeded+r.Failures[StoppedBy]+r.Failures[Lost] < r.Runs
	})
	if len(sound) == 0 {
		return b
	}
	var dearest billing.Money
	var longest time.Duration
	for _, r := range sound {
		dearest, longest = max(dearest, r.MedianCost), max(longest, r.Run.Median)
	}
	score := func(r Result) float64 { // No money depends on it.
		var cost, took float64
		if dearest > 0 {
			cost = float64(r.MedianCost) / float64(dearest)
		}
		if longest > 0 {
			took = float64(r.Run.Median) / float64(longest)
		}
		return balance*cost + (1-balance)*took
	}
	cheapest := slices.MinFunc(sound, func(x, y Result) int {
		return cmp.Or(cmp.Compare(x.MedianCost, y.MedianCost), cmp.Compare(x.Run.Median, y.Run.Median))
	}).Size
	fastest := slices.MinFunc(sound, func(x, y Result) int {
		return cmp.Or(cmp.Compare(x.Run.Median, y.Run.Median), cmp.Compare(x.MedianCost, y.MedianCost))
	}).Size
	balanced := slices.MinFunc(sound, func(x, y Result) int {
		return cmp.Or(cmp.Compare(score(x), score(y)), cmp.Compare(x.MedianCost, y.MedianCost), cmp.Compare(x.Run.Median, y.Run.Median))
	}).Size
	return Best{&cheapest, &fastest, &balanced}
}
