package billing

import (
	"math/bits"
	"strings"

	"berth/money"
)

// Money is an amount of nano-dollars: 1e-9 USD. It reaches ±9.2 billion USD.
type Money = money.Amount

// Rate is a price in 1e-10 USD per unit-hour, the precision of the AWS Price
// List.
type Rate int64

// String returns the rate in dollars with nine decimals, or ten if it needs
// them.
func (r Rate) String() string {
	return strings.TrimSuffix(money.Decimal(int64(r), 10), "0")
}

// MarshalText writes what String returns.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a decimal number of dollars with at most ten decimals.
func (r *Rate) UnmarshalText(text []byte) error {
	n, err := money.ParseDecimal(string(text), 10)
	*r = Rate(n)
	return err
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
