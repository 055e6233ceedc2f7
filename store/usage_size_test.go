package store_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/billingtest"
	"berth/store/storetest"
	"berth/task"
)

// BenchmarkTaskHour says what an hour of a task's usage takes in the database: 30 chunks
// of a real task's samples as the meter packs them, 60 minutes and an hour, rows and
// indexes included.
func BenchmarkTaskHour(b *testing.B) {
	for _, name := range []string{"web", "db", "batch"} {
		data, err := os.ReadFile("../billing/testdata/" + name + ".samples")
		if err != nil {
			b.Fatal(err)
		}
		samples, err := billing.Unpack(data)
		if err != nil {
			b.Fatal(err)
		}
		for _, series := range []string{"1s", "1m+1h"} {
			b.Run(name+"/"+series, func(b *testing.B) {
				const hours = 200
				var bytes float64
				for b.Loop() {
					bytes = sizeOf(b, func(put func([]billing.Chunk, []billing.RollUp)) {
						for range hours {
							hourOf(samples, series == "1s", put)
						}
					})
				}
				b.ReportMetric(bytes/hours, "bytes/task-hour")
			})
		}
	}
}

// hourOf puts one hour of a task that repeats samples.
func hourOf(samples []task.Sample, seconds bool, put func([]billing.Chunk, []billing.RollUp)) {
	begin := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	t := billingtest.Task(begin)
	up := billing.RollUp{Subject: billing.SubjectOf(t)}
	var chunks []billing.Chunk
	last, first := samples[len(samples)-1], samples[0]
	for i := range 30 {
		part := samples[i%2*120:][:120]
		data := billing.PackFinished(part)
		at := begin.Add(time.Duration(i) * 2 * time.Minute)
		chunks = append(chunks, billing.Chunk{Task: t.ID, From: at, To: at.Add(119 * time.Second), Samples: 120, Data: data})
	}
	for i := range 60 {
		up.Rolls = append(up.Rolls, billing.Roll{
			At: begin.Add(time.Duration(i) * time.Minute), Covered: time.Minute, Samples: 60, CPUNanos: (last.CPUNanos - first.CPUNanos) / 4,
			ThrottledNanos: (last.ThrottledNanos - first.ThrottledNanos) / 4, Periods: (last.Periods - first.Periods) / 4, ThrottledPeriods: (last.ThrottledPeriods - first.ThrottledPeriods) / 4,
			RxBytes: (last.RxBytes - first.RxBytes) / 4, TxBytes: (last.TxBytes - first.TxBytes) / 4,
			MemoryByteMillis: last.WorkingSetBytes * 60_000, StorageByteMillis: last.EphemeralStorageBytes * 60_000, WorkingSetPeak: last.WorkingSetBytes,
			MemoryPeak: last.MemoryPeakBytes, PIDsPeak: last.PIDs, StoragePeak: last.EphemeralStorageBytes, MemoryBytes: last.MemoryBytes,
			WorkingSetBytes: last.WorkingSetBytes, PIDs: last.PIDs, StorageBytes: last.EphemeralStorageBytes,
		})
	}
	up.Upto = task.Sample{At: begin.Add(time.Hour), Counters: last.Counters}
	if seconds {
		put(chunks, nil)
	} else {
		put(nil, []billing.RollUp{up})
	}
}

// sizeOf returns by how much f makes the pages of usage in a database grow.
func sizeOf(b *testing.B, f func(put func([]billing.Chunk, []billing.RollUp))) float64 {
	dir := b.TempDir()
	s := storetest.Open(b, dir)
	f(func(chunks []billing.Chunk, rolls []billing.RollUp) {
		if err := s.PutUsage(context.Background(), chunks, rolls); err != nil {
			b.Fatal(err)
		}
	})
	db, err := sql.Open("sqlite", filepath.Join(dir, "berth.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var bytes float64
	if err := db.QueryRow(`SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'usage%'`).Scan(&bytes); err != nil {
		b.Fatal(err)
	}
	return bytes
}
