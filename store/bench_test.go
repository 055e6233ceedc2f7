package store_test

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/store/storetest"
	"berth/task"
)

// BenchmarkCreate measures durable creation of tasks, one per call, by callers
// who wait for each other only in the store. A call writes a task and an event.
func BenchmarkCreate(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s := storetest.Open(b, b.TempDir())
			tk := newTask(b)
			took := make([]time.Duration, b.N)
			work := make(chan int)
			var all sync.WaitGroup
			b.ResetTimer()
			for range callers {
				all.Go(func() {
					for i := range work {
						tk := tk
						tk.ID = task.NewID()
						began := time.Now()
						if _, err := s.Create(b.Context(), []task.Task{tk}, nil, "", ""); err != nil {
							b.Error(err)
						}
						took[i] = time.Since(began)
					}
				})
			}
			for i := range b.N {
				work <- i
			}
			close(work)
			all.Wait()
			report(b, took)
		})
	}
}

// BenchmarkCreateMany measures one caller who makes many tasks in each call.
func BenchmarkCreateMany(b *testing.B) {
	const many = 100
	s := storetest.Open(b, b.TempDir())
	tk := newTask(b)
	for b.Loop() {
		ts := slices.Repeat([]task.Task{tk}, many)
		for i := range ts {
			ts[i].ID = task.NewID()
		}
		if _, err := s.Create(b.Context(), ts, nil, "", ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(2*many*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func report(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	at := func(percent int) float64 { return float64(took[(len(took)-1)*percent/100].Microseconds()) }
	b.ReportMetric(float64(2*len(took))/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(at(50), "p50-µs")
	b.ReportMetric(at(99), "p99-µs")
}

// BenchmarkPost measures durable posting: each call advances many cursors by an
// hour, with one entry and five postings for each, and waits for the commit with its
// checkpoint. Rows are entries and postings; the cursors are not counted.
func BenchmarkPost(b *testing.B) {
	for _, batch := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			s := storetest.Open(b, b.TempDir())
			begun := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
			terms := billing.Terms{Prices: billing.BuiltIn(), Used: func(_ billing.SKU, from, to time.Time) (int64, time.Time) {
				return int64(to.Sub(from)) * 100, to
			}}
			var cursors []billing.Cursor
			for len(cursors) < batch {
				cursors = append(cursors, billing.Open(billingtest.Task(begun), billing.BuiltIn())...)
			}
			cursors = cursors[:batch]
			var moves []billing.Move
			for _, c := range cursors {
				moves = append(moves, billing.Move{New: c})
			}
			if err := s.Post(b.Context(), 1, moves); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			rows, posting := 0, time.Duration(0)
			for b.Loop() {
				moves = moves[:0]
				for i, c := range cursors {
					next, entries := c.Advance(c.To.Add(time.Hour), terms)
					moves = append(moves, billing.Move{Old: c, New: next, Entries: entries})
					rows += 1 + len(entries[0].Postings())
					cursors[i] = next
				}
				began := time.Now()
				if err := s.Post(b.Context(), 1, moves); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
				posting += took[len(took)-1]
			}
			slices.Sort(took)
			b.ReportMetric(float64(rows)/posting.Seconds(), "rows/s")
			b.ReportMetric(float64(took[(len(took)-1)*50/100].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[(len(took)-1)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(resident(b), "MiB-rss")
		})
	}
}

var verifyEntries = flag.Int("verify-entries", 100_000, "entries of the ledger that BenchmarkVerifyLedger verifies")

// BenchmarkVerifyLedger measures working out a ledger of 100,000 entries, 500,000
// postings, 1,000 cursors and 100 checkpoints again, and the sums of its costs; with
// -verify-entries, of so many. It reports the processor time, too, which says more
// than the clock where others work, and the memory of the process.
func BenchmarkVerifyLedger(b *testing.B) {
	s := storetest.Open(b, b.TempDir())
	begun := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	terms := billing.Terms{Prices: billing.BuiltIn(), Used: func(_ billing.SKU, from, to time.Time) (int64, time.Time) {
		return int64(to.Sub(from)) * 100, to
	}}
	for range *verifyEntries / 1000 {
		var moves []billing.Move
		for range 5 {
			for _, c := range billing.Open(billingtest.Task(begun), billing.BuiltIn()) {
				next, entries := c.Close(c.To.Add(100*time.Hour), terms, nil)
				moves = append(moves, billing.Move{New: next, Entries: entries})
			}
		}
		if err := s.Post(b.Context(), 1, moves); err != nil {
			b.Fatal(err)
		}
	}
	rows, before := int64(0), processorTime(b)
	for b.Loop() {
		a, err := s.VerifyLedger(b.Context(), nil)
		if err != nil || !a.OK {
			b.Fatal(a.Bad, err)
		}
		for _, r := range a.Rows {
			rows += r.Rows
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
	b.ReportMetric(resident(b), "MiB-rss")
}

// resident returns the memory that this process has now, in MiB: what is Go's, which is
// collected first, and what is SQLite's.
func resident(b *testing.B) float64 {
	b.Helper()
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// processorTime returns what this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
