// Package money is amounts of money and how decimals are written and read. It knows no
// floating point.
package money

import (
	"strconv"
	"strings"

	"berth/fault"
)

// Amount is an amount of nano-dollars: 1e-9 USD. It reaches ±9.2 billion USD.
type Amount int64

// String returns the amount in dollars with all nine decimals, as -0.000000001.
func (a Amount) String() string { return Decimal(int64(a), 9) }

// MarshalText writes what String returns: in JSON, a decimal string.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a decimal number of dollars with at most nine decimals.
func (a *Amount) UnmarshalText(text []byte) error {
	n, err := ParseDecimal(string(text), 9)
	*a = Amount(n)
	return err
}

// Short returns the amount in dollars without the zeros that end it, but with two
// decimals at least: 0.05, 12.00, 0.000224.
func (a Amount) Short() string {
	s := a.String()
	cents := len(s) - 7
	return s[:cents] + strings.TrimRight(s[cents:], "0")
}

// Decimal writes n / 10^places.
func Decimal(n int64, places int) string {
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

// ParseDecimal is the inverse of Decimal; trailing zeros may be missing. What is no such
// number is fault.Invalid.
func ParseDecimal(s string, places int) (int64, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", max(0, places-len(fraction))), 10, 64)
	if err != nil || len(fraction) > places || strings.ContainsAny(fraction, "+-_") || whole == "" || whole == "-" {
		return 0, fault.New(fault.Invalid, "%q is not an amount with at most %d decimals", s, places)
	}
	return n, nil
}
