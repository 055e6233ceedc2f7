package whatif_test

import (
	"context"
	"fmt"
	"iter"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/history"
	"berth/billing/whatif"
	"berth/fault"
	"berth/task"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// runs remembers runs.
type runs []history.Run

func (all runs) EachRun(_ context.Context, q history.Query) iter.Seq2[history.Run, error] {
	return func(yield func(history.Run, error) bool) {
		for _, r := range all {
			if (q.Family == "" || q.Family == r.Family) && !r.StoppedAt.Before(q.Since) && r.StoppedAt.Before(q.Until) && !yield(r, nil) {
				return
			}
		}
	}
}

// regions has the built-in prices here, and in "dear", which began a week ago, three times
// as much.
type regions struct{}

var dearFrom = now.AddDate(0, 0, -7)

func (regions) PriceList(_ context.Context, region string, at time.Time) (billing.PriceList, error) {
	list := billing.BuiltIn()
	switch {
	case region == "":
		return list, nil
	case region != "dear" || at.Before(dearFrom):
		return list, fault.At("region", "there are no prices of %q", region)
	}
	list.ID, list.Rates = "dear", make(map[billing.SKU]billing.Rate)
	for k, r := range billing.BuiltIn().Rates {
		list.Rates[k] = 3 * r
	}
	return list, nil
}

func replay(r whatif.Request, all ...history.Run) (whatif.Result, error) {
	return whatif.New(whatif.Config{Runs: runs(all), Prices: regions{}, Now: func() time.Time { return now }}).Replay(context.Background(), r)
}

func drawRun(rt *rapid.T, i int) history.Run {
	size := rapid.SampledFrom(task.Sizes()).Draw(rt, "size")
	pull := time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(rt, "pull"))
	rest := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(rt, "rest"))
	if rapid.Bool().Draw(rt, "short") {
		pull, rest = pull%time.Second, rest%time.Minute
	}
	return history.Run{
		Task: task.ID(fmt.Sprintf("%032x", i)), Family: rapid.SampledFrom([]string{"web", "job"}).Draw(rt, "family"),
		Shape: billing.Shape{CPU: size.CPU, Memory: size.Memory, Storage: rapid.SampledFrom([]int{20, 100}).Draw(rt, "storage"),
			Arch: rapid.SampledFrom([]string{"X86_64", "ARM64"}).Draw(rt, "arch"), Spot: rapid.Bool().Draw(rt, "spot")},
		StoppedAt: now.Add(-time.Duration(rapid.Int64Range(1, int64(40*24*time.Hour)).Draw(rt, "ago"))),
		Charged:   rapid.IntRange(0, 9).Draw(rt, "charged") > 0, Ran: true, Pull: pull, Rest: rest, StopCode: task.EssentialExited,
	}
}

// worth says what a shape costs for so long, in exact arithmetic from the price per hour.
func worth(s billing.Shape, metered time.Duration, times int64) (sum billing.Money) {
	for _, r := range s.Reserved() {
		exact := billingtest.Charge(r.SKU, r.Size, billingtest.Billed(metered))
		sum += billingtest.Round(exact.Mul(exact, new(big.Rat).SetInt64(times)))
	}
	return sum
}

// Ensure both sides are what the ledger's arithmetic says of each run, whatever the terms.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []history.Run
		for i := range rapid.IntRange(0, 8).Draw(rt, "runs") {
			all = append(all, drawRun(rt, i))
		}
		r := whatif.Request{
			Days: rapid.SampledFrom([]int{0, 1, 20, 400}).Draw(rt, "days"), Family: rapid.SampledFrom([]string{"", "web"}).Draw(rt, "family"),
			Architecture: rapid.SampledFrom([]string{"", "X86_64", "ARM64"}).Draw(rt, "arch"), Region: rapid.SampledFrom([]string{"", "dear"}).Draw(rt, "region"),
		}
		if rapid.Bool().Draw(rt, "size") {
			s := rapid.SampledFrom(task.Sizes()).Draw(rt, "to")
			r.CPU, r.Memory = s.CPU, s.Memory
		}
		if spot := rapid.Bool().Draw(rt, "spot"); rapid.Bool().Draw(rt, "other capacity") || r.CPU == 0 && r.Architecture == "" && r.Region == "" {
			r.Spot = &spot
		}
		got, err := replay(r, all...)
		if err != nil {
			rt.Fatal(err)
		}
		days := map[int]int{0: 30, 1: 1, 20: 20, 400: 400}[r.Days]
		var want whatif.Compared
		var left int64
		for _, run := range all {
			began := run.StoppedAt.Add(-run.Pull - run.Rest)
			if !run.Charged || run.StoppedAt.Before(now.AddDate(0, 0, -days)) || r.Family != "" && run.Family != r.Family {
				continue
			}
			times := int64(1)
			if r.Region == "dear" {
				if times = 3; began.Before(dearFrom) {
					left++
					continue
				}
			}
			to := run.Shape
			if r.CPU > 0 {
				to.CPU, to.Memory = r.CPU, r.Memory
			}
			if r.Architecture != "" {
				to.Arch = r.Architecture
			}
			if r.Spot != nil {
				to.Spot = *r.Spot
			}
			want.Runs++
			want.Actual += worth(run.Shape, run.Pull+run.Rest, 1)
			want.Hypothetical += worth(to, run.Pull+run.Rest, times)

			tk := task.Task{CPU: fmt.Sprint(run.Shape.CPU), Memory: fmt.Sprint(run.Shape.Memory), Arch: run.Shape.Arch,
				Ephemeral: &task.EphemeralStorage{SizeInGiB: run.Shape.Storage}, PullStartedAt: began}
			if run.Shape.Spot {
				tk.CapacityProvider = task.Spot
			}
			var ledger billing.Money
			for _, c := range billing.Open(tk, billing.BuiltIn()) {
				_, entries := c.Close(run.StoppedAt, billing.Terms{Prices: billing.BuiltIn()}, nil)
				for _, e := range entries {
					ledger += e.Amount
				}
			}
			if one := worth(run.Shape, run.Pull+run.Rest, 1); ledger != one {
				rt.Fatalf("the ledger charged %s and it says %s", ledger, one)
			}
		}
		total := got.Total
		if total.Runs != want.Runs || total.Actual != want.Actual || total.Hypothetical != want.Hypothetical || total.Difference != want.Hypothetical-want.Actual {
			rt.Fatalf("got %+v, want %+v", total, want)
		}
		var sum whatif.Compared
		for _, f := range got.Families {
			sum.Runs, sum.Actual, sum.Hypothetical, sum.Difference = sum.Runs+f.Runs, sum.Actual+f.Actual, sum.Hypothetical+f.Hypothetical, sum.Difference+f.Difference
		}
		if sum.Runs != total.Runs || sum.Actual != total.Actual || sum.Hypothetical != total.Hypothetical || sum.Difference != total.Difference {
			rt.Fatalf("the families are %+v together, and all is %+v", sum, total)
		}
		for _, l := range got.LeftOut {
			left -= l.Runs
		}
		if left != 0 {
			rt.Fatalf("left out are %+v, %d more or less than must be", got.LeftOut, left)
		}
	})
}

// Ensure what speaks against a smaller size is said: runs that needed more memory or CPU,
// and those of which nobody knows.
func TestNotes(t *testing.T) {
	run := func(use *history.Use) history.Run {
		return history.Run{Family: "web", Shape: billing.Shape{CPU: 1024, Memory: 2048, Storage: 20, Arch: "X86_64"}, StoppedAt: now.Add(-time.Hour), Charged: true, Rest: time.Hour, Use: use}
	}
	got, err := replay(whatif.Request{CPU: 256, Memory: 512},
		run(nil), run(&history.Use{WorkingSetBytes: 512 << 20}), run(&history.Use{WorkingSetBytes: 512<<20 + 1}), run(&history.Use{OOMKills: 1}),
		run(&history.Use{Minutes: map[int]int{16: 9}}), run(&history.Use{Minutes: map[int]int{3: 1, 17: 1, 18: 1}}))
	if err != nil || got.Total.Runs != 6 || got.Total.Unmeasured != 1 || got.Total.OverMemory != 2 || got.Total.OverCPU != 1 || got.Families[0].OverMemory != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	said := strings.Join(got.Notes, "\n")
	for _, want := range []string{"2 of 6 runs needed more memory than 512 MiB", "1 of 6 runs used more than 256 CPU units", "of 1 of 6 runs it is not known"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %q", want, said)
		}
	}
	// A burst at the start of a short run is no reason against what it had already.
	if got, err = replay(whatif.Request{CPU: 1024, Memory: 4096}, run(&history.Use{OOMKills: 1, WorkingSetBytes: 2 << 30, Minutes: map[int]int{99: 1}})); err != nil || got.Total.OverMemory != 0 || got.Total.OverCPU != 0 || len(got.Notes) != 1 {
		t.Errorf("with more memory: %+v, %v", got, err)
	}
}

// Ensure what is wrong is refused with its field.
func TestRefused(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		r     whatif.Request
		field string
	}{
		{whatif.Request{}, ""}, {whatif.Request{Days: 7}, ""}, {whatif.Request{CPU: 300, Memory: 512}, "cpu"}, {whatif.Request{CPU: 256, Memory: 8192}, "memory"},
		{whatif.Request{CPU: 256}, "memory"}, {whatif.Request{Memory: 512}, "cpu"}, {whatif.Request{Architecture: "MIPS"}, "cpuArchitecture"},
		{whatif.Request{Spot: &yes, Days: 401}, "days"}, {whatif.Request{Spot: &yes, Days: -1}, "days"}, {whatif.Request{Spot: &yes, Days: 1, To: now}, "days"},
		{whatif.Request{Spot: &yes, From: now, To: now}, "to"}, {whatif.Request{Region: "nowhere"}, "region"},
	} {
		_, err := replay(tt.r)
		var e *fault.Error
		if e, _ = err.(*fault.Error); e == nil || e.Kind != fault.Invalid || e.Field != tt.field {
			t.Errorf("%+v: %v, want field %q", tt.r, err, tt.field)
		}
	}
}

// Ensure the prices are those of when the charge began.
func TestPricesOfThen(t *testing.T) {
	run := history.Run{Family: "web", Shape: billing.Shape{CPU: 256, Memory: 512, Storage: 20, Arch: "X86_64"}, StoppedAt: dearFrom.Add(time.Minute), Charged: true, Pull: time.Second, Rest: time.Minute}
	got, err := replay(whatif.Request{Region: "dear"}, run)
	if err != nil || got.Total.Runs != 0 || len(got.LeftOut) != 1 || !strings.Contains(got.LeftOut[0].Reason, "no prices of dear") {
		t.Errorf("%+v, %v", got, err)
	}
	run.Pull = 0
	if got, err = replay(whatif.Request{Region: "dear"}, run); err != nil || got.Total.Hypothetical != worth(run.Shape, time.Minute, 3) {
		t.Errorf("%+v, %v", got, err)
	}
}
