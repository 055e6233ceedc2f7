package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"berth/money"
)

// amount is a flag with a number and perhaps a unit after it. Its value is in the
// unit base, whose name Type shows.
type amount struct {
	value *int64
	kind  string
	units map[string]float64 // lower-case suffix → how many of base
	show  func(int64) string
}

func (a amount) Type() string   { return a.kind }
func (a amount) String() string { return a.show(*a.value) }

func (a amount) Set(text string) error {
	t := strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(t, "abcdefghijklmnopqrstuvwxyz ")
	factor, ok := a.units[strings.TrimSpace(t[len(digits):])]
	n, err := strconv.ParseFloat(digits, 64)
	switch {
	case err != nil || !ok || n < 0 || n*factor > math.MaxInt64/2 || math.IsNaN(n):
		return fmt.Errorf("%q is not a %s", text, a.kind)
	}
	*a.value = int64(math.Round(n * factor))
	return nil
}

// byteSize reads sizes like 10MB, which are multiples of 1024 as in Docker.
func byteSize(value *int64) amount {
	return amount{value, "size", byteUnits(1), func(n int64) string {
		if n == 0 {
			return ""
		}
		return strings.ReplaceAll(byteCount(uint64(n)), " ", "")
	}}
}

// memorySize reads like byteSize but counts MiB, and so are numbers without a
// unit.
func memorySize(value *int64) amount {
	units := byteUnits(1.0 / (1 << 20))
	units[""] = 1
	return amount{value, "size", units, func(n int64) string {
		if n == 0 {
			return ""
		}
		return strings.ReplaceAll(mebi(int(n)), " ", "")
	}}
}

// dollars is a flag with an amount of US dollars that is more than 0. Unset, it is 0.
type dollars struct{ value *money.Amount }

func (d dollars) Type() string { return "dollars" }

func (d dollars) String() string {
	if d.value == nil || *d.value == 0 {
		return ""
	}
	return d.value.Short()
}

func (d dollars) Set(text string) error {
	if err := d.value.UnmarshalText([]byte(strings.TrimPrefix(text, "$"))); err != nil || *d.value <= 0 {
		return fmt.Errorf("%q is not an amount of US dollars, as in 0.05", text)
	}
	return nil
}

func byteUnits(one float64) map[string]float64 {
	units := map[string]float64{"": one, "b": one}
	for i, letter := range []string{"k", "m", "g", "t"} {
		n := one * math.Pow(1024, float64(i+1))
		units[letter], units[letter+"b"], units[letter+"ib"] = n, n, n
	}
	return units
}

// vcpuCount reads vCPU and counts CPU units, of which a vCPU has 1024.
func vcpuCount(value *int64) amount {
	return amount{value, "number", map[string]float64{"": 1024, "vcpu": 1024}, func(n int64) string {
		if n == 0 {
			return ""
		}
		return strings.TrimSuffix(vcpu(int(n)), " vCPU")
	}}
}

// lifetime is a flag with a time that may be long: 7d, 2w and 2y beside Go's 90m.
type lifetime struct{ value *time.Duration }

func (l lifetime) Type() string { return "time" }

func (l lifetime) String() string {
	d := *l.value
	for _, unit := range []string{"y", "w", "d"} {
		if whole := lifetimes[unit]; d >= whole && d%whole == 0 {
			return strconv.Itoa(int(d/whole)) + unit
		}
	}
	return d.String()
}

func (l lifetime) Set(text string) (err error) {
	*l.value, err = parseLifetime(text)
	return err
}

// lifetimes are the units that time.ParseDuration does not know. A year has 365 days.
var lifetimes = map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour}

// parseLifetime reads a duration of one unit of lifetimes, or of Go's.
func parseLifetime(text string) (time.Duration, error) {
	for unit, whole := range lifetimes {
		if digits, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.Atoi(digits)
			if err != nil || n < 0 || n > int(100*lifetimes["y"]/whole) {
				return 0, fmt.Errorf("%q is not a time, as in 90m, 36h, 7d or 2y", text)
			}
			return time.Duration(n) * whole, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time, as in 90m, 36h, 7d or 2y", text)
	}
	return d, nil
}
