package focus_test

import (
	"io"
	"iter"
	"runtime"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/focus"
	"berth/task"
)

// bench writes b.N rows of 10,000 tasks and reports the greatest heap: with
// -benchtime 10000000x it must be what it is with 100000x.
func bench(b *testing.B, write func(io.Writer, focus.Options, iter.Seq2[*focus.Row, error]) error) {
	one := sample()[0]
	facts := make([]*billing.Facts, 100)
	for i := range facts {
		f := *one.Facts
		f.Tags = []task.Tag{{Key: "team", Value: string(rune('a' + i%26))}}
		facts[i] = &f
	}
	var peak uint64
	charges := func(yield func(billing.Charge, error) bool) {
		var m runtime.MemStats
		for i := range b.N {
			c := one
			c.Task = sampleTask(i / 2 % 10_000).ID
			c.SKU = []billing.SKU{billing.VCPU, billing.Memory}[i%2]
			c.Facts = facts[i/2%100]
			c.From = day.Add(time.Duration(i/20_000) * time.Hour)
			c.To, c.Booked = c.From.Add(time.Hour), c.From
			if !yield(c, nil) {
				return
			}
			if i%(1<<16) == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
		}
	}
	w := new(counter)
	if err := write(w, focus.Options{Version: focus.V12, Provider: "Berth"}, focus.Rows(charges)); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(*w)/float64(b.N), "B/row")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-heap")
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }
