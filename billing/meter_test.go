package billing_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/task"
)

func newMeter(h *host, l billing.Ledger) *billing.Meter {
	return billing.NewMeter(billing.Config{Journal: h, Ledger: l, Probe: h, Prices: billing.BuiltIn(), Clock: h.now, Log: zap.NewNop()})
}

// run runs a new meter and returns how to end it.
func run(t *testing.T, h *host, l billing.Ledger) (*billing.Meter, func()) {
	m := newMeter(h, l)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return m, func() {
		cancel()
		<-ended
	}
}

// checkSeries checks that there is at most one sample a second, in order, and
// that the last is the final reading.
func checkSeries(t *testing.T, m *billing.Meter, tk task.Task) billing.Usage {
	t.Helper()
	u, err := m.Usage(context.Background(), tk.ID, billing.UsageQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Samples) == 0 {
		t.Fatalf("no samples of a task of %s", tk.StoppedAt.Sub(tk.PullStartedAt))
	}
	for i := 1; i < len(u.Samples); i++ {
		d := u.Samples[i].Time.Sub(u.Samples[i-1].Time)
		if final := i == len(u.Samples)-1; d <= 0 || !final && d < 500*time.Millisecond {
			t.Fatalf("samples %d and %d are %s apart", i-1, i, d)
		}
	}
	if last := u.Samples[len(u.Samples)-1]; tk.Usage != nil && last.Counters != *tk.Usage {
		t.Fatalf("the last sample is %+v, not the final reading %+v", last.Counters, *tk.Usage)
	}
	return u
}

// checkRolls checks that the minutes of a task follow one another, and add up to its
// final counters and to the time it is charged for.
func checkRolls(t *testing.T, l billing.Ledger, tk task.Task) {
	t.Helper()
	up, err := l.RolledUp(context.Background(), tk.ID)
	if err != nil || !up.Closed {
		t.Fatalf("rolled up to %s, closed %t, %v", up.Upto.At, up.Closed, err)
	}
	rolls, err := l.Rolls(context.Background(), tk.ID, billing.Minute, time.Time{}, time.Time{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(rolls); i++ {
		if !rolls[i].At.Equal(rolls[i-1].At.Add(time.Minute)) {
			t.Fatalf("minute %s follows %s", rolls[i].At, rolls[i-1].At)
		}
	}
	sum := billingtest.Sum(rolls)
	ran := tk.StoppedAt.Truncate(time.Millisecond).Sub(tk.PullStartedAt.Truncate(time.Millisecond))
	if u := tk.Usage; sum.Covered != ran || sum.CPUNanos != u.CPUNanos || sum.WriteBytes != u.WriteBytes || sum.TxBytes != u.TxBytes {
		t.Fatalf("minutes add up to %+v, and the task ran for %s and used %+v", sum, ran, *u)
	}
}

// Ensure that whatever happens to the meter, its ledger, its gauges and the wall
// clock, each task is charged for exactly the time between its stamps.
func TestHistories(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			h, l := newHost(), &flaky{Mem: new(billingtest.Mem), rand: rand.New(rand.NewPCG(seed, 2)), odds: 4}
			_, stop := run(t, h, l)
			var open, ended, all []task.Task
			for range 60 {
				switch k := r.IntN(10); {
				case k < 3:
					tk := h.provision()
					h.mu.Lock()
					h.broken[tk.ID] = r.IntN(5) == 0
					h.mu.Unlock()
					open = append(open, tk)
				case k < 6 && len(open) > 0:
					ended = append(ended, h.end(open[0]))
					open = open[1:]
				case k < 8 && len(ended) > 0:
					all = append(all, h.remove(ended[0]))
					ended = ended[1:]
				case k == 8:
					stop()
					time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
					_, stop = run(t, h, l)
				case k == 9:
					h.stepWall(time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour)
				}
				time.Sleep(time.Duration(r.Int64N(int64([]time.Duration{time.Second, time.Minute, time.Hour / 4}[r.IntN(3)]))))
			}
			for _, tk := range open {
				ended = append(ended, h.end(tk))
			}
			for _, tk := range ended {
				all = append(all, h.remove(tk))
			}
			l.heal()
			time.Sleep(11 * time.Second)
			stop()
			m := newMeter(h, l)
			for _, tk := range all {
				billingtest.Check(t, l, tk)
				checkSeries(t, m, tk)
				checkRolls(t, l, tk)
			}
			if seq, _ := l.Position(context.Background()); int(seq) != len(h.events) {
				t.Errorf("position %d of %d after everything was handled", seq, len(h.events))
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

// Ensure a task that lived for 50 ms has a sample and is charged for a minute.
func TestShortTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		m, stop := run(t, h, l)
		defer stop()
		tk := h.provision()
		time.Sleep(50 * time.Millisecond)
		tk = h.end(tk)
		time.Sleep(10 * time.Millisecond)
		tk = h.remove(tk)
		synctest.Wait()
		billingtest.Check(t, l, tk)
		if u := checkSeries(t, m, tk); u.Summary.CPUSeconds != 0.0125 {
			t.Errorf("%v CPU seconds, want 0.0125", u.Summary.CPUSeconds)
		}
		b, err := m.Bill(context.Background(), tk.ID)
		if err != nil || b.Status != billing.StatusFinal || b.MeteredSeconds != "0.06" || b.BilledSeconds != 60 || b.Total.String() != "0.000205709" {
			t.Errorf("bill: %+v, %v", b, err)
		}
	})
}

// Ensure a gauge that never answers costs only its own task's samples.
func TestSlowGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		m, stop := run(t, h, l)
		defer time.Sleep(2 * time.Hour) // The gauge answers at last.
		slow := h.provisionStuck()
		quick := h.provision()
		time.Sleep(30*time.Second + 100*time.Millisecond)
		slow, quick = h.remove(h.end(slow)), h.remove(h.end(quick))
		synctest.Wait()
		if u := checkSeries(t, m, quick); len(u.Samples) < 30 {
			t.Errorf("%d samples in 30 s beside a slow gauge", len(u.Samples))
		}
		billingtest.Check(t, l, slow)
		billingtest.Check(t, l, quick)
		began := time.Now()
		stop()
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("a slow gauge kept the meter from ending for %s", d)
		}
	})
}

// Ensure two meters on one ledger charge each second once.
func TestTwoMeters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		_, stop := run(t, h, l)
		_, stop2 := run(t, h, l)
		tk := h.provision()
		time.Sleep(5*time.Hour + 20*time.Minute)
		tk = h.remove(h.end(tk))
		time.Sleep(11 * time.Second)
		stop()
		stop2()
		billingtest.Check(t, l, tk)
	})
}

// Ensure the bill of a running task grows by what is accrued, and that hours
// are posted while it runs and never beyond the last beat.
func TestOpenBill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		m, stop := run(t, h, beaten{l, t, h})
		defer stop()
		ctx := context.Background()
		waiting := billingtest.Task(time.Now())
		waiting.PullStartedAt, waiting.LastStatus = time.Time{}, task.Provisioning
		h.tell(waiting)
		b, err := m.Bill(ctx, waiting.ID)
		if err != nil || b.Status != billing.StatusOpen || b.Lines == nil || b.Entries == nil || len(b.Lines) != 0 || b.Total.String() != "0.000000000" {
			t.Errorf("bill of a task that is not charged: %+v, %v", b, err)
		}
		tk := h.provision()
		time.Sleep(30 * time.Second)
		if b, err = m.Bill(ctx, tk.ID); err != nil || b.Status != billing.StatusOpen || b.MeteredSeconds != "30" || b.BilledSeconds != 60 ||
			b.Total != billingtest.Round(billingtest.Charge(billing.VCPU, 256, 30*time.Second))+billingtest.Round(billingtest.Charge(billing.Memory, 512, 30*time.Second)) {
			t.Errorf("bill after 30 s: %+v, %v", b, err)
		}
		time.Sleep(3*time.Hour - 20*time.Second)
		entries, err := l.Entries(ctx, tk.ID)
		if err != nil || len(entries) != 6 {
			t.Fatalf("%d entries after 3 h of two SKUs, %v; want 6", len(entries), err)
		}
		tk = h.remove(h.end(tk))
		synctest.Wait()
		billingtest.Check(t, l, tk)
		u, err := m.Usage(ctx, tk.ID, billing.UsageQuery{Resolution: time.Minute})
		if err != nil || len(u.Samples) > 182 || len(u.Samples) < 180 || u.ResolutionSeconds != 60 {
			t.Errorf("%d samples a minute apart in 3 h, %v", len(u.Samples), err)
		}
		if x := u.Samples[5].CPU; x < 0.2499 || x > 0.2501 {
			t.Errorf("CPU rate %v, want 0.25", x)
		}
	})
}

// Ensure a restart of the meter goes on with the series second by second.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		tk := h.provision()
		for range 10 {
			_, stop := run(t, h, l)
			time.Sleep(7300 * time.Millisecond)
			stop()
		}
		tk = h.remove(h.end(tk))
		m, stop := run(t, h, l)
		time.Sleep(time.Second)
		stop()
		billingtest.Check(t, l, tk)
		if u := checkSeries(t, m, tk); len(u.Samples) < 70 || len(u.Samples) > 82 {
			t.Errorf("%d samples in 73 s", len(u.Samples))
		}
	})
}

// beaten checks that hours are posted only up to the last beat: after a power
// cut a task is taken to have ended there.
type beaten struct {
	*billingtest.Mem
	t *testing.T
	h *host
}

func (b beaten) Post(ctx context.Context, seq task.Seq, moves []billing.Move) error {
	b.h.mu.Lock()
	var last time.Time
	if n := len(b.h.beats); n > 0 {
		last = b.h.beats[n-1].Wall
	}
	b.h.mu.Unlock()
	for _, mv := range moves {
		if !mv.New.Closed && mv.New.To.After(last) && mv.New.Seq > 0 {
			b.t.Errorf("posted up to %s after a beat at %s", mv.New.To, last)
		}
	}
	return b.Mem.Post(ctx, seq, moves)
}

// Ensure steps of the wall clock leave no mark on the series or the bill.
func TestClockSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, l := newHost(), new(billingtest.Mem)
		m, stop := run(t, h, l)
		defer stop()
		tk := h.provision()
		for _, step := range []time.Duration{0, time.Hour, -3 * time.Hour, time.Second} {
			h.stepWall(step)
			time.Sleep(20 * time.Second)
		}
		tk = h.remove(h.end(tk))
		synctest.Wait()
		billingtest.Check(t, l, tk)
		u := checkSeries(t, m, tk)
		if len(u.Samples) < 79 || len(u.Samples) > 82 || tk.StoppedAt.Sub(tk.PullStartedAt) != 80*time.Second {
			t.Errorf("%d samples in 80 s; charged for %s", len(u.Samples), tk.StoppedAt.Sub(tk.PullStartedAt))
		}
		for i := range u.Samples[1:] {
			d, most := u.Samples[i+1].Time.Sub(u.Samples[i].Time), time.Second
			if i == 0 || i == len(u.Samples)-2 { // The first is taken at once, others when their batch is, and the last replaces one.
				most = 1500 * time.Millisecond
			}
			if d > most {
				t.Errorf("a gap of %s at %s", d, u.Samples[i].Time)
			}
		}
	})
}
