package billing

import "math/bits"

// What follows is arithmetic coding of bits, in the form of a range coder: each
// bit is written in as many bits, or fractions of one, as it is surprising. How
// likely it is, is learned from the bits before it, in the same way by the one who
// writes and the one who reads (G. Martin, "Range encoding", 1979; the handling of
// the carry is that of the LZMA specification).

// chance is what is known of a bit: how likely it is 0, and how often it was seen.
// The zero value knows nothing.
type chance struct {
	zero uint16 // of 65536, about the middle: 0 is one half
	seen uint8
}

// slowest is the shift by which a chance moves after it has seen many bits.
const slowest = 5

// below returns how much of the range below whole belongs to 0.
func (c *chance) below(whole uint32) uint32 {
	return uint32(uint64(whole) * uint64(c.zero^0x8000) >> 16)
}

// saw learns from a bit. In the beginning it learns fast.
func (c *chance) saw(bit uint64) {
	p := int32(c.zero ^ 0x8000)
	rate := min(int32(c.seen)+2, 1<<slowest)
	if bit == 0 {
		p += (1<<16 - p) / rate
	} else {
		p -= p / rate
	}
	c.zero = uint16(min(max(p, 64), 1<<16-64)) ^ 0x8000
	if c.seen < 1<<slowest {
		c.seen++
	}
}

// writer writes bits as chances have it.
type writer struct {
	data    []byte
	low     uint64 // of the interval; a carry shows in bit 32
	width   uint32 // of the interval
	held    byte   // the last byte, which a carry may still change
	holding int    // how many bytes of 0xff are behind it, plus one for itself
}

func newWriter(data []byte) *writer { return &writer{data: data, width: 1<<32 - 1} }

func (w *writer) bit(c *chance, bit uint64) {
	cut := c.below(w.width)
	if bit == 0 {
		w.width = cut
	} else {
		w.low += uint64(cut)
		w.width -= cut
	}
	c.saw(bit)
	w.widen()
}

// plain writes the lowest n bits of v, which are as likely 0 as 1.
func (w *writer) plain(v uint64, n int) {
	for n--; n >= 0; n-- {
		w.width >>= 1
		w.low += uint64(w.width) * (v >> n & 1)
		w.widen()
	}
}

func (w *writer) widen() {
	for w.width < 1<<24 {
		w.width <<= 8
		w.shift()
	}
}

// shift writes the highest byte of low, once it is known that no carry comes.
func (w *writer) shift() {
	if w.low < 0xff<<24 || w.low >= 1<<32 {
		carry := byte(w.low >> 32)
		for i := range w.holding {
			b := byte(0xff)
			if i == 0 {
				b = w.held
			}
			w.data = append(w.data, b+carry)
		}
		w.held, w.holding = byte(w.low>>24), 0
	}
	w.holding++
	w.low = w.low << 8 & (1<<32 - 1)
}

// shed is how many zeros at the end are left out at most: a reader takes them for
// granted.
const shed = 4

// end writes what is needed to tell the last bits, and returns everything.
func (w *writer) end() []byte {
	// Any number in the interval will do: that with the most zeros at its end.
	for shift := 31; shift >= 0; shift-- {
		rounded := (w.low + 1<<shift - 1) >> shift << shift
		if rounded < w.low+uint64(w.width) {
			w.low = rounded
			break
		}
	}
	start := len(w.data)
	for range 5 {
		w.shift()
	}
	for least := max(start, len(w.data)-shed); len(w.data) > least && w.data[len(w.data)-1] == 0; {
		w.data = w.data[:len(w.data)-1]
	}
	return w.data
}

// reader reads what a writer wrote.
type reader struct {
	data  []byte
	over  int // how many bytes were read behind the end
	value uint32
	width uint32
}

func newReader(data []byte) *reader {
	r := &reader{data: data, width: 1<<32 - 1}
	for range 4 {
		r.value = r.value<<8 | uint32(r.next())
	}
	return r
}

func (r *reader) next() byte {
	if len(r.data) == 0 {
		r.over++
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) bit(c *chance) uint64 {
	var bit uint64
	if cut := c.below(r.width); r.value < cut {
		r.width = cut
	} else {
		r.value -= cut
		r.width -= cut
		bit = 1
	}
	c.saw(bit)
	r.widen()
	return bit
}

func (r *reader) plain(n int) (v uint64) {
	for range n {
		r.width >>= 1
		var bit uint64
		if r.value >= r.width {
			r.value -= r.width
			bit = 1
		}
		v = v<<1 | bit
		r.widen()
	}
	return v
}

func (r *reader) widen() {
	for r.width < 1<<24 {
		r.width <<= 8
		r.value = r.value<<8 | uint32(r.next())
	}
}

// numbers is what is known of the numbers in one column: how long they are, in
// bits, after a zero and after another, and how they begin.
type numbers struct {
	length [2][128]chance
	lead   [65][3]chance
	after  int // 1: the last one was not zero
}

// leading is how many bits after the first one are learned; those behind them are
// noise.
const leading = 2

func (n *numbers) write(w *writer, v uint64) {
	length := bits.Len64(v)
	node := uint64(1)
	for i := 6; i >= 0; i-- {
		bit := uint64(length) >> i & 1
		w.bit(&n.length[n.after][node], bit)
		node = node<<1 | bit
	}
	n.after = min(length, 1)
	rest := length - 1
	lead := uint64(1)
	for range leading {
		if rest <= 0 {
			return
		}
		rest--
		bit := v >> rest & 1
		w.bit(&n.lead[length][lead-1], bit)
		lead = lead<<1 | bit
	}
	w.plain(v, max(rest, 0))
}

// read is the inverse of write. A length that cannot be is false.
func (n *numbers) read(r *reader) (v uint64, ok bool) {
	node := uint64(1)
	for range 7 {
		node = node<<1 | r.bit(&n.length[n.after][node])
	}
	length := int(node & 127)
	if length > 64 {
		return 0, false
	}
	n.after = min(length, 1)
	if length == 0 {
		return 0, true
	}
	rest := length - 1
	v = 1
	lead := uint64(1)
	for range leading {
		if rest == 0 {
			return v, true
		}
		rest--
		bit := r.bit(&n.lead[length][lead-1])
		v, lead = v<<1|bit, lead<<1|bit
	}
	return v<<rest | r.plain(rest), true
}
