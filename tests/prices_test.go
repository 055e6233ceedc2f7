package tests

import (
	"context"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/prices"
	"berth/fault"
	"berth/task"
)

// blind has no counters: what tasks use changes nothing of what they cost.
type blind struct{}

func (blind) Open(context.Context, task.ID) (billing.Gauge, error) {
	return nil, fault.New(fault.NotFound, "no counters")
}

// bill starts what a server has for bills, and returns how to end it.
func bill(h *host, region string) (*prices.Catalogue, *billing.Meter, func()) {
	h.t.Helper()
	c, err := prices.Open(context.Background(), prices.Config{Book: h.store, Region: region, Log: zap.NewNop(), Now: time.Now})
	if err != nil {
		h.t.Fatal(err)
	}
	m := billing.NewMeter(billing.Config{Journal: h.store, Ledger: h.store, Probe: blind{}, Prices: c, Clock: h.now, Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			h.t.Error(err)
		}
	}()
	return c, m, func() { cancel(); <-done }
}

// exactly returns what size units of k, of which 1024 are one that has a price, cost
// from one time to another by the timeline of c, with what is rounded up until ends at
// the last price: rounded half to even for each list, as nothing else here computes it.
func exactly(c *prices.Catalogue, k billing.SKU, size int64, from, to, ends time.Time) (total billing.Money, lists []string) {
	for from.Before(to) {
		rate, list, until := c.At(k, from)
		if until.IsZero() || !until.Before(to) {
			until = ends
		}
		nanos := big.NewRat(size*int64(rate), 1024*10) // rates are tenths of a nano-dollar
		nanos.Mul(nanos, big.NewRat(int64(until.Sub(from)), int64(time.Hour)))
		whole, rest := new(big.Int).QuoRem(nanos.Num(), nanos.Denom(), new(big.Int))
		if cmp := rest.Lsh(rest, 1).Cmp(nanos.Denom()); cmp > 0 || cmp == 0 && whole.Bit(0) == 1 {
			whole.Add(whole, big.NewInt(1))
		}
		total, lists, from = total+billing.Money(whole.Int64()), append(lists, list), until
	}
	return total, lists
}

// checkEntries checks that the entries for k leave nothing out and charge nothing
// twice, each by the list that held, and that none reaches over a change of prices.
func checkEntries(t *testing.T, c *prices.Catalogue, entries []billing.Entry, k billing.SKU, from, ends time.Time, amount billing.Money) {
	t.Helper()
	var sum billing.Money
	for _, e := range entries {
		if e.SKU != k {
			continue
		}
		if !e.From.Equal(from) {
			t.Errorf("%s: an entry begins at %s and the one before ended at %s", k, e.From, from)
		}
		if e.Kind == billing.Metered {
			rate, list, until := c.At(k, e.From)
			if e.Rate != rate || e.PriceList != list {
				t.Errorf("%s at %s: charged at %s by %s, and %s by %s held", k, e.From, e.Rate, e.PriceList, rate, list)
			}
			if !until.IsZero() && e.To.After(until) {
				t.Errorf("%s: the entry from %s to %s reaches over the change at %s", k, e.From, e.To, until)
			}
		}
		from, sum = e.To, sum+e.Amount
	}
	if !from.Equal(ends) || sum != amount {
		t.Errorf("%s: the entries end at %s with %s, want %s with %s", k, from, sum, ends, amount)
	}
}

// Ensure that when prices change in the middle of a task its charge is cut there and
// nowhere else: by another region, by a list that was planned for that time, by a
// discount plan, and by one that is added and used while the task runs; also if the
// server dies in between.
func TestPricesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 12, 31, 20, 17, 3, 123456789, time.UTC)))
		h := newHost(t, nil)
		c, _, stop := bill(h, "us-east-1")
		long := h.submit(task.Run{}, main("sleep", "8h")).ID
		use := func(ref, plan string, from time.Time) {
			t.Helper()
			if _, err := c.Use(t.Context(), ref, plan, from); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.AddDraft(t.Context(), prices.Draft{VCPU: "0.0212345678", Memory: "0.0023456789", EffectiveFrom: "2027-01-01"}); err != nil {
			t.Fatal(err)
		}
		use("own", "", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
		time.Sleep(93*time.Minute + 20*time.Second + 7)
		use("eu-central-1", "", time.Time{})
		time.Sleep(10 * time.Millisecond)
		short := h.submit(task.Run{}, main("sleep", "5s")).ID // It begins at the old prices and ends at the new.
		time.Sleep(40 * time.Minute)
		stop()
		h.crash()
		time.Sleep(3 * time.Hour) // The new year begins without a server.
		h.start()
		c, m, stop := bill(h, "us-east-1")
		defer func() { stop() }()
		time.Sleep(17 * time.Minute)
		use("us-east-1", "compute-3y-no-upfront", time.Time{})
		time.Sleep(time.Minute)
		l, err := c.AddDraft(t.Context(), prices.Draft{Name: "us-east-1", VCPU: "0.1", Memory: "0.01"})
		if err != nil {
			t.Fatal(err)
		}
		use(l.ID, "", time.Time{})
		time.Sleep(5 * time.Hour)

		for id, want := range map[task.ID]int{long: 5, short: 2} {
			tk := h.task(id)
			if tk.LastStatus != task.Stopped {
				t.Fatalf("the task is %s", tk.LastStatus)
			}
			b, err := m.Bill(t.Context(), id)
			if err != nil || b.Status != billing.StatusFinal {
				t.Fatalf("%+v, %v", b, err)
			}
			var total billing.Money
			for k, size := range map[billing.SKU]int64{billing.VCPU: 256, billing.Memory: 512} {
				ends := tk.PullStartedAt.Add(time.Duration(b.BilledSeconds) * time.Second)
				amount, lists := exactly(c, k, size, tk.PullStartedAt, tk.StoppedAt, ends)
				if total += amount; len(lists) != want {
					t.Errorf("%s was charged by %v, want %d lists", k, lists, want)
				}
				checkEntries(t, c, b.Entries, k, tk.PullStartedAt, ends, amount)
			}
			if b.Total != total {
				t.Errorf("the bill is %s, want %s", b.Total, total)
			}
		}
		if a, err := h.store.VerifyLedger(t.Context(), nil); err != nil || !a.OK {
			t.Error(a.Bad, err)
		}
	})
}
