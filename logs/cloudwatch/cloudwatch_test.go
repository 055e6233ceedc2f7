package cloudwatch_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/fault"
	"berth/logs"
	"berth/logs/cloudwatch"
	"berth/store/storetest"
	"berth/task"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// bench is a keeper with a group named g, and a clock.
type bench struct {
	*cloudwatch.Keeper
	dir    logs.Dir
	now    time.Time
	prefix string // of the streams of tasks
}

// book is a store that takes every task for one that it remembers.
type book struct{ cloudwatch.Book }

func (b book) PruneLogStreams(context.Context, int) (int, error) { return 0, nil }

func newBench(t testing.TB, makeGroups bool) *bench {
	t.Helper()
	b := &bench{dir: logs.Dir(t.TempDir()), now: start, prefix: "p"}
	b.Keeper = cloudwatch.New(cloudwatch.Config{
		Book: storetest.Open(t, t.TempDir()), Output: b.dir, MakeGroups: makeGroups, Log: zap.NewNop(), Now: func() time.Time { return b.now },
	})
	b.make(t, "g")
	return b
}

func (b *bench) make(t testing.TB, group string) {
	t.Helper()
	if err := b.Create(t.Context(), cloudwatch.Group{Account: storetest.Realm.Account, Region: storetest.Realm.Region, Name: group}); err != nil {
		t.Fatal(err)
	}
}

// awslogs is a definition with one container, app, that logs to a group.
func awslogs(group string, more ...string) task.Definition {
	options := map[string]string{"awslogs-group": group, "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"}
	for i := 0; i+1 < len(more); i += 2 {
		options[more[i]] = more[i+1]
	}
	return task.Definition{ContainerDefinitions: []task.ContainerDefinition{
		{Name: "app", LogConfiguration: &task.LogConfiguration{LogDriver: "awslogs", Options: options}},
		{Name: "quiet"},
	}}
}

func taskOf(id task.ID) task.Task {
	return task.Task{ID: id, ARN: storetest.Realm.TaskARN(id), ClusterARN: storetest.Realm.ClusterARN()}
}

// run opens the log of a task that writes to group g and returns what writes it and its
// stream's name.
func (b *bench) run(t testing.TB, id task.ID, maxSize int64, files int) (*logs.Writer, string) {
	t.Helper()
	if err := b.Open(t.Context(), awslogs("g", "awslogs-stream-prefix", b.prefix), taskOf(id)); err != nil {
		t.Fatal(err)
	}
	w, err := logs.NewWriter(logs.WriterConfig{Dir: b.dir.Container(id, "app"), MaxSize: maxSize, MaxFiles: files, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	return w, cloudwatch.StreamName(b.prefix, "app", id)
}

func messages(es []cloudwatch.Event) (all []string) {
	for _, e := range es {
		all = append(all, e.Message)
	}
	return all
}

// walk reads a stream page by page, forward or backward, and returns all messages in order.
func (b *bench) walk(t testing.TB, stream string, window cloudwatch.Window, limit int, backward bool) (all []string) {
	t.Helper()
	r := cloudwatch.Read{Window: window, Limit: limit, FromTail: backward}
	for range 10_000 {
		p, err := b.Read(t.Context(), storetest.Realm, "g", stream, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Events) > limit {
			t.Fatalf("a page has %d events, want at most %d", len(p.Events), limit)
		}
		if len(p.Events) == 0 {
			if r.From != nil && (backward && p.Start != *r.From || !backward && p.Next != *r.From) {
				t.Fatalf("the place at the end moved from %v to %v, %v", *r.From, p.Start, p.Next)
			}
			return all
		}
		if backward {
			all, r.From, r.Backward = append(messages(p.Events), all...), &p.Start, true
		} else {
			all, r.From = append(all, messages(p.Events)...), &p.Next
		}
	}
	t.Fatal("paging does not end")
	return nil
}

// check compares both ways of paging, and a search, with what is expected.
func (b *bench) check(t *rapid.T, tb testing.TB, stream string, want []string, limit int) {
	for _, backward := range []bool{false, true} {
		if got := b.walk(tb, stream, cloudwatch.Window{}, limit, backward); !slices.Equal(got, want) {
			t.Fatalf("backward %t: pages have\n%q, want\n%q", backward, got, want)
		}
	}
	if got := b.search(tb, cloudwatch.Search{Streams: []string{stream}, Limit: limit}); !slices.Equal(got, want) {
		t.Fatalf("a search finds\n%q, want\n%q", got, want)
	}
}

// search finds all, page by page, and sees that times and IDs are in order.
func (b *bench) search(t testing.TB, q cloudwatch.Search) (all []string) {
	t.Helper()
	ids := map[string]bool{}
	var last time.Time
	for range 10_000 {
		found, after, err := b.Search(t.Context(), storetest.Realm, "g", q)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Time.Before(last) || ids[f.ID()] {
				t.Fatalf("%s is out of order, or there twice", f.Message)
			}
			last, ids[f.ID()], all = f.Time, true, append(all, f.Message)
		}
		if q.After = after; after == nil {
			return all
		}
	}
	t.Fatal("paging does not end")
	return nil
}

// Ensure pages of what a container prints, forward, backward and found, are together the
// whole once, however large the pages are, while it is written, rotated and expires.
func TestPagesOfOutput(t *testing.T) {
	b := newBench(t, false)
	b.Book = book{b.Book}
	if err := b.Retain(t.Context(), storetest.Realm, "g", 1); err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b.now = start
		const files = 5
		size := rapid.Int64Range(200, 4000).Draw(rt, "size")
		w, stream := b.run(t, task.ID(fmt.Sprintf("%032x", n)), size, files)
		defer w.Close()
		type line struct {
			at   time.Time
			text string
		}
		var wrote []line
		for round := range rapid.IntRange(1, 3).Draw(rt, "rounds") {
			for i := range rapid.IntRange(0, 40).Draw(rt, "lines") {
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 3_600_000).Draw(rt, "pause")) * time.Millisecond / 2)
				text := fmt.Sprintf("line %d.%d", round, i)
				stream := rapid.SampledFrom([]string{logs.Stdout, logs.Stderr}).Draw(rt, "stream")
				w.Write(stream, []byte(text+"\n\n")) // an empty line is no event
				wrote = append(wrote, line{b.now, text})
			}
			if rapid.Bool().Draw(rt, "sweep") {
				if err := b.Sweep(t.Context()); err != nil {
					rt.Fatal(err)
				}
			}
			// What the files have, told by another reader, and of that what is young enough.
			have := map[string]bool{}
			for e, err := range b.dir.Read(t.Context(), task.ID(fmt.Sprintf("%032x", n)), logs.Query{}) {
				if err != nil {
					rt.Fatal(err)
				}
				have[e.Message] = true
			}
			var want []string
			for _, l := range wrote {
				young := !l.at.Before(b.now.Add(-24 * time.Hour))
				if have[l.text] && young {
					want = append(want, l.text)
				}
				if young && !have[l.text] && int64(len(wrote)*100) < size*(files-1) {
					rt.Fatalf("%s is gone and not old", l.text)
				}
			}
			b.check(rt, t, stream, want, rapid.IntRange(1, 50).Draw(rt, "limit"))
		}
	})
}

// Ensure pages of what PutLogEvents brings are together the whole once, by time, in
// whatever order batches come.
func TestPagesOfPuts(t *testing.T) {
	b := newBench(t, false)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		stream := fmt.Sprint("s", n)
		if err := b.CreateStream(t.Context(), storetest.Realm, "g", stream); err != nil {
			rt.Fatal(err)
		}
		var all []cloudwatch.Event
		for batch := range rapid.IntRange(0, 6).Draw(rt, "batches") {
			var es []cloudwatch.Event
			at := start.Add(-time.Duration(rapid.IntRange(0, 100).Draw(rt, "ago")) * time.Millisecond)
			for i := range rapid.IntRange(1, 60).Draw(rt, "events") {
				at = at.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "later")) * time.Millisecond)
				es = append(es, cloudwatch.Event{Time: at, Message: fmt.Sprint(batch, ".", i)})
			}
			if r, err := b.Put(t.Context(), storetest.Realm, "g", stream, es); err != nil || !r.None() {
				rt.Fatal(r, err)
			}
			all = append(all, es...)
			slices.SortStableFunc(all, func(a, b cloudwatch.Event) int { return a.Time.Compare(b.Time) })
			b.check(rt, t, stream, messages(all), rapid.IntRange(1, 50).Draw(rt, "limit"))
		}
	})
}

// Ensure a search over many streams finds each event once, by time, in every page size,
// and only those of the window that match.
func TestSearch(t *testing.T) {
	b := newBench(t, false)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b.prefix = fmt.Sprint("p", n)
		type line struct {
			at     time.Time
			stream string
			text   string
		}
		var all []line
		streams := rapid.IntRange(1, 5).Draw(rt, "streams")
		for s := range streams {
			id := task.ID(fmt.Sprintf("%016x%016x", n, s))
			b.now = start
			w, name := b.run(t, id, 1<<20, 3)
			for i := range rapid.IntRange(0, 30).Draw(rt, "lines") {
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "pause")) * time.Millisecond)
				text := fmt.Sprintf("%d.%d", s, i)
				w.Write(logs.Stdout, []byte(text+"\n"))
				all = append(all, line{b.now, name, text})
			}
			w.Close()
		}
		slices.SortStableFunc(all, func(a, b line) int {
			if c := a.at.Compare(b.at); c != 0 {
				return c
			}
			return strings.Compare(a.stream, b.stream)
		})
		q := cloudwatch.Search{Limit: rapid.IntRange(1, 20).Draw(rt, "limit"), Prefix: b.prefix + "/"}
		q.Since = start.Add(time.Duration(rapid.IntRange(0, 30).Draw(rt, "since")) * time.Millisecond)
		q.Until = q.Since.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "window")) * time.Millisecond)
		q.Match = func(m string) bool { return !strings.HasSuffix(m, "7") }
		var want []string
		for _, l := range all {
			if !l.at.Before(q.Since) && l.at.Before(q.Until) && q.Match(l.text) {
				want = append(want, l.text)
			}
		}
		if got := b.search(t, q); !slices.Equal(got, want) {
			rt.Fatalf("found %v, want %v", got, want)
		}
	})
}

// Ensure a task whose group is not there cannot start, in Fargate's words, unless it or the
// server has groups made.
func TestOpen(t *testing.T) {
	const words = "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: " +
		"ResourceNotFoundException: The specified log group does not exist. : exit status 1"
	const id = task.ID("0000000000000000000000000000000a")
	b := newBench(t, false)
	if err := b.Open(t.Context(), awslogs("none"), taskOf(id)); fault.KindOf(err) != fault.NotFound || fault.Message(err) != words {
		t.Errorf("got %v, want %s", err, words)
	}
	for range 2 { // as after a crash
		if err := b.Open(t.Context(), awslogs("asked", "awslogs-create-group", "true"), taskOf(id)); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Group(t.Context(), storetest.Realm, "asked"); err != nil {
		t.Error(err)
	}
	b = newBench(t, true)
	if err := b.Open(t.Context(), awslogs("none"), taskOf(id)); err != nil {
		t.Error(err)
	}
	g, err := b.Group(t.Context(), storetest.Realm, "none")
	if err != nil {
		t.Fatal(err)
	}
	all, err := b.Streams(t.Context(), g, cloudwatch.StreamQuery{Limit: 10})
	if err != nil || len(all) != 1 || all[0].Name != "p/app/"+string(id) {
		t.Errorf("streams are %v, %v", all, err)
	}
}

// Ensure batches that break the API's limits are refused, and events of another time left
// out and told.
func TestPutLimits(t *testing.T) {
	b := newBench(t, false)
	if err := b.CreateStream(t.Context(), storetest.Realm, "g", "s"); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration, text string) cloudwatch.Event {
		return cloudwatch.Event{Time: start.Add(d), Message: text}
	}
	for name, es := range map[string][]cloudwatch.Event{
		"none":      nil,
		"too many":  slices.Repeat([]cloudwatch.Event{at(0, "x")}, 10_001),
		"too large": {at(0, strings.Repeat("x", 1<<20-25))},
		"disorder":  {at(1, "a"), at(0, "b")},
		"too long":  {at(-25*time.Hour, "a"), at(0, "b")},
		"empty":     {at(0, "")},
	} {
		if _, err := b.Put(t.Context(), storetest.Realm, "g", "s", es); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if _, err := b.Put(t.Context(), storetest.Realm, "g", "s", []cloudwatch.Event{at(0, strings.Repeat("x", 1<<20-26))}); err != nil {
		t.Errorf("a batch as large as can be: %v", err)
	}
	r, err := b.Put(t.Context(), storetest.Realm, "g", "s", []cloudwatch.Event{at(-14*24*time.Hour-time.Millisecond, "old"), at(-14*24*time.Hour, "young")})
	if err != nil || r != (cloudwatch.Rejected{Old: 1, Expired: -1, New: -1}) {
		t.Errorf("old: %v, %v", r, err)
	}
	r, err = b.Put(t.Context(), storetest.Realm, "g", "s", []cloudwatch.Event{at(2*time.Hour, "soon"), at(2*time.Hour+time.Millisecond, "later")})
	if err != nil || r != (cloudwatch.Rejected{Old: -1, Expired: -1, New: 1}) {
		t.Errorf("new: %v, %v", r, err)
	}
	if err := b.Retain(t.Context(), storetest.Realm, "g", 1); err != nil {
		t.Fatal(err)
	}
	r, err = b.Put(t.Context(), storetest.Realm, "g", "s", []cloudwatch.Event{at(-24*time.Hour-time.Millisecond, "old")})
	if err != nil || r != (cloudwatch.Rejected{Old: -1, Expired: 1, New: -1}) {
		t.Errorf("expired: %v, %v", r, err)
	}
}

// Ensure accounts and regions do not see each other's groups, and what is deleted is gone,
// its events too, and does not come back with its name.
func TestDelete(t *testing.T) {
	b := newBench(t, false)
	ctx := context.Background()
	other := storetest.Realm
	other.Region = "eu-west-1"
	if _, err := b.Group(ctx, other, "g"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("another region: %v", err)
	}
	put := func() {
		if err := b.CreateStream(ctx, storetest.Realm, "g", "s"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(ctx, storetest.Realm, "g", "s", []cloudwatch.Event{{Time: start, Message: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if err := b.Protect(ctx, storetest.Realm, "g", true); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, storetest.Realm, "g"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a protected group: %v", err)
	}
	if err := b.Protect(ctx, storetest.Realm, "g", false); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, storetest.Realm, "g"); err != nil {
		t.Fatal(err)
	}
	b.make(t, "g")
	if g, err := b.Group(ctx, storetest.Realm, "g"); err != nil || g.Stored != 0 {
		t.Errorf("the new group has %d bytes, %v", g.Stored, err)
	}
	put()
	if err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if got := b.walk(t, "s", cloudwatch.Window{}, 10, false); !slices.Equal(got, []string{"x"}) {
		t.Errorf("after the sweep: %q", got)
	}
	if err := b.Retain(ctx, storetest.Realm, "g", 1); err != nil {
		t.Fatal(err)
	}
	b.now = start.Add(24*time.Hour + time.Millisecond)
	if got := b.walk(t, "s", cloudwatch.Window{}, 10, false); len(got) != 0 {
		t.Errorf("past the retention: %q", got)
	}
	if err := b.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if g, err := b.Group(ctx, storetest.Realm, "g"); err != nil || g.Stored != 0 {
		t.Errorf("past the retention and the sweep the group has %d bytes, %v", g.Stored, err)
	}
}

// Ensure a tail shows what comes after it began, from outputs and puts, once, and says when
// there was more than it shows.
func TestTail(t *testing.T) {
	b := newBench(t, false)
	w, _ := b.run(t, "0000000000000000000000000000000b", 1<<20, 3)
	defer w.Close()
	if err := b.CreateStream(t.Context(), storetest.Realm, "g", "s"); err != nil {
		t.Fatal(err)
	}
	put := func(text string, ago time.Duration) {
		if _, err := b.Put(t.Context(), storetest.Realm, "g", "s", []cloudwatch.Event{{Time: b.now.Add(-ago), Message: text}}); err != nil {
			t.Fatal(err)
		}
	}
	w.Write(logs.Stdout, []byte("before\n"))
	put("before", 0)
	tail, err := b.Tail(t.Context(), storetest.Realm, []string{"g"}, nil, func(m string) bool { return m != "no" })
	if err != nil {
		t.Fatal(err)
	}
	next := func(limit int) (all []string, sampled bool) {
		s, err := tail.Next(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Lines {
			all = append(all, l.Message)
		}
		return all, s.Sampled
	}
	if got, _ := next(10); len(got) != 0 {
		t.Errorf("at first: %q", got)
	}
	b.now = b.now.Add(time.Second)
	w.Write(logs.Stdout, []byte("one\nno\n"))
	put("late", 1500*time.Millisecond)
	late, _ := b.run(t, "0000000000000000000000000000000c", 1<<20, 3)
	defer late.Close()
	late.Write(logs.Stdout, []byte("two\n"))
	if got, sampled := next(10); !slices.Equal(got, []string{"late", "one", "two"}) || sampled {
		t.Errorf("got %q, %t", got, sampled)
	}
	w.Write(logs.Stdout, []byte("a\nb\nc\n"))
	if got, sampled := next(2); !slices.Equal(got, []string{"a", "b"}) || !sampled {
		t.Errorf("got %q, %t", got, sampled)
	}
	if got, sampled := next(2); len(got) != 0 || sampled {
		t.Errorf("got %q, %t", got, sampled)
	}
}
