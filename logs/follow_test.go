package logs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever is written, rotated and mended while readers come and go, every line
// is read once and in order.
func TestFollowExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "logs")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		d := Dir(dir)
		maxSize := int64(rapid.IntRange(60, 5000).Draw(rt, "maxSize"))
		writer := func(name string) *Writer {
			w, err := NewWriter(WriterConfig{Dir: d.Container(id, name), MaxSize: maxSize, MaxFiles: 1 << 20, Now: clock(1)})
			if err != nil {
				rt.Fatal(err)
			}
			return w
		}
		names := []string{"a", "b"}
		ws := map[string]*Writer{}
		defer func() {
			for _, w := range ws {
				w.file.Close()
				w.lock.Close()
			}
		}()
		want := map[string]int{}
		got := map[string]int{}
		var after Cursor
		drain := func(most int) {
			n := 0
			for e, err := range d.Read(context.Background(), id, Query{After: after}) {
				if err != nil {
					rt.Fatal(err)
				}
				if e.Stream != Stdout || e.Partial || e.Message != strings.Repeat(fmt.Sprint(got[e.Container], " "), 3) {
					rt.Fatalf("got %q of %s, want line %d", e.Message, e.Container, got[e.Container])
				}
				got[e.Container]++
				after = e.Cursor
				if n++; n == most {
					break
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				name := rapid.SampledFrom(names).Draw(rt, "name")
				if ws[name] == nil {
					ws[name] = writer(name)
				}
				var chunk []byte
				for range rapid.IntRange(1, 60).Draw(rt, "lines") {
					chunk = append(chunk, strings.Repeat(fmt.Sprint(want[name], " "), 3)+"\n"...)
					want[name]++
				}
				for len(chunk) > 0 {
					n := rapid.IntRange(1, len(chunk)).Draw(rt, "chunk")
					ws[name].Write(Stdout, chunk[:n])
					chunk = chunk[n:]
				}
			},
			"crash": func(rt *rapid.T) {
				name := rapid.SampledFrom(names).Draw(rt, "name")
				w := ws[name]
				if w == nil {
					rt.Skip()
				}
				delete(ws, name)
				// Dies in the middle of a record of which nobody knows.
				torn := "2026-11-23T12:00:00.000000000Z stdout F"
				if _, err := w.file.WriteAt([]byte(torn[:rapid.IntRange(0, len(torn)).Draw(rt, "torn")]), w.size); err != nil {
					rt.Fatal(err)
				}
				w.file.Close()
				w.lock.Close()
			},
			"read": func(rt *rapid.T) { drain(rapid.IntRange(0, 100).Draw(rt, "most")) },
		})
		drain(0)
		for _, name := range names {
			if got[name] != want[name] {
				rt.Fatalf("%s: read %d lines of %d", name, got[name], want[name])
			}
		}
	})
}

// A follower that runs beside the writers sees every line, and ends by itself
// when they have.
func TestFollow(t *testing.T) {
	d := Dir(t.TempDir())
	const lines = 20000
	var ended atomic.Bool
	var writers sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		writers.Go(func() {
			w, err := NewWriter(WriterConfig{Dir: d.Container(id, name), MaxSize: 50_000, MaxFiles: 1000, Now: time.Now})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range lines {
				w.Write(Stdout, fmt.Appendf(nil, "%d\n", i))
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	go func() { writers.Wait(); ended.Store(true) }()
	next := map[string]int{}
	for e, err := range d.Read(t.Context(), id, Query{Follow: true, Ended: ended.Load}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Message != fmt.Sprint(next[e.Container]) {
			t.Fatalf("%s: got %s, want %d", e.Container, e.Message, next[e.Container])
		}
		next[e.Container]++
	}
	if next["a"] != lines || next["b"] != lines || next["c"] != lines {
		t.Errorf("read %v of %d lines each", next, lines)
	}
}

// As long as a writer lives a follower waits for it, even if the task has ended;
// and ctx ends it in any case.
func TestFollowWaitsForWriter(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := Dir(dir)
		w := open(t, d.Container(id, "app"), 1<<20, 2)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan string, 10)
		go func() {
			defer close(got)
			for e, err := range d.Read(ctx, id, Query{Follow: true, Ended: func() bool { return true }}) {
				if err != nil {
					t.Error(err)
				}
				got <- e.Message
			}
		}()
		time.Sleep(time.Minute)
		w.Write(Stdout, []byte("late\n"))
		if m := <-got; m != "late" {
			t.Errorf("got %q", m)
		}
		time.Sleep(time.Minute)
		select {
		case m, ok := <-got:
			t.Errorf("got %q, %v while the writer lives", m, ok)
		default:
		}
		closeWriter(t, w)
		if m, ok := <-got; ok {
			t.Errorf("got %q", m)
		}
		cancel()

		got2 := 0
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range d.Read(ctx, id, Query{Follow: true}) {
			got2++
		}
		if got2 != 1 || ctx.Err() == nil {
			t.Errorf("%d entries, %v", got2, ctx.Err())
		}
	})
}
