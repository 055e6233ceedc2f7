package resttest

import (
	"context"

	"berth/billing/estimate"
	"berth/fault"
	"berth/task"
)

// Forecast is rest.Tasks.
func (f *Fake) Forecast(ctx context.Context, r task.Run) (task.Forecast, error) {
	d, err := f.definition(ctx, r)
	if err != nil {
		return task.Forecast{}, err
	}
	if latest, err := f.Definition(ctx, r.Realm, d.Family); err == nil && r.Inline != nil && latest.Same(d) {
		d = latest
	}
	ts, err := f.previewed(r, d)
	out := task.Forecast{Definition: d, Tasks: ts, Total: f.Largest}
	if fault.KindOf(err) == fault.Exhausted && len(ts) > 0 {
		out.Never, err = err, nil
	}
	if err != nil {
		return out, err
	}
	c, err := f.Capacity(ctx)
	out.Reserved, out.Ahead = task.Size{CPU: c.Reserved.CPU, Memory: c.Reserved.Memory}, c.Waiting
	if free, each := out.Free(), ts[0].Size(); out.Never == nil && out.Ahead == 0 {
		out.StartNow = min(len(ts), free.CPU/each.CPU, free.Memory/each.Memory)
	}
	return out, err
}

// Preview is tuning.Tasks.
func (f *Fake) Preview(ctx context.Context, r task.Run) (task.Definition, []task.Task, error) {
	d, err := f.definition(ctx, r)
	if err != nil {
		return d, nil, err
	}
	ts, err := f.previewed(r, d)
	return d, ts, err
}

// previewed returns the tasks that a run would make. Those that are too large come with
// the error.
func (f *Fake) previewed(r task.Run, d task.Definition) ([]task.Task, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prepare(r, d)
}

// Outlook is rest.Estimates, with the prices and runs of Estimate.
func (f *Fake) Outlook(ctx context.Context, family string, ts []task.Task) (estimate.Outlook, error) {
	return estimate.New(estimate.Config{Prices: builtIn{}, Runs: measured{}, Definitions: f, Now: f.Now}).Outlook(ctx, family, ts)
}

// Have is rest.Images. Images are known by the name that they have.
func (f *Fake) Have(_ context.Context, names []string) (map[string]task.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	here := make(map[string]task.Image)
	for _, n := range names {
		for _, i := range f.images {
			if i.Name == n {
				here[n] = i
			}
		}
	}
	return here, nil
}
