package runner

import (
	"context"

	"berth/isolation"
	"berth/task"
)

// Secrets finds what a container is given in confidence.
type Secrets interface {
	// Resolve returns the variables that the environment files and secrets of p add to
	// its environment, as KEY=VALUE. An error says in Fargate's words why the container
	// cannot start. It is fault.Unavailable if that may be different later.
	Resolve(ctx context.Context, p task.ContainerPlan) ([]string, error)
}

// secrets returns how a runtime learns the secrets of a container when it has to make
// it. A container that an earlier server made needs them no more: its source need not
// answer.
func (s *starter) secrets(p task.ContainerPlan) isolation.Secrets {
	if len(p.EnvironmentFiles) == 0 && len(p.Secrets) == 0 {
		return nil
	}
	return func(ctx context.Context) ([]string, error) { return s.r.Secrets.Resolve(ctx, p) }
}
