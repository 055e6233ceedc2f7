package billing

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"
	"time"
)

// FuzzMulDiv compares with math/big.
func FuzzMulDiv(f *testing.F) {
	f.Add(int64(1), int64(5), int64(10)) // a half, down to even
	f.Add(int64(3), int64(5), int64(10)) // a half, up to even
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(1))
	f.Add(int64(math.MaxInt64), int64(3), int64(2))
	f.Fuzz(func(t *testing.T, a, b, d int64) {
		if a < 0 || b < 0 || d <= 0 {
			t.Skip("outside the contract")
		}
		got, ok := muldiv(a, b, d)
		n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		q, r := new(big.Int).QuoRem(n, big.NewInt(d), new(big.Int))
		if c := r.Lsh(r, 1).Cmp(big.NewInt(d)); c > 0 || c == 0 && q.Bit(0) == 1 {
			q.Add(q, big.NewInt(1))
		}
		if ok != q.IsInt64() || ok && got != q.Int64() {
			t.Fatalf("%d × %d / %d = %d, %v, want %s", a, b, d, got, ok, q)
		}
	})
}

func TestDecimals(t *testing.T) {
	for _, c := range []struct {
		n int64
		s string
	}{{0, "0.000000000"}, {1, "0.000000001"}, {-1, "-0.000000001"}, {1_500_000_000, "1.500000000"}, {math.MaxInt64, "9223372036.854775807"}, {math.MinInt64, "-9223372036.854775808"}} {
		if got := Money(c.n).String(); got != c.s {
			t.Errorf("%d is %s, want %s", c.n, got, c.s)
		}
		var back Money
		if err := json.Unmarshal([]byte(`"`+c.s+`"`), &back); err != nil || back != Money(c.n) {
			t.Errorf("%s reads as %d, %v", c.s, back, err)
		}
	}
	for r, want := range map[Rate]string{404_800_000: "0.040480000", 44_450_000: "0.004445000", 51_117_501: "0.0051117501"} {
		if got := r.String(); got != want {
			t.Errorf("rate %d is %s, want %s", r, got, want)
		}
	}
	for _, bad := range []string{"", "1.0000000001", "1.-5", "x", "-", "1e3", "10000000000", ".5"} {
		var m Money
		if err := m.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q reads as %s", bad, m)
		}
	}
}

// What AWS wrote in its sample of FOCUS data (FOCUS-Sample-Data, focus_sample,
// September 2024) for Fargate: the quantity in unit-hours and the cost, which
// AWS rounds to ten decimals. The times are those that give the quantities.
func TestAWSRows(t *testing.T) {
	for _, row := range []struct {
		sku      SKU
		size     int64
		d        time.Duration
		quantity string
		cost     Money
	}{
		{VCPU, 256, 60 * time.Second, "0.0041666667", 168_667},
		{Memory, 512, 60 * time.Second, "0.0083333333", 37_042},
		{VCPU, 256, time.Hour, "0.2500000000", 10_120_000},
		{Memory, 1024, 64 * time.Second, "0.0177777778", 79_022},
		{Memory, 1024, 129 * time.Second, "0.0358333333", 159_279},
		{Memory, 512, 66 * time.Second, "0.0091666667", 40_746},
		{Memory, 2048, 120 * time.Second, "0.0666666667", 296_333},
		{VCPU, 256, 113 * time.Second, "0.0078472222", 317_656},
		{VCPU, 256, 782_188 * time.Millisecond, "0.0543186111", 2_198_817},
		{Memory, 512, 1_558_672 * time.Millisecond, "0.2164822222", 962_263},
		{Memory, 1024, time.Hour, "1.0000000000", 4_445_000},
		{ArmMemory, 1024, time.Hour, "1.0000000000", 3_560_000},
	} {
		if got := quantity(row.sku, row.size, row.d); got != row.quantity {
			t.Errorf("%s, %d for %s: quantity %s, want %s", row.sku, row.size, row.d, got, row.quantity)
		}
		if got := charge(row.sku, row.size, BuiltIn().Rates[row.sku], row.d); got != row.cost {
			t.Errorf("%s, %d for %s: %s, want %s", row.sku, row.size, row.d, got, row.cost)
		}
	}
}

func TestResource(t *testing.T) {
	for want, r := range map[string]Reservation{"0.25 vCPU": {VCPU, 256}, "16 vCPU": {ArmVCPU, 16384}, "0.5 GB": {Memory, 512}, "244 GB": {Memory, 249856}, "80 GB": {Storage, 80}} {
		if got := r.SKU.Resource(r.Size); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}

// The example of the pricing page's kind: 0.25 vCPU and 0.5 GB, stopped after
// a second, are charged for a minute.
func TestMinimum(t *testing.T) {
	for _, c := range []struct {
		ran, want time.Duration
	}{{0, time.Minute}, {1, time.Minute}, {time.Minute, time.Minute}, {time.Minute + 1, 61 * time.Second}, {61 * time.Second, 61 * time.Second}} {
		if got := billed(c.ran); got != c.want {
			t.Errorf("%s is charged as %s, want %s", c.ran, got, c.want)
		}
	}
}
