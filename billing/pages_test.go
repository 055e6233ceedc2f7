package billing_test

import (
	"context"
	"math"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/fault"
)

// Ensure the usage of a task is the same page by page and whole, agrees between its
// series, and is there from a coarser one when the finer is not kept, also after the
// task was forgotten.
func TestUsageSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h, l := newHost(), new(billingtest.Mem)
		m, stop := run(t, h, l)
		defer func() { stop() }()
		time.Sleep(1234 * time.Millisecond)
		tk := h.provision()
		usage := func(q billing.UsageQuery) billing.Usage {
			t.Helper()
			u, err := m.Usage(ctx, tk.ID, q)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		pages := func(q billing.UsageQuery) (all billing.Usage, n int) {
			t.Helper()
			for {
				u := usage(q)
				if len(u.Samples) > q.Limit {
					t.Fatalf("%d readings in a page of %d", len(u.Samples), q.Limit)
				}
				u.Samples = append(all.Samples, u.Samples...)
				all, q.Token = u, u.NextToken
				if n++; q.Token == "" {
					return all, n
				}
			}
		}
		near := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > 1e-3*math.Max(1, math.Abs(want)) {
				t.Errorf("%s is %v, want %v", what, got, want)
			}
		}
		check := func(when string) {
			t.Helper()
			for _, q := range []billing.UsageQuery{
				{}, {Resolution: 10 * time.Second}, {Resolution: time.Minute}, {Resolution: 90 * time.Second}, {Resolution: 5 * time.Minute}, {Resolution: time.Hour},
				{From: tk.PullStartedAt.Add(20*time.Minute + time.Millisecond), To: tk.PullStartedAt.Add(70 * time.Minute)},
				{Resolution: time.Minute, From: tk.PullStartedAt.Add(20 * time.Minute), To: tk.PullStartedAt.Add(70 * time.Minute)},
			} {
				whole := usage(q)
				q.Limit = max(2, len(whole.Samples)/7)
				paged, n := pages(q)
				if !reflect.DeepEqual(paged.Samples, whole.Samples) || n < 2 || n > 9 {
					t.Errorf("%s, %+v: %d readings in %d pages, %d whole", when, q, len(paged.Samples), n, len(whole.Samples))
				}
				if q.From.IsZero() { // else a summary of pages is of whole minutes
					near("CPU seconds in pages", paged.Summary.CPUSeconds, whole.Summary.CPUSeconds)
					near("seconds in pages", paged.Summary.Seconds, whole.Summary.Seconds)
					near("memory in pages", float64(paged.Summary.AverageWorkingSetBytes)/1e6, float64(whole.Summary.AverageWorkingSetBytes)/1e6)
				}
				for i, r := range whole.Samples {
					if i > 0 {
						near(when+": vCPU", r.CPU, .25)
						near(when+": growth", float64(r.CPUNanos-whole.Samples[i-1].CPUNanos)/1e9, .25*r.Time.Sub(whole.Samples[i-1].Time).Seconds())
					}
				}
			}
			seconds, minutes, hours := usage(billing.UsageQuery{}), usage(billing.UsageQuery{Resolution: time.Minute}), usage(billing.UsageQuery{Resolution: time.Hour})
			if seconds.Series != "1s" || minutes.Series != "1m" || hours.Series != "1h" {
				t.Errorf("%s: series %s, %s and %s", when, seconds.Series, minutes.Series, hours.Series)
			}
			for _, u := range []billing.Usage{minutes, hours} {
				near(when+": CPU seconds", u.Summary.CPUSeconds, seconds.Summary.CPUSeconds)
				near(when+": time", u.Summary.Seconds, seconds.Summary.Seconds)
				last := u.Samples[len(u.Samples)-1]
				if want := seconds.Samples[len(seconds.Samples)-1]; last.CPUNanos != want.CPUNanos || last.WriteBytes != want.WriteBytes {
					t.Errorf("%s, series %s: in the end %+v, want %+v", when, u.Series, last, want)
				}
			}
		}

		time.Sleep(2*time.Hour + 30*time.Minute + 500*time.Millisecond)
		synctest.Wait() // A sample of this very moment is there, or comes later.
		check("while it runs")
		stop()
		time.Sleep(10 * time.Minute) // Nobody samples.
		m, stop = run(t, h, l)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		check("after the meter was away")
		tk = h.end(tk)
		tk = h.remove(tk)
		synctest.Wait()
		check("after it ended")
		checkRolls(t, l, tk)

		for _, token := range []string{"x", "YmVydGgxOg"} {
			if _, err := m.Usage(ctx, tk.ID, billing.UsageQuery{Token: token}); fault.KindOf(err) != fault.Invalid {
				t.Errorf("token %q: %v", token, err)
			}
		}

		before := usage(billing.UsageQuery{Resolution: time.Minute})
		if _, err := l.Forget(ctx, billing.Second, tk.PullStartedAt.Add(time.Hour), 1000); err != nil {
			t.Fatal(err)
		}
		if u := usage(billing.UsageQuery{}); u.Series != "1m" || u.ResolutionSeconds != 60 || !reflect.DeepEqual(u.Samples, before.Samples) {
			t.Errorf("without samples: series %s, %d readings", u.Series, len(u.Samples))
		}
		if u := usage(billing.UsageQuery{From: tk.PullStartedAt.Add(61 * time.Minute)}); u.Series != "1s" {
			t.Errorf("with samples: series %s", u.Series)
		}
		h.mu.Lock()
		delete(h.tasks, tk.ID)
		h.mu.Unlock()
		if u := usage(billing.UsageQuery{From: tk.PullStartedAt.Add(61 * time.Minute)}); u.Series != "1m" || len(u.Samples) < 100 || u.Samples[5].CPUPercent < 99 {
			t.Errorf("of a task that was forgotten: series %s, %d readings, %+v", u.Series, len(u.Samples), u.Samples[5])
		}
	})
}

// Ensure the groups of usage say what was reserved, used and wasted, page by page.
func TestUsageGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h, l := newHost(), new(billingtest.Mem)
		m, stop := run(t, h, l)
		defer stop()
		for range 3 {
			tk := h.provision()
			time.Sleep(time.Hour)
			h.remove(h.end(tk))
		}
		synctest.Wait()
		all, err := m.UsageGroups(ctx, billing.GroupQuery{Limit: 10}, "")
		if err != nil || len(all.Groups) != 1 || all.Series != "1h" {
			t.Fatalf("%+v, %v", all, err)
		}
		g := all.Groups[0]
		if g.Tasks != 3 || g.TaskSeconds != 3*3600 || g.ReservedCPUSeconds != 2700 || g.CPUSeconds != 2700 || g.WastedCPUSeconds != 0 || g.CPUEfficiency != 1 {
			t.Errorf("%+v", g)
		}
		if g.ReservedMemoryGiBSeconds != 5400 || math.Abs(g.MemoryEfficiency-.125) > 1e-3 || math.Abs(g.WastedMemoryGiBSeconds-5400*.875) > 10 {
			t.Errorf("%+v", g)
		}
		q := billing.GroupQuery{By: []string{"task"}, Limit: 2, From: h.now().Wall.Add(-3 * time.Hour)}
		first, err := m.UsageGroups(ctx, q, "")
		if err != nil || len(first.Groups) != 2 || first.NextToken == "" || first.Series != "1m" {
			t.Fatalf("%+v, %v", first, err)
		}
		rest, err := m.UsageGroups(ctx, q, first.NextToken)
		if err != nil || len(rest.Groups) != 1 || rest.NextToken != "" {
			t.Fatalf("%+v, %v", rest, err)
		}
		for _, by := range [][]string{{"x"}, {"tag:"}, {"day", "day"}, {"task", "family", "day", "definition"}} {
			if _, err := m.UsageGroups(ctx, billing.GroupQuery{By: by}, ""); fault.KindOf(err) != fault.Invalid {
				t.Errorf("by %v: %v", by, err)
			}
		}
		if _, err := m.UsageGroups(ctx, billing.GroupQuery{By: []string{"day"}}, first.NextToken[:5]); fault.KindOf(err) != fault.Invalid {
			t.Errorf("half a token: %v", err)
		}
	})
}
