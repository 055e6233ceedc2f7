package estimate

import (
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/history"
	"berth/task"
)

// shapes draws what Fargate can have.
var shapes = rapid.Custom(func(t *rapid.T) billing.Shape {
	size := rapid.SampledFrom(task.Sizes()).Draw(t, "size")
	return billing.Shape{
		CPU: size.CPU, Memory: size.Memory, Storage: rapid.IntRange(20, 200).Draw(t, "storage"),
		Arch: rapid.SampledFrom([]string{"X86_64", "ARM64"}).Draw(t, "arch"), Spot: rapid.Bool().Draw(t, "spot"),
	}
})

var lengths = rapid.Custom(func(t *rapid.T) time.Duration {
	most := rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Minute, time.Hour, 400 * 24 * time.Hour}).Draw(t, "scale")
	return time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "length"))
})

// Ensure an estimate is what rational numbers say and what the ledger would
// charge, and that parts, lines and total add up.
func TestPrice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := shapes.Draw(t, "shape")
		times := Times{lengths.Draw(t, "pull"), lengths.Draw(t, "rest")}
		c, err := Price(s, billing.BuiltIn(), times)
		if err != nil {
			t.Fatal(err)
		}
		metered := times.Pull + times.Rest
		billed := billingtest.Billed(metered)
		if c.BilledSeconds != int64(billed/time.Second) {
			t.Errorf("billed %d s of %s", c.BilledSeconds, metered)
		}
		var total billing.Money
		for i, r := range s.Reserved() {
			l := c.Lines[i]
			if want := billingtest.Round(billingtest.Charge(r.SKU, r.Size, billed)); l.SKU != r.SKU || l.Amount != want {
				t.Errorf("%s costs %s, want %s", l.SKU, l.Amount, want)
			}
			var sum billing.Money
			seconds := new(big.Rat)
			for _, p := range l.Parts {
				sum += p.Amount
				part, ok := new(big.Rat).SetString(p.Seconds)
				if !ok || part.Sign() <= 0 {
					t.Errorf("a part of %q seconds", p.Seconds)
				}
				seconds.Add(seconds, part)
			}
			if sum != l.Amount || seconds.Cmp(new(big.Rat).SetInt64(c.BilledSeconds)) != 0 {
				t.Errorf("parts add up to %s and %s s, the line is %s and %d s", sum, seconds, l.Amount, c.BilledSeconds)
			}
			total += l.Amount
		}
		_, ledger := billing.Estimate(taskOf(s), billing.BuiltIn(), metered)
		if c.Total != total || c.Total != ledger {
			t.Errorf("total %s, lines %s, ledger %s", c.Total, total, ledger)
		}
		if alone, err := Total(s, billing.BuiltIn(), metered); err != nil || alone != total {
			t.Errorf("Total says %s, %v", alone, err)
		}
	})
}

// Ensure the parts say what each second is for.
func TestParts(t *testing.T) {
	c, err := Price(billing.Shape{CPU: 256, Memory: 512, Storage: 20, Arch: "X86_64"}, billing.BuiltIn(), Times{4 * time.Second, 3500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.Lines[0].Parts {
		got = append(got, p.For+" "+p.Seconds)
	}
	if want := []string{"PULL 4", "RUN 3.5", "SECOND_ROUNDUP 0.5", "MINIMUM_TOPUP 52"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(c.Lines) != 2 || c.Total.String() != "0.000205709" {
		t.Errorf("%d lines, %s", len(c.Lines), c.Total)
	}
}

// Ensure a month is so many rounded runs, or 730 hours, rounded once.
func TestMonth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := shapes.Draw(t, "shape")
		count := rapid.IntRange(0, 5000).Draw(t, "count")
		r := Request{}
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			r.RunsPerDay = rapid.Int64Range(1, 100_000).Draw(t, "a day")
		case 1:
			r.RunsPerMonth = rapid.Int64Range(1, 100_000).Draw(t, "a month")
		}
		times := Times{lengths.Draw(t, "pull") % time.Hour, lengths.Draw(t, "rest") % time.Hour}
		costs, err := costsOf(s, billing.BuiltIn(), Spread{times, times, times})
		if err != nil {
			t.Fatal(err)
		}
		got, err := monthOf(r, Subject{}).of(s, billing.BuiltIn(), costs, count)
		if err != nil {
			t.Fatal(err)
		}
		sum := new(big.Rat)
		for _, res := range s.Reserved() {
			d := billingtest.Billed(times.Pull + times.Rest)
			if r.RunsPerDay == 0 && r.RunsPerMonth == 0 {
				d = 730 * time.Hour
			}
			sum.Add(sum, dollars(billingtest.Round(billingtest.Charge(res.SKU, res.Size, d))))
		}
		sum.Mul(sum, new(big.Rat).SetInt64(int64(count)))
		switch {
		case r.RunsPerDay > 0:
			sum.Mul(sum, new(big.Rat).SetFrac64(r.RunsPerDay*730, 24))
		case r.RunsPerMonth > 0:
			sum.Mul(sum, new(big.Rat).SetInt64(r.RunsPerMonth))
		}
		if want := billingtest.Round(sum); got.Low != want || got.Expected != want || got.High != want {
			t.Errorf("%+v, want %s", got, want)
		}
	})
}

func dollars(m billing.Money) *big.Rat { return big.NewRat(int64(m), 1e9) }

func TestTooMuch(t *testing.T) {
	if m, err := Scale(5e18, 2, 1); err == nil {
		t.Errorf("10 billion dollars are %s", m)
	}
	r := Range{5e18, 5e18, 5e18}
	if sum, err := r.plus(r); err == nil {
		t.Errorf("10 billion dollars are %+v", sum)
	}
}

func run(family string, size task.Size, pull, rest time.Duration, code string) history.Run {
	return history.Run{
		Family: family, Shape: billing.Shape{CPU: size.CPU, Memory: size.Memory}, Charged: true, Ran: true, Pull: pull, Rest: rest, StopCode: code,
		StoppedAt: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC),
	}
}

// Ensure the times of an estimate are those of real runs, of the same size where
// there are any.
func TestSpread(t *testing.T) {
	small, large := task.Size{CPU: 256, Memory: 512}, task.Size{CPU: 1024, Memory: 2048}
	var runs []history.Run
	for i := range 100 { // 1 to 100 s, in some order
		n := time.Duration(i*37%100+1) * time.Second
		runs = append(runs, run("f", small, n/10, n-n/10, task.EssentialExited))
	}
	runs = append(runs, run("f", small, 0, 9000*time.Hour, task.UserInitiated), run("f", large, 0, 7*time.Second, task.EssentialExited))
	s, pull, rest := spread(runs, small, 0, 0)
	if s.Low.Metered() != 5*time.Second || s.Expected.Metered() != 50*time.Second || s.High.Metered() != 95*time.Second {
		t.Errorf("%+v", s)
	}
	if rest.Source != Measured || rest.Runs != 100 || pull.Runs != 100 {
		t.Errorf("%+v, %+v", pull, rest)
	}
	s, _, rest = spread(runs, task.Size{CPU: 512, Memory: 1024}, 0, 0)
	if rest.Runs != 101 || s.High.Metered() != 95*time.Second {
		t.Errorf("at another size: %+v, %+v", s, rest)
	}
	s, pull, rest = spread(runs, small, time.Minute, 0)
	if rest.Source != Given || pull.Source != Measured || s.Low != (Times{500 * time.Millisecond, time.Minute}) || s.High.Pull != 9500*time.Millisecond {
		t.Errorf("with a duration: %+v, %+v, %+v", s, pull, rest)
	}
	s, pull, rest = spread(nil, small, 0, 0)
	if rest.Source != Assumed || pull.Source != Assumed || s.Expected != (Times{10 * time.Second, time.Hour}) {
		t.Errorf("without runs: %+v, %+v, %+v", s, pull, rest)
	}
	s, _, rest = spread(nil, small, 0, 5*time.Minute)
	if rest.Source != Given || s.High.Rest != 5*time.Minute || s.Expected.Rest != 5*time.Minute || s.Low.Rest != time.Second {
		t.Errorf("with a timeout: %+v, %+v", s, rest)
	}
}

// Ensure a percentile is the smallest value that so many are not above.
func TestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, percent := rapid.IntRange(1, 500).Draw(t, "n"), rapid.IntRange(1, 100).Draw(t, "percent")
		i := rank(n, percent)
		if (i+1)*100 < n*percent || i > 0 && i*100 >= n*percent {
			t.Errorf("P%d of %d values is value %d", percent, n, i+1)
		}
	})
}

func taskOf(s billing.Shape) task.Task {
	t := billingtest.Task(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	t.CPU, t.Memory, t.Arch = strconv.Itoa(s.CPU), strconv.Itoa(s.Memory), s.Arch
	t.Ephemeral = &task.EphemeralStorage{SizeInGiB: s.Storage}
	if s.Spot {
		t.CapacityProvider = task.Spot
	}
	return t
}
