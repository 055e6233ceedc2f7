package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

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
