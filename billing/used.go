package billing

import (
	"math/big"
	"math/bits"
	"time"

	"berth/task"
)

// freeStorage is what a task has for nothing (AWS Fargate pricing page).
const freeStorage = task.DefaultEphemeralGiB << 30

// Used returns how many units of a SKU a task used from one time to another, as
// far as its samples tell, and up to when they do: to, or the last sample if that
// is earlier, or from if there is none after it. Units are as in an Entry: size
// times nanoseconds.
//
// samples are in order. When the charge began, at start, nothing was used; from
// one reading to the next the CPU counter and the working set move in a straight
// line. What storage is used below the free 20 GiB does not count. The result
// is rounded down between every two samples, so that the parts of a time add up
// to the whole, however it is cut.
func Used(k SKU, start time.Time, samples []task.Sample, from, to time.Time) (units int64, until time.Time) {
	before, until := task.Sample{At: start}, from
	for _, s := range samples {
		if !s.At.After(before.At) {
			continue
		}
		if s.At.After(from) && before.At.Before(to) {
			a, b := later(from, before.At), s.At
			if to.Before(b) {
				b = to
			}
			if span := s.At.Sub(before.At); span <= time.Hour && b.Sub(a) == span {
				units += all(k, before, s)
			} else {
				n := part(k, before, s, b.Sub(before.At))
				units += small(n.Sub(n, part(k, before, s, a.Sub(before.At))))
			}
			until = b
		}
		if before = s; !s.At.Before(to) {
			break
		}
	}
	return units, until
}

// most bounds what can be used in one time: more than 15,000 vCPU for a day.
const most = 1 << 60

// small returns n, or most if that is less.
func small(n *big.Int) int64 {
	if !n.IsInt64() || n.Int64() > most {
		return most
	}
	return n.Int64()
}

// all is part for the whole time from a to b, at most an hour.
func all(k SKU, a, b task.Sample) int64 {
	span, x, y, shift := uint64(b.At.Sub(a.At)), a.WorkingSetBytes, b.WorkingSetBytes, 21
	switch skus[k].time {
	case CPUTime:
		if b.CPUNanos <= a.CPUNanos {
			return 0
		}
		return int64(min(b.CPUNanos-a.CPUNanos, most>>10) << 10)
	case StorageTime:
		x, y, shift = above(a.EphemeralStorageBytes), above(b.EphemeralStorageBytes), 31
	}
	hi, lo := bits.Mul64(x+y, span)
	if hi >= 1<<(shift-4) {
		return most
	}
	return int64(hi<<(64-shift) | lo>>shift)
}

// part returns the units that were used in the first d of the time from a to b,
// rounded down.
func part(k SKU, a, b task.Sample, d time.Duration) *big.Int {
	n, span := new(big.Int), big.NewInt(int64(b.At.Sub(a.At)))
	line := func(x, y uint64, shift uint) *big.Int { // the area below the line from x to y, in 2^shift bytes × ns
		slope := new(big.Int).Sub(new(big.Int).SetUint64(y), new(big.Int).SetUint64(x))
		slope.Mul(slope, big.NewInt(int64(d)))
		n.SetUint64(x).Mul(n, span).Lsh(n, 1).Add(n, slope).Mul(n, big.NewInt(int64(d)))
		return n.Div(n, span.Lsh(span, shift+1)) // (2·x·span + (y−x)·d)·d / (2·span)
	}
	switch skus[k].time {
	case CPUTime: // a CPU has 1024 units
		if b.CPUNanos <= a.CPUNanos {
			return n
		}
		n.SetUint64(min(b.CPUNanos-a.CPUNanos, most>>10)).Lsh(n, 10)
		return n.Mul(n, big.NewInt(int64(d))).Div(n, span)
	case MemoryTime:
		return line(a.WorkingSetBytes, b.WorkingSetBytes, 20)
	}
	return line(above(a.EphemeralStorageBytes), above(b.EphemeralStorageBytes), 30)
}

func above(bytes uint64) uint64 { return max(bytes, freeStorage) - freeStorage }
