package runner

import (
	"context"

	"berth/fault"
	"berth/task"
)

// Forecast returns what would become of run if it were submitted now, and changes
// nothing. Its errors are those of Submit, but that a task which the host could never
// hold is part of the answer. A token that made the same tasks already changes nothing of it.
//
// The answer is true for the moment in which it is given: what comes and goes before the
// run is submitted is not in it.
func (r *Runner) Forecast(ctx context.Context, run task.Run) (task.Forecast, error) {
	if err := r.unclaimed(ctx, run); err != nil {
		return task.Forecast{}, err
	}
	d, ts, err := r.Preview(ctx, run)
	never := fault.KindOf(err) == fault.Exhausted && len(ts) > 0
	if err != nil && !never {
		return task.Forecast{}, err
	}
	f := r.capacity.forecast(ts[0].Size(), len(ts))
	f.Definition, f.Tasks = d, ts
	if never {
		f.Never, f.StartNow = err, 0
	}
	if run.Inline == nil {
		return f, nil
	}
	// Submitting it would use the revision that says the same, if there is one.
	latest, err := r.Store.Definition(ctx, run.Realm, d.Family)
	switch {
	case err == nil && latest.Same(d):
		f.Definition = latest
		for i := range ts {
			ts[i].DefinitionARN = latest.ARN
		}
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return task.Forecast{}, err
	}
	return f, nil
}

// unclaimed returns the error that Submit would return if the token of run was used with
// another request.
func (r *Runner) unclaimed(ctx context.Context, run task.Run) error {
	if run.Token == "" {
		return nil
	}
	if err := run.Validate(); err != nil {
		return err
	}
	hash, err := hashOf(run)
	if err != nil {
		return err
	}
	_, err = r.Store.Requested(ctx, run.Realm, run.Token, hash)
	return err
}
