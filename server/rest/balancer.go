package rest

import (
	"context"
	"fmt"

	"berth/access"
	"berth/balancer"
	"berth/fault"
	"berth/server/api"
	"berth/task"
)

// Balancer looks after target groups. ref is a name or an ARN.
type Balancer interface {
	Groups(ctx context.Context, in task.Realm) ([]balancer.TargetGroup, error)
	Group(ctx context.Context, in task.Realm, ref string) (balancer.TargetGroup, error)

	// PutGroup makes a group, or changes the one of that name; when it returns, its port
	// is open.
	PutGroup(ctx context.Context, in task.Realm, g balancer.TargetGroup) (balancer.TargetGroup, error)

	// RemoveGroup removes a group. One that a task names is a fault.Conflict.
	RemoveGroup(ctx context.Context, in task.Realm, ref string) error

	// Targets returns the targets of a group as they are.
	Targets(ctx context.Context, in task.Realm, ref string) ([]balancer.Target, error)
}

type targetGroupIn struct {
	Name string `path:"name" doc:"Name of a target group, or its ARN with its slashes as %2F"`
}

type putTargetGroupIn struct {
	Name string `path:"name" doc:"Up to 32 letters, digits and hyphens"`
	Body api.TargetGroupRequest
}

func (s *server) targetGroups(ctx context.Context, _ *none) (*api.TargetGroupList, error) {
	all, err := s.Balancer.Groups(ctx, access.From(ctx).Realm())
	return &api.TargetGroupList{TargetGroups: some(all)}, err
}

func (s *server) targetGroup(ctx context.Context, in *targetGroupIn) (*balancer.TargetGroup, error) {
	g, err := s.Balancer.Group(ctx, access.From(ctx).Realm(), in.Name)
	return &g, err
}

func (s *server) putTargetGroup(ctx context.Context, in *putTargetGroupIn) (*balancer.TargetGroup, error) {
	b := in.Body
	g := balancer.TargetGroup{
		Name: in.Name, Protocol: balancer.Protocol(b.Protocol), Port: b.Port, ListenPort: b.ListenPort, DeregistrationDelay: balancer.DefaultDelay,
	}
	if g.Port == 0 {
		g.Port = 80
	}
	if known, err := s.Balancer.Group(ctx, access.From(ctx).Realm(), in.Name); err == nil {
		g.VPC, g.Tags = known.VPC, known.Tags // those are AWS's API's to change
	}
	if b.DeregistrationDelay != nil {
		g.DeregistrationDelay = *b.DeregistrationDelay
	}
	if h := b.HealthCheck; h != nil {
		g.HealthCheck = balancer.Check{
			Protocol: balancer.Protocol(h.Protocol), Path: h.Path, Port: h.Port, Interval: h.Interval, Timeout: h.Timeout,
			Healthy: h.Healthy, Unhealthy: h.Unhealthy, Matcher: h.Matcher,
		}
	}
	g, err := s.Balancer.PutGroup(ctx, access.From(ctx).Realm(), g)
	return &g, err
}

func (s *server) removeTargetGroup(ctx context.Context, in *targetGroupIn) (*none, error) {
	return nil, s.Balancer.RemoveGroup(ctx, access.From(ctx).Realm(), in.Name)
}

func (s *server) targets(ctx context.Context, in *targetGroupIn) (*api.TargetList, error) {
	all, err := s.Balancer.Targets(ctx, access.From(ctx).Realm(), in.Name)
	return &api.TargetList{Targets: some(all)}, err
}

// targetsOf returns all with the ARNs of the groups that they name, which have to exist.
func (s *server) targetsOf(ctx context.Context, all []task.LoadBalancer) ([]task.LoadBalancer, error) {
	var known []task.LoadBalancer
	for i, l := range all {
		if l.TargetGroupARN != "" {
			g, err := s.Balancer.Group(ctx, access.From(ctx).Realm(), l.TargetGroupARN)
			if fault.KindOf(err) == fault.NotFound {
				return nil, fault.At(fmt.Sprintf("loadBalancers[%d].targetGroupArn", i), "The specified target group does not exist.")
			}
			if err != nil {
				return nil, err
			}
			l.TargetGroupARN = g.ARN
		}
		known = append(known, l)
	}
	return known, nil
}
