package rest

import (
	"context"
	"fmt"
	"slices"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

// preview says what would become of r.
func (s *server) preview(ctx context.Context, r task.Run) (*api.RunResponse, error) {
	f, err := s.Tasks.Forecast(ctx, r)
	if err != nil {
		return nil, err
	}
	if f.Never == nil { // That is told first.
		if err := s.Budgets.Allowed(ctx, classed(f)); err != nil {
			return nil, err
		}
	}
	out := &api.RunResponse{
		Tasks: some(f.Tasks), Failures: []api.Failure{}, DryRun: true, TaskDefinition: &f.Definition, Admission: admission(f), Quote: s.quote(f.Tasks[0]),
	}
	if out.Images, err = s.needs(ctx, f.Tasks[0]); err != nil {
		return nil, err
	}
	e, err := s.Estimates.Outlook(ctx, f.Definition.Family, f.Tasks)
	switch {
	case err == nil:
		out.Estimate = &e
	case fault.KindOf(err) != fault.NotFound: // What has no price can run.
		return nil, err
	}
	return out, nil
}

// classed returns the tasks of f as budgets would see them: of the family of their
// definition, also if that is not registered yet.
func classed(f task.Forecast) []task.Task {
	ts := slices.Clone(f.Tasks)
	for i := range ts {
		if ts[i].DefinitionARN == "" {
			ts[i].DefinitionARN = "task-definition/" + f.Definition.Family + ":0"
		}
	}
	return ts
}

// admission says in words what f decides.
func admission(f task.Forecast) *api.Admission {
	free := f.Free()
	a := &api.Admission{
		Decision: api.AdmitNow, StartNow: f.StartNow, Wait: len(f.Tasks) - f.StartNow, Ahead: f.Ahead,
		Total:    api.Resources{CPU: f.Total.CPU, Memory: f.Total.Memory},
		Reserved: api.Resources{CPU: f.Reserved.CPU, Memory: f.Reserved.Memory},
		Free:     api.Resources{CPU: free.CPU, Memory: free.Memory},
	}
	switch each := f.Tasks[0].Size(); {
	case f.Never != nil:
		a.Decision, a.Reason, a.StartNow, a.Wait = api.AdmitNever, fault.Message(f.Never), 0, 0
	case f.Ahead > 0:
		a.Decision, a.Reason = api.AdmitLater, fmt.Sprintf("tasks start in the order in which they came, and %d wait already", f.Ahead)
	case a.Wait > 0:
		a.Decision, a.Reason = api.AdmitLater, fmt.Sprintf("each task needs %s, and %s are free", each, free)
	default:
		a.Reason = fmt.Sprintf("%s are free", free)
	}
	return a
}

// needs returns the images that t needs, each once.
func (s *server) needs(ctx context.Context, t task.Task) ([]api.ImageNeed, error) {
	var names []string
	for _, c := range t.Containers {
		if !slices.Contains(names, c.Image) {
			names = append(names, c.Image)
		}
	}
	here, err := s.Images.Have(ctx, names)
	if err != nil {
		return nil, err
	}
	all := []api.ImageNeed{}
	for _, n := range names {
		img, ok := here[n]
		all = append(all, api.ImageNeed{Image: n, Here: ok, Digest: img.Digest, SizeBytes: img.SizeBytes})
	}
	return all, nil
}
