package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/budget"
	"berth/fault"
	"berth/money"
	"berth/notice"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// minute is what a task of 0.25 vCPU and 0.5 GB costs for a minute at the built-in prices:
// 0.25 × 0.04048 / 60 and 0.5 × 0.004445 / 60, each rounded to a nano-dollar.
const minute money.Amount = 168_667 + 37_042

// ward is a host under a Keeper, with a clock that the test moves.
type ward struct {
	t      *testing.T
	dir    string
	store  *store.Store
	keeper *budget.Keeper
	now    task.Instant
	n      int

	mu     sync.Mutex
	events []budget.Event
}

func newWard(t *testing.T, from time.Time) *ward {
	w := &ward{t: t, dir: t.TempDir(), now: task.Instant{Wall: from, Boot: time.Hour, BootID: "b"}}
	w.open()
	t.Cleanup(func() { w.store.Close() })
	return w
}

// open opens the store, in place of the one that was open: what was only remembered is lost.
func (w *ward) open() {
	if w.store != nil {
		if err := w.store.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	w.store = storetest.OpenUnclosed(w.t, w.dir)
	w.keeper = budget.New(budget.Config{
		Book: w.store, Prices: billing.BuiltIn(), Stop: w.stop, Log: zap.NewNop(),
		Clock: func() task.Instant { return w.now },
		Tell: func(_ context.Context, e budget.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if !slices.ContainsFunc(w.events, func(o budget.Event) bool { return o.ID == e.ID }) {
				w.events = append(w.events, e)
			}
			return nil
		},
	})
}

// stop is what the Keeper stops tasks with. The event goes with the wish.
func (w *ward) stop(ctx context.Context, id task.ID, code, reason string, e budget.Event) (task.Task, error) {
	n := notice.Notice{ID: notice.ID(e.ID), At: e.At, Type: "berth.budget.stopped", Subject: "task/" + string(id), Data: []byte(`{}`)}
	t, err := w.store.AskStopNoted(ctx, id, code, reason, n)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}
	return t, err
}

func (w *ward) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *ward) pass(d time.Duration) { w.now.Wall, w.now.Boot = w.now.Wall.Add(d), w.now.Boot+d }

// make returns a task that can be submitted.
func (w *ward) make(family, user string, most money.Amount, tags ...task.Tag) task.Task {
	w.n++
	t := costTask(w.n, family, "family:"+family, user, tags...)
	t.LastStatus, t.CreatedAt, t.Clock, t.MaxCost = task.Provisioning, w.now.Wall, w.now, most
	return t
}

func (w *ward) submit(ts ...task.Task) error {
	_, err := w.keeper.Admit(context.Background(), ts, func(hs []budget.Hold) ([]task.Task, error) {
		return w.store.CreateHeld(context.Background(), ts, hs, nil, "", "")
	})
	return err
}

func (w *ward) task(id task.ID) task.Task {
	t, err := w.store.Task(context.Background(), id)
	w.must(err)
	return t
}

func (w *ward) advance(id task.ID, tr task.Transition) task.Task {
	t, err := w.store.Advance(context.Background(), id, tr)
	w.must(err)
	return t
}

// begin begins the charge of a task, as runner and meter do.
func (w *ward) begin(id task.ID) {
	t := w.advance(id, task.Provisioned(w.task(id), w.now, task.Network{}, "eni"))
	var moves []billing.Move
	for _, c := range billing.Open(t, billing.BuiltIn()) {
		moves = append(moves, billing.Move{New: c})
	}
	w.must(w.store.Post(context.Background(), 0, moves))
}

// move moves the cursors of a task.
func (w *ward) move(id task.ID, f func(billing.Cursor) (billing.Cursor, []billing.Entry)) {
	cursors, err := w.store.Cursors(context.Background(), id)
	w.must(err)
	var moves []billing.Move
	for _, c := range cursors {
		if next, entries := f(c); next != c {
			moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
		}
	}
	w.must(w.store.Post(context.Background(), 0, moves))
}

// postHour posts up to the last full hour.
func (w *ward) postHour(id task.ID) {
	hour := w.task(id).Time(w.now).Truncate(time.Hour)
	w.move(id, func(c billing.Cursor) (billing.Cursor, []billing.Entry) {
		return c.Advance(hour, billing.Terms{Prices: billing.BuiltIn()})
	})
}

// end ends a task; its charge too if the meter sees it.
func (w *ward) end(id task.ID, meter bool) {
	t := w.task(id)
	at := t.Time(w.now)
	t = w.advance(id, task.GaveUp(t, at, task.UserInitiated, "done", nil))
	t = w.advance(id, task.Removed(at))
	if !t.PullStartedAt.IsZero() && meter {
		w.close(id)
	}
}

// close closes the charge of a task that has stopped.
func (w *ward) close(id task.ID) {
	t := w.task(id)
	w.move(id, func(c billing.Cursor) (billing.Cursor, []billing.Entry) {
		return c.Close(t.StoppedAt, billing.Terms{Prices: billing.BuiltIn()}, nil)
	})
}

// spending returns what the budget of a name stands at.
func (w *ward) spending(b budget.Budget) budget.Spending {
	sp, err := w.store.Spending(context.Background(), []budget.Budget{b}, w.now.Wall)
	w.must(err)
	return sp[0]
}

func (w *ward) put(b budget.Budget) budget.Budget {
	st, err := w.keeper.PutBudget(context.Background(), b)
	w.must(err)
	return st.Budget
}

// Ensure that of 200 runs that are submitted at once exactly those are accepted that
// there is money for, also when the server dies in between, and that what they do not
// use is free again.
func TestSubmitAtOnce(t *testing.T) {
	w := newWard(t, costEpoch)
	w.put(budget.Budget{Name: "cap", Period: budget.Daily, Limit: 50*minute + minute/2, Action: budget.Deny, Scope: map[string][]string{"family": {"web"}}})
	round := func(want int) {
		t.Helper()
		var wg sync.WaitGroup
		var mu sync.Mutex
		accepted := 0
		for range 200 {
			tk := w.make("web", "", 0)
			wg.Go(func() {
				err := w.submit(tk)
				mu.Lock()
				defer mu.Unlock()
				var r *budget.Refusal
				switch {
				case err == nil:
					accepted++
				case !errors.As(err, &r) || fault.KindOf(err) != fault.OverBudget || r.Budget != "cap":
					t.Errorf("refused with %v", err)
				}
			})
		}
		wg.Wait()
		if accepted != want {
			t.Errorf("%d of 200 were accepted, want %d", accepted, want)
		}
	}
	round(50)
	w.must(w.submit(w.make("db", "", 0))) // Another family has nothing to do with it.
	w.open()
	round(0)
	ids, err := w.store.Holding(context.Background())
	w.must(err)
	for i, id := range ids {
		if w.task(id).Group != "family:web" {
			continue
		}
		switch i % 3 {
		case 0:
			w.end(id, true) // It never began.
		case 1:
			w.begin(id)
			w.pass(time.Second)
			w.end(id, true)
		}
	}
	sp := w.spending(budget.Budget{Period: budget.Daily, Scope: map[string][]string{"family": {"web"}}})
	free := (50*minute + minute/2 - sp.Posted - sp.Accrued - sp.Ahead) / minute
	if sp.Posted%minute != 0 || free < 16 || free > 17 {
		t.Fatalf("%+v leaves %d", sp, free)
	}
	round(int(free))
	if n := len(w.events); n != 1 || w.events[0].Type != budget.Denied {
		t.Errorf("it was told %d times: %+v", n, w.events)
	}
}

// Ensure that no task costs more than its limit, that no budget that stops is passed by a
// nano-dollar, and that nothing stays held, whatever tasks do, around an hour and midnight, with a
// ledger that is hours behind and servers that die; and that what the writer remembers is
// what is in the database.
func TestBudgetsHold(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { t.Parallel(); simulate(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func simulate(t *testing.T, r *rand.Rand) {
	ctx := context.Background()
	w := newWard(t, time.Date(2026, 10, 31, 15+8*r.IntN(2), 55, 0, 0, time.UTC).Add(time.Duration(r.IntN(5000))*time.Millisecond))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	budgets := []budget.Budget{
		{Name: "all", Period: budget.Monthly, Limit: minute * money.Amount(20+r.IntN(60)), Action: budget.Stop},
		{Name: "web", Period: budget.Daily, Limit: minute * money.Amount(3+r.IntN(20)), Action: budget.Stop, Scope: map[string][]string{"family": {"web"}}},
		{Name: "ann", Period: budget.Daily, Limit: minute * money.Amount(3+r.IntN(20)), Action: budget.Deny, Scope: map[string][]string{"user": {"ann"}, "tag:team": nil}},
		{Name: "look", Period: budget.Daily, Limit: minute, Action: budget.Notify},
	}
	for i, b := range budgets {
		budgets[i] = w.put(b)
	}
	type running struct {
		id     task.ID
		begun  bool
		killed time.Time // when a container that does not listen is killed
	}
	var live []*running
	var all, unclosed []task.ID
	for range 90 {
		switch r.IntN(6) {
		case 0, 1:
			var ts []task.Task
			for range 1 + r.IntN(2) {
				var most money.Amount
				if r.IntN(3) == 0 {
					most = minute*money.Amount(r.IntN(4)) + money.Amount(r.IntN(int(minute)))
				}
				var tags []task.Tag
				if r.IntN(2) == 0 {
					tags = []task.Tag{{Key: "team", Value: pick("red", "")}}
				}
				ts = append(ts, w.make(pick("web", "db"), pick("ann", "bob", ""), most, tags...))
			}
			before := w.statuses(budgets)
			err := w.submit(ts...)
			if kind := fault.KindOf(err); err != nil && kind != fault.OverBudget && kind != fault.Invalid {
				t.Fatal(err)
			}
			after := w.statuses(budgets)
			for i, b := range budgets[:3] {
				if after[i] != before[i] && (err != nil || after[i] > b.Limit) {
					t.Fatalf("%s: %s were gone and now %s of %s, %v", b.Name, before[i], after[i], b.Limit, err)
				}
			}
			for _, tk := range ts {
				if err == nil {
					live, all = append(live, &running{id: tk.ID}), append(all, tk.ID)
				}
			}
		case 2:
			if len(live) > 0 {
				if l := live[r.IntN(len(live))]; !l.begun {
					w.begin(l.id)
					l.begun = true
				}
			}
		case 3:
			if len(live) > 0 && r.IntN(3) == 0 {
				i := r.IntN(len(live))
				meter := r.IntN(2) == 0
				w.end(live[i].id, meter)
				if live[i].begun && !meter {
					unclosed = append(unclosed, live[i].id)
				}
				live = slices.Delete(live, i, i+1)
			}
		case 4:
			for _, id := range unclosed {
				w.close(id)
			}
			unclosed = nil
			for _, l := range live {
				if l.begun && r.IntN(2) == 0 {
					before := w.statuses(budgets)
					w.postHour(l.id)
					if after := w.statuses(budgets); !slices.Equal(before, after) {
						t.Fatalf("what went from a hold to the ledger was counted otherwise: %v, %v", before, after)
					}
				}
			}
		case 5:
			before := w.statuses(budgets)
			w.open()
			if after := w.statuses(budgets); !slices.Equal(before, after) {
				t.Fatalf("what was remembered was not what is written: %v, %v", before, after)
			}
		}
		// Ten seconds pass, in which what is asked to end may take its time, but no longer.
		for range 10 {
			w.pass(time.Second)
			live = slices.DeleteFunc(live, func(l *running) bool {
				tk := w.task(l.id)
				if tk.DesiredStatus != task.Stopped {
					return false
				}
				if l.killed.IsZero() {
					l.killed = w.now.Wall.Add(time.Duration(r.IntN(int(task.SpendGrace/time.Second))) * time.Second)
				}
				if w.now.Wall.Before(l.killed) {
					return false
				}
				w.end(l.id, true)
				return true
			})
		}
		w.must(w.keeper.Look(ctx))
	}
	for _, l := range live {
		w.end(l.id, true)
	}
	for _, id := range unclosed {
		w.close(id)
	}
	w.must(w.keeper.Look(ctx))
	if ids, err := w.store.Holding(ctx); err != nil || len(ids) > 0 {
		t.Errorf("money is still held for %v, %v", ids, err)
	}

	// What everything cost in the end, by the ledger alone.
	spent := make(map[string]money.Amount)
	stopped := 0
	for _, id := range all {
		tk := w.task(id)
		es, err := w.store.Entries(ctx, id)
		w.must(err)
		var cost money.Amount
		for _, e := range es {
			cost += e.Amount
			for _, b := range budgets {
				if b.Covers(billing.FactsOf(tk)) {
					from, _ := b.Period.Days(budget.DayOf(e.Booked))
					spent[b.Name+" "+b.Period.Noun(from)] += e.Amount
				}
			}
		}
		if tk.MaxCost > 0 && cost > tk.MaxCost {
			t.Errorf("task %s cost %s and may cost %s", id, cost, tk.MaxCost)
		}
		if tk.StopCode == task.SpendLimit {
			stopped++
		}
	}
	for _, b := range budgets[:2] {
		for period, m := range spent {
			if name := b.Name + " "; len(period) > len(name) && period[:len(name)] == name && m > b.Limit {
				t.Errorf("%s: %s spent, limit %s", period, m, b.Limit)
			}
		}
	}
	t.Logf("%d tasks, %d stopped, %v spent, %d events", len(all), stopped, spent, len(w.events))
}

// Ensure that a budget counts what sums of costs with its scope count.
func TestScopes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		s := storetest.OpenUnclosed(t, t.TempDir())
		defer s.Close()
		word := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(rt, label) }
		b := budget.Budget{Name: "b", Period: budget.Monthly, Limit: 1, Action: budget.Notify, Scope: make(map[string][]string)}
		for _, f := range [][]string{
			{"account", storetest.Realm.Account}, {"region", "us-east-1"}, {"family", "web", "api"}, {"definition", "web:2", "db:1"}, {"group", "nightly"},
			{"user", "ann", ""}, {"tag:team", "red", ""}, {"tag:team"}, {"tag:no"},
		} {
			if rapid.IntRange(0, 5).Draw(rt, f[0]) == 0 {
				b.Scope[f[0]] = f[1:]
			}
		}
		if err := b.Check(); err != nil {
			rt.Fatal(err)
		}
		var want money.Amount
		for i := range 4 {
			tk := costTask(i, word("family", "web", "db"), word("group", "family:web", "nightly"), word("user", "", "ann", "bob"))
			if word("tagged", "yes", "no") == "yes" {
				tk.Tags = []task.Tag{{Key: "team", Value: word("team", "red", "blue", "")}}
			}
			tk.PullStartedAt = costEpoch
			if _, err := s.Create(ctx, []task.Task{tk}, nil, "", ""); err != nil {
				t.Fatal(err)
			}
			spend(t, s, tk, []time.Duration{time.Minute << i}, func() {})
			if b.Covers(billing.FactsOf(tk)) {
				es, err := s.Entries(ctx, tk.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range es {
					want += e.Amount
				}
			}
		}
		sp, err := s.Spending(ctx, []budget.Budget{b}, costEpoch)
		if err != nil || sp[0].Posted != want {
			rt.Errorf("%v: %s is counted, and %s covered, %v", b.Scope, sp[0].Posted, want, err)
		}
	})
}

// Ensure that who stops a task for want of money tells of it in the same step, once, and says
// what the task has cost by then.
func TestStopIsTold(t *testing.T) {
	ctx := context.Background()
	w := newWard(t, costEpoch)
	tk := w.make("web", "", 2*minute)
	w.must(w.submit(tk))
	w.begin(tk.ID)
	for range 9 {
		w.pass(10 * time.Second)
		w.must(w.keeper.Look(ctx))
	}
	if len(w.events) != 1 || w.events[0].Limit != 2*minute || w.events[0].Spent != 224_889+49_389 {
		t.Errorf("a task that was to cost %s at most was told of as %+v", 2*minute, w.events)
	}
	w.open()
	w.must(w.keeper.Look(ctx))
	ns, err := w.store.LastNotices(ctx, notice.Query{Limit: 10})
	if w.must(err); len(ns) != 1 {
		t.Errorf("it was told %d times: %+v", len(ns), ns)
	}

	// A wish that is not the first tells nothing.
	other := notice.Notice{ID: "other", At: w.now.Wall, Type: "x", Subject: "x", Data: []byte(`{}`)}
	if asked, err := w.store.AskStopNoted(ctx, tk.ID, "Other", "other", other); err != nil || asked.StopCode != task.SpendLimit {
		t.Errorf("stopped again: %s, %v", asked.StopCode, err)
	}
	if ns, err := w.store.LastNotices(ctx, notice.Query{Limit: 10}); err != nil || len(ns) != 1 {
		t.Errorf("a wish that did not count was told: %+v, %v", ns, err)
	}
}

// Ensure that a threshold that is come to after the last look of a period is told of that
// period, once, and also if no server ran when the period ended.
func TestThresholdsAtTheEndOfAPeriod(t *testing.T) {
	for _, died := range []bool{false, true} {
		// In a bubble it is the year 2000, so the budget is older than the period.
		synctest.Test(t, func(t *testing.T) { lateThreshold(t, died) })
	}
}

func lateThreshold(t *testing.T, died bool) {
	ctx := context.Background()
	w := newWard(t, time.Date(2026, 10, 30, 23, 57, 55, 0, time.UTC))
	w.put(budget.Budget{Name: "day", Period: budget.Daily, Limit: 2 * minute, Action: budget.Notify})
	w.pass(time.Second)
	tk := w.make("web", "", 0)
	w.must(w.submit(tk))
	w.begin(tk.ID)
	w.pass(115 * time.Second)
	w.must(w.keeper.Look(ctx))
	if len(w.events) != 0 {
		t.Fatalf("told too early: %+v", w.events)
	}
	w.pass(12 * time.Second) // 23:59:51 to 00:00:03
	if died {
		w.open()
		w.pass(3 * time.Hour)
	}
	for range 3 {
		w.must(w.keeper.Look(ctx))
		w.pass(time.Second)
	}
	var periods []string
	for _, e := range w.events {
		if !strings.Contains(e.Reason, "(told at 100 %)") {
			t.Errorf("it does not say of which threshold it is: %s", e.Reason)
		}
		periods = append(periods, e.Period)
	}
	want := []string{"2026-10-30"}
	if died {
		want = append(want, "2026-10-31")
	}
	if !slices.Equal(periods, want) {
		t.Errorf("server died %t: told of %q, want %q", died, periods, want)
	}
}

// statuses returns what is spent and held of each budget.
func (w *ward) statuses(bs []budget.Budget) []money.Amount {
	sp, err := w.store.Spending(context.Background(), bs, w.now.Wall)
	w.must(err)
	all := make([]money.Amount, len(bs))
	for i := range sp {
		all[i] = sp[i].Posted + sp[i].Accrued + sp[i].Ahead
	}
	return all
}
