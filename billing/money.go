package billing

import (
	"math/bits"
	"strconv"
	"strings"

	"berth/fault"
)

// Money is an amount of nano-dollars: 1e-9 USD. It reaches ±9.2 billion USD.
type Money int64

// String returns the amount in dollars with all nine decimals, as -0.000000001.
func (m Money) String() string { return decimal(int64(m), 9) }

// MarshalText writes what String returns: in JSON, a decimal string.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a decimal number of dollars with at most nine decimals.
func (m *Money) UnmarshalText(text []byte) error {
	n, err := parseDecimal(string(text), 9)
	*m = Money(n)
	return err
}

// Rate is a price in 1e-10 USD per unit-hour, the precision of the AWS Price
// List.
type Rate int64

// String returns the rate in dollars with nine decimals, or ten if it needs
// them.
func (r Rate) String() string {
	return strings.TrimSuffix(decimal(int64(r), 10), "0")
}

// MarshalText writes what String returns.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a decimal number of dollars with at most ten decimals.
func (r *Rate) UnmarshalText(text []byte) error {
	n, err := parseDecimal(string(text), 10)
	*r = Rate(n)
	return err
}

// decimal writes n / 10^places.
func decimal(n int64, places int) string {
	sign, u := "", uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	s := strconv.FormatUint(u, 10)
	if pad := places + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	return sign + s[:len(s)-places] + "." + s[len(s)-places:]
}

// muldiv returns a × b / d rounded half to even, computed in 128 bits. a and b
// must not be negative and d must be positive. ok is false if the result does
// not fit.
func muldiv(a, b, d int64) (q int64, ok bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(d) {
		return 0, false
	}
	quo, rem := bits.Div64(hi, lo, uint64(d))
	// rem < d < 2^63, so twice rem cannot overflow.
	if twice := 2 * rem; twice > uint64(d) || twice == uint64(d) && quo&1 == 1 {
		quo++
	}
	return int64(quo), quo < 1<<63
}

// parseDecimal is the inverse of decimal; trailing zeros may be missing.
func parseDecimal(s string, places int) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", max(0, places-len(fraction))), 10, 64)
	if err != nil || len(fraction) > places || strings.ContainsAny(fraction, "+-_") || whole == "" || whole == "-" {
		return 0, fault.New(fault.Invalid, "%q is not an amount with at most %d decimals", s, places)
	}
	return n, nil
}
