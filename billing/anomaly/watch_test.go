package anomaly

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/notice"
)

// memBook is a Book in memory: what costs is a function of the hour since 1970.
type memBook struct {
	mu     sync.Mutex
	costs  map[Key]func(hour int64) billing.Money
	until  time.Time
	found  map[string]Anomaly
	told   map[string]notice.Notice
	looks  int
	broken bool
}

func newBook() *memBook {
	return &memBook{costs: make(map[Key]func(int64) billing.Money), found: make(map[string]Anomaly), told: make(map[string]notice.Notice)}
}

func (b *memBook) CostSeries(_ context.Context, from, to time.Time) (all []Series, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	for k, f := range b.costs {
		s := Series{Key: k}
		for at := from; at.Before(to); at = at.Add(time.Hour) {
			s.Hours = append(s.Hours, f(at.Unix()/3600))
		}
		all = append(all, s)
	}
	return all, nil
}

func (b *memBook) CostCount(_ context.Context, k Key, hours []time.Time) (c Count, err error) {
	for _, h := range hours {
		amount := b.costs[k](h.Unix() / 3600)
		c.Amount += amount
		c.Units += int64(amount) / 1000
		c.Entries += int64(math.Ceil(float64(amount) / 1e9))
	}
	return c, nil
}

func (b *memBook) AnomaliesUntil(context.Context) (time.Time, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until, nil
}

func (b *memBook) PutAnomalies(_ context.Context, until time.Time, found []Anomaly, tell []notice.Notice) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return errors.New("disk full")
	}
	b.until = until
	for _, a := range found {
		if _, there := b.found[a.ID]; !there {
			b.found[a.ID] = a
		}
	}
	for _, n := range tell {
		if err := n.Check(); err != nil {
			return err
		}
		if _, there := b.told[n.ID]; !there {
			b.told[n.ID] = n
		}
	}
	return nil
}

// sleep lets time pass. Who looks at the book holds its lock but while it sleeps.
func (b *memBook) sleep(d time.Duration) {
	b.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	b.mu.Lock()
}

func watch(b *memBook) *Watch {
	return NewWatch(Config{Book: b, Rules: Defaults, Webhook: "https://example.com", Log: zap.NewNop(), Now: time.Now})
}

// Ensure each hour is looked at once it is over and settled, those that were missed too,
// and what is found is told once, whatever is looked at again.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC().Truncate(time.Hour)
		hour := start.Unix() / 3600
		b := newBook()
		b.mu.Lock()
		vcpu, memory, other := Key{"000000000000", "web", billing.VCPU}, Key{"000000000000", "web", billing.Memory}, Key{"000000000000", "job", billing.VCPU}
		costs := func(high ...int64) func(int64) billing.Money {
			return func(h int64) billing.Money {
				for _, at := range high {
					if h == hour+at {
						return 20e9
					}
				}
				return 5e9
			}
		}
		b.costs[vcpu], b.costs[memory], b.costs[other] = costs(-5, 2, 3, 50), costs(2), costs()

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- watch(b).Run(ctx) }()
		b.sleep(2*time.Hour + Settle - time.Second)
		if len(b.found) != 0 || !b.until.Equal(start.Add(time.Hour)) {
			t.Fatalf("found %v until %s", b.found, b.until)
		}
		b.sleep(time.Hour) // Hour 2 is over, but for a second of its settling.
		if len(b.found) != 0 {
			t.Fatalf("found %v", b.found)
		}
		b.sleep(time.Second)
		if len(b.found) != 2 || len(b.told) != 1 {
			t.Fatalf("found %d, told %d", len(b.found), len(b.told))
		}
		for _, n := range b.told {
			var d Told
			if err := json.Unmarshal(n.Data, &d); err != nil {
				t.Fatal(err)
			}
			if n.Subject != "family/web" || n.Webhook != "https://example.com" || !d.From.Equal(start.Add(2*time.Hour)) || d.Actual != 40e9 || d.Expected != 10e9 || d.Impact != 30e9 || len(d.Anomalies) != 2 {
				t.Errorf("%+v %+v", n, d)
			}
			if a := d.Anomalies[0]; a.SKU != billing.Memory && a.SKU != billing.VCPU || a.Percent == nil || *a.Percent != 300 || a.Cause.Why != MoreTasks || a.Method != SameHour || a.Continues {
				t.Errorf("%+v", a)
			}
			if want := "Tasks web cost $40.00 from 2000-01-01 02:00 to 03:00 UTC, $30.00 more than expected: 4.0 times as many tasks"; d.Reason != want {
				t.Errorf("reason %q, want %q", d.Reason, want)
			}
		}
		b.sleep(time.Hour) // What goes on is kept, and not told anew.
		if len(b.found) != 3 || len(b.told) != 1 {
			t.Fatalf("found %d, told %d", len(b.found), len(b.told))
		}
		cancel()
		b.sleep(0)
		if err := <-done; err != nil {
			t.Error(err)
		}

		// It was away for 100 hours, and forgot where it was.
		b.sleep(100 * time.Hour)
		b.until = start.Add(time.Hour)
		b.broken = true
		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- watch(b).Run(ctx) }()
		b.sleep(Settle + 30*time.Second)
		b.broken = false
		b.sleep(time.Minute)
		if len(b.found) != 4 || len(b.told) != 2 || !b.until.After(start.Add(100*time.Hour)) {
			t.Errorf("found %d, told %d, until %s", len(b.found), len(b.told), b.until)
		}
		cancel()
		b.sleep(0)
		<-done
		looks, until := b.looks, b.until
		b.mu.Unlock()
		if err := watch(b).Look(t.Context(), until.Add(59*time.Minute)); err != nil || b.looks != looks {
			t.Errorf("it looked at an hour that is not over: %v", err)
		}
	})
}

// Ensure an hour that ends just after the server began is not looked at before it has settled.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC().Truncate(time.Hour)
		time.Sleep(start.Add(55 * time.Minute).Sub(time.Now()))
		b := newBook()
		b.mu.Lock()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- watch(b).Run(ctx) }()
		b.sleep(Settle + time.Minute)
		if !b.until.Equal(start) {
			t.Errorf("six minutes after the hour it has looked until %s", b.until)
		}
		b.sleep(Settle)
		if !b.until.Equal(start.Add(time.Hour)) {
			t.Errorf("sixteen minutes after the hour it has looked until %s", b.until)
		}
		cancel()
		b.sleep(0)
		b.mu.Unlock()
		<-done
	})
}

// Ensure no more than four weeks are looked at, and the first time only the last hour.
func TestLookBack(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 30, 0, 0, time.UTC)
	at := now.Truncate(time.Hour).Unix() / 3600
	for _, tt := range []struct {
		until time.Time
		want  int
	}{{time.Time{}, 1}, {now.AddDate(-1, 0, 0).Truncate(time.Hour), 3}, {now.Add(48 * time.Hour), 0}} {
		b := newBook()
		b.until = tt.until
		b.costs[Key{Family: "f", SKU: billing.VCPU}] = func(h int64) billing.Money {
			if h == at-1 || h == at-2 || h == at-History || h == at-History-1 {
				return 100e9
			}
			return 5e9
		}
		if err := watch(b).Look(t.Context(), now); err != nil || len(b.found) != tt.want {
			t.Errorf("from %s: found %d, want %d: %v", tt.until, len(b.found), tt.want, err)
		}
	}
}

// Ensure a cause is what grew most, and its parts multiply to the whole.
func TestCauseOf(t *testing.T) {
	usual := Count{Entries: 40, Units: 40 * 3600, Amount: 40e9} // of 4 hours
	for _, tt := range []struct {
		is   Count
		want Why
	}{
		{Count{Entries: 30, Units: 30 * 3600, Amount: 30e9}, MoreTasks},
		{Count{Entries: 10, Units: 40 * 3600, Amount: 40e9}, MorePerTask},
		{Count{Entries: 10, Units: 10 * 3600, Amount: 30e9}, HigherPrice},
		{Count{Entries: 20, Units: 100 * 3600, Amount: 100e9}, MorePerTask},
	} {
		c := CauseOf(tt.is, usual, 4)
		if whole := c.Tasks * c.PerTask * c.Price; c.Why != tt.want || math.Abs(whole-float64(tt.is.Amount)/10e9) > 1e-9 {
			t.Errorf("%+v: %+v", tt.is, c)
		}
	}
	if c := CauseOf(usual, Count{}, 4); c != (Cause{Why: NothingBefore}) {
		t.Errorf("%+v", c)
	}
}
