package money_test

import (
	"testing"

	"pgregory.net/rapid"

	"berth/money"
)

// Ensure every amount reads back as it was written, in full and in short.
func TestAmount(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := money.Amount(rapid.Int64().Draw(rt, "amount"))
		for _, text := range []string{a.String(), a.Short()} {
			var b money.Amount
			if err := b.UnmarshalText([]byte(text)); err != nil || b != a {
				rt.Errorf("%d is written %s and read as %d, %v", a, text, b, err)
			}
		}
	})
	for a, want := range map[money.Amount]string{0: "0.00", 50_000_000: "0.05", 12_000_000_000: "12.00", 224: "0.000000224", -1_500_000_000: "-1.50"} {
		if got := a.Short(); got != want {
			t.Errorf("%d: %s, want %s", a, got, want)
		}
	}
}
