package billing_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/task"
)

// Ensure what is used in a time is what is used in its parts, whatever they are.
func TestUsedAddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		start := time.Unix(1e9, 0)
		at := start
		var samples []task.Sample
		for range rapid.IntRange(0, 9).Draw(rt, "samples") {
			at = at.Add(time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(rt, "gap")))
			samples = append(samples, task.Sample{At: at, Counters: task.Counters{
				CPUNanos: rapid.Uint64Range(0, 1e18).Draw(rt, "cpu"), WorkingSetBytes: rapid.Uint64Range(0, 1<<37).Draw(rt, "memory"),
				EphemeralStorageBytes: rapid.Uint64Range(0, 1<<38).Draw(rt, "storage"),
			}})
		}
		k := rapid.SampledFrom([]billing.SKU{billing.VCPU, billing.Memory, billing.Storage}).Draw(rt, "sku")
		end := start.Add(time.Duration(rapid.Int64Range(0, int64(10*24*time.Hour)).Draw(rt, "end")))
		whole, until := billing.Used(k, start, samples, start, end)
		var sum int64
		for from := start; from.Before(end); {
			to := from.Add(time.Duration(rapid.Int64Range(1, int64(5*24*time.Hour)).Draw(rt, "part")))
			if to.After(end) {
				to = end
			}
			units, until := billing.Used(k, start, samples, from, to)
			if units == 1<<60 {
				return // beyond what one time can have
			}
			if units < 0 || until.Before(from) || until.After(to) {
				rt.Fatalf("%d units from %s to %s, until %s", units, from, to, until)
			}
			sum, from = sum+units, to
		}
		if sum != whole && whole < 1<<60 {
			rt.Fatalf("%d units in the parts, %d in the whole", sum, whole)
		}
		if n := len(samples); n > 0 && until.Before(end) && !until.Equal(samples[n-1].At) {
			rt.Fatalf("known until %s; the last sample is of %s", until, samples[n-1].At)
		}
	})
}

// Ensure each hour's entry has what was used in that hour, also when the meter
// was away, and that nothing is wasted by a task that always computes.
func TestUsedByHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		tk := h.provision()
		_, stop := run(t, h, l)
		time.Sleep(50 * time.Minute)
		stop()
		time.Sleep(2*time.Hour + 20*time.Minute) // two hours end meanwhile
		_, stop = run(t, h, l)
		time.Sleep(20*time.Minute + 300*time.Millisecond)
		tk = h.remove(h.end(tk))
		time.Sleep(time.Second)
		stop()
		billingtest.Check(t, l, tk)
		entries, err := l.Entries(context.Background(), tk.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			ideal := e.Units // of a CPU that is always busy
			if e.SKU == billing.Memory {
				ideal = e.Units / 512 * 64 // a few pages more
			}
			if e.Kind != billing.Metered {
				ideal = 0
			}
			// A sample is kept to the millisecond.
			if off := float64(e.Used.Units-ideal) / float64(max(1, ideal)); ideal == 0 && e.Used.Units != 0 || ideal != 0 && (off < -0.001 || off > 0.001) {
				t.Errorf("%s %s from %s to %s: %d was used of %d, want %d", e.Kind, e.SKU, e.From, e.To, e.Used.Units, e.Units, ideal)
			}
		}
	})
}

// Ensure a price that changes while a task runs divides its bill there.
func TestPriceChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		prices := new(billingtest.Catalog)
		change := time.Now().Add(90 * time.Minute)
		prices.Add(change, 200)
		m := billing.NewMeter(billing.Config{Journal: h, Ledger: l, Probe: h, Prices: prices, Clock: h.now, Log: zap.NewNop()})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		tk := h.provision()
		time.Sleep(2*time.Hour + 30*time.Second)
		open, err := m.Bill(ctx, tk.ID)
		if err != nil || len(open.Lines) != 4 || open.Lines[1].Seconds != "1830" {
			t.Errorf("bill after the change: %+v, %v", open.Lines, err)
		}
		time.Sleep(500 * time.Millisecond)
		tk = h.remove(h.end(tk))
		time.Sleep(time.Second)
		b, err := m.Bill(ctx, tk.ID)
		if err != nil {
			t.Fatal(err)
		}
		at := func(k billing.SKU, size int64, d time.Duration) billing.Money {
			return billingtest.Round(billingtest.Charge(k, size, d))
		}
		for i, want := range []struct {
			seconds, list string
			amount        billing.Money
		}{
			{"5400", "list-0-100%", at(billing.VCPU, 256, 90*time.Minute)},
			{"1831", "list-1-200%", at(billing.VCPU, 512, 1831*time.Second)}, // twice the price is twice the size
			{"5400", "list-0-100%", at(billing.Memory, 512, 90*time.Minute)},
			{"1831", "list-1-200%", at(billing.Memory, 1024, 1831*time.Second)},
		} {
			if l := b.Lines[i]; l.Seconds != want.seconds || l.PriceList != want.list || l.Amount != want.amount {
				t.Errorf("line %d is %+v, want %+v", i, l, want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
