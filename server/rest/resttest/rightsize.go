package resttest

import (
	"context"
	"time"

	"berth/billing/history"
	"berth/billing/rightsize"
)

// Advise is rest.Sizes, with the built-in prices: of a family called measured, which has
// run twice, and of what the test says with Ran.
func (f *Fake) Advise(ctx context.Context, r rightsize.Request) (rightsize.Advice, error) {
	return rightsize.New(rightsize.Config{Runs: recorded{f.Ran}, Live: recorded{}, Prices: builtIn{}, Now: f.Now}).Advise(ctx, r)
}

// recorded is runs, the latest first.
type recorded struct{ runs []history.Run }

func (r recorded) Runs(ctx context.Context, q history.Query) ([]history.Run, error) {
	all, err := measured{}.Runs(ctx, q)
	for _, run := range r.runs {
		if run.Family == q.Family && (q.Revision == 0 || q.Revision == run.Revision) {
			all = append(all, run)
		}
	}
	return all, err
}

func (r recorded) Families(context.Context, string, time.Time) ([]string, error) {
	all := []string{"measured"}
	for _, run := range r.runs {
		if run.Family != all[len(all)-1] {
			all = append(all, run.Family)
		}
	}
	return all, nil
}

func (recorded) SoFar(context.Context, string, string, time.Time) ([]history.Run, error) {
	return nil, nil
}
