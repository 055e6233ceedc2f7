package billing

import (
	"time"

	"berth/task"
)

// Usage is what a task used, over time.
type Usage struct {
	TaskARN           string    `json:"taskArn"`
	Series            string    `json:"series" enum:"1s,1m,1h" doc:"The series that serves: samples, minutes or hours"`
	ResolutionSeconds int64     `json:"resolutionSeconds" doc:"Distance of two readings; more than was asked for if only a coarser series is kept for that time"`
	Samples           []Reading `json:"samples"`
	Summary           Summary   `json:"summary" doc:"Of all that was asked for, not of this page"`
	NextToken         string    `json:"nextToken,omitempty" doc:"For the page that follows; none if there is none"`
}

// Reading is what had been used by a time, and how fast since the reading before it.
// The first has no rates, unless it is known when the task began.
type Reading struct {
	Time                   time.Time `json:"time"`
	CPU                    float64   `json:"cpuVCPU" doc:"vCPU in use"`
	CPUPercent             float64   `json:"cpuPercent" doc:"of the vCPU that is reserved"`
	MemoryPercent          float64   `json:"memoryPercent" doc:"The average working set, of the memory that is reserved"`
	AverageWorkingSetBytes uint64    `json:"averageWorkingSetBytes" doc:"Since the reading before, by trapezoids"`
	PeakWorkingSetBytes    uint64    `json:"peakWorkingSetBytes" doc:"Since the reading before, of all samples"`
	ThrottledPercent       float64   `json:"throttledPercent" doc:"of the periods in which the task was runnable, those in which the CPU limit held it back"`
	ReadBytesPerSecond     float64   `json:"readBytesPerSecond"`
	WriteBytesPerSecond    float64   `json:"writeBytesPerSecond"`
	RxBytesPerSecond       float64   `json:"rxBytesPerSecond"`
	TxBytesPerSecond       float64   `json:"txBytesPerSecond"`
	task.Counters
}

// Summary is a whole series in a few numbers. They count from the first sample
// or, for what only grows, from the start of the task.
type Summary struct {
	Seconds                float64 `json:"seconds" doc:"From the start of the charge, or the first sample asked for, to the last sample"`
	CPUSeconds             float64 `json:"cpuSeconds"`
	ReservedCPUSeconds     float64 `json:"reservedCpuSeconds"`
	CPUEfficiency          float64 `json:"cpuEfficiency" doc:"cpuSeconds / reservedCpuSeconds"`
	MemoryReservedBytes    uint64  `json:"memoryReservedBytes"`
	MemoryPeakBytes        uint64  `json:"memoryPeakBytes"`
	AverageWorkingSetBytes uint64  `json:"averageWorkingSetBytes" doc:"Over time, by trapezoids"`
	ThrottledSeconds       float64 `json:"throttledSeconds"`
	OOMKills               uint64  `json:"oomKills"`
	ReadBytes              uint64  `json:"readBytes"`
	WriteBytes             uint64  `json:"writeBytes"`
	RxBytes                uint64  `json:"rxBytes"`
	TxBytes                uint64  `json:"txBytes"`
}

// UsageQuery selects readings. Zero values select all, one a second.
type UsageQuery struct {
	Resolution time.Duration // distance of two readings, at least a second
	From, To   time.Time
	Limit      int    // readings in one page; 0: all
	Token      string // the NextToken of the page before
}

// NewUsage makes the Usage of t from its samples, which must be in order. At a
// resolution above a second, the last sample of each step of the clock stands
// for the step: its counters are the totals, and its rates the averages since
// the step before. q.Token is not looked at.
func NewUsage(t task.Task, samples []task.Sample, q UsageQuery) Usage {
	q.Resolution = max(Second, q.Resolution.Truncate(Second))
	before, kept := split(t, samples, q)
	u := readings(t, before, kept, q)
	u.Summary = summarize(t, before, kept)
	return u
}

// split returns the samples that q selects, and what is known of the time before
// them.
func split(t task.Task, samples []task.Sample, q UsageQuery) (before task.Sample, kept []task.Sample) {
	if !q.From.After(t.PullStartedAt) {
		before.At = t.PullStartedAt // the counters count from the start of the task
	}
	for _, s := range samples {
		switch {
		case !q.From.IsZero() && s.At.Before(q.From):
			before = s
		case q.To.IsZero() || !s.At.After(q.To):
			kept = append(kept, s)
		}
	}
	if before.At.IsZero() && len(kept) > 0 {
		before = kept[0]
	}
	return before, kept
}

// readings makes at most q.Limit readings of samples that follow prev.
func readings(t task.Task, prev task.Sample, samples []task.Sample, q UsageQuery) Usage {
	u := Usage{TaskARN: t.ARN, Series: seriesName(Second), ResolutionSeconds: int64(q.Resolution / Second), Samples: []Reading{}}
	area, peak, begun := 0.0, uint64(0), prev // byte-seconds
	for i, s := range samples {
		area += trapezoid(prev, s)
		peak = max(peak, s.WorkingSetBytes)
		prev = s
		if i+1 < len(samples) && q.Resolution > Second && s.At.Truncate(q.Resolution).Equal(samples[i+1].At.Truncate(q.Resolution)) {
			continue
		}
		r := reading(t, begun, s)
		r.AverageWorkingSetBytes, r.PeakWorkingSetBytes = s.WorkingSetBytes, peak
		if d := s.At.Sub(begun.At).Seconds(); d > 0 && q.Resolution > Second {
			r.AverageWorkingSetBytes = uint64(area / d)
		}
		r.ofMemory(t)
		u.Samples = append(u.Samples, r)
		area, peak, begun = 0, 0, s
		if q.Limit > 0 && len(u.Samples) == q.Limit && i+1 < len(samples) {
			u.NextToken = sealTime(s.At)
			break
		}
	}
	return u
}

// ofMemory says how much of its memory t used on average.
func (r *Reading) ofMemory(t task.Task) {
	if reserved := mib(t.Size().Memory); reserved > 0 {
		r.MemoryPercent = 100 * float64(r.AverageWorkingSetBytes) / reserved
	}
}

// trapezoid returns the working set between two samples over time, in byte-seconds.
func trapezoid(a, b task.Sample) float64 {
	return (float64(a.WorkingSetBytes) + float64(b.WorkingSetBytes)) / 2 * b.At.Sub(a.At).Seconds()
}

func reading(t task.Task, a, b task.Sample) Reading {
	r := Reading{Time: b.At, Counters: b.Counters}
	size := t.Size()
	if n := grown(a.Periods, b.Periods); n > 0 {
		r.ThrottledPercent = 100 * grown(a.ThrottledPeriods, b.ThrottledPeriods) / n
	}
	d := b.At.Sub(a.At).Seconds()
	if d <= 0 {
		return r
	}
	r.CPU = grown(a.CPUNanos, b.CPUNanos) / 1e9 / d
	if size.CPU > 0 {
		r.CPUPercent = 100 * r.CPU / (float64(size.CPU) / 1024)
	}
	r.ReadBytesPerSecond = grown(a.ReadBytes, b.ReadBytes) / d
	r.WriteBytesPerSecond = grown(a.WriteBytes, b.WriteBytes) / d
	r.RxBytesPerSecond = grown(a.RxBytes, b.RxBytes) / d
	r.TxBytesPerSecond = grown(a.TxBytes, b.TxBytes) / d
	return r
}

func summarize(t task.Task, before task.Sample, samples []task.Sample) Summary {
	size := t.Size()
	s := Summary{MemoryReservedBytes: uint64(mib(size.Memory))}
	if len(samples) == 0 {
		return s
	}
	last := samples[len(samples)-1]
	s.Seconds = max(0, last.At.Sub(before.At).Seconds())
	s.CPUSeconds = grown(before.CPUNanos, last.CPUNanos) / 1e9
	s.ReservedCPUSeconds = s.Seconds * float64(size.CPU) / 1024
	if s.ReservedCPUSeconds > 0 {
		s.CPUEfficiency = s.CPUSeconds / s.ReservedCPUSeconds
	}
	s.ThrottledSeconds = grown(before.ThrottledNanos, last.ThrottledNanos) / 1e9
	s.OOMKills = uint64(grown(before.OOMKills, last.OOMKills))
	s.ReadBytes, s.WriteBytes = uint64(grown(before.ReadBytes, last.ReadBytes)), uint64(grown(before.WriteBytes, last.WriteBytes))
	s.RxBytes, s.TxBytes = uint64(grown(before.RxBytes, last.RxBytes)), uint64(grown(before.TxBytes, last.TxBytes))

	area := 0.0 // byte-seconds
	for i, b := range samples {
		s.MemoryPeakBytes = max(s.MemoryPeakBytes, b.MemoryPeakBytes)
		if i > 0 {
			area += trapezoid(samples[i-1], b)
		}
	}
	s.AverageWorkingSetBytes = last.WorkingSetBytes
	if d := last.At.Sub(samples[0].At).Seconds(); d > 0 {
		s.AverageWorkingSetBytes = uint64(area / d)
	}
	return s
}

// grown returns how much a counter grew; none if it was set back.
func grown(a, b uint64) float64 {
	if b < a {
		return 0
	}
	return float64(b - a)
}

func mib(n int) float64 { return float64(n) * (1 << 20) }
