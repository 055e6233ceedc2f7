package resttest

import (
	"context"
	"iter"

	"berth/billing/history"
	"berth/billing/waste"
	"berth/billing/whatif"
	"berth/task"
)

// Waste is rest.Hindsight, of Charges and of the tasks that have stopped.
func (f *Fake) Waste(ctx context.Context, q waste.Query) (waste.Report, error) {
	return waste.Of(ctx, book{f}, q)
}

// WhatIf is rest.Hindsight, of the tasks that have stopped, with the built-in prices for
// every region. Each task used 12 MiB.
func (f *Fake) WhatIf(ctx context.Context, r whatif.Request) (whatif.Result, error) {
	return whatif.New(whatif.Config{Runs: book{f}, Prices: builtIn{}, Now: f.Now}).Replay(ctx, r)
}

// book has records of runs.
type book struct{ *Fake }

func (b book) RunsOf(_ context.Context, ids []task.ID) (map[task.ID]history.Run, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[task.ID]history.Run)
	for _, id := range ids {
		if t := b.tasks[id]; t.LastStatus.Final() {
			all[id] = history.Of(t, nil)
		}
	}
	return all, nil
}

func (b book) EachRun(_ context.Context, q history.Query) iter.Seq2[history.Run, error] {
	return func(yield func(history.Run, error) bool) {
		for _, id := range b.order {
			t := b.tasks[id]
			r := history.Of(t, nil)
			if !t.LastStatus.Final() || q.Family != "" && r.Family != q.Family || r.StoppedAt.Before(q.Since) || !r.StoppedAt.Before(q.Until) {
				continue
			}
			if r.Ran {
				r.Use = &history.Use{WorkingSetBytes: 12 << 20}
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}
