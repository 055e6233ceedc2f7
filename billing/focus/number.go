package focus

import (
	"math/bits"
	"strconv"
	"unicode/utf8"

	"berth/billing"
)

// quantityPlaces is how many decimals AWS gives quantities.
const quantityPlaces = 10

// quantity returns units, which are sizes × nanoseconds, in 1e-10 unit-hours,
// rounded half to even. per is how many of a size's units one priced unit has.
func quantity(units, per int64) int64 {
	return divide(units, per*360) // 3.6e12 ns an hour, 1e10 in one
}

// divide returns n / d rounded half to even. d must be positive, and less than
// half of what fits.
func divide(n, d int64) int64 {
	q, r := n/d, n%d
	if r < 0 {
		r = -r
	}
	if 2*r > d || 2*r == d && q&1 != 0 {
		if n < 0 {
			return q - 1
		}
		return q + 1
	}
	return q
}

// share returns the part of an amount that falls on part of whole, rounded half
// to even. part must lie between 0 and whole, and whole must not be 0.
func share(amount billing.Money, part, whole int64) billing.Money {
	if whole < 0 {
		part, whole = -part, -whole
	}
	n := int64(amount)
	negative := n < 0
	if negative {
		n = -n
	}
	hi, lo := bits.Mul64(uint64(n), uint64(part))
	q, r := bits.Div64(hi, lo, uint64(whole)) // part <= whole, so it fits
	if twice := 2 * r; twice > uint64(whole) || twice == uint64(whole) && q&1 == 1 {
		q++
	}
	if negative {
		return -billing.Money(q)
	}
	return billing.Money(q)
}

// appendDecimal writes n / 10^places with all decimals.
func appendDecimal(b []byte, n int64, places int) []byte {
	u := uint64(n)
	if n < 0 {
		b, u = append(b, '-'), -u
	}
	return appendFixed(b, u, places)
}

func appendFixed(b []byte, u uint64, places int) []byte {
	var buf [40]byte
	digits := strconv.AppendUint(buf[:0], u, 10)
	for len(digits) <= places {
		digits = append(digits, 0)
		copy(digits[1:], digits)
		digits[0] = '0'
	}
	b = append(b, digits[:len(digits)-places]...)
	b = append(b, '.')
	return append(b, digits[len(digits)-places:]...)
}

// trim takes trailing zeros away from a decimal, but leaves one decimal: a
// column of whole numbers would be read as integers, which FOCUS's are not.
func trim(b []byte) []byte {
	for len(b) >= 2 && b[len(b)-1] == '0' && b[len(b)-2] != '.' {
		b = b[:len(b)-1]
	}
	return b
}

// appendRate writes a rate, as 0.04048.
func appendRate(b []byte, r billing.Rate) []byte { return trim(appendDecimal(b, int64(r), 10)) }

// appendSeconds writes units as unit-seconds, exactly: 0.25 vCPU for a minute are
// 15.0. A 1024th has ten decimals and a nanosecond nine.
func appendSeconds(b []byte, units, per int64) []byte {
	u := uint64(units)
	if units < 0 {
		b, u = append(b, '-'), -u
	}
	second := uint64(per) * 1e9
	rest, places := u%second, 9
	if per == 1024 {
		rest, places = rest*9_765_625, 19 // 1e10 / 1024; rest was below 1.024e12, so it fits
	}
	b = append(strconv.AppendUint(b, u/second, 10), '.')
	tail := appendFixed(nil, rest, places)
	return trim(append(b, tail[2:]...))
}

// appendProduct writes price × quantity as FOCUS files have it: the shortest
// decimal that reads back as the product of the two numbers that stand beside it
// when all three are read as binary floating point. That is how the FOCUS
// validator multiplies, and it compares exactly; the exact amount is in BilledCost.
func appendProduct(b []byte, r billing.Rate, quantity int64) []byte {
	var buf [64]byte
	price, _ := strconv.ParseFloat(string(appendRate(buf[:0], r)), 64)
	amount, _ := strconv.ParseFloat(string(appendDecimal(buf[:0], quantity, quantityPlaces)), 64)
	return appendFloat(b, price*amount)
}

func appendFloat(b []byte, f float64) []byte {
	at := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	for _, c := range b[at:] {
		if c == '.' {
			return b
		}
	}
	return append(b, '.', '0')
}

// appendASCII writes text with what is not ASCII, or not printable, as \uXXXX:
// FOCUS strings are ASCII where the validator looks at them (StringHandling).
func appendASCII(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return appendEscaped(append(b, s[:i]...), s[i:])
		}
	}
	return append(b, s...)
}

func appendEscaped(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			r -= 0x10000 // UTF-16, as in JSON
			b = appendUnit(appendUnit(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			b = appendUnit(b, r)
		}
	}
	return b
}

func appendUnit(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// appendJSON writes s as a JSON string in ASCII.
func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	for len(s) > 0 {
		if c := s[0]; c == '"' || c == '\\' {
			b, s = append(b, '\\', c), s[1:]
			continue
		}
		_, n := utf8.DecodeRuneInString(s)
		b, s = appendASCII(b, s[:n]), s[n:]
	}
	return append(b, '"')
}
