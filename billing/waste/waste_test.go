package waste_test

import (
	"context"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/billing/history"
	"berth/billing/waste"
	"berth/fault"
	"berth/task"
)

var epoch = time.Date(2026, 11, 3, 4, 0, 0, 0, time.UTC)

// past is a task that was charged, and what is true of it.
type past struct {
	run     history.Run
	facts   billing.Facts
	entries []billing.Entry
	pull    time.Duration
	ran     time.Duration // pull included
}

// drawPast draws a task, of which the meter may have thought that it ran for longer than
// it did, with prices that change.
func drawPast(rt *rapid.T, i int, prices billing.Prices) past {
	family := rapid.SampledFrom([]string{"web", "job"}).Draw(rt, "family")
	id := task.ID(fmt.Sprintf("%032x", i+1))
	from := epoch.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(rt, "from")))
	p := past{ran: time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(rt, "ran"))}
	if rapid.Bool().Draw(rt, "short") {
		p.ran %= 2 * time.Minute
	}
	if rapid.Bool().Draw(rt, "whole") {
		p.ran = p.ran.Truncate(time.Second)
	}
	p.pull = time.Duration(rapid.Int64Range(0, int64(p.ran)).Draw(rt, "pull"))
	size := rapid.SampledFrom(task.Sizes()).Draw(rt, "size")
	tk := task.Task{
		ID: id, ARN: "arn:aws:ecs:us-east-1:000000000000:task/default/" + string(id), DefinitionARN: "arn:aws:ecs:us-east-1:000000000000:task-definition/" + family + ":1",
		CPU: fmt.Sprint(size.CPU), Memory: fmt.Sprint(size.Memory), Arch: "X86_64", Group: rapid.SampledFrom([]string{"a", "b", ""}).Draw(rt, "group"),
		Ephemeral:     &task.EphemeralStorage{SizeInGiB: rapid.SampledFrom([]int{20, 50}).Draw(rt, "storage")},
		PullStartedAt: from, PullStoppedAt: from.Add(p.pull), StartedAt: from.Add(p.pull), StoppedAt: from.Add(p.ran), LastStatus: task.Stopped,
		StopCode: rapid.SampledFrom([]string{task.EssentialExited, task.UserInitiated, task.FailedToStart, task.SpotInterruption, task.Infrastructure, task.SpendLimit}).Draw(rt, "stopCode"),
	}
	code := rapid.SampledFrom([]int{0, 0, 1}).Draw(rt, "exitCode")
	tk.Containers = []task.Container{{Name: "main", Essential: true, ExitCode: &code}}
	p.run, p.facts = history.Of(tk, nil), billing.FactsOf(tk)

	share := rapid.Int64Range(0, 120).Draw(rt, "used") // per cent of what is reserved
	terms := billing.Terms{Prices: prices, Used: func(k billing.SKU, from, to time.Time) (int64, time.Time) {
		for _, r := range billing.Reserved(tk) {
			if r.SKU == k {
				return int64(to.Sub(from)) / 100 * share * r.Size, to
			}
		}
		return 0, to
	}}
	cuts := rapid.SliceOfN(rapid.Int64Range(0, int64(p.ran)+int64(10*time.Second)), 0, 4).Draw(rt, "cuts")
	slices.Sort(cuts)
	for _, c := range billing.Open(tk, prices) {
		var all, more []billing.Entry
		for _, cut := range cuts {
			c, more = c.Advance(from.Add(time.Duration(cut)), terms)
			all = append(all, more...)
		}
		_, more = c.Close(tk.StoppedAt, terms, all)
		p.entries = append(p.entries, append(all, more...)...)
	}
	if len(p.entries) > 0 && rapid.IntRange(0, 3).Draw(rt, "back") == 0 {
		back, err := rapid.SampledFrom(p.entries).Draw(rt, "entry").Reverse("wrong", time.Time{}, epoch.AddDate(0, 0, 1))
		if err != nil {
			rt.Fatal(err)
		}
		p.entries = append(p.entries, back)
	}
	return p
}

func drawPrices(rt *rapid.T) billing.Prices {
	c := new(billingtest.Catalog)
	c.Add(epoch.AddDate(-1, 0, 0), 100)
	for range rapid.IntRange(0, 2).Draw(rt, "changes") {
		c.Add(epoch.Add(time.Duration(rapid.Int64Range(0, int64(4*time.Hour)).Draw(rt, "change"))), rapid.Int64Range(0, 300).Draw(rt, "percent"))
	}
	return c
}

// exactly is what size × rate costs in d, in nano-dollars.
func exactly(e billing.Entry, d time.Duration) *big.Rat {
	size := new(big.Rat).SetFrac64(e.Units, int64(e.To.Sub(e.From))) // of one sign with the time, but in what takes back
	per := int64(1024)
	if e.SKU == billing.Storage {
		per = 1
	}
	n := new(big.Rat).Mul(size, new(big.Rat).SetInt64(int64(e.Rate)))
	n.Mul(n, new(big.Rat).SetFrac64(int64(d), 10*per)) // a rate is tenths of a nano-dollar
	return n.Quo(n, new(big.Rat).SetInt64(int64(time.Hour)))
}

// rounded returns a share of an amount, rounded half to even to a nano-dollar.
func rounded(m billing.Money, share *big.Rat) billing.Money {
	return billingtest.Round(share.Mul(share, new(big.Rat).SetFrac64(int64(m), 1e9)))
}

// near reports whether an amount is exact but for so many roundings.
func near(got billing.Money, want *big.Rat, roundings int64) bool {
	d := new(big.Rat).Sub(new(big.Rat).SetInt64(int64(got)), want)
	return d.Abs(d).Cmp(new(big.Rat).SetInt64(roundings)) <= 0
}

// Ensure the parts of an entry add up to it, are what an independent reckoning says, and
// are those of what takes it back, negative.
func TestFor(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPast(rt, 0, drawPrices(rt))
		life := waste.LifeOfRun(p.run)
		for _, e := range p.entries {
			s := waste.For(e, life)
			if s.Sum() != e.Amount {
				rt.Fatalf("the parts of %s are %+v", e.Amount, s.Parts)
			}
			if e.Kind != billing.Reversal {
				back, err := e.Reverse("wrong", time.Time{}, epoch)
				if err != nil {
					rt.Fatal(err)
				}
				r := waste.For(back, life)
				negative := waste.Parts{Productive: -s.Productive, Failed: -s.Failed, Pull: -s.Parts.Pull, Minimum: -s.Minimum, Rounding: -s.Rounding, Idle: -s.Idle}
				if r.Parts != negative || r.Kind != s.Kind || r.Pull != -s.Pull || r.Ran != -s.Ran || r.Unused != -s.Unused {
					rt.Fatalf("%+v is taken back as %+v", s, r)
				}
			}
			if !life.Failed && (e.Kind == billing.SecondRoundUp && s.Rounding != e.Amount || e.Kind == billing.MinimumTopUp && s.Minimum != e.Amount) ||
				life.Failed && s.Failed != e.Amount {
				rt.Fatalf("%s of %s is %+v", e.Kind, e.Amount, s.Parts)
			}
			if life.Failed || e.Kind != billing.Metered {
				continue
			}
			pulled := min(e.To.Sub(life.From), p.pull) - min(e.From.Sub(life.From), p.pull)
			if s.Pull != pulled || !near(s.Parts.Pull, exactly(e, pulled), 2) || s.Parts.Pull != rounded(e.Amount, new(big.Rat).SetFrac64(int64(pulled), int64(e.To.Sub(e.From)))) {
				rt.Fatalf("of %s, %s was pulling, and it says %s, %s", e.To.Sub(e.From), pulled, s.Pull, s.Parts.Pull)
			}
			ran := new(big.Rat).Mul(new(big.Rat).SetFrac64(e.Units, int64(e.To.Sub(e.From))), new(big.Rat).SetInt64(int64(e.To.Sub(e.From)-pulled)))
			if ran.Sign() == 0 {
				continue
			}
			unused := new(big.Rat).Sub(ran, new(big.Rat).SetInt64(e.Used.Units))
			if unused.Sign() < 0 {
				unused.SetInt64(0)
			}
			if unused.Cmp(ran) > 0 {
				unused.Set(ran)
			}
			idle := new(big.Rat).Mul(exactly(e, e.To.Sub(e.From)-pulled), new(big.Rat).Quo(unused, ran))
			if !near(s.Idle, idle, 3) || s.Idle != rounded(e.Amount-s.Parts.Pull, new(big.Rat).Quo(unused, ran)) {
				rt.Fatalf("idle is %s, and must be %s nano", s.Idle, idle.FloatString(3))
			}
		}
	})
}

// book is pasts.
type book struct {
	pasts  []past
	silent map[task.ID]bool // tasks without a record, that still run
}

func (b book) Charges(_ context.Context, from, to time.Time) iter.Seq2[billing.Charge, error] {
	return func(yield func(billing.Charge, error) bool) {
		for _, p := range b.pasts {
			for _, e := range p.entries {
				if e.Booked.Before(from) || !e.Booked.Before(to) {
					continue
				}
				if !yield(billing.Charge{Entry: e, Facts: &p.facts}, nil) {
					return
				}
			}
		}
	}
}

func (b book) RunsOf(_ context.Context, ids []task.ID) (map[task.ID]history.Run, error) {
	all := make(map[task.ID]history.Run)
	for _, p := range b.pasts {
		if slices.Contains(ids, p.run.Task) && !b.silent[p.run.Task] {
			all[p.run.Task] = p.run
		}
	}
	return all, nil
}

func (b book) Task(_ context.Context, id task.ID) (task.Task, error) {
	for _, p := range b.pasts {
		if p.run.Task == id && b.silent[id] {
			from := p.run.StoppedAt.Add(-p.run.Metered())
			return task.Task{ID: id, LastStatus: task.Running, PullStartedAt: from, PullStoppedAt: from.Add(p.pull)}, nil
		}
	}
	return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
}

// Ensure every nano-dollar is counted once, in any grouping and range, and that the
// seconds are those of the time stamps.
func TestOf(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var b book
		prices := drawPrices(rt)
		for i := range rapid.IntRange(0, 6).Draw(rt, "tasks") {
			b.pasts = append(b.pasts, drawPast(rt, i, prices))
		}
		by := rapid.SampledFrom([][]string{{"family"}, {"group", "family"}, {"task"}, {}}).Draw(rt, "by")
		hours := rapid.IntRange(1, 10).Draw(rt, "hours") // what is taken back is booked when it was charged
		q := waste.Query{From: epoch, To: epoch.Add(time.Duration(hours) * time.Hour), GroupBy: by, Limit: 1000}
		r, err := waste.Of(t.Context(), b, q)
		if err != nil {
			rt.Fatal(err)
		}
		var want billing.Money
		for c := range b.Charges(t.Context(), q.From, q.To) {
			want += c.Amount
		}
		if r.Total.Cost != want {
			rt.Fatalf("cost %s, and the ledger says %s", r.Total.Cost, want)
		}
		var sum billing.Money
		for i, g := range append(r.Groups, r.Total) {
			if g.Cost != g.Productive+g.Waste || g.Waste != g.Failed.Amount+g.Pull.Amount+g.Minimum.Amount+g.Rounding.Amount+g.Idle.Amount {
				rt.Fatalf("does not add up: %+v", g)
			}
			if i < len(r.Groups) {
				sum += g.Cost
			}
			if i > 0 && i < len(r.Groups) && g.Waste > r.Groups[i-1].Waste {
				rt.Fatal("the groups are not in order")
			}
			var idle billing.Money
			for _, k := range g.Idle.BySKU {
				idle += k.Amount
			}
			if idle != g.Idle.Amount {
				rt.Fatalf("idle of SKUs is %s, of all %s", idle, g.Idle.Amount)
			}
		}
		if sum != r.Total.Cost {
			rt.Fatalf("the groups are %s, and all is %s", sum, r.Total.Cost)
		}
		if hours < 7 {
			return // Some may not be in it whole.
		}
		var pull, minimum, rounding, failed time.Duration
		var failedTasks int64
		for _, p := range b.pasts {
			whole := (p.ran + time.Second - 1).Truncate(time.Second)
			switch {
			case failedRun(p.run):
				failed += max(whole, time.Minute)
				failedTasks++
			default:
				pull, rounding, minimum = pull+p.pull, rounding+whole-p.ran, minimum+max(0, time.Minute-whole)
			}
			e := p.entries[len(p.entries)-1]
			if e.Kind != billing.Reversal || e.SKU != billing.VCPU {
				continue
			}
			from := p.run.StoppedAt.Add(-p.ran)
			switch took := e.To.Sub(e.From); {
			case failedRun(p.run):
				failed -= took
			case e.Takes() == billing.SecondRoundUp:
				rounding -= took
			case e.Takes() == billing.MinimumTopUp:
				minimum -= took
			default:
				pull -= min(e.To.Sub(from), p.pull) - min(e.From.Sub(from), p.pull)
			}
		}
		for _, part := range []struct {
			got  string
			want time.Duration
		}{{r.Total.Pull.Seconds, pull}, {r.Total.Minimum.Seconds, minimum}, {r.Total.Rounding.Seconds, rounding}, {r.Total.Failed.Seconds, failed}} {
			if part.got != billing.Seconds(part.want) {
				rt.Fatalf("%s seconds, and by the time stamps %s: %+v", part.got, billing.Seconds(part.want), r.Total)
			}
		}
		if r.Total.Tasks != int64(len(b.pasts)) || r.Total.FailedTasks != failedTasks {
			rt.Fatalf("%d tasks, %d failed; want %d, %d", r.Total.Tasks, r.Total.FailedTasks, len(b.pasts), failedTasks)
		}
	})
}

// failedRun says in other words what a failed attempt is.
func failedRun(r history.Run) bool {
	return r.StopCode == task.Infrastructure || r.StopCode != task.UserInitiated && r.StopCode != task.SpendLimit && (r.ExitCode != 0 || !r.Ran)
}

// Ensure a task that goes on is not failed, and its pull is known; and that of a forgotten
// one nothing is pull.
func TestLives(t *testing.T) {
	p := past{pull: 10 * time.Minute, ran: 30 * time.Minute}
	tk := task.Task{
		ID: task.ID(fmt.Sprintf("%032x", 1)), ARN: "arn:aws:ecs:us-east-1:000000000000:task/default/x", DefinitionARN: "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1",
		CPU: "256", Memory: "512", Arch: "X86_64", PullStartedAt: epoch, PullStoppedAt: epoch.Add(p.pull), LastStatus: task.Stopped, StoppedAt: epoch.Add(p.ran), StopCode: task.FailedToStart,
	}
	p.run, p.facts = history.Of(tk, nil), billing.FactsOf(tk)
	for _, c := range billing.Open(tk, billing.BuiltIn()) {
		_, entries := c.Advance(epoch.Add(p.ran), billing.Terms{Prices: billing.BuiltIn()})
		p.entries = append(p.entries, entries...)
	}
	b := book{pasts: []past{p}, silent: map[task.ID]bool{tk.ID: true}}
	q := waste.Query{From: epoch, To: epoch.Add(time.Hour), Limit: 10}
	for _, tt := range []struct {
		name   string
		b      waste.Book
		pull   string
		failed string
	}{{"recorded", book{pasts: b.pasts}, "0", "1800"}, {"running", b, "600", "0"}, {"forgotten", forgetful{b}, "0", "0"}} {
		r, err := waste.Of(t.Context(), tt.b, q)
		if err != nil || r.Total.Pull.Seconds != tt.pull || r.Total.Failed.Seconds != tt.failed {
			t.Errorf("%s: %v, %+v", tt.name, err, r.Total)
		}
	}
	for _, q := range []waste.Query{
		{From: epoch, To: epoch, Limit: 1}, {From: epoch, To: epoch.Add(time.Hour), GroupBy: []string{"sku"}, Limit: 1}, {From: epoch.Add(1), To: epoch.Add(time.Hour), Limit: 1},
		{From: epoch, To: epoch.Add(time.Hour), GroupBy: []string{"colour"}, Limit: 1}, {From: epoch, To: epoch.Add(time.Hour), Filters: map[string][]string{"sku": {"x"}}, Limit: 1},
	} {
		if _, err := waste.Of(t.Context(), b, q); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// forgetful knows no task any more.
type forgetful struct{ book }

func (forgetful) RunsOf(context.Context, []task.ID) (map[task.ID]history.Run, error) { return nil, nil }

func (forgetful) Task(_ context.Context, id task.ID) (task.Task, error) {
	return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
}
