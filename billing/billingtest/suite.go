package billingtest

import (
	"context"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// Task returns a task that was provisioned at a time.
func Task(at time.Time) task.Task {
	id := task.NewID()
	return task.Task{
		ID: id, ARN: "arn:aws:ecs:us-east-1:000000000000:task/default/" + string(id), Version: 1,
		LastStatus: task.Pending, DesiredStatus: task.Running, CPU: "256", Memory: "512", Arch: "X86_64",
		CreatedAt: at, PullStartedAt: at, Clock: task.Instant{Wall: at, BootID: "boot"},
	}
}

// drawTask draws a task of any size.
func drawTask(rt *rapid.T) task.Task {
	hour := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	t := Task(hour.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "start"))))
	size := rapid.SampledFrom(task.Sizes()).Draw(rt, "size")
	t.CPU, t.Memory = strconv.Itoa(size.CPU), strconv.Itoa(size.Memory)
	t.Arch = rapid.SampledFrom([]string{"X86_64", "ARM64"}).Draw(rt, "arch")
	if gib := rapid.IntRange(20, 200).Draw(rt, "disk"); gib > 20 {
		t.Ephemeral = &task.EphemeralStorage{SizeInGiB: gib}
	}
	return t
}

// Suite checks that a Ledger keeps its contract. open returns an empty one.
func Suite(t *testing.T, open func(t *testing.T) billing.Ledger) {
	t.Run("histories", func(t *testing.T) { Histories(t, open(t)) })
	t.Run("conflict writes nothing", func(t *testing.T) { conflict(t, open(t)) })
	t.Run("another body is refused", func(t *testing.T) { anotherBody(t, open(t)) })
	t.Run("position only grows", func(t *testing.T) { position(t, open(t)) })
	t.Run("usage", func(t *testing.T) { usage(t, open(t)) })
	t.Run("usage series", func(t *testing.T) {
		l := open(t)
		rapid.Check(t, func(rt *rapid.T) { series(rt, l) })
	})
	t.Run("forgetting usage", func(t *testing.T) { forgetting(t, open(t)) })
}

// Histories charges random tasks in a ledger and compares with the oracle, as often
// as rapid checks.
func Histories(t *testing.T, l billing.Ledger) {
	rapid.Check(t, func(rt *rapid.T) { history(rt, l) })
}

// history charges one task in random slices, with lost answers, repeated calls,
// a second meter that knows less, samples that come late, price lists that begin
// in the past and in the future, periods that are closed and an end that is
// earlier than what was posted, and compares with the oracle.
func history(rt *rapid.T, l billing.Ledger) {
	ctx := context.Background()
	t := drawTask(rt)
	var prices Catalog
	begun := t.PullStartedAt
	near := func(what string) time.Time {
		return begun.Add(time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(8*time.Hour)).Draw(rt, what)))
	}
	addLists := func(most int) {
		for range rapid.IntRange(0, most).Draw(rt, "lists") {
			prices.Add(near("begins"), rapid.Int64Range(0, 300).Draw(rt, "percent"))
		}
	}
	addLists(2)
	opening := prices.Holding(begun)
	cursors := billing.Open(t, &prices)
	var first []billing.Move
	for _, c := range cursors {
		first = append(first, billing.Move{New: c})
	}
	must(rt, l.Post(ctx, 0, first))
	must(rt, l.Post(ctx, 0, first))

	samples := drawSamples(rt, begun)
	known := 0
	var closed time.Time
	terms := func() billing.Terms {
		return billing.Terms{Prices: &prices, Closed: closed, Now: closed.Add(time.Minute),
			Used: func(k billing.SKU, from, to time.Time) (int64, time.Time) {
				return billing.Used(k, begun, samples[:known], from, to)
			}}
	}
	stale := slices.Clone(cursors)
	now := begun
	var posted []Posted
	step := func(f func(billing.Cursor) (billing.Cursor, []billing.Entry)) {
		before := cursors[0].To
		var moves []billing.Move
		for i, c := range cursors {
			next, entries := f(c)
			if next != c {
				moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
			}
			cursors[i] = next
		}
		must(rt, l.Post(ctx, 0, moves))
		to := cursors[0].To
		if c := cursors[0]; c.Closed { // The rest is rounding up.
			to = c.End
		}
		posted = append(posted, Posted{before, to, prices.Lists()})
		switch rapid.IntRange(0, 3).Draw(rt, "then") {
		case 0: // The answer was lost: the same call again.
			must(rt, l.Post(ctx, 0, moves))
		case 1: // The meter died: it reads where it was.
			have, err := l.Cursors(ctx, t.ID)
			must(rt, err)
			for _, c := range have {
				if !slices.Contains(cursors, c) {
					rt.Fatalf("cursor read back: %+v is not in %+v", c, cursors)
				}
			}
			cursors = have
		case 2: // Another meter is behind, and knows less of what was used.
			c := stale[0]
			i := slices.IndexFunc(cursors, func(x billing.Cursor) bool { return x.SKU == c.SKU })
			next, entries := c.Advance(c.To.Add(time.Second), billing.Terms{Prices: &prices, Closed: closed, Now: closed})
			err := l.Post(ctx, 0, []billing.Move{{Old: c, New: next, Entries: entries}})
			if cursors[i] != c && cursors[i] != next && fault.KindOf(err) != fault.Conflict {
				rt.Fatalf("a meter that was behind moved a cursor: %v", err)
			}
			if cursors[i] == c { // It was not behind; it won, and the first reads where it is.
				must(rt, err)
				cursors[i] = next
				posted = append(posted, Posted{c.To, next.To, prices.Lists()})
				for j, d := range cursors {
					if j != i && !d.Closed { // The others follow, so that all are in step.
						next, entries := d.Advance(cursors[i].To, terms())
						must(rt, l.Post(ctx, 0, []billing.Move{{Old: d, New: next, Entries: entries}}))
						cursors[j] = next
					}
				}
			}
			stale = slices.Clone(cursors)
		}
	}
	for range rapid.IntRange(0, 6).Draw(rt, "slices") {
		now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(rt, "slice")))
		known = rapid.IntRange(known, len(samples)).Draw(rt, "samples")
		step(func(c billing.Cursor) (billing.Cursor, []billing.Entry) { return c.Advance(now, terms()) })
		addLists(1)
	}
	end := now.Add(time.Duration(rapid.Int64Range(-int64(3*time.Hour), int64(90*time.Second)).Draw(rt, "rest")))
	if end.Before(begun) {
		end = begun
	}
	if rapid.Bool().Draw(rt, "whole") {
		end = end.Truncate(time.Hour)
		end = end.Add(max(0, begun.Sub(end)))
	}
	known = len(samples)
	if m, ok := l.(*Mem); ok && rapid.Bool().Draw(rt, "closes") {
		closed = near("closed").Truncate(time.Hour)
		m.Close(closed)
		defer m.Close(time.Time{})
	}
	past, err := l.Entries(ctx, t.ID)
	must(rt, err)
	late := cursors[0].To.Equal(end) // Samples that came after the last entry are in none.
	step(func(c billing.Cursor) (billing.Cursor, []billing.Entry) { return c.Close(end, terms(), past) })
	step(func(c billing.Cursor) (billing.Cursor, []billing.Entry) {
		return c.Close(end.Add(time.Hour), terms(), past)
	})

	t.LastStatus, t.StoppedAt = task.Stopped, end
	check(rt, l, t, &prices, func(r billing.Reservation) billing.Money {
		return Worth(r.SKU, r.Size, begun, end, opening, posted)
	})
	if late {
		end = cursors[0].Measured
	}
	checkUsed(rt, l, t, samples, end)
	checkReversal(rt, l, t, &prices, closed)
}

// checkReversal takes one entry of a stopped task back and checks that nothing is
// left of it, on the bill and in any account.
func checkReversal(rt *rapid.T, l billing.Ledger, tk task.Task, p billing.Prices, closed time.Time) {
	ctx := context.Background()
	cursors, err := l.Cursors(ctx, tk.ID)
	must(rt, err)
	entries, err := l.Entries(ctx, tk.ID)
	must(rt, err)
	e := rapid.SampledFrom(entries).Draw(rt, "taken back")
	now := closed.Add(time.Hour)
	r, err := e.Reverse("why | not", closed, now)
	must(rt, err)
	left := make(map[billing.Posting]int64)
	for _, ps := range [][]billing.Posting{e.Postings(), r.Postings()} {
		for _, p := range ps {
			amount := p.Amount
			p.Amount = 0
			left[p] += amount
		}
	}
	for a, amount := range left {
		if amount != 0 {
			rt.Fatalf("of entry %+v, taken back, %d are left on %s", e, amount, a.Account)
		}
	}
	booked := e.Booked
	if e.Booked.Before(closed) {
		booked = now
	}
	if !r.IsReversalOf(e) || !r.Booked.Equal(booked) {
		rt.Fatalf("%+v does not take %+v back", r, e)
	}
	if _, err := r.Reverse("again", closed, now); fault.KindOf(err) != fault.Conflict {
		rt.Fatalf("a reversal was taken back: %v", err)
	}
	whole := billing.NewBill(tk, p, cursors, entries, tk.StoppedAt).Total
	if b := billing.NewBill(tk, p, cursors, append(entries, r), tk.StoppedAt); b.Total != whole-e.Amount {
		rt.Fatalf("the bill was %s and is %s after %s was taken back", whole, b.Total, e.Amount)
	}
}

// drawSamples draws readings of a task that began at a time, in order and with
// gaps; now and then a counter is set back.
func drawSamples(rt *rapid.T, at time.Time) (samples []task.Sample) {
	cpu := uint64(0)
	for range rapid.IntRange(0, 12).Draw(rt, "readings") {
		at = at.Add(time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(rt, "gap")))
		cpu += rapid.Uint64Range(0, 1e13).Draw(rt, "cpu")
		if rapid.IntRange(0, 9).Draw(rt, "set back") == 0 {
			cpu = 0
		}
		samples = append(samples, task.Sample{At: at, Counters: task.Counters{
			CPUNanos: cpu, WorkingSetBytes: rapid.Uint64Range(0, 1<<37).Draw(rt, "memory"),
			EphemeralStorageBytes: rapid.Uint64Range(0, 200<<30).Draw(rt, "storage"),
		}})
	}
	return samples
}

// checkUsed compares what a ledger says a stopped task used until end with the
// oracle, and checks that what was used and what was wasted is what was reserved.
func checkUsed(t interface{ Fatalf(string, ...any) }, l billing.Ledger, tk task.Task, samples []task.Sample, end time.Time) {
	entries, err := l.Entries(context.Background(), tk.ID)
	if err != nil {
		t.Fatalf("entries: %v", err)
	}
	balances := make(map[string]int64)
	used := make(map[billing.SKU]int64)
	for _, e := range entries {
		units := make(map[string]int64)
		for _, p := range e.Postings() {
			units[p.Unit] += p.Amount
			balances[p.Account] += p.Amount
		}
		for unit, sum := range units {
			if sum != 0 {
				t.Fatalf("entry %s does not balance: %d %s are left", e.ID, sum, unit)
			}
		}
		used[e.SKU] += e.Used.Units
	}
	for _, r := range billing.Reserved(tk) {
		k := string(r.SKU)
		reserved := r.Size * int64(Billed(tk.StoppedAt.Sub(tk.PullStartedAt)))
		if balances["reserved:"+k] != -reserved || balances["used:"+k]+balances["waste:"+k] != reserved ||
			balances["used:"+k]+balances["overage:"+k] != used[r.SKU] || balances["overage:"+k] != -balances["burst:"+k] {
			t.Fatalf("%s: %d is reserved, %d was used, and the balances are %v", k, reserved, used[r.SKU], balances)
		}
		want, pairs := Work(r.SKU, tk.PullStartedAt, end, samples)
		short := want.Sub(want, new(big.Rat).SetInt64(used[r.SKU]))
		if short.Sign() < 0 || short.Cmp(big.NewRat(max(1, pairs), 1)) >= 0 && pairs > 0 {
			t.Fatalf("%s: %d was used, the oracle says %s more, of %d readings", k, used[r.SKU], short.FloatString(3), pairs)
		}
	}
}

// Check compares what a ledger holds of a stopped task with the oracle, at the
// built-in prices.
func Check(t interface{ Fatalf(string, ...any) }, l billing.Ledger, tk task.Task) {
	check(t, l, tk, billing.BuiltIn(), func(r billing.Reservation) billing.Money {
		return Round(Charge(r.SKU, r.Size, Billed(tk.StoppedAt.Sub(tk.PullStartedAt))))
	})
}

func check(t interface{ Fatalf(string, ...any) }, l billing.Ledger, tk task.Task, p billing.Prices, worth func(billing.Reservation) billing.Money) {
	ctx := context.Background()
	cursors, err := l.Cursors(ctx, tk.ID)
	if err != nil {
		t.Fatalf("cursors: %v", err)
	}
	entries, err := l.Entries(ctx, tk.ID)
	if err != nil {
		t.Fatalf("entries: %v", err)
	}
	ran := tk.StoppedAt.Sub(tk.PullStartedAt)
	var total billing.Money
	for _, r := range billing.Reserved(tk) {
		want := worth(r)
		total += want
		var sum billing.Money
		at, seq := tk.PullStartedAt, int64(0)
		c := cursors[slices.IndexFunc(cursors, func(c billing.Cursor) bool { return c.SKU == r.SKU })]
		replay := billing.NewReplay(c)
		for _, e := range entries {
			if e.SKU != r.SKU {
				continue
			}
			seq++
			if !e.From.Equal(at) || e.Seq != seq {
				t.Fatalf("%s: entry %d begins at %s, not at %s", r.SKU, e.Seq, e.From, at)
			}
			if e.Kind == billing.Metered && e.From.Truncate(time.Hour) != e.To.Add(-1).Truncate(time.Hour) {
				t.Fatalf("%s: entry %d crosses an hour: %s to %s", r.SKU, e.Seq, e.From, e.To)
			}
			if err := replay.Take(e); err != nil {
				t.Fatalf("%s: entry %d %v", r.SKU, e.Seq, err)
			}
			sum, at = sum+e.Amount, e.To
		}
		if sum != want || at.Sub(tk.PullStartedAt) != Billed(ran) {
			t.Fatalf("%s, size %d, %s: the ledger says %s for %s, the oracle %s for %s",
				r.SKU, r.Size, ran, sum, at.Sub(tk.PullStartedAt), want, Billed(ran))
		}
		if err := replay.Check(c); err != nil {
			t.Fatalf("%s: the cursor %v", r.SKU, err)
		}
	}
	b := billing.NewBill(tk, p, cursors, entries, tk.StoppedAt)
	var lines, posted billing.Money
	for _, line := range b.Lines {
		lines += line.Amount
	}
	for _, e := range b.Entries {
		posted += e.Amount
	}
	if b.Status != billing.StatusFinal || b.Total != total || lines != total || posted != total {
		t.Fatalf("bill is %s: total %s, lines %s, entries %s, oracle %s", b.Status, b.Total, lines, posted, total)
	}
}

var today = billing.Terms{Prices: billing.BuiltIn()}

func conflict(t *testing.T, l billing.Ledger) {
	ctx := context.Background()
	tk := Task(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
	cs := billing.Open(tk, billing.BuiltIn())
	must(t, l.Post(ctx, 0, []billing.Move{{New: cs[0]}, {New: cs[1]}}))
	ahead, entries := cs[1].Advance(tk.PullStartedAt.Add(time.Minute), today)
	must(t, l.Post(ctx, 0, []billing.Move{{Old: cs[1], New: ahead, Entries: entries}}))

	ok, okEntries := cs[0].Advance(tk.PullStartedAt.Add(time.Hour), today)
	late, lateEntries := ahead.Advance(tk.PullStartedAt.Add(time.Hour), today)
	late2 := ahead
	late2.To = cs[1].To
	err := l.Post(ctx, 7, []billing.Move{{Old: cs[0], New: ok, Entries: okEntries}, {Old: late2, New: late, Entries: lateEntries}})
	if fault.KindOf(err) != fault.Conflict {
		t.Fatalf("a move from elsewhere: %v, want a conflict", err)
	}
	have, err := l.Entries(ctx, tk.ID)
	must(t, err)
	seq, err := l.Position(ctx)
	must(t, err)
	if len(have) != 1 || seq != 0 {
		t.Fatalf("a refused call left %d entries and position %d", len(have)-1, seq)
	}
}

func anotherBody(t *testing.T, l billing.Ledger) {
	ctx := context.Background()
	tk := Task(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
	c := billing.Open(tk, billing.BuiltIn())[0]
	must(t, l.Post(ctx, 0, []billing.Move{{New: c}}))
	next, entries := c.Advance(tk.PullStartedAt.Add(time.Minute), today)
	must(t, l.Post(ctx, 0, []billing.Move{{Old: c, New: next, Entries: entries}}))
	forged := slices.Clone(entries)
	forged[0].Amount++
	if err := l.Post(ctx, 0, []billing.Move{{Old: c, New: next, Entries: forged}}); err == nil || fault.KindOf(err) != fault.Internal {
		t.Fatalf("an entry with another body: %v, want an internal error", err)
	}
}

func position(t *testing.T, l billing.Ledger) {
	ctx := context.Background()
	for _, seq := range []task.Seq{9, 10, 3, 100, 20} {
		must(t, l.Post(ctx, seq, nil))
	}
	if seq, err := l.Position(ctx); err != nil || seq != 100 {
		t.Fatalf("position %d, %v, want 100", seq, err)
	}
}

func usage(t *testing.T, l billing.Ledger) {
	ctx := context.Background()
	id, at := task.NewID(), time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	if last, err := l.LastUsage(ctx, id); err != nil || !last.IsZero() {
		t.Fatalf("last usage of nothing: %s, %v", last, err)
	}
	chunk := func(from, to int, data string) billing.Chunk {
		return billing.Chunk{Task: id, From: at.Add(time.Duration(from) * time.Second), To: at.Add(time.Duration(to) * time.Second),
			Samples: to - from + 1, Data: []byte(data)}
	}
	a, b, b2, c := chunk(0, 9, "a"), chunk(10, 14, "b"), chunk(10, 19, "bb"), chunk(20, 29, "c")
	must(t, l.PutUsage(ctx, []billing.Chunk{a, b}, nil))
	must(t, l.PutUsage(ctx, []billing.Chunk{b2, c}, nil))
	for _, q := range []struct {
		from, to time.Time
		want     []billing.Chunk
	}{
		{time.Time{}, time.Time{}, []billing.Chunk{a, b2, c}},
		{at.Add(9 * time.Second), at.Add(10 * time.Second), []billing.Chunk{a, b2}},
		{at.Add(20 * time.Second), time.Time{}, []billing.Chunk{c}},
		{time.Time{}, at.Add(-1), nil},
	} {
		got, err := l.Usage(ctx, id, q.from, q.to)
		if err != nil || !reflect.DeepEqual(got, q.want) {
			t.Errorf("usage from %s to %s: %v, %v, want %v", q.from, q.to, got, err, q.want)
		}
	}
	if last, err := l.LastUsage(ctx, id); err != nil || !last.Equal(c.To) {
		t.Errorf("last usage %s, %v, want %s", last, err, c.To)
	}
}

func must(t interface{ Fatalf(string, ...any) }, err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}
