package logs

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/fault"
	"berth/task"
)

const id = task.ID("0192f0c1d2e3740a8b9c0d1e2f304152")

// read returns "container stream message" of what q asks for.
func read(t testing.TB, d Dir, q Query) (lines []string, last Cursor) {
	t.Helper()
	for e, err := range d.Read(context.Background(), id, q) {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, e.Container+" "+e.Stream+" "+e.Message)
		last = e.Cursor
	}
	return lines, last
}

// two makes a log of two containers that take turns, one line a millisecond.
func two(t testing.TB, lines int, maxSize int64) Dir {
	t.Helper()
	d := Dir(t.TempDir())
	now := clock(time.Millisecond)
	var ws [2]*Writer
	for i, name := range []string{"app", "web"} {
		w, err := NewWriter(WriterConfig{Dir: d.Container(id, name), MaxSize: maxSize, MaxFiles: 1000, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		ws[i] = w
	}
	for i := range lines {
		stream := []string{Stdout, Stderr}[i/2%2]
		ws[i%2].Write(stream, fmt.Appendf(nil, "%d\n", i))
	}
	closeWriter(t, ws[0])
	closeWriter(t, ws[1])
	return d
}

// message is the i-th line of two.
func message(i int) string {
	return fmt.Sprintf("%s %s %d", []string{"app", "web"}[i%2], []string{"stdout", "stderr"}[i/2%2], i)
}

func TestRead(t *testing.T) {
	t.Run("small segments", func(t *testing.T) { testRead(t, 1000, 2000) })
	t.Run("large segments", func(t *testing.T) { testRead(t, 8000, 1<<20) })
}

func testRead(t *testing.T, n int, maxSize int64) {
	d := two(t, n, maxSize)
	at := func(i int) time.Time { return noon.Add(time.Duration(i+1) * time.Millisecond) }
	for _, c := range []struct {
		name string
		q    Query
		want func(i int) bool
	}{
		{"all", Query{}, func(i int) bool { return true }},
		{"one container", Query{Containers: []string{"web"}}, func(i int) bool { return i%2 == 1 }},
		{"no such container", Query{Containers: []string{"nix"}}, func(i int) bool { return false }},
		{"one stream", Query{Streams: []string{Stderr}}, func(i int) bool { return i/2%2 == 1 }},
		{"since", Query{Since: at(700)}, func(i int) bool { return i >= 700 }},
		{"since the last", Query{Since: at(n - 1)}, func(i int) bool { return i == n-1 }},
		{"since for ever", Query{Since: noon.Add(-time.Hour)}, func(i int) bool { return true }},
		{"since later", Query{Since: noon.Add(time.Hour)}, func(i int) bool { return false }},
		{"until", Query{Until: at(300)}, func(i int) bool { return i < 300 }},
		{"range", Query{Since: at(300), Until: at(310)}, func(i int) bool { return i >= 300 && i < 310 }},
		{"tail", Query{Tail: 7}, func(i int) bool { return i >= n-7 }},
		{"tail of more", Query{Tail: 50000}, func(i int) bool { return true }},
		{"tail of one container", Query{Tail: 3, Containers: []string{"app"}}, func(i int) bool { return i%2 == 0 && i >= n-6 }},
		{"tail of one stream", Query{Tail: 4, Streams: []string{Stdout}}, func(i int) bool { return i/2%2 == 0 && i >= n-8 }},
		{"tail of a range", Query{Tail: 4, Since: at(100), Until: at(200)}, func(i int) bool { return i >= 196 && i < 200 }},
		{"tail of less", Query{Tail: 50, Since: at(n - 5)}, func(i int) bool { return i >= n-5 }},
		{"none of the old", Query{Tail: -1}, func(i int) bool { return false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []string
			for i := range n {
				if c.want(i) {
					want = append(want, message(i))
				}
			}
			got, _ := read(t, d, c.q)
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got %d entries %.300q, want %d %.300q", len(got), got, len(want), want)
			}
		})
	}
}

// A search by time finds the first entry wherever it lies.
func TestReadSince(t *testing.T) {
	const n = 6000
	d := two(t, n, 100_000)
	for i := 0; i < n; i += 37 {
		got := ""
		for e, err := range d.Read(context.Background(), id, Query{Since: noon.Add(time.Duration(i+1) * time.Millisecond)}) {
			if err != nil {
				t.Fatal(err)
			}
			got = e.Container + " " + e.Stream + " " + e.Message
			break
		}
		if got != message(i) {
			t.Fatalf("since entry %d: got %q", i, got)
		}
	}
}

// From any cursor on, a reader gets exactly what comes after it.
func TestReadAfter(t *testing.T) {
	const n = 300
	d := two(t, n, 2000)
	i := 0
	for e, err := range d.Read(context.Background(), id, Query{Tail: 250}) {
		if err != nil {
			t.Fatal(err)
		}
		if i%17 == 0 {
			got, _ := read(t, d, Query{After: e.Cursor})
			if want := n - 50 - i - 1; len(got) != want || want > 0 && got[0] != message(50+i+1) {
				t.Fatalf("after entry %d: %d entries, want %d: %.100q", 50+i, len(got), want, got)
			}
		}
		i++
	}
	if i != 250 {
		t.Errorf("%d entries", i)
	}
}

// The tail of what comes after a cursor is not longer than that.
func TestTailAfter(t *testing.T) {
	d := two(t, 100, 1<<20)
	got, after := read(t, d, Query{Until: noon.Add(91 * time.Millisecond)})
	if len(got) != 90 {
		t.Fatalf("%d entries", len(got))
	}
	for tail, want := range map[int]int{3: 3, 10: 10, 50: 10} {
		if got, _ := read(t, d, Query{After: after, Tail: tail}); len(got) != want || got[want-1] != message(99) {
			t.Errorf("tail %d after entry 89: %q", tail, got)
		}
	}
}

// What comes while a reader is at work is not for one that does not follow: it
// would never come to an end.
func TestReadEnds(t *testing.T) {
	d := Dir(t.TempDir())
	w := open(t, d.Container(id, "app"), 1000, 1000)
	w.Write(Stdout, []byte("a\nb\n"))
	n := 0
	for _, err := range d.Read(context.Background(), id, Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		w.Write(Stdout, []byte("more\n"))
		if n++; n > 2 {
			t.Fatal("it reads what it made the writer write")
		}
	}
	closeWriter(t, w)
}

// A torn record that a reader saw, and that the writer took back, is nothing.
func TestTapeTornRecordTakenBack(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, 2)
	w.Write(Stdout, []byte("a\n"))
	tp := tape{dir: dir}
	defer tp.close()
	next := func(want string) {
		t.Helper()
		r, _, ok, err := tp.next()
		if err != nil || ok != (want != "") || string(r.message) != want {
			t.Errorf("got %q, %v, %v, want %q", r.message, ok, err, want)
		}
	}
	next("a")
	if _, err := w.file.WriteAt([]byte("2026-11-23T12:00:00.000000001Z stdout F tor"), w.size); err != nil {
		t.Fatal(err)
	}
	next("")
	w.Write(Stderr, []byte("b\n"))
	if err := w.file.Truncate(w.size); err != nil {
		t.Fatal(err)
	}
	next("b")
	next("")
	closeWriter(t, w)
}

func TestReadRefuses(t *testing.T) {
	d := Dir(t.TempDir())
	for _, c := range []struct {
		id task.ID
		q  Query
	}{
		{"../../etc", Query{}},
		{id, Query{After: "x"}},
		{id, Query{After: "../x:1:1"}},
		{id, Query{After: "app:1:-1"}},
		{id, Query{After: "app:1:99999999999999999999"}},
	} {
		refused := false
		for _, err := range d.Read(context.Background(), c.id, c.q) {
			refused = fault.KindOf(err) == fault.Invalid || fault.KindOf(err) == fault.NotFound
		}
		if !refused {
			t.Errorf("%v was not refused", c)
		}
	}
	if err := d.Remove(".."); err == nil {
		t.Error("Remove of .. was not refused")
	}
	if got, _ := read(t, d, Query{}); got != nil {
		t.Errorf("a task without a log has %q", got)
	}
}

// A reader that stayed away too long is told what it missed, and only that.
func TestReadMissed(t *testing.T) {
	d := Dir(t.TempDir())
	w := open(t, d.Container(id, "app"), 100, 3) // two short lines a segment
	write := func(from, to int) {
		for i := from; i < to; i++ {
			w.Write(Stdout, fmt.Appendf(nil, "%d\n", i))
		}
	}
	write(0, 3)
	got, last := read(t, d, Query{})
	if len(got) != 3 {
		t.Fatalf("got %q", got)
	}
	write(3, 100)
	got, _ = read(t, d, Query{After: last})
	if len(got) == 0 || !strings.HasPrefix(got[0], "app berth 46 log segments were rotated away") || got[len(got)-1] != "app stdout 99" {
		t.Errorf("got %q", got)
	}
	if got[1] != "app stdout 94" || len(got) != 7 {
		t.Errorf("got %q", got)
	}
	if got, _ := read(t, d, Query{After: last, Streams: []string{Stdout}}); got[0] != "app stdout 94" {
		t.Errorf("got %q", got)
	}
	closeWriter(t, w)
}

func TestRemove(t *testing.T) {
	d := two(t, 4, 100)
	for range 2 {
		if err := d.Remove(id); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := read(t, d, Query{}); got != nil {
		t.Errorf("got %q", got)
	}
}

func BenchmarkRead(b *testing.B) {
	d := Dir(b.TempDir())
	w := open(b, d.Container(id, "app"), 16<<20, 4)
	chunk := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 640))
	for range 200 {
		w.Write(Stdout, chunk)
	}
	closeWriter(b, w)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			got := 0
			for range d.Read(context.Background(), id, Query{}) {
				got++
			}
			if got != 128000 {
				b.Fatal(got)
			}
		}
		b.ReportMetric(float64(b.N)*128000/b.Elapsed().Seconds(), "lines/s")
	})
	b.Run("tail", func(b *testing.B) {
		for b.Loop() {
			for range d.Read(context.Background(), id, Query{Tail: 100}) {
			}
		}
	})
}
