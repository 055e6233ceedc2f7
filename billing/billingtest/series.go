package billingtest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// series stores minutes of several tasks in random pieces, some of them again or from a
// meter that knows less, and compares with Mem what is answered.
func series(rt *rapid.T, l billing.Ledger) {
	ctx := context.Background()
	begin := time.Date(2026, 11, 23, 22, 58, 0, 0, time.UTC)
	family := string(task.NewID()) // The ledger is not empty.
	var model Mem
	var all []billing.RollUp
	for range rapid.IntRange(1, 4).Draw(rt, "tasks") {
		all = append(all, drawRollUps(rt, family, begin)...)
	}
	put := func(up billing.RollUp) {
		must(rt, l.PutUsage(ctx, nil, []billing.RollUp{up}))
		must(rt, model.PutUsage(ctx, nil, []billing.RollUp{up}))
	}
	for i, up := range all {
		put(up)
		if rapid.Bool().Draw(rt, "again") {
			put(all[rapid.IntRange(0, i).Draw(rt, "which")])
		}
	}

	same := func(what string, got, want any, err error) {
		if must(rt, err); !reflect.DeepEqual(got, want) {
			rt.Fatalf("%s:\n%+v\nwant\n%+v", what, got, want)
		}
	}
	from, to := begin.Add(30*time.Minute).Truncate(time.Hour), begin.Add(3*time.Hour).Truncate(time.Hour)
	for _, up := range all {
		have, err := l.RolledUp(ctx, up.Task)
		want, _ := model.RolledUp(ctx, up.Task)
		same("rolled up", have, want, err)
		for _, step := range []time.Duration{billing.Minute, billing.Hour} {
			for _, bounds := range [][2]time.Time{{}, {from, to}, {to, time.Time{}}} {
				got, err := l.Rolls(ctx, up.Task, step, bounds[0], bounds[1], 0)
				want, _ := model.Rolls(ctx, up.Task, step, bounds[0], bounds[1], 0)
				if len(got)+len(want) > 0 {
					same("rolls", got, want, err)
				}
				sum, err := l.RollSum(ctx, up.Task, step, bounds[0], bounds[1])
				wantSum, _ := model.RollSum(ctx, up.Task, step, bounds[0], bounds[1])
				same("sum", sum, wantSum, err)
			}
			few, err := l.Rolls(ctx, up.Task, step, time.Time{}, time.Time{}, 2)
			want, _ := model.Rolls(ctx, up.Task, step, time.Time{}, time.Time{}, 2)
			same("two rolls", few, want, err)
		}
	}
	for _, by := range [][]string{nil, {"task"}, {"family"}, {"definition"}, {"day"}, {"tag:team"}, {"tag:team", "day"}, {"day", "definition", "tag:none"}} {
		for _, step := range []time.Duration{billing.Minute, billing.Hour} {
			for _, bounds := range [][2]time.Time{{}, {from, to}} {
				q := billing.GroupQuery{By: by, Step: step, From: bounds[0], To: bounds[1], Family: family, Limit: 100}
				got, err := l.UsageBy(ctx, q)
				want, _ := model.UsageBy(ctx, q)
				if len(got)+len(want) > 0 {
					same("groups", got, want, err)
				}
				if q.Limit = 1; len(want) > 1 && by != nil { // page by page
					for i := range want {
						page, err := l.UsageBy(ctx, q)
						same("page", page, want[i:i+1], err)
						q.After = page[0].Key
					}
				}
			}
		}
	}
}

// drawRollUps draws the minutes of one task, in pieces.
func drawRollUps(rt *rapid.T, family string, begin time.Time) (ups []billing.RollUp) {
	up := billing.RollUp{Subject: billing.Subject{
		Task: task.NewID(), ARN: "arn:aws:ecs:us-east-1:1:task/default/x", Family: family, Revision: rapid.IntRange(1, 2).Draw(rt, "revision"),
		Group: "g", Size: task.Size{CPU: 256, Memory: 512}, Storage: 20 << 30,
		Tags: []task.Tag{{Key: `a"b`, Value: "x"}, {Key: "team", Value: rapid.SampledFrom([]string{"", "red", "blue"}).Draw(rt, "team")}},
	}}
	at := begin.Add(time.Duration(rapid.IntRange(0, 120).Draw(rt, "first")) * time.Minute)
	small := func(most uint64) uint64 { return rapid.Uint64Max(most).Draw(rt, "n") }
	for range rapid.IntRange(1, 4).Draw(rt, "pieces") {
		up.Rolls = nil
		for range rapid.IntRange(1, 50).Draw(rt, "minutes") {
			up.Rolls = append(up.Rolls, billing.Roll{
				At: at, Covered: time.Minute, Samples: 60, CPUNanos: small(1 << 36), Periods: small(600), OOMKills: small(1), RxBytes: small(1 << 30),
				MemoryByteMillis: small(1 << 45), WorkingSetPeak: small(1 << 30), MemoryPeak: small(1 << 30), PIDsPeak: 3, WorkingSetBytes: small(1 << 30), PIDs: small(3),
			})
			at = at.Add(time.Minute)
			up.Upto.At = at
			up.Upto.CPUNanos += up.Rolls[len(up.Rolls)-1].CPUNanos
		}
		ups = append(ups, up)
	}
	last := &ups[len(ups)-1]
	if last.Closed = rapid.Bool().Draw(rt, "closed"); last.Closed {
		last.Upto.At = last.Upto.At.Add(-30 * time.Second)
	}
	return ups
}

// forgetting checks that what is old goes, that it is said since when there is
// something, and that nothing else goes.
func forgetting(t *testing.T, l billing.Ledger) {
	ctx := context.Background()
	begin := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	up := billing.RollUp{Subject: billing.Subject{Task: task.NewID(), ARN: "a", Family: "f", Size: task.Size{CPU: 256, Memory: 512}}, Closed: true}
	var chunks []billing.Chunk
	for i := range 180 {
		at := begin.Add(time.Duration(i) * time.Minute)
		up.Rolls = append(up.Rolls, billing.Roll{At: at, Covered: time.Minute, CPUNanos: 1})
		chunks = append(chunks, billing.Chunk{Task: up.Task, From: at, To: at.Add(59 * time.Second), Samples: 60, Data: []byte{1}})
	}
	up.Upto.At = begin.Add(3 * time.Hour)
	must(t, l.PutUsage(ctx, chunks, []billing.RollUp{up}))
	for _, step := range []time.Duration{billing.Second, billing.Minute, billing.Hour} {
		if kept, err := l.Kept(ctx, step); err != nil || !kept.IsZero() {
			t.Fatalf("kept since %s, %v", kept, err)
		}
		before := begin.Add(2 * time.Hour)
		for n := 1; n > 0; {
			var err error
			n, err = l.Forget(ctx, step, before, 50)
			must(t, err)
			if step == billing.Minute && n > 0 {
				if _, ok := l.(*Mem); ok {
					break // It only pretends.
				}
			}
		}
		if kept, err := l.Kept(ctx, step); err != nil || !kept.Equal(before) {
			t.Errorf("kept since %s, %v, want %s", kept, err, before)
		}
	}
	left, err := l.Usage(ctx, up.Task, time.Time{}, time.Time{})
	must(t, err)
	minutes, err := l.Rolls(ctx, up.Task, billing.Minute, time.Time{}, time.Time{}, 0)
	must(t, err)
	hours, err := l.Rolls(ctx, up.Task, billing.Hour, time.Time{}, time.Time{}, 0)
	must(t, err)
	// Those that end when keeping begins are kept.
	if len(left) != 60 || len(minutes) != 61 || len(hours) != 2 || !minutes[0].At.Equal(begin.Add(119*time.Minute)) {
		t.Errorf("%d chunks, %d minutes and %d hours are left, %v", len(left), len(minutes), len(hours), minutes[:min(1, len(minutes))])
	}
	if _, err := l.RolledUp(ctx, up.Task); err != nil {
		t.Error(err)
	}
	if _, mem := l.(*Mem); mem {
		return
	}
	for n := 1; n > 0; {
		n, err = l.Forget(ctx, billing.Hour, begin.AddDate(1, 0, 0), 50)
		must(t, err)
	}
	for n := 1; n > 0; {
		n, err = l.Forget(ctx, billing.Minute, begin.AddDate(1, 0, 0), 50)
		must(t, err)
	}
	_, err = l.Forget(ctx, billing.Hour, begin.AddDate(1, 0, 0), 50)
	must(t, err)
	if _, err := l.RolledUp(ctx, up.Task); fault.KindOf(err) != fault.NotFound {
		t.Errorf("whose usage it was is still known: %v", err)
	}
}
