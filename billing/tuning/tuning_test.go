package tuning

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Ensure that whatever tasks do, and wherever the process dies, each run is made and
// counted once, no more is spent than maxCost and the said bound, what is spent is what
// the ledger says, and nothing runs when a tuning has ended, however it ended.
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		// One seed for all luck: draws of rapid's own favour small numbers.
		luck := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		mood := luck.IntN(4)
		w.luck = func(string) error {
			if luck.IntN(20) < mood {
				return errDied
			}
			return nil
		}
		seconds := func(most int) time.Duration { return time.Duration(luck.IntN(most+1)) * time.Second }
		long, bad, rare := luck.IntN(600), luck.IntN(10), 20+luck.IntN(500)
		w.high = time.Duration(60+luck.IntN(300)) * time.Second
		w.fate = func(task.Run) fate {
			f := fate{queue: seconds(5), pull: seconds(20), run: seconds(long), dying: seconds(40)}
			if luck.IntN(10) < bad {
				f.code, f.oom, f.noStart = 1, luck.IntN(3) == 0, luck.IntN(3) == 0
			}
			return f
		}
		w.lag = time.Duration(luck.IntN(4)) * time.Second
		most := billing.Money(1 + luck.Int64N(40_000_000))
		r := Request{
			TaskDefinition: "job", Sizes: []Size{{256, 512}, {512, 1024}, {1024, 2048}}, Runs: 1 + luck.IntN(4),
			Parallelism: 1 + luck.IntN(3), MaxCost: &most, MaxDurationSeconds: 300, WarmUp: luck.IntN(2) == 0,
		}
		u := w.tuner()
		rep, err := u.Create(t.Context(), r)
		for err != nil { // It is the caller who asks again; what was accepted then is another tuning.
			for id := range w.tunings {
				delete(w.tunings, id)
			}
			u = w.tuner()
			rep, err = u.Create(t.Context(), r)
		}
		id, resumes := rep.ID, luck.IntN(3)
		for turns := 0; ; turns++ {
			if turns > 20_000 {
				t.Fatalf("it never ends: %+v", w.tunings[id])
			}
			if _, err := u.Turn(t.Context()); err != nil {
				if !errors.Is(err, errDied) {
					t.Fatal(err)
				}
				if u = w.tuner(); luck.IntN(5) > 0 {
					continue
				}
				if _, err := u.Cancel(t.Context(), id); err != nil && !errors.Is(err, errDied) && fault.KindOf(err) != fault.Conflict {
					t.Fatal(err)
				}
				continue
			}
			check(t, w, id, r.Runs)
			if status := w.tunings[id].Status; status.Ended() {
				if resumes--; resumes < 0 || status == Completed {
					break
				}
				most += billing.Money(luck.Int64N(10_000_000))
				if _, err := u.Resume(t.Context(), id, &most); fault.KindOf(err) == fault.Invalid && most <= w.tunings[id].Spent {
					break
				} else if err != nil && !errors.Is(err, errDied) {
					t.Fatal(err)
				}
			} else if luck.IntN(rare) == 0 {
				if _, err := u.Cancel(t.Context(), id); err != nil && !errors.Is(err, errDied) {
					t.Fatal(err)
				}
			}
			w.now = w.now.Add(time.Duration(500+luck.IntN(2001)) * time.Millisecond)
		}
	})
}

// check checks what holds whenever a turn is over.
func check(t *rapid.T, w *world, id ID, perSize int) {
	u, runs := w.tunings[id], w.runs[id]
	counted, tasks := make(map[string]int), make(map[task.ID]int)
	for _, r := range runs {
		if r.Task != "" {
			tasks[r.Task]++
		}
		if r.State != Ended || r.Outcome != Discarded {
			counted[fmt.Sprint(r.Size, r.N)]++
		}
	}
	for slot, n := range counted {
		if n > 1 {
			t.Fatalf("run %s was made %d times", slot, n)
		}
	}
	for _, l := range w.tasks {
		if l.StartedBy == StartedBy(id) && tasks[l.ID] != 1 {
			t.Fatalf("task %s is in %d runs", l.ID, tasks[l.ID])
		}
	}
	if cost := w.cost(id); cost > u.MaxCost+u.MayOverrun {
		t.Fatalf("%s were spent; at most %s and %s more may be", cost, u.MaxCost, u.MayOverrun)
	}
	rep := report(u, runs)
	for _, res := range rep.Results {
		if res.Runs > perSize || u.Status == Completed && res.Skipped == "" && res.Runs != perSize {
			t.Fatalf("%s: %d runs of %d at %v", u.Status, res.Runs, perSize, res.Size)
		}
	}
	if u.Status == Completed && rep.Made != rep.Planned {
		t.Fatalf("%d runs are made of %d", rep.Made, rep.Planned)
	}
	if u.Status.Ended() {
		if n := w.going(); n > 0 {
			t.Fatalf("it is %s and %d tasks go on", u.Status, n)
		}
		if cost := w.cost(id); u.Spent != cost {
			t.Fatalf("it says %s were spent, and the ledger %s", u.Spent, cost)
		}
	}
}

// drive lets time pass until the tuning has ended, or at most for so long.
func drive(t *testing.T, w *world, u *Tuner, id ID, limit time.Duration) Report {
	t.Helper()
	for until := w.now.Add(limit); w.now.Before(until); w.now = w.now.Add(every) {
		if _, err := u.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.tunings[id].Status.Ended() {
			break
		}
	}
	rep, err := u.Tuning(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func create(t *testing.T, u *Tuner, r Request) Report {
	t.Helper()
	rep, err := u.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// work is a job of so many CPU units × seconds.
func work(amount int) func(task.Run) fate {
	return func(r task.Run) fate {
		return fate{pull: time.Second, run: time.Duration(amount) * time.Second / time.Duration(cpuOf(r))}
	}
}

// Ensure the cheapest, the fastest and the balanced size are found, and sizes that fail
// are reported and given up without ending the tuning.
func TestResults(t *testing.T) {
	w := newWorld()
	w.fate = func(r task.Run) fate {
		f := work(300 * 1024)(r)
		if f.run = max(f.run, 200*time.Second); cpuOf(r) == 256 {
			f.oom, f.code, f.run = true, 137, 10*time.Second
		}
		return f
	}
	w.largest = task.Size{CPU: 2048, Memory: 4096}
	u, enough := w.tuner(), billing.Money(1e9)
	rep := create(t, u, Request{TaskDefinition: "job", Sizes: []Size{{2048, 4096}, {256, 512}, {512, 1024}, {1024, 2048}, {4096, 8192}}, Runs: 5, MaxCost: &enough})
	rep = drive(t, w, u, rep.ID, 24*time.Hour)
	if rep.Status != Completed || rep.Planned != 18 || rep.Made != 18 || rep.Parallelism != 1 {
		t.Fatalf("%s %q, %d of %d runs", rep.Status, rep.Reason, rep.Made, rep.Planned)
	}
	for i, want := range []struct {
		size     Size
		runs, ok int
		seconds  int64
		skipped  string
	}{
		{Size{256, 512}, 3, 0, 0, "3 runs failed and none succeeded"},
		{Size{512, 1024}, 5, 5, 601, ""},
		{Size{1024, 2048}, 5, 5, 301, ""},
		{Size{2048, 4096}, 5, 5, 201, ""},
		{Size{4096, 8192}, 0, 0, 0, "RESOURCE:CPU: the host has 2 vCPU, 4096 MiB"},
	} {
		got := rep.Results[i]
		if got.Size != want.size || got.Runs != want.runs || got.Succeeded != want.ok || got.BilledSeconds != want.seconds || got.Skipped != want.skipped {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if oom := rep.Results[0]; oom.Failures[OutOfMem] != 3 || oom.LastFailure != task.ReasonOutOfMemory || oom.FailureCost == 0 {
		t.Errorf("the size that fails: %+v", oom)
	}
	if mid := rep.Results[2]; mid.Run.Median != 300*time.Second || mid.Billed.Median != 301*time.Second || mid.ThrottledPercent != 50 || mid.PeakMemoryBytes != 1<<20 {
		t.Errorf("1 vCPU: %+v", mid)
	}
	b := rep.Best
	if b.Cheapest == nil || *b.Cheapest != (Size{512, 1024}) || *b.Fastest != (Size{2048, 4096}) || *b.Balanced != (Size{1024, 2048}) {
		t.Errorf("best: %v %v %v", b.Cheapest, b.Fastest, b.Balanced)
	}
	if len(rep.Chart) != 3 || rep.Chart[0] != (Point{Size{512, 1024}, 600_000, int64(rep.Results[1].MedianCost)}) {
		t.Errorf("chart: %+v", rep.Chart)
	}
	// Rounds are interleaved, and each begins one size further.
	var order []string
	for _, r := range rep.Log[:7] {
		order = append(order, fmt.Sprint(r.CPU/256, "/", r.N))
	}
	if got := strings.Join(order, " "); got != "8/1 1/1 2/1 4/1 1/2 2/2 4/2" {
		t.Errorf("in the order %s", got)
	}
}

// Ensure a balance of 1 is the cheapest and one of 0 the fastest.
func TestBalance(t *testing.T) {
	size := func(cpu int) Size { return Size{cpu, 2 * cpu} }
	all := []Result{
		{Size: size(256), Runs: 1, Succeeded: 1, MedianCost: 10, Run: Spread{Median: 40}},
		{Size: size(512), Runs: 2, Succeeded: 1, Failures: map[Outcome]int{StoppedBy: 1}, MedianCost: 12, Run: Spread{Median: 21}},
		{Size: size(1024), Runs: 1, Succeeded: 1, MedianCost: 24, Run: Spread{Median: 20}},
		{Size: size(2048), Runs: 2, Succeeded: 1, MedianCost: 1, Run: Spread{Median: 1}}, // One run failed.
	}
	for balance, want := range map[float64]Size{0: size(1024), 1: size(256), 0.5: size(512)} {
		if got := best(all, balance); *got.Balanced != want || *got.Cheapest != size(256) || *got.Fastest != size(1024) {
			t.Errorf("balance %v: %v %v %v", balance, got.Balanced, got.Cheapest, got.Fastest)
		}
	}
	if got := best(all[3:], 0.5); got.Cheapest != nil {
		t.Errorf("a size at which a run failed is best: %v", got.Cheapest)
	}
}

// Ensure what is left open is decided and said: sizes around the definition's own that
// the host can hold, five runs, and a budget.
func TestDefaults(t *testing.T) {
	w := newWorld()
	w.largest = task.Size{CPU: 1024, Memory: 8192}
	rep := create(t, w.tuner(), Request{TaskDefinition: "job"})
	var sizes []Size
	var expected billing.Money
	for _, s := range rep.Sizes {
		sizes, expected = append(sizes, s.Size), expected+5*s.Expected
	}
	if got, want := fmt.Sprint(sizes), "[256:1024 512:1024 1024:2048]"; got != want {
		t.Errorf("sizes %s, want %s", got, want)
	}
	if rep.Runs != 5 || rep.Planned != 15 || rep.MaxCost != 2*expected || rep.MayOverrun <= 0 || rep.MaxDurationSeconds != 900 || rep.Balance != 0.5 {
		t.Errorf("%+v", rep.Tuning)
	}
	if notes := strings.Join(rep.Notes, "\n"); !strings.Contains(notes, "2048:4096 is left out: RESOURCE:CPU") || !strings.Contains(notes, "maxCost was left out") {
		t.Errorf("notes: %s", notes)
	}
	if rep.TaskDefinition != "arn:aws:ecs:us-east-1:000000000000:task-definition/job:7" {
		t.Errorf("the definition is %s", rep.TaskDefinition)
	}
}

// Ensure requests that make no sense are refused with the field.
func TestRefusals(t *testing.T) {
	nothing, two := billing.Money(0), 2.0
	for field, r := range map[string]Request{
		"sizes[0]":                             {Sizes: []Size{{256, 4096}}},
		"sizes[1]":                             {Sizes: []Size{{256, 512}, {256, 512}}},
		"runs":                                 {Runs: 101},
		"parallelism":                          {Parallelism: 11},
		"maxCost":                              {MaxCost: &nothing},
		"balance":                              {Balance: &two},
		"overrides":                            {Overrides: &task.Overrides{CPU: "256"}},
		"overrides.containerOverrides[0].name": {Overrides: &task.Overrides{Containers: []task.ContainerOverride{{Name: "other"}}}},
		"maxDurationSeconds":                   {MaxDurationSeconds: -1},
	} {
		r.TaskDefinition = "job"
		if _, err := newWorld().tuner().Create(t.Context(), r); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != field {
			t.Errorf("%v, want a refusal of %s", err, field)
		}
	}
	if _, err := newWorld().tuner().Create(t.Context(), Request{TaskDefinition: "gone"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an unknown definition: %v", err)
	}
	if _, err := newWorld().tuner().Create(t.Context(), Request{TaskDefinition: "job", Sizes: []Size{{16384, 32768}}}); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("a host that holds none of the sizes: %v", err)
	}
}

// Ensure a tuning ends before the run that might cost too much, stops the run that does,
// and goes on when it is given more.
func TestBudget(t *testing.T) {
	w := newWorld()
	w.fate = work(100 * 256)
	u := w.tuner()
	rep := create(t, u, Request{TaskDefinition: "job", Sizes: []Size{{256, 512}}, Runs: 10})
	high := rep.Sizes[0].High
	most := high + high/2
	if _, err := u.Resume(t.Context(), rep.ID, &most); err != nil { // of one that waits: only the budget
		t.Fatal(err)
	}
	rep = drive(t, w, u, rep.ID, time.Hour)
	if rep.Status != BudgetReached || rep.Made != 4 || rep.Spent > most || !strings.Contains(rep.Reason, "the next run, at 256:512, may cost") {
		t.Fatalf("%s %q after %d runs for %s of %s", rep.Status, rep.Reason, rep.Made, rep.Spent, most)
	}
	w.fate = func(task.Run) fate { return fate{run: time.Hour} }
	most = rep.Spent + rep.Results[0].MedianCost
	if rep, err := u.Resume(t.Context(), rep.ID, &rep.Spent); fault.FieldOf(err) != "maxCost" {
		t.Errorf("%v, %v", rep, err)
	}
	if _, err := u.Resume(t.Context(), rep.ID, &most); err != nil {
		t.Fatal(err)
	}
	rep = drive(t, w, u, rep.ID, time.Hour)
	if last := rep.Log[len(rep.Log)-1]; rep.Status != BudgetReached || last.Outcome != Discarded || rep.Spent < most || rep.Spent > most+rep.MayOverrun || rep.Made != 4 {
		t.Fatalf("%s for %s of %s (+ %s), the last run %s", rep.Status, rep.Spent, most, rep.MayOverrun, last.Outcome)
	}
	w.fate = work(100 * 256)
	most = 1e9
	if _, err := u.Resume(t.Context(), rep.ID, &most); err != nil {
		t.Fatal(err)
	}
	if rep = drive(t, w, u, rep.ID, time.Hour); rep.Status != Completed || rep.Made != 10 {
		t.Fatalf("%s after %d runs", rep.Status, rep.Made)
	}
	if _, err := u.Resume(t.Context(), rep.ID, nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("resuming what is complete: %v", err)
	}
}

// Ensure a run that is refused ends the tuning with the reason.
func TestRefusedRun(t *testing.T) {
	w := newWorld()
	u := w.tuner()
	rep := create(t, u, Request{TaskDefinition: "job"})
	w.refuse = fault.New(fault.OverBudget, "the budget of the team is spent")
	rep = drive(t, w, u, rep.ID, time.Minute)
	if rep.Status != Failed || rep.Reason != "a run was refused: the budget of the team is spent" || len(w.tasks) != 0 {
		t.Errorf("%s %q, %d tasks", rep.Status, rep.Reason, len(w.tasks))
	}
	w.refuse = nil
	if _, err := u.Resume(t.Context(), rep.ID, nil); err != nil {
		t.Fatal(err)
	}
	if rep = drive(t, w, u, rep.ID, time.Hour); rep.Status != Completed {
		t.Errorf("%s %q", rep.Status, rep.Reason)
	}
}

// Ensure it is told apart how a run ended, and who ended it.
func TestOutcomes(t *testing.T) {
	at := func(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
	zero, three := 0, 3
	for _, c := range []struct {
		stopCode string
		started  int
		stopping int
		exit     *int
		reason   string // of its container
		ours     bool
		want     Outcome
	}{
		{task.EssentialExited, 1, 5, &zero, "", false, Succeeded},
		{task.EssentialExited, 1, 5, &zero, "", true, Succeeded}, // It was faster than the stop.
		{task.EssentialExited, 1, 5, &three, "", false, ExitCode},
		{task.EssentialExited, 1, 5, &three, task.ReasonOutOfMemory, false, OutOfMem},
		{task.UserInitiated, 1, 61, nil, "", false, TimedOut},
		{task.UserInitiated, 1, 61, nil, "", true, TimedOut},
		{task.UserInitiated, 1, 60, nil, "", false, StoppedBy},
		{task.UserInitiated, 1, 60, nil, "", true, Discarded},
		{task.UserInitiated, 0, 60, nil, "", true, Discarded},
		{task.UserInitiated, 0, 60, nil, "", false, StoppedBy},
		{task.FailedToStart, 0, 5, nil, "", false, NotStarted},
		{task.SpendLimit, 1, 5, nil, "", false, StoppedBy},
		{task.SpendLimit, 0, 5, nil, "", true, StoppedBy},
		{task.Infrastructure, 1, 5, nil, "", false, StoppedBy},
	} {
		done := task.Task{StopCode: c.stopCode, StoppingAt: at(c.stopping), StoppedAt: at(c.stopping), PullStartedAt: epoch, Timeout: 60,
			DefinitionARN: "job:1", Containers: []task.Container{{Essential: true, ExitCode: c.exit, Reason: c.reason}}}
		if c.started > 0 {
			done.StartedAt = at(c.started)
		}
		if got := (Run{}).ended(done, billing.Bill{Total: 7}, c.ours, at(100)); got.Outcome != c.want || got.Cost != 7 || got.State != Ended {
			t.Errorf("%+v: %s", c, got.Outcome)
		}
	}
}

// Ensure tunings take turns, and one that waits can be cancelled and removed.
func TestTurns(t *testing.T) {
	w := newWorld()
	u := w.tuner()
	first, second := create(t, u, Request{TaskDefinition: "job"}), create(t, u, Request{TaskDefinition: "job"})
	drive(t, w, u, first.ID, time.Second)
	if a, b := w.tunings[first.ID].Status, w.tunings[second.ID].Status; a != Running || b != Waiting {
		t.Errorf("%s and %s", a, b)
	}
	if err := u.Remove(t.Context(), second.ID); fault.KindOf(err) != fault.Conflict {
		t.Errorf("removing one that waits: %v", err)
	}
	for range 2 {
		if rep, err := u.Cancel(t.Context(), second.ID); err != nil || rep.Status != Cancelled {
			t.Errorf("%s, %v", rep.Status, err)
		}
	}
	page, next, err := u.Tunings(t.Context(), 1, "")
	if err != nil || len(page) != 1 || page[0].ID != second.ID || next == "" {
		t.Fatalf("%v %q %v", page, next, err)
	}
	if page, next, err = u.Tunings(t.Context(), 1, next); err != nil || len(page) != 1 || page[0].ID != first.ID || next != "" {
		t.Errorf("%v %q %v", page, next, err)
	}
	if err := u.Remove(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Cancel(t.Context(), second.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("cancelling what is not there: %v", err)
	}
}

// Ensure who waits hears of each change, and Run goes on from where another process
// stood, and tries again what fails for a while.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		u := w.tuner()
		rep := create(t, u, Request{TaskDefinition: "job", Sizes: []Size{{256, 512}}, Runs: 1})
		if waits, err := u.Wait(t.Context(), rep.ID, rep.Version-1); err != nil || waits.Version != rep.Version {
			t.Fatalf("version %d, %v", waits.Version, err)
		}
		u = w.tuner()
		failures, before := 3, time.Now()
		w.luck = func(at string) error {
			if failures--; failures >= 0 {
				return fault.New(fault.Unavailable, "not now")
			}
			return nil
		}
		ran := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ran <- u.Run(ctx) }()
		defer func() {
			if cancel(); <-ran != nil {
				t.Error("Run failed")
			}
		}()
		go func() { // the clock
			for range 20 {
				time.Sleep(time.Second)
				u.mu.Lock()
				w.now = w.now.Add(time.Second)
				u.mu.Unlock()
			}
		}()
		for version := int64(0); !rep.Status.Ended(); version = rep.Version {
			var err error
			if rep, err = u.Wait(t.Context(), rep.ID, version); err != nil || rep.Version <= version {
				t.Fatalf("version %d after %d: %v", rep.Version, version, err)
			}
		}
		if took := time.Since(before); rep.Status != Completed || rep.Made != 1 || took < 3*retry {
			t.Errorf("%s, %d runs, after %v", rep.Status, rep.Made, took)
		}
		if len(w.tasks) != 1 {
			t.Errorf("%d tasks", len(w.tasks))
		}
		time.Sleep(time.Minute) // for the clock to end
	})
}
