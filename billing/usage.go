package billing

import (
	"time"

	"berth/task"
)

// Usage is what a task used, over time.
type Usage struct {
	TaskARN           string    `json:"taskArn"`
	ResolutionSeconds int64     `json:"resolutionSeconds"`
	Samples           []Reading `json:"samples"`
	Summary           Summary   `json:"summary"`
}

// Reading is one sample: what had been used by then, and how fast since the
// sample before it. The first has no rates.
type Reading struct {
	Time                time.Time `json:"time"`
	CPU                 float64   `json:"cpuVCPU" doc:"vCPU in use"`
	CPUPercent          float64   `json:"cpuPercent" doc:"of the vCPU that is reserved"`
	MemoryPercent       float64   `json:"memoryPercent" doc:"The working set, of the memory that is reserved"`
	ThrottledPercent    float64   `json:"throttledPercent" doc:"of the periods in which the task was runnable, those in which the CPU limit held it back"`
	ReadBytesPerSecond  float64   `json:"readBytesPerSecond"`
	WriteBytesPerSecond float64   `json:"writeBytesPerSecond"`
	RxBytesPerSecond    float64   `json:"rxBytesPerSecond"`
	TxBytesPerSecond    float64   `json:"txBytesPerSecond"`
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

// UsageQuery selects samples. Zero values select all, one a second.
type UsageQuery struct {
	Resolution time.Duration // distance of two samples, at least a second
	From, To   time.Time
}

// NewUsage makes the Usage of t from its samples, which must be in order. At a
// resolution above a second, the last sample of each step of the clock stands
// for the step: its counters are the totals, and its rates the averages since
// the step before.
func NewUsage(t task.Task, samples []task.Sample, q UsageQuery) Usage {
	q.Resolution = max(time.Second, q.Resolution.Truncate(time.Second))
	u := Usage{TaskARN: t.ARN, ResolutionSeconds: int64(q.Resolution / time.Second), Samples: []Reading{}}
	var kept []task.Sample
	var before task.Sample
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
	u.Summary = summarize(t, before, kept)
	prev := before
	for i, s := range kept {
		if i+1 < len(kept) && q.Resolution > time.Second &&
			s.At.Truncate(q.Resolution).Equal(kept[i+1].At.Truncate(q.Resolution)) {
			continue
		}
		u.Samples = append(u.Samples, reading(t, prev, s))
		prev = s
	}
	return u
}

func reading(t task.Task, a, b task.Sample) Reading {
	r := Reading{Time: b.At, Counters: b.Counters}
	size := t.Size()
	if size.Memory > 0 {
		r.MemoryPercent = 100 * float64(b.WorkingSetBytes) / mib(size.Memory)
	}
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
			a := samples[i-1]
			area += (float64(a.WorkingSetBytes) + float64(b.WorkingSetBytes)) / 2 * b.At.Sub(a.At).Seconds()
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
