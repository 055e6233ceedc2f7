package billing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"berth/task"
)

// Samples are packed because there are 86,400 a day of each task. The first
// byte is the version of the form. Then each sample is a mask of the fields
// whose value is not the one expected, as a varint, and their differences from
// that. Expected is that time and CPU time grow as they did before, that the
// working set grows as memory does, and that everything else stays. Arithmetic
// wraps, so every value can be written.
//
// Version 1 had one field less, and its mask had two bytes.
const packVersion = 2

// fields is the time in milliseconds and the counters, in the order of the form.
const fields = 17

// steady are the fields that are expected to grow as they did before: the time,
// and what counts CPU time and periods.
const steady = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4

const memoryField, workingSetField, peakField = 5, 6, 7

// grains are what the differences of a field are usually multiples of: cgroup
// v2 counts CPU time in microseconds, memory and disks count in pages.
var grains = [fields]int64{1, 1000, 1000, 1, 1, 4096, 4096, 4096, 1, 1, 4096, 4096, 1, 1, 1, 1, 4096}

func values(s task.Sample) [fields]uint64 {
	c := s.Counters
	return [fields]uint64{
		uint64(s.At.UnixMilli()), c.CPUNanos, c.ThrottledNanos, c.Periods, c.ThrottledPeriods,
		c.MemoryBytes, c.WorkingSetBytes, c.MemoryPeakBytes, c.OOMKills, c.PIDs,
		c.ReadBytes, c.WriteBytes, c.ReadOps, c.WriteOps, c.RxBytes, c.TxBytes, c.EphemeralStorageBytes,
	}
}

func sampleOf(v [fields]uint64) task.Sample {
	return task.Sample{At: time.UnixMilli(int64(v[0])).UTC(), Counters: task.Counters{
		CPUNanos: v[1], ThrottledNanos: v[2], Periods: v[3], ThrottledPeriods: v[4],
		MemoryBytes: v[5], WorkingSetBytes: v[6], MemoryPeakBytes: v[7], OOMKills: v[8], PIDs: v[9],
		ReadBytes: v[10], WriteBytes: v[11], ReadOps: v[12], WriteOps: v[13], RxBytes: v[14], TxBytes: v[15], EphemeralStorageBytes: v[16],
	}}
}

// state is what packing and unpacking remember from one sample to the next.
type state struct {
	last, step [fields]uint64
	begun      bool // there was a first sample, so that there is a step from now on
}

// expected returns the value of field i after the fields before it, v.
func (p *state) expected(i int, v *[fields]uint64) uint64 {
	switch {
	case steady>>i&1 == 1:
		return p.last[i] + p.step[i]
	case i == workingSetField:
		return p.last[i] + v[memoryField] - p.last[memoryField]
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
	var mask uint64
	var room [fields * (1 + binary.MaxVarintLen64)]byte
	differences := room[:0]
	for i := range v {
		if d := v[i] - p.expected(i, &v); d != 0 {
			mask |= 1 << i
			differences = appendDifference(differences, int64(d), grains[i])
		}
	}
	p.data = append(binary.AppendUvarint(p.data, mask), differences...)
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

// Unpack is the inverse of Pack, and reads every form that was ever written.
func Unpack(data []byte) ([]task.Sample, error) {
	if len(data) == 0 {
		return nil, nil
	}
	version := data[0]
	switch {
	case version == columnVersion:
		return unpackColumns(data[1:])
	case version < 1 || version > packVersion:
		return nil, fmt.Errorf("samples are packed in form %d and only those up to %d are known", version, columnVersion)
	}
	var p state
	var samples []task.Sample
	for data = data[1:]; len(data) > 0; {
		mask, size := maskOf(version, data)
		if size <= 0 || mask >= 1<<fields {
			return nil, errTruncated
		}
		data = data[size:]
		var v [fields]uint64
		for i := range v {
			v[i] = p.expected(i, &v)
			if mask>>i&1 == 0 {
				continue
			}
			d, n := difference(data, grains[i])
			if n <= 0 {
				return nil, errTruncated
			}
			data, v[i] = data[n:], v[i]+uint64(d)
		}
		p.take(v)
		samples = append(samples, sampleOf(v))
	}
	return samples, nil
}

// maskOf reads the mask that data begins with; size is how many bytes it has, not
// above 0 if there are too few.
func maskOf(version byte, data []byte) (mask uint64, size int) {
	if version > 1 {
		return binary.Uvarint(data)
	}
	if len(data) < 2 {
		return 0, 0
	}
	return uint64(binary.LittleEndian.Uint16(data)), 2
}

// appendDifference writes d, which is not zero, as a zigzag varint: a number of
// grains with a 0 bit behind it, or d itself with a 1 bit, or, if d is too large
// for that, a lone 1 bit and then d.
func appendDifference(data []byte, d, grain int64) []byte {
	switch {
	case grain > 1 && d%grain == 0:
		return binary.AppendVarint(data, d/grain<<1)
	case grain > 1 && d<<1>>1 == d:
		return binary.AppendVarint(data, d<<1|1)
	case grain > 1:
		data = binary.AppendVarint(data, 1)
	}
	return binary.AppendVarint(data, d)
}

// difference is the inverse of appendDifference; n is how many bytes it read,
// not above 0 if there are too few.
func difference(data []byte, grain int64) (d int64, n int) {
	d, n = binary.Varint(data)
	switch {
	case n <= 0 || grain == 1:
		return d, n
	case d&1 == 0:
		return d >> 1 * grain, n
	case d != 1:
		return d >> 1, n
	}
	d, more := binary.Varint(data[n:])
	if more <= 0 {
		return 0, 0
	}
	return d, n + more
}

var errTruncated = errors.New("packed samples end in the middle")
