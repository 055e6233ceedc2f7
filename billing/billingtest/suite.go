package billingtest

import (
	"context"
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
	t.Run("histories", func(t *testing.T) {
		l := open(t)
		rapid.Check(t, func(rt *rapid.T) { history(rt, l) })
	})
	t.Run("conflict writes nothing", func(t *testing.T) { conflict(t, open(t)) })
	t.Run("another body is refused", func(t *testing.T) { anotherBody(t, open(t)) })
	t.Run("position only grows", func(t *testing.T) { position(t, open(t)) })
	t.Run("usage", func(t *testing.T) { usage(t, open(t)) })
}

// history charges one task in random slices, with lost answers, repeated calls
// and a second meter that knows less, and compares with the oracle.
func history(rt *rapid.T, l billing.Ledger) {
	ctx := context.Background()
	t := drawTask(rt)
	cursors := billing.Open(t, billing.BuiltIn())
	var opening []billing.Move
	for _, c := range cursors {
		opening = append(opening, billing.Move{New: c})
	}
	must(rt, l.Post(ctx, 0, opening))
	must(rt, l.Post(ctx, 0, opening))

	stale := slices.Clone(cursors)
	now := t.PullStartedAt
	step := func(f func(billing.Cursor) (billing.Cursor, []billing.Entry)) {
		var moves []billing.Move
		for i, c := range cursors {
			next, entries := f(c)
			if next != c {
				moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
			}
			cursors[i] = next
		}
		must(rt, l.Post(ctx, 0, moves))
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
		case 2: // Another meter is behind.
			c := stale[0]
			next, entries := c.Advance(now.Add(time.Duration(rapid.Int64Range(1, int64(3*time.Hour)).Draw(rt, "race"))))
			err := l.Post(ctx, 0, []billing.Move{{Old: c, New: next, Entries: entries}})
			i := slices.IndexFunc(cursors, func(x billing.Cursor) bool { return x.SKU == c.SKU })
			switch {
			case cursors[i] == c: // It was not behind; it won.
				must(rt, err)
				cursors[i] = next
			case err == nil && cursors[i] != next:
				rt.Fatal("a meter that was behind moved a cursor")
			}
			stale = slices.Clone(cursors)
		}
	}
	for range rapid.IntRange(0, 6).Draw(rt, "slices") {
		now = now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(rt, "slice")))
		step(func(c billing.Cursor) (billing.Cursor, []billing.Entry) { return c.Advance(now) })
	}
	end := now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(90*time.Second)).Draw(rt, "rest")))
	if end.Before(t.PullStartedAt) {
		end = t.PullStartedAt
	}
	step(func(c billing.Cursor) (billing.Cursor, []billing.Entry) { return c.Close(end) })
	step(func(c billing.Cursor) (billing.Cursor, []billing.Entry) { return c.Close(end.Add(time.Hour)) })

	t.LastStatus, t.StoppedAt = task.Stopped, end
	Check(rt, l, t)
}

// Check compares what a ledger holds of a stopped task with the oracle.
func Check(t interface{ Fatalf(string, ...any) }, l billing.Ledger, tk task.Task) {
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
		want := Round(Charge(r.SKU, r.Size, Billed(ran)))
		total += want
		var sum billing.Money
		at, seq := tk.PullStartedAt, int64(0)
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
			sum, at = sum+e.Amount, e.To
		}
		if sum != want || at.Sub(tk.PullStartedAt) != Billed(ran) {
			t.Fatalf("%s, size %d, %s: the ledger says %s for %s, the oracle %s for %s",
				r.SKU, r.Size, ran, sum, at.Sub(tk.PullStartedAt), want, Billed(ran))
		}
	}
	b := billing.NewBill(tk, billing.BuiltIn(), cursors, entries, tk.StoppedAt)
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

func conflict(t *testing.T, l billing.Ledger) {
	ctx := context.Background()
	tk := Task(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))
	cs := billing.Open(tk, billing.BuiltIn())
	must(t, l.Post(ctx, 0, []billing.Move{{New: cs[0]}, {New: cs[1]}}))
	ahead, entries := cs[1].Advance(tk.PullStartedAt.Add(time.Minute))
	must(t, l.Post(ctx, 0, []billing.Move{{Old: cs[1], New: ahead, Entries: entries}}))

	ok, okEntries := cs[0].Advance(tk.PullStartedAt.Add(time.Hour))
	late, lateEntries := ahead.Advance(tk.PullStartedAt.Add(time.Hour))
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
	next, entries := c.Advance(tk.PullStartedAt.Add(time.Minute))
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
	must(t, l.PutUsage(ctx, []billing.Chunk{a, b}))
	must(t, l.PutUsage(ctx, []billing.Chunk{b2, c}))
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
