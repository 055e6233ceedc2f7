package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"berth/fault"
	"berth/task"
)

// Submit accepts the tasks of one run. When it returns they will run, even if
// the process dies right after. With a token, repeating the call returns the
// same tasks, whatever became of the definition meanwhile; the same token with
// another request is a fault.Conflict. A refused run leaves no trace. A task
// that the host could never hold is refused as fault.Exhausted; one that does
// not fit now waits in PROVISIONING.
func (r *Runner) Submit(ctx context.Context, run task.Run) ([]task.Task, error) {
	if err := run.Validate(); err != nil {
		return nil, err
	}
	hash, err := hashOf(run)
	if err != nil {
		return nil, err
	}
	if run.Token != "" {
		earlier, err := r.Store.Requested(ctx, run.Realm, run.Token, hash)
		if err != nil || earlier != nil {
			return earlier, err
		}
	}
	_, ts, err := r.Preview(ctx, run)
	if err != nil {
		return nil, err
	}
	ts, err = r.Store.Create(ctx, ts, run.Inline, run.Token, hash)
	if err != nil {
		return nil, fmt.Errorf("create tasks: %w", err)
	}
	return ts, nil
}

// Preview returns the tasks that Submit would make of run, and of which
// definition, or the error that it would return, and does nothing. Its token is
// not looked at.
func (r *Runner) Preview(ctx context.Context, run task.Run) (task.Definition, []task.Task, error) {
	if err := run.Validate(); err != nil {
		return task.Definition{}, nil, err
	}
	if err := r.Store.ActiveCluster(ctx, run.Realm); err != nil {
		return task.Definition{}, nil, err
	}
	d, err := r.definition(ctx, run)
	if err != nil {
		return d, nil, err
	}
	if run.Network, err = r.inGroups(ctx, run.Realm, run.Network); err != nil {
		return d, nil, err
	}
	ts, err := r.tasks(run, d)
	return d, ts, err
}

// definition returns what run shall run.
func (r *Runner) definition(ctx context.Context, run task.Run) (task.Definition, error) {
	if run.Inline != nil {
		d := *run.Inline
		d.Status = task.Active // as it will be
		return d, nil
	}
	d, err := r.Store.Definition(ctx, run.Realm, run.Definition)
	if err == nil && d.Status != task.Active && (run.Service == "" || d.Status != task.Inactive) {
		err = fault.At("taskDefinition", "TaskDefinition is inactive")
	}
	return d, err
}

// tasks makes the tasks of run, if this host could ever run them.
func (r *Runner) tasks(run task.Run, d task.Definition) ([]task.Task, error) {
	if err := task.Unsupported(d, run, r.Arch); err != nil {
		return nil, err
	}
	class, err := r.Runtimes.Choose(run.Runtime, len(d.ContainerDefinitions))
	if err != nil {
		return nil, err
	}
	run.Runtime = class
	ts, err := task.Tasks(d, run, r.NewID, r.Now())
	if err != nil {
		return nil, err
	}
	return ts, r.fits(ts[0].Size())
}

// fits reports whether a task of that size could ever run here. The reasons are
// those of the ECS API's failures.
func (r *Runner) fits(s task.Size) error {
	if most := min(r.Capacity.CPU, r.Largest.CPU); s.CPU > most {
		return fault.New(fault.Exhausted, "RESOURCE:CPU: the task needs %d CPU units and this host never has more than %d", s.CPU, most)
	}
	if most := min(r.Capacity.Memory, r.Largest.Memory); s.Memory > most {
		return fault.New(fault.Exhausted, "RESOURCE:MEMORY: the task needs %d MiB and this host never has more than %d", s.Memory, most)
	}
	return nil
}

// hashOf identifies what a run asks for, without its token.
func hashOf(run task.Run) (string, error) {
	run.Token = ""
	if run.Realm.Cluster == task.DefaultCluster { // as runs were before there were others
		run.Realm = task.Realm{}
	}
	b, err := json.Marshal(run)
	if err != nil {
		return "", fmt.Errorf("encode run: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
