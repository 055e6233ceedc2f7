//go:build e2e

package e2e

import (
	"fmt"
	"math/big"
	"testing"
	"time"
)

// aBill is what these tests read of a bill.
type aBill struct {
	Status string `json:"status"`
	Lines  []struct {
		SKU       string `json:"sku"`
		Quantity  string `json:"quantity"`
		Unit      string `json:"unit"`
		UnitPrice string `json:"unitPrice"`
		Amount    string `json:"amount"`
	} `json:"lines"`
	Total string `json:"total"`
}

// oracle computes what a stopped task costs from its time stamps and size, with
// fractions and by the rules of the AWS Fargate pricing page: from the start of
// the pull until the task is gone, whole seconds rounded up, a minute at least.
func oracle(t testing.TB, got aTask) (vcpu, gb *big.Rat) {
	t.Helper()
	nanos := got.StoppedAt.Sub(got.PullStartedAt).Nanoseconds()
	seconds := (nanos + 999_999_999) / 1_000_000_000
	hours := big.NewRat(max(seconds, 60), 3600)
	price := func(size string, per int64, rate string) *big.Rat {
		n, ok := new(big.Rat).SetString(size)
		r, ok2 := new(big.Rat).SetString(rate)
		if !ok || !ok2 {
			t.Fatalf("size %q, rate %q", size, rate)
		}
		n.Quo(n, big.NewRat(per, 1))
		return n.Mul(n, r).Mul(n, hours)
	}
	if got.CapacityProvider == "FARGATE_SPOT" {
		return price(got.CPU, 1024, "0.01288871"), price(got.Memory, 1024, "0.00141527")
	}
	return price(got.CPU, 1024, "0.04048"), price(got.Memory, 1024, "0.004445")
}

// checkBill checks the final bill of a stopped task against the oracle.
func (s *server) checkBill(got aTask) {
	s.t.Helper()
	var b aBill
	s.eventually(15*time.Second, "the bill is final", func() error {
		b = aBill{}
		if _, err := s.try("GET", "/api/v1/tasks/"+got.id()+"/bill", "", &b); err != nil {
			return err
		}
		if b.Status != "FINAL" {
			return fmt.Errorf("status %q", b.Status)
		}
		return nil
	})
	if got.PullStartedAt.IsZero() {
		if len(b.Lines) != 0 || b.Total != "0.000000000" {
			s.t.Errorf("task %s never pulled and is billed %s", got.id(), b.Total)
		}
		return
	}
	vcpu, gb := oracle(s.t, got)
	kind := ""
	if got.CapacityProvider == "FARGATE_SPOT" {
		kind = "SpotUsage-"
	}
	want := map[string]string{kind + "Fargate-vCPU-Hours:perCPU": round(vcpu), kind + "Fargate-GB-Hours": round(gb)}
	sum := new(big.Rat)
	for _, l := range b.Lines {
		if l.Amount != want[l.SKU] {
			s.t.Errorf("task %s, %s: billed %s, the oracle says %s", got.id(), l.SKU, l.Amount, want[l.SKU])
		}
		delete(want, l.SKU)
		amount, ok := new(big.Rat).SetString(l.Amount)
		if !ok {
			s.t.Fatalf("amount %q", l.Amount)
		}
		sum.Add(sum, amount)
	}
	if len(want) != 0 {
		s.t.Errorf("task %s: no line for %v", got.id(), want)
	}
	if sum.FloatString(9) != b.Total {
		s.t.Errorf("task %s: lines sum to %s, total says %s", got.id(), sum.FloatString(9), b.Total)
	}
}

// round returns r with nine decimals, half to even.
func round(r *big.Rat) string {
	n := new(big.Rat).Mul(r, big.NewRat(1_000_000_000, 1))
	q, m := new(big.Int).QuoRem(n.Num(), n.Denom(), new(big.Int))
	twice := m.Lsh(m, 1)
	if c := twice.Cmp(n.Denom()); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return new(big.Rat).SetFrac(q, big.NewInt(1_000_000_000)).FloatString(9)
}
