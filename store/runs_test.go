package store_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/fault"
	"berth/store/storetest"
	"berth/task"
)

// Ensure runs are found by family, revision and time, the latest first, once each, and
// forgotten when they are old; and that estimates stay as they were made.
func TestRuns(t *testing.T) {
	s := storetest.Open(t, t.TempDir())
	ctx, start := t.Context(), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := func(i int) task.ID { return task.ID(fmt.Sprintf("%032x", i)) }
	for i := range 10 {
		r := history.Run{Task: id(i), Family: []string{"web", "job"}[i%2], Revision: 1 + i/5, StoppedAt: start.Add(time.Duration(i) * time.Hour)}
		for range 2 {
			if err := s.PutRun(ctx, task.Seq(i+1), r, start.Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.PutQuote(ctx, task.Seq(i+1), history.Quote{Task: id(i), At: start.Add(time.Duration(i) * time.Hour), Expected: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if seq, err := s.Recorded(ctx); err != nil || seq != 10 {
		t.Errorf("recorded up to %d, %v; want 10", seq, err)
	}
	for _, tt := range []struct {
		q    history.Query
		want []int
	}{
		{history.Query{}, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		{history.Query{Family: "web"}, []int{8, 6, 4, 2, 0}},
		{history.Query{Family: "web", Revision: 2, Limit: 1}, []int{8}},
		{history.Query{Since: start.Add(3 * time.Hour), Until: start.Add(5 * time.Hour)}, []int{4, 3}},
		{history.Query{Family: "none"}, nil},
		{history.Query{Account: "111111111111"}, nil},
	} {
		got, err := s.Runs(ctx, tt.q)
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("%+v: %d runs, %v; want %d", tt.q, len(got), err, len(tt.want))
			continue
		}
		for i, r := range got {
			if r.Task != id(tt.want[i]) {
				t.Errorf("%+v: run %d is %s, want %s", tt.q, i, r.Task, id(tt.want[i]))
			}
		}
	}
	for since, want := range map[time.Duration]string{0: "[job web]", 9 * time.Hour: "[job]", 10 * time.Hour: "[]"} {
		if all, err := s.Families(ctx, "", start.Add(since)); err != nil || fmt.Sprint(all) != want {
			t.Errorf("families since %v: %v, %v; want %s", since, all, err, want)
		}
	}
	if some, err := s.RunsOf(ctx, []task.ID{id(3), id(99), id(4)}); err != nil || len(some) != 2 || some[id(3)].Family != "job" || some[id(4)].Task != id(4) {
		t.Errorf("the records of three tasks are %v, %v", some, err)
	}
	if some, err := s.RunsOf(ctx, nil); err != nil || len(some) != 0 {
		t.Errorf("the records of no tasks are %v, %v", some, err)
	}
	if err := s.PutQuote(ctx, 11, history.Quote{Task: id(3), At: start, Expected: 8}); err != nil {
		t.Fatal(err)
	}
	if q, err := s.Quote(ctx, id(3)); err != nil || q.Expected != 7 || q.Task != id(3) {
		t.Errorf("the estimate is %+v, %v", q, err)
	}
	if err := s.PutRun(ctx, 12, history.Run{Task: id(99), Family: "web", StoppedAt: start.Add(20 * time.Hour)}, start.Add(5*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Runs(ctx, history.Query{}); err != nil || len(got) != 6 {
		t.Errorf("%d runs are left, %v; want 6", len(got), err)
	}
	if _, err := s.Quote(ctx, id(1)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an old estimate: %v", err)
	}
}

// Ensure that what a task used minute by minute is that of its minutes since a time, each
// to the next CPUStep.
func TestUsedByMinute(t *testing.T) {
	s, first := storetest.Open(t, t.TempDir()), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := task.ID(fmt.Sprintf("%032x", 1))
	if u, err := s.UsedByMinute(t.Context(), id, time.Time{}); u != nil || err != nil {
		t.Errorf("of a task without minutes: %+v, %v", u, err)
	}
	up := billing.RollUp{Subject: billing.Subject{Task: id}, Upto: task.Sample{At: first.Add(time.Hour)}}
	const unit = 60_000_000_000 / 1024 // nanoseconds of a CPU unit in a minute
	for i, m := range []struct {
		cpu     uint64
		covered time.Duration
		samples int64
	}{
		{900 * unit, time.Minute, 60}, // before what is asked about
		{0, time.Minute, 60},
		{16 * unit, time.Minute, 60},
		{16*unit + 16, time.Minute, 60},
		{256 * unit, 30 * time.Second, 30},
		{512 * unit, time.Minute, 60},
		{100 * unit, time.Minute, 0},
		{0, 0, 0},
	} {
		up.Rolls = append(up.Rolls, billing.Roll{
			At: first.Add(time.Duration(i) * time.Minute), Covered: m.covered, Samples: m.samples, CPUNanos: m.cpu,
			Periods: 10, ThrottledPeriods: 2, OOMKills: uint64(i % 2), MemoryPeak: uint64(1000 - i), WorkingSetPeak: uint64(i),
		})
	}
	if err := s.PutUsage(t.Context(), nil, []billing.RollUp{up}); err != nil {
		t.Fatal(err)
	}
	got, err := s.UsedByMinute(t.Context(), id, first.Add(time.Minute))
	want := &history.Use{
		CPUNanos: 900*unit + 16, PeakBytes: 999, WorkingSetBytes: 7, Periods: 70, ThrottledPeriods: 14, OOMKills: 4,
		Minutes: map[int]int{1: 2, 2: 1, 32: 2},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}
