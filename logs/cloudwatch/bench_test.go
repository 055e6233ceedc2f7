package cloudwatch_test

import (
	"fmt"
	"testing"
	"time"

	"berth/logs"
	"berth/logs/cloudwatch"
	"berth/store/storetest"
)

// BenchmarkPages reads one page of 100 events in the middle of a million lines, in ten
// segments: what a page costs must not depend on what is before it.
func BenchmarkPages(b *testing.B) {
	k := newBench(b, false)
	const lines = 1_000_000
	w, stream := k.run(b, "0000000000000000000000000000000d", 8<<20, 100)
	var chunk []byte
	for i := range lines {
		chunk = fmt.Appendf(chunk, "request %d served in 12 ms, 200\n", i)
		if i%100 == 99 {
			k.now = k.now.Add(10 * time.Millisecond)
			w.Write(logs.Stdout, chunk)
			chunk = chunk[:0]
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	middle := cloudwatch.Window{Since: start.Add(50 * time.Second)}
	read := func(b *testing.B, r cloudwatch.Read) cloudwatch.Page {
		p, err := k.Read(b.Context(), storetest.Realm, "g", stream, r)
		if err != nil || len(p.Events) != 100 {
			b.Fatal(len(p.Events), err)
		}
		return p
	}
	page := read(b, cloudwatch.Read{Window: middle, Limit: 100})
	b.Run("get-at-time", func(b *testing.B) {
		for b.Loop() {
			read(b, cloudwatch.Read{Window: middle, Limit: 100})
		}
	})
	b.Run("get-forward", func(b *testing.B) {
		for b.Loop() {
			read(b, cloudwatch.Read{From: &page.Next, Limit: 100})
		}
	})
	b.Run("get-backward", func(b *testing.B) {
		for b.Loop() {
			read(b, cloudwatch.Read{From: &page.Start, Backward: true, Limit: 100})
		}
	})
	b.Run("get-tail", func(b *testing.B) {
		for b.Loop() {
			read(b, cloudwatch.Read{FromTail: true, Limit: 100})
		}
	})
	_, last, err := k.Search(b.Context(), storetest.Realm, "g", cloudwatch.Search{Window: middle, Limit: 5000})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("filter-page", func(b *testing.B) {
		for b.Loop() {
			found, _, err := k.Search(b.Context(), storetest.Realm, "g", cloudwatch.Search{After: last, Limit: 100})
			if err != nil || len(found) != 100 {
				b.Fatal(len(found), err)
			}
		}
	})
}
