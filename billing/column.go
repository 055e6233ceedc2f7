package billing

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"berth/task"
)

// A chunk that is finished is packed a second time, by columns: what one field does
// over two minutes says more about it than what all fields do in one second.
//
// After the version comes the number of samples, and for each field a byte with its
// guess and whether it is counted in grains, and its first value. Then come the
// differences of all values from their guesses, column after column, in the bits of
// a range coder. Arithmetic wraps, so every value can be written.
const columnVersion = 3

// columnSamples is the most samples in one chunk of columns.
const columnSamples = 1024

// guess is what the values of a field are expected to be.
type guess byte

const (
	zeros   guess = iota // all are zero; no first value is written
	still                // all are the first one; no differences are written
	before               // the one before
	steps                // the one before and what was added to that
	pace                 // the one before and what is added most of the time, which is written
	centre               // the one in the middle, which is written
	beside               // as far from the memory as the one before
	guesses              // how many there are
)

const inGrains = 1 << 3 // in the byte of a field, beside its guess

// packColumns packs samples, at least one and at most columnSamples, like Pack.
func packColumns(samples []task.Sample) []byte {
	var columns [fields][]uint64
	for i := range columns {
		columns[i] = make([]uint64, len(samples))
	}
	for n, s := range samples {
		for i, v := range values(s) {
			columns[i][n] = v
		}
	}
	data := binary.AppendUvarint([]byte{columnVersion}, uint64(len(samples)))
	var rests [fields][]uint64
	for i, column := range columns {
		var head []byte
		head, rests[i] = headOf(i, column, columns[memoryField])
		data = append(data, head...)
	}
	w := newWriter(data)
	for _, rest := range rests {
		var n numbers
		for _, v := range rest {
			n.write(w, v)
		}
	}
	return w.end()
}

// headOf returns what is written of a column before its differences, and those.
func headOf(field int, column, memory []uint64) (head []byte, rest []uint64) {
	if !slices.ContainsFunc(column, func(v uint64) bool { return v != column[0] }) {
		if column[0] == 0 {
			return []byte{byte(zeros)}, nil
		}
		return binary.AppendUvarint([]byte{byte(still)}, column[0]), nil
	}
	grain, flag := grains[field], byte(0)
	for i := 1; i < len(column) && grain > 1; i++ {
		if int64(column[i]-column[i-1])%grain != 0 {
			grain = 1
		}
	}
	if grain > 1 {
		flag = inGrains
	}
	best := -1
	for g := before; g < guesses; g++ {
		if g == beside && field != workingSetField && field != peakField {
			continue
		}
		known := parameter(g, column, grain)
		diffs, ok := differences(g, known, column, memory, grain)
		if !ok {
			continue
		}
		cost := 0
		for _, d := range diffs {
			cost += bits.Len64(d)
		}
		if best < 0 || cost < best {
			best, rest = cost, diffs
			head = binary.AppendUvarint([]byte{byte(g) | flag}, column[0])
			if g == pace || g == centre {
				head = binary.AppendVarint(head, known)
			}
		}
	}
	return head, rest
}

// parameter returns what a guess is told beforehand, in grains: of pace the usual
// growth, of centre the middle value's distance from the first.
func parameter(g guess, column []uint64, grain int64) int64 {
	var all []int64
	for i := 1; i < len(column); i++ {
		switch g {
		case pace:
			all = append(all, int64(column[i]-column[i-1])/grain)
		case centre:
			all = append(all, int64(column[i]-column[0])/grain)
		default:
			return 0
		}
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// differences returns how far the values after the first are from their guesses,
// in grains, with the sign in the lowest bit; false if one is no whole number of
// grains.
func differences(g guess, known int64, column, memory []uint64, grain int64) (all []uint64, ok bool) {
	all = make([]uint64, 0, len(column)-1)
	for i := 1; i < len(column); i++ {
		d := int64(column[i] - expectedOf(g, known, column[:i], memory, grain))
		if d%grain != 0 {
			return nil, false
		}
		d /= grain
		all = append(all, uint64(d<<1)^uint64(d>>63))
	}
	return all, true
}

// expectedOf returns what is expected to follow the values so far.
func expectedOf(g guess, known int64, far, memory []uint64, grain int64) uint64 {
	n := len(far)
	last := far[n-1]
	switch g {
	case steps:
		if n > 1 {
			return last + last - far[n-2]
		}
	case pace:
		return last + uint64(known*grain)
	case centre:
		return far[0] + uint64(known*grain)
	case beside:
		return last + memory[n] - memory[n-1]
	}
	return last
}

// unpackColumns is the inverse of packColumns. data is what follows the version.
func unpackColumns(data []byte) ([]task.Sample, error) {
	count, size := binary.Uvarint(data)
	if size <= 0 || count == 0 || count > columnSamples {
		return nil, errTruncated
	}
	data = data[size:]
	var heads [fields]struct {
		guess guess
		grain int64
		first uint64
		known int64
	}
	for i := range heads {
		h := &heads[i]
		if len(data) == 0 {
			return nil, errTruncated
		}
		h.guess, h.grain = guess(data[0]&^inGrains), 1
		if data[0]&inGrains != 0 {
			h.grain = grains[i]
		}
		if h.guess >= guesses || h.guess == beside && i != workingSetField && i != peakField {
			return nil, fmt.Errorf("packed samples have a column of kind %d, which is not known", data[0])
		}
		if data = data[1:]; h.guess == zeros {
			continue
		}
		if h.first, size = binary.Uvarint(data); size <= 0 {
			return nil, errTruncated
		}
		if data = data[size:]; h.guess != pace && h.guess != centre {
			continue
		}
		if h.known, size = binary.Varint(data); size <= 0 {
			return nil, errTruncated
		}
		data = data[size:]
	}
	r := newReader(data)
	var columns [fields][]uint64
	for i, h := range heads {
		column := make([]uint64, 1, count)
		column[0] = h.first
		var n numbers
		for uint64(len(column)) < count {
			v := h.first
			if h.guess > still {
				d, ok := n.read(r)
				if !ok || r.over > shed {
					return nil, errTruncated
				}
				v = expectedOf(h.guess, h.known, column, columns[memoryField], h.grain) + uint64((int64(d>>1)^-int64(d&1))*h.grain)
			}
			column = append(column, v)
		}
		columns[i] = column
	}
	if len(r.data) > 0 {
		return nil, fmt.Errorf("%d bytes follow the packed samples", len(r.data))
	}
	samples := make([]task.Sample, count)
	for n := range samples {
		var v [fields]uint64
		for i := range v {
			v[i] = columns[i][n]
		}
		samples[n] = sampleOf(v)
	}
	return samples, nil
}

// PackFinished packs samples in the form that is the smaller for them, which Unpack
// reads. Unlike Pack it cannot be gone on with; from 1 to 1024 samples are taken at a
// time, others are packed like Pack does.
func PackFinished(samples []task.Sample) []byte {
	data := Pack(samples)
	if n := len(samples); n == 0 || n > columnSamples {
		return data
	}
	if columns := packColumns(samples); len(columns) < len(data) {
		return columns
	}
	return data
}
