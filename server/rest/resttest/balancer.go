package resttest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/balancer"
	"berth/fault"
	"berth/task"
)

// Balancer is rest.Balancer: groups without targets.
type Balancer struct{ f *Fake }

// Balancer returns the Fake's target groups.
func (f *Fake) Balancer() Balancer { return Balancer{f} }

// Groups is part of rest.Balancer.
func (b Balancer) Groups(_ context.Context, in task.Realm) ([]balancer.TargetGroup, error) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	var all []balancer.TargetGroup
	for _, g := range b.f.targetGroups {
		if g.Realm() == (task.Realm{Account: in.Account, Region: in.Region}) {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b balancer.TargetGroup) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Group is part of rest.Balancer.
func (b Balancer) Group(ctx context.Context, in task.Realm, ref string) (balancer.TargetGroup, error) {
	all, _ := b.Groups(ctx, in)
	for _, g := range all {
		if g.Name == ref || g.ARN == ref {
			return g, nil
		}
	}
	return balancer.TargetGroup{}, balancer.NoGroup(ref)
}

// PutGroup is part of rest.Balancer. The ends of ARNs count up.
func (b Balancer) PutGroup(ctx context.Context, in task.Realm, g balancer.TargetGroup) (balancer.TargetGroup, error) {
	g = g.WithDefaults()
	if err := g.Validate(); err != nil {
		return g, err
	}
	known, err := b.Group(ctx, in, g.Name)
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	if g.ARN, g.CreatedAt = known.ARN, known.CreatedAt; err != nil {
		g.ARN, g.CreatedAt = balancer.ARN(in, g.Name, fmt.Sprintf("%016x", len(b.f.targetGroups)+1)), b.f.now
	}
	if b.f.targetGroups == nil {
		b.f.targetGroups = make(map[string]balancer.TargetGroup)
	}
	b.f.targetGroups[g.ARN] = g
	return g, nil
}

// RemoveGroup is part of rest.Balancer.
func (b Balancer) RemoveGroup(ctx context.Context, in task.Realm, ref string) error {
	g, err := b.Group(ctx, in, ref)
	if err != nil {
		return err
	}
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	for _, t := range b.f.tasks {
		if !t.LastStatus.Final() && slices.ContainsFunc(t.LoadBalancers, func(l task.LoadBalancer) bool { return l.TargetGroupARN == g.ARN }) {
			return fault.New(fault.Conflict, "Target group '%s' is currently in use by task %s", g.ARN, t.ID)
		}
	}
	delete(b.f.targetGroups, g.ARN)
	return nil
}

// Targets is part of rest.Balancer.
func (b Balancer) Targets(ctx context.Context, in task.Realm, ref string) ([]balancer.Target, error) {
	_, err := b.Group(ctx, in, ref)
	return nil, err
}
