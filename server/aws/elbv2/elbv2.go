// Package elbv2 is the part of Elastic Load Balancing's API that makes a service reachable:
// target groups, load balancers and listeners that forward to one group. What the load
// balancer here cannot do is refused.
package elbv2

import (
	"context"
	"net/http"
	"sync"
	"time"

	"berth/balancer"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

// Groups looks after target groups. ref is a name or an ARN.
type Groups interface {
	Groups(ctx context.Context, in task.Realm) ([]balancer.TargetGroup, error)
	Group(ctx context.Context, in task.Realm, ref string) (balancer.TargetGroup, error)
	PutGroup(ctx context.Context, in task.Realm, g balancer.TargetGroup) (balancer.TargetGroup, error)
	RemoveGroup(ctx context.Context, in task.Realm, ref string) error
	Targets(ctx context.Context, in task.Realm, ref string) ([]balancer.Target, error)
}

// Book remembers load balancers.
type Book interface {
	LoadBalancers(ctx context.Context, in task.Realm) ([]balancer.LoadBalancer, error)

	// PutLoadBalancer remembers one in place of the one of that name, RemoveLoadBalancer
	// forgets one, if it is there.
	PutLoadBalancer(ctx context.Context, in task.Realm, l balancer.LoadBalancer) error
	RemoveLoadBalancer(ctx context.Context, in task.Realm, arn string) error
}

// Config is what New needs. All fields are required.
type Config struct {
	Groups Groups
	Book   Book

	Address string        // IP address at which groups listen
	NewID   func() string // 16 hex digits
	Now     func() time.Time
}

type server struct {
	Config
	changing sync.Mutex // held while a load balancer or a group is read and written
}

// New returns the service.
func New(c Config) wire.Service {
	s := &server{Config: c}
	return wire.Service{
		Name: "elasticloadbalancing", Protocol: wire.Query, Version: "2015-12-01", Invalid: "ValidationError", Code: code,
		Operations: []wire.Operation{
			wire.Op("CreateTargetGroup", s.createTargetGroup),
			wire.Op("DescribeTargetGroups", s.describeTargetGroups),
			wire.Op("ModifyTargetGroup", s.modifyTargetGroup, wire.Resources(func(_ wire.Call, in *modifyTargetGroupIn) []string { return []string{in.TargetGroupArn} })),
			wire.Op("DeleteTargetGroup", s.deleteTargetGroup, wire.Resources(ofGroup)),
			wire.Op("DescribeTargetGroupAttributes", s.describeTargetGroupAttributes),
			wire.Op("ModifyTargetGroupAttributes", s.modifyTargetGroupAttributes, wire.Resources(func(_ wire.Call, in *modifyGroupAttributesIn) []string { return []string{in.TargetGroupArn} })),
			wire.Op("DescribeTargetHealth", s.describeTargetHealth),

			wire.Op("CreateLoadBalancer", s.createLoadBalancer),
			wire.Op("DescribeLoadBalancers", s.describeLoadBalancers),
			wire.Op("DeleteLoadBalancer", s.deleteLoadBalancer, wire.Resources(ofLoadBalancer)),
			wire.Op("DescribeLoadBalancerAttributes", s.describeLoadBalancerAttributes),
			wire.Op("ModifyLoadBalancerAttributes", s.modifyLoadBalancerAttributes, wire.Resources(func(_ wire.Call, in *modifyBalancerAttributesIn) []string { return []string{in.LoadBalancerArn} })),
			wire.Op("DescribeCapacityReservation", s.describeCapacityReservation),

			wire.Op("CreateListener", s.createListener, wire.Resources(func(_ wire.Call, in *createListenerIn) []string { return []string{in.LoadBalancerArn} })),
			wire.Op("DescribeListeners", s.describeListeners),
			wire.Op("ModifyListener", s.modifyListener, wire.Resources(func(_ wire.Call, in *modifyListenerIn) []string { return []string{in.ListenerArn} })),
			wire.Op("DeleteListener", s.deleteListener, wire.Resources(ofListener)),
			wire.Op("DescribeListenerAttributes", s.describeListenerAttributes),

			wire.Op("DescribeTags", s.describeTags),
			wire.Op("AddTags", s.addTags, wire.Resources(func(_ wire.Call, in *addTagsIn) []string { return in.ResourceArns })),
			wire.Op("RemoveTags", s.removeTags, wire.Resources(func(_ wire.Call, in *removeTagsIn) []string { return in.ResourceArns })),
		},
	}
}

// code is the API's word for a fault. What exactly was not found is said where it is looked
// for.
func code(err error) (string, int) {
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "TargetGroupNotFound", http.StatusBadRequest
	case fault.Conflict:
		return "ResourceInUse", http.StatusBadRequest
	}
	return "", 0
}

// unsupported refuses what the load balancer here does not do.
func unsupported(what string) error {
	return wire.Errorf("InvalidConfigurationRequest", "%s is not supported by Berth", what)
}

type tag struct {
	Key   string `json:"Key" xml:"Key" required:"true" min:"1" max:"128"`
	Value string `json:"Value" xml:"Value" max:"256"`
}

func tagsIn(all []tag) []task.Tag {
	var found []task.Tag
	for _, t := range all {
		found = append(found, task.Tag(t))
	}
	return found
}

func tagsOut(all []task.Tag) []tag {
	var found []tag
	for _, t := range all {
		found = append(found, tag(t))
	}
	return found
}

// attribute is a setting by its name.
type attribute struct {
	Key   string `json:"Key" xml:"Key"`
	Value string `json:"Value" xml:"Value"`
}

// list is a list of an answer, which is there when it is empty too.
type list[T any] struct {
	Members []T `xml:"member"`
}

func listOf[T any](all ...T) list[T] { return list[T]{all} }

func (l *list[T]) add(one T) { l.Members = append(l.Members, one) }
