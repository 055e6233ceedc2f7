package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"berth/billing"
	"berth/billing/history"
	"berth/billing/rightsize"
	"berth/store/storetest"
)

type builtIn struct{}

func (builtIn) PriceList(context.Context, string, time.Time) (billing.PriceList, error) {
	return billing.BuiltIn(), nil
}

type nothing struct{}

func (nothing) SoFar(context.Context, string, string, time.Time) ([]history.Run, error) {
	return nil, nil
}

// BenchmarkRightsize asks which sizes tasks need of which there were 200,000 runs: one
// family of half of them, and 100 families.
func BenchmarkRightsize(b *testing.B) {
	dir, now := b.TempDir(), time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	fillRuns(b, dir, now)
	s := storetest.Open(b, dir)
	a := rightsize.New(rightsize.Config{Runs: s, Live: nothing{}, Prices: builtIn{}, Now: func() time.Time { return now }})
	for _, c := range []struct {
		name    string
		request rightsize.Request
		want    int
	}{
		{"100000RunsOfOneFamily", rightsize.Request{TaskDefinition: "large"}, 1},
		{"1000RunsOfOneFamily", rightsize.Request{TaskDefinition: "family-7"}, 1},
		{"AllOf101Families", rightsize.Request{}, 101},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				advice, err := a.Advise(context.Background(), c.request)
				if err != nil || len(advice.Recommendations) != c.want {
					b.Fatal(len(advice.Recommendations), err)
				}
			}
		})
	}
}

// fillRuns makes a database with 200,000 runs, one every six seconds, by SQL.
func fillRuns(b *testing.B, dir string, now time.Time) {
	if err := storetest.OpenUnclosed(b, dir).Close(); err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "berth.db")+"?_pragma=synchronous(OFF)")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	const body = `{"task":"%032x","family":"%s","revision":1,"shape":{"cpu":1024,"memory":2048,"ephemeralStorageGiB":20,"cpuArchitecture":"X86_64","spot":false},"startedBy":"nightly",
		"stoppedAt":"%s","charged":true,"ran":true,"pull":2000000000,"rest":%d,"stopCode":"EssentialContainerExited","exitCode":0,
		"use":{"cpuNanos":123456789,"peakBytes":234567890,"periods":1234,"throttledPeriods":12,"oomKills":0,"workingSetBytes":210987654,"minutes":{"3":2,"11":1,"13":4,"20":1}}}`
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	for i := range 200_000 {
		family, at := "large", now.Add(-time.Duration(i)*6*time.Second)
		if i%2 == 1 {
			family = fmt.Sprintf("family-%d", i/2%100)
		}
		if _, err := tx.Exec(`INSERT INTO runs (task, family, revision, stopped_at, body) VALUES (?, ?, 1, ?, ?)`, fmt.Sprintf("%032x", i), family, at.UnixNano(),
			fmt.Sprintf(body, i, family, at.Format(time.RFC3339Nano), 400_000_000_000+int64(i%1000)*1_000_000_000)); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}
