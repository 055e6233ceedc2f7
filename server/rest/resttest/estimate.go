package resttest

import (
	"context"
	"time"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// quoted is how long every task was expected to go on.
const quoted = 2 * time.Minute

// Estimate is rest.Estimates, with the built-in prices for every region. A family called
// measured has run twice, for 30 s and for 90.
func (f *Fake) Estimate(ctx context.Context, r estimate.Request) (estimate.Estimate, error) {
	return estimate.New(estimate.Config{Prices: builtIn{}, Runs: measured{}, Definitions: f, Now: f.Now}).Estimate(ctx, r)
}

// Quote is rest.Estimates.
func (f *Fake) Quote(ctx context.Context, id task.ID) (history.Quote, error) {
	t, err := f.Task(ctx, id)
	if err != nil {
		return history.Quote{}, err
	}
	total, err := estimate.Total(billing.ShapeOf(t), billing.BuiltIn(), quoted)
	return history.Quote{
		Task: id, At: t.CreatedAt, Low: total, Expected: total, High: total, Basis: estimate.Assumed,
		PriceList: billing.BuiltIn().ID, ExpectedSeconds: int64(quoted / time.Second),
	}, err
}

type builtIn struct{}

func (builtIn) PriceList(_ context.Context, region string, _ time.Time) (billing.PriceList, error) {
	if region == "nowhere" {
		return billing.PriceList{}, fault.At("region", "there are no prices of %q", region)
	}
	return billing.BuiltIn(), nil
}

type measured struct{}

func (measured) Runs(_ context.Context, q history.Query) ([]history.Run, error) {
	if q.Family != "measured" {
		return nil, nil
	}
	run := func(d time.Duration) history.Run {
		return history.Run{
			Family: q.Family, Shape: billing.Shape{CPU: 256, Memory: 512, Storage: 20, Arch: "X86_64"}, Charged: true, Ran: true,
			Pull: 2 * time.Second, Rest: d, StopCode: task.EssentialExited, StoppedAt: Epoch,
		}
	}
	return []history.Run{run(30 * time.Second), run(90 * time.Second)}, nil
}
