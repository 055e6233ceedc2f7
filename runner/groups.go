package runner

import (
	"context"
	"fmt"

	"berth/fault"
	"berth/task"
)

// Groups returns the security groups of an account and region, by name.
func (r *Runner) Groups(ctx context.Context, in task.Realm) ([]task.SecurityGroup, error) {
	return r.Store.Groups(ctx, in)
}

// Group returns the security group of that ID or name.
func (r *Runner) Group(ctx context.Context, in task.Realm, ref string) (task.SecurityGroup, error) {
	return r.Store.Group(ctx, in, ref)
}

// PutGroup makes a security group, or replaces the one of that name. When it returns the
// rules are in force, for tasks that run too.
func (r *Runner) PutGroup(ctx context.Context, in task.Realm, g task.SecurityGroup) (task.SecurityGroup, error) {
	if err := g.Validate(); err != nil {
		return g, err
	}
	g, err := r.Store.PutGroup(ctx, in, g)
	if err != nil {
		return g, err
	}
	return g, r.enforceGroups(ctx)
}

// RemoveGroup removes the security group of that ID or name. One that is in use is a
// fault.Conflict.
func (r *Runner) RemoveGroup(ctx context.Context, in task.Realm, ref string) error {
	if err := r.Store.RemoveGroup(ctx, in, ref); err != nil {
		return err
	}
	return r.enforceGroups(ctx)
}

// enforceGroups makes what is remembered of security groups the rules of the host. What
// is read inside the lock is newer than what the last call enforced.
func (r *Runner) enforceGroups(ctx context.Context) error {
	r.enforcing.Lock()
	defer r.enforcing.Unlock()
	all, err := r.Store.Groups(ctx, task.Realm{})
	if err != nil {
		return err
	}
	if err := r.Runtime.SetGroups(ctx, all); err != nil {
		return fmt.Errorf("enforce security groups: %w", err)
	}
	return nil
}

// inGroups returns n with the IDs of the groups that it names.
func (r *Runner) inGroups(ctx context.Context, in task.Realm, n *task.NetworkConfiguration) (*task.NetworkConfiguration, error) {
	if n == nil {
		return nil, nil
	}
	own := *n
	own.AWSVPC.SecurityGroups = nil
	for i, ref := range n.AWSVPC.SecurityGroups {
		g, err := r.Store.Group(ctx, in, ref)
		if fault.KindOf(err) == fault.NotFound {
			return nil, fault.At(fmt.Sprintf("networkConfiguration.awsvpcConfiguration.securityGroups[%d]", i),
				"Error retrieving security group information for [%s]: %s (ErrorCode: InvalidGroup.NotFound)", ref, fault.Message(err))
		}
		if err != nil {
			return nil, err
		}
		own.AWSVPC.SecurityGroups = append(own.AWSVPC.SecurityGroups, g.ID)
	}
	return &own, nil
}
