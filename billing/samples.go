package billing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"berth/task"
)

// Samples are packed because there are 86,400 a day of each task. The first
// byte is the version of the form. Then each sample is a mask of the fields
// whose value is not the one expected, in two bytes, and their differences from
// that as zigzag varints. Expected is, for a field that only grows, that it
// grows as it did before; for the others, that they stay. Arithmetic wraps, so
// every value can be written.
const packVersion = 1

// fields is the time in milliseconds and the counters, in the order of the form.
const fields = 16

// steady are the fields that are expected to grow as they did before.
const steady = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<15

func values(s task.Sample) [fields]uint64 {
	c := s.Counters
	return [fields]uint64{
		uint64(s.At.UnixMilli()), c.CPUNanos, c.ThrottledNanos, c.Periods, c.ThrottledPeriods,
		c.MemoryBytes, c.WorkingSetBytes, c.MemoryPeakBytes, c.OOMKills, c.PIDs,
		c.ReadBytes, c.WriteBytes, c.ReadOps, c.WriteOps, c.RxBytes, c.TxBytes,
	}
}

func sampleOf(v [fields]uint64) task.Sample {
	return task.Sample{At: time.UnixMilli(int64(v[0])).UTC(), Counters: task.Counters{
		CPUNanos: v[1], ThrottledNanos: v[2], Periods: v[3], ThrottledPeriods: v[4],
		MemoryBytes: v[5], WorkingSetBytes: v[6], MemoryPeakBytes: v[7], OOMKills: v[8], PIDs: v[9],
		ReadBytes: v[10], WriteBytes: v[11], ReadOps: v[12], WriteOps: v[13], RxBytes: v[14], TxBytes: v[15],
	}}
}

// state is what packing and unpacking remember from one sample to the next.
type state struct {
	last, step [fields]uint64
	begun      bool // there was a first sample, so that there is a step from now on
}

func (p *state) expected(i int) uint64 {
	if steady>>i&1 == 1 {
		return p.last[i] + p.step[i]
	}
	return p.last[i]
}

func (p *state) take(v [fields]uint64) {
	if p.begun {
		for i := range v {
			p.step[i] = v[i] - p.last[i]
		}
	}
	p.last, p.begun = v, true
}

// packer packs samples one after another.
type packer struct {
	state
	data []byte
}

func (p *packer) add(s task.Sample) {
	if len(p.data) == 0 {
		p.data = append(p.data, packVersion)
	}
	v := values(s)
	at := len(p.data)
	p.data = append(p.data, 0, 0)
	var mask uint16
	for i := range v {
		if d := v[i] - p.expected(i); d != 0 {
			mask |= 1 << i
			p.data = binary.AppendVarint(p.data, int64(d))
		}
	}
	binary.LittleEndian.PutUint16(p.data[at:], mask)
	p.take(v)
}

// Pack packs samples. Times are kept to the millisecond.
func Pack(samples []task.Sample) []byte {
	var p packer
	for _, s := range samples {
		p.add(s)
	}
	return p.data
}

// Unpack is the inverse of Pack.
func Unpack(data []byte) ([]task.Sample, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if data[0] != packVersion {
		return nil, fmt.Errorf("samples are packed in form %d and only %d is known", data[0], packVersion)
	}
	var p state
	var samples []task.Sample
	for data = data[1:]; len(data) > 0; {
		if len(data) < 2 {
			return nil, errTruncated
		}
		mask := binary.LittleEndian.Uint16(data)
		data = data[2:]
		var v [fields]uint64
		for i := range v {
			v[i] = p.expected(i)
		}
		for ; mask != 0; mask &= mask - 1 {
			d, n := binary.Varint(data)
			if n <= 0 {
				return nil, errTruncated
			}
			data = data[n:]
			v[bits.TrailingZeros16(mask)] += uint64(d)
		}
		p.take(v)
		samples = append(samples, sampleOf(v))
	}
	return samples, nil
}

var errTruncated = errors.New("packed samples end in the middle")
