package billing

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/task"
)

// drawTrace draws samples as a task leaves them: counters that grow, also after a
// gap of minutes, and gauges that go up and down.
func drawTrace(rt *rapid.T, from time.Time) []task.Sample {
	var all []task.Sample
	var c task.Counters
	at := from.Truncate(time.Millisecond)
	for range rapid.IntRange(0, 40).Draw(rt, "samples") {
		gap := rapid.SampledFrom([]int64{1, 1000, 1001, 20_000, 60_000, 400_000}).Draw(rt, "gap")
		at = at.Add(time.Duration(gap) * time.Millisecond)
		grow := func(most uint64) uint64 { return rapid.Uint64Max(most).Draw(rt, "grow") }
		c.CPUNanos += grow(1e12)
		c.ThrottledNanos += grow(1e12)
		c.Periods += grow(10)
		c.ReadBytes += grow(1 << 30)
		c.RxBytes += grow(1)
		c.WorkingSetBytes, c.EphemeralStorageBytes, c.PIDs = grow(1<<38), grow(1<<38), grow(9)
		c.MemoryBytes = c.WorkingSetBytes + 1
		c.MemoryPeakBytes = max(c.MemoryPeakBytes, c.MemoryBytes)
		all = append(all, task.Sample{At: at, Counters: c})
	}
	return all
}

// Ensure the minutes of a task add up to its counters and to the time it was
// charged for, and are the same wherever a roller was ended and another went on.
func TestRollsAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, 3600_000).Draw(rt, "from")) * time.Millisecond)
		samples := drawTrace(rt, from)
		start := task.Sample{At: from}
		end := from.Add(time.Duration(rapid.Int64Range(0, 100_000).Draw(rt, "end")) * time.Millisecond)
		var last task.Sample
		if n := len(samples); n > 0 {
			last = samples[n-1]
			end = end.Add(last.At.Sub(from))
		}

		whole := newRoller(start)
		var want []Roll
		for _, s := range samples {
			want = append(want, whole.add(s)...)
		}
		want = append(want, whole.close(end)...)

		r, upto := newRoller(start), start
		var got []Roll
		for _, s := range samples {
			full := r.add(s)
			if got = append(got, full...); len(full) > 0 {
				upto = stood(start, samples, full[len(full)-1].At.Add(Minute))
			}
			if rapid.IntRange(0, 5).Draw(rt, "killed") == 0 {
				r = newRoller(upto) // It is told the samples again.
				for _, again := range samples {
					if !again.At.After(s.At) {
						got = append(got, r.add(again)...)
					}
				}
			}
		}
		if got = append(got, r.close(end)...); !reflect.DeepEqual(got, want) {
			rt.Fatalf("after kills:\n%+v\nwithout:\n%+v", got, want)
		}

		var sum Roll
		for i, r := range want {
			if i > 0 && !r.At.Equal(want[i-1].At.Add(Minute)) || r.Covered > Minute || r.Covered <= 0 || !r.At.Equal(r.At.Truncate(Minute)) {
				rt.Fatalf("minute %d of %+v", i, want)
			}
			sum = sum.plus(r)
		}
		if sum.CPUNanos != last.CPUNanos || sum.ThrottledNanos != last.ThrottledNanos || sum.ReadBytes != last.ReadBytes ||
			sum.RxBytes != last.RxBytes || sum.Covered != end.Sub(from) || sum.Periods != last.Periods {
			rt.Fatalf("sum %+v, last sample %+v, time %s", sum, last, end.Sub(from))
		}
		var folded Roll
		for _, h := range Fold(want, Hour) {
			folded = folded.plus(h)
		}
		sum.At, folded.At = time.Time{}, time.Time{}
		if folded != sum {
			rt.Fatalf("hours %+v, minutes %+v", folded, sum)
		}
	})
}

// stood returns where a roller stands at the end of a minute.
func stood(start task.Sample, samples []task.Sample, at time.Time) task.Sample {
	r := newRoller(start)
	for _, s := range samples {
		if !s.At.Before(at) {
			for end := r.row.At.Add(Minute); !end.After(at); end = end.Add(Minute) {
				r.advance(between(r.upto, s, end))
				r.cut(end)
			}
			return r.upto
		}
		r.add(s)
	}
	return r.upto
}

// Ensure a minute says what happened in it.
func TestRoll(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 30, 0, time.UTC)
	r := newRoller(task.Sample{At: at})
	sample := func(after time.Duration, cpu, memory uint64) task.Sample {
		return task.Sample{At: at.Add(after), Counters: task.Counters{CPUNanos: cpu, WorkingSetBytes: memory, MemoryPeakBytes: 2 * memory, PIDs: 3}}
	}
	var full []Roll
	for _, s := range []task.Sample{sample(10*time.Second, 100, 1000), sample(20*time.Second, 100, 3000), sample(40*time.Second, 300, 1000)} {
		full = append(full, r.add(s)...)
	}
	rest := r.close(at.Add(45 * time.Second))
	want := []Roll{
		{At: at.Add(-30 * time.Second), Covered: 30 * time.Second, Samples: 2, CPUNanos: 200,
			MemoryByteMillis: 5_000_000 + 20_000_000 + 25_000_000, WorkingSetPeak: 3000, MemoryPeak: 6000, PIDsPeak: 3, WorkingSetBytes: 2000, PIDs: 3},
		{At: at.Add(30 * time.Second), Covered: 15 * time.Second, Samples: 1, CPUNanos: 100,
			MemoryByteMillis: 15_000_000, WorkingSetPeak: 1000, MemoryPeak: 2000, PIDsPeak: 3},
	}
	if got := append(full, rest...); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}
