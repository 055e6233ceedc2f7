// Package ec2 is the small part of EC2's API that speaks of networks: Berth's own, in EC2's
// words. An account and region has one VPC with one subnet, which is Berth's bridge; each
// task that is connected has a network interface in it; security groups are Berth's.
package ec2

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"

	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

// Tasks knows tasks.
type Tasks interface {
	// Connected returns the tasks of an account and region, in all of its clusters, that
	// have not stopped.
	Connected(ctx context.Context, in task.Realm) ([]task.Task, error)
}

// Groups looks after security groups. ref is an ID or a name. What does not exist is
// fault.NotFound.
type Groups interface {
	Groups(ctx context.Context, in task.Realm) ([]task.SecurityGroup, error)
	Group(ctx context.Context, in task.Realm, ref string) (task.SecurityGroup, error)
	PutGroup(ctx context.Context, in task.Realm, g task.SecurityGroup) (task.SecurityGroup, error)

	// RemoveGroup removes a group. One that is in use is a fault.Conflict.
	RemoveGroup(ctx context.Context, in task.Realm, ref string) error
}

// Config is what New needs. All fields are required.
type Config struct {
	Tasks  Tasks
	Groups Groups
	Subnet netip.Prefix // of all tasks' addresses

	// HostIP returns the address of this host by which others reach it.
	HostIP func() string
}

type service struct {
	Config
	editing sync.Mutex // held while the rules of a group are read and written
}

// New returns the service.
func New(c Config) wire.Service {
	s := &service{Config: c}
	return wire.Service{
		Name: "ec2", Protocol: wire.EC2, Version: "2016-11-15", Invalid: "InvalidParameterValue", Code: code,
		Operations: []wire.Operation{
			wire.Op("DescribeNetworkInterfaces", s.interfaces),
			wire.Op("DescribeSubnets", s.subnets),
			wire.Op("DescribeVpcs", s.vpcs),
			wire.Op("DescribeVpcAttribute", s.vpcAttribute),
			wire.Op("DescribeAvailabilityZones", s.zones),
			wire.Op("DescribeRegions", s.regions),
			wire.Op("DescribeAccountAttributes", s.accountAttributes),
			wire.Op("DescribeSecurityGroups", s.groups),
			wire.Op("DescribeSecurityGroupRules", s.rules),
			wire.Op("CreateSecurityGroup", s.createGroup),
			wire.Op("DeleteSecurityGroup", s.deleteGroup, wire.Resources(groupARN[deleteGroupIn])),
			wire.Op("AuthorizeSecurityGroupIngress", s.allowIn, wire.Resources(groupARN[permissionsIn])),
			wire.Op("AuthorizeSecurityGroupEgress", s.allowOut, wire.Resources(groupARN[permissionsIn])),
			wire.Op("RevokeSecurityGroupIngress", s.revokeIn, wire.Resources(groupARN[revokeIn])),
			wire.Op("RevokeSecurityGroupEgress", s.revokeOut, wire.Resources(groupARN[revokeIn])),
		},
	}
}

// code has the service's own words for faults that do not say theirs.
func code(err error) (string, int) {
	switch fault.KindOf(err) {
	case fault.Conflict:
		return "DependencyViolation", 400
	case fault.Exhausted:
		return "ResourceLimitExceeded", 400
	case fault.Internal:
		return "InternalError", 500
	case fault.Unauthenticated:
		return "AuthFailure", 401
	case fault.Throttled:
		return "RequestLimitExceeded", 503
	}
	return "", 0
}

// dry is a request that is only tried if it says so.
type dry struct {
	DryRun *bool `json:"DryRun"`
}

// check ends a request that is only tried.
func (d dry) check() error {
	if d.DryRun != nil && *d.DryRun {
		return &wire.Error{Code: "DryRunOperation", Status: 412, Message: "Request would have succeeded, but DryRun flag is set."}
	}
	return nil
}

// malformed is an ID that is not of the kind that is wanted, as in subnet-.
func malformed(code, kind, id string) error {
	if strings.HasPrefix(id, kind+"-") {
		return nil
	}
	return wire.Errorf(code, "Invalid id: \"%s\" (expecting \"%s-...\")", id, kind)
}

// publicIP is where the ports of tasks that are published are reached: by the address that
// the caller reaches this server by, if it is one.
func (s *service) publicIP(c wire.Call) string {
	host := c.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	if host == "localhost" {
		return "127.0.0.1"
	}
	return s.HostIP()
}
