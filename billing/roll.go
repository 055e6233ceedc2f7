package billing

import (
	"math/bits"
	"time"

	"berth/task"
)

// The steps of the series: the samples, and what is made from them and kept longer.
const (
	Second = time.Second // the samples themselves
	Minute = time.Minute
	Hour   = time.Hour
)

// Roll is what one task used in one step of the clock, a minute or an hour. What a
// counter grew between two samples is spread evenly over the time between them, and
// cut where a step ends, so that the rolls of a task add up to its counters, to the
// nanosecond and the byte, whatever times they were made at.
type Roll struct {
	At      time.Time     // the step begins
	Covered time.Duration // of the step, the time for which the task was charged; whole milliseconds
	Samples int64         // that were taken in it; without any, the rest was drawn from those around it

	// What the counters grew. See task.Counters.
	CPUNanos, ThrottledNanos, Periods, ThrottledPeriods, OOMKills uint64
	ReadBytes, WriteBytes, ReadOps, WriteOps, RxBytes, TxBytes    uint64

	// Over time, by trapezoids: bytes × milliseconds.
	MemoryByteMillis, StorageByteMillis uint64

	// The highest that was seen; MemoryPeak is the kernel's, since the task began.
	WorkingSetPeak, MemoryPeak, PIDsPeak, StoragePeak uint64

	// At the end of the step, or of the task in it.
	MemoryBytes, WorkingSetBytes, PIDs, StorageBytes uint64
}

// plus returns r and the one after it as one. It begins when r does.
func (r Roll) plus(o Roll) Roll {
	r.Covered += o.Covered
	r.Samples += o.Samples
	r.CPUNanos += o.CPUNanos
	r.ThrottledNanos += o.ThrottledNanos
	r.Periods += o.Periods
	r.ThrottledPeriods += o.ThrottledPeriods
	r.OOMKills += o.OOMKills
	r.ReadBytes += o.ReadBytes
	r.WriteBytes += o.WriteBytes
	r.ReadOps += o.ReadOps
	r.WriteOps += o.WriteOps
	r.RxBytes += o.RxBytes
	r.TxBytes += o.TxBytes
	r.MemoryByteMillis += o.MemoryByteMillis
	r.StorageByteMillis += o.StorageByteMillis
	r.WorkingSetPeak = max(r.WorkingSetPeak, o.WorkingSetPeak)
	r.MemoryPeak = max(r.MemoryPeak, o.MemoryPeak)
	r.PIDsPeak = max(r.PIDsPeak, o.PIDsPeak)
	r.StoragePeak = max(r.StoragePeak, o.StoragePeak)
	r.MemoryBytes, r.WorkingSetBytes, r.PIDs, r.StorageBytes = o.MemoryBytes, o.WorkingSetBytes, o.PIDs, o.StorageBytes
	return r
}

// Fold adds up rolls, which are in order, to rolls of a longer step. The step of
// the rolls must go into step.
func Fold(rolls []Roll, step time.Duration) []Roll {
	var out []Roll
	for _, r := range rolls {
		at := r.At.Truncate(step)
		if n := len(out); n > 0 && out[n-1].At.Equal(at) {
			out[n-1] = out[n-1].plus(r)
			continue
		}
		r.At = at
		out = append(out, r)
	}
	return out
}

// roller makes rolls of a minute of the samples of one task.
type roller struct {
	upto   task.Sample // as far as it has come: the start of the charge, a sample, or between two at the end of a minute
	edge   task.Sample // where it stood at the last end of a minute
	row    Roll        // the minute that grows
	memory uint64      // twice its byte-milliseconds
	disk   uint64
}

// newRoller returns a roller that goes on where one stood: at the start of the
// charge, with counters of zero, or at the end of a minute.
func newRoller(upto task.Sample) roller {
	upto.At = upto.At.Truncate(time.Millisecond).UTC()
	return roller{upto: upto, row: Roll{At: upto.At.Truncate(Minute)}}
}

// add takes the next sample and returns the minutes that ended before it. A sample
// that is not after the one before changes nothing.
func (r *roller) add(s task.Sample) (full []Roll) {
	if !s.At.After(r.upto.At) {
		return nil
	}
	for end := r.row.At.Add(Minute); !s.At.Before(end); end = end.Add(Minute) {
		r.advance(between(r.upto, s, end))
		if s.At.Equal(end) {
			r.row.Samples++
		}
		full = append(full, r.cut(end))
	}
	if s.At.After(r.upto.At) {
		r.advance(s)
		r.row.Samples++
	}
	return full
}

// close returns the minutes up to at, when the charge ended, and the one that has
// only begun. After the last sample nothing is used any more.
func (r *roller) close(at time.Time) (rest []Roll) {
	at = at.Truncate(time.Millisecond)
	gone := r.upto
	gone.MemoryBytes, gone.WorkingSetBytes, gone.PIDs, gone.EphemeralStorageBytes = 0, 0, 0, 0
	r.upto = gone
	for end := r.row.At.Add(Minute); at.After(end); end = end.Add(Minute) {
		gone.At = end
		r.advance(gone)
		rest = append(rest, r.cut(end))
	}
	if gone.At = at; at.After(r.upto.At) {
		r.advance(gone)
	}
	if r.row.Covered > 0 {
		// The last sample may be a moment after the end, for it is after the one before.
		r.row.Covered -= min(max(0, r.upto.At.Sub(at)), r.row.Covered)
		rest = append(rest, r.cut(r.row.At.Add(Minute)))
	}
	return rest
}

// advance goes on to s, in the same minute.
func (r *roller) advance(s task.Sample) {
	a, row := &r.upto, &r.row
	d := s.At.Sub(a.At)
	if d <= 0 {
		return
	}
	row.Covered += d
	row.CPUNanos += growth(a.CPUNanos, s.CPUNanos)
	row.ThrottledNanos += growth(a.ThrottledNanos, s.ThrottledNanos)
	row.Periods += growth(a.Periods, s.Periods)
	row.ThrottledPeriods += growth(a.ThrottledPeriods, s.ThrottledPeriods)
	row.OOMKills += growth(a.OOMKills, s.OOMKills)
	row.ReadBytes += growth(a.ReadBytes, s.ReadBytes)
	row.WriteBytes += growth(a.WriteBytes, s.WriteBytes)
	row.ReadOps += growth(a.ReadOps, s.ReadOps)
	row.WriteOps += growth(a.WriteOps, s.WriteOps)
	row.RxBytes += growth(a.RxBytes, s.RxBytes)
	row.TxBytes += growth(a.TxBytes, s.TxBytes)
	r.memory += (a.WorkingSetBytes + s.WorkingSetBytes) * uint64(d/time.Millisecond)
	r.disk += (a.EphemeralStorageBytes + s.EphemeralStorageBytes) * uint64(d/time.Millisecond)
	row.WorkingSetPeak = max(row.WorkingSetPeak, s.WorkingSetBytes)
	row.MemoryPeak = max(row.MemoryPeak, s.MemoryPeakBytes)
	row.PIDsPeak = max(row.PIDsPeak, s.PIDs)
	row.StoragePeak = max(row.StoragePeak, s.EphemeralStorageBytes)
	row.MemoryBytes, row.WorkingSetBytes, row.PIDs, row.StorageBytes = s.MemoryBytes, s.WorkingSetBytes, s.PIDs, s.EphemeralStorageBytes
	r.upto = s
}

// cut ends the minute and begins the one at next.
func (r *roller) cut(next time.Time) Roll {
	row := r.row
	row.MemoryByteMillis, row.StorageByteMillis = r.memory/2, r.disk/2
	r.row, r.memory, r.disk, r.edge = Roll{At: next}, 0, 0, r.upto
	return row
}

// rest returns the minute that has begun, as far as it has come; false if it has
// not begun.
func (r *roller) rest() (Roll, bool) {
	now := *r
	return now.cut(now.row.At), now.row.Covered > 0
}

// between returns what the counters were at a time between two samples. The peak of
// memory and the number of processes are those of the first.
func between(a, b task.Sample, at time.Time) task.Sample {
	if at.Equal(b.At) {
		return b
	}
	part, whole := uint64(at.Sub(a.At)), uint64(b.At.Sub(a.At))
	share := func(a, b uint64) uint64 {
		if b < a {
			hi, lo := bits.Mul64(a-b, part)
			q, _ := bits.Div64(hi, lo, whole)
			return a - q
		}
		hi, lo := bits.Mul64(b-a, part)
		q, _ := bits.Div64(hi, lo, whole)
		return a + q
	}
	counter := func(a, b uint64) uint64 { return share(a, max(a, b)) }
	return task.Sample{At: at, Counters: task.Counters{
		CPUNanos: counter(a.CPUNanos, b.CPUNanos), ThrottledNanos: counter(a.ThrottledNanos, b.ThrottledNanos),
		Periods: counter(a.Periods, b.Periods), ThrottledPeriods: counter(a.ThrottledPeriods, b.ThrottledPeriods),
		MemoryBytes: share(a.MemoryBytes, b.MemoryBytes), WorkingSetBytes: share(a.WorkingSetBytes, b.WorkingSetBytes),
		MemoryPeakBytes: a.MemoryPeakBytes, OOMKills: counter(a.OOMKills, b.OOMKills), PIDs: a.PIDs,
		ReadBytes: counter(a.ReadBytes, b.ReadBytes), WriteBytes: counter(a.WriteBytes, b.WriteBytes),
		ReadOps: counter(a.ReadOps, b.ReadOps), WriteOps: counter(a.WriteOps, b.WriteOps),
		RxBytes: counter(a.RxBytes, b.RxBytes), TxBytes: counter(a.TxBytes, b.TxBytes),
		EphemeralStorageBytes: share(a.EphemeralStorageBytes, b.EphemeralStorageBytes),
	}}
}

// growth returns how much a counter grew; nothing if it was set back.
func growth(a, b uint64) uint64 {
	if b < a {
		return 0
	}
	return b - a
}
