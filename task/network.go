package task

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"berth/fault"
)

// NetworkConfiguration says how a task is connected (ECS API, NetworkConfiguration).
type NetworkConfiguration struct {
	AWSVPC AWSVPC `json:"awsvpcConfiguration"`
}

// AWSVPC is the AwsVpcConfiguration of the ECS API. A host has one subnet, so those
// that are named are only kept.
type AWSVPC struct {
	Subnets        []string `json:"subnets,omitempty"`        // at most 16
	SecurityGroups []string `json:"securityGroups,omitempty"` // IDs or names, at most 5; a Task has IDs
	AssignPublicIP string   `json:"assignPublicIp,omitempty"` // ENABLED: this host passes the task's portMappings on; DISABLED, also if empty
}

// Limits of a task's network (ECS API, AwsVpcConfiguration).
const (
	maxSubnets        = 16
	maxSecurityGroups = 5
	maxPublished      = 100 // containerPortRange of the ECS API may have as many ports
)

func (n *NetworkConfiguration) validate() error {
	const at = "networkConfiguration.awsvpcConfiguration."
	switch {
	case n == nil:
		return nil
	case len(n.AWSVPC.Subnets) > maxSubnets:
		return fault.At(at+"subnets", "has at most %d subnets", maxSubnets)
	case len(n.AWSVPC.SecurityGroups) > maxSecurityGroups:
		return fault.At(at+"securityGroups", "has at most %d security groups", maxSecurityGroups)
	}
	return oneOf(at+"assignPublicIp", n.AWSVPC.AssignPublicIP, "ENABLED", "DISABLED")
}

// Groups returns the IDs of the task's security groups.
func (t Task) Groups() []string {
	if t.NetworkConfiguration == nil {
		return nil
	}
	return t.NetworkConfiguration.AWSVPC.SecurityGroups
}

// Port is a port of a task, and the port of this host that leads there.
type Port struct {
	Protocol  string // tcp or udp
	Container int    // 1 to 65535
	Host      int    // 1 to 65535; 0: not known yet
}

// bindings returns the ports of c that the host is to pass on, if the task wants that.
func (c ContainerDefinition) bindings(n *NetworkConfiguration) []NetworkBinding {
	if n == nil || n.AWSVPC.AssignPublicIP != "ENABLED" {
		return nil
	}
	var all []NetworkBinding
	for _, m := range c.PortMappings {
		first, last := m.ContainerPort, m.ContainerPort
		if m.ContainerPortRange != "" {
			first, last, _ = parsePortRange(m.ContainerPortRange) // A registered definition has one.
		}
		for port := first; port <= last; port++ {
			b := NetworkBinding{BindIP: "0.0.0.0", ContainerPort: port, Protocol: cmp.Or(m.Protocol, "tcp")}
			if !slices.Contains(all, b) {
				all = append(all, b)
			}
		}
	}
	return all
}

// Publish returns the ports that t wants the host to pass on, each once.
func (t Task) Publish() []Port {
	var all []Port
	for _, c := range t.Containers {
		for _, b := range c.NetworkBindings {
			p := Port{Protocol: b.Protocol, Container: b.ContainerPort}
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// bind notes which ports of the host lead to those of c.
func (c *Container) bind(published []Port) {
	c.NetworkBindings = slices.Clone(c.NetworkBindings)
	for i, b := range c.NetworkBindings {
		for _, p := range published {
			if p.Container == b.ContainerPort && p.Protocol == b.Protocol {
				c.NetworkBindings[i].HostPort = p.Host
			}
		}
	}
}

// parsePortRange reads a containerPortRange, as in 8000-8010.
func parsePortRange(text string) (first, last int, err error) {
	from, to, ok := strings.Cut(text, "-")
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if !ok || err1 != nil || err2 != nil || first < 1 || last > 65535 || first > last {
		return 0, 0, fault.New(fault.Invalid, "%q is not a range of ports, as in 8000-8010", text)
	}
	return first, last, nil
}

// SecurityGroup is a named set of rules for the network of tasks: what may come in and
// what may go out, in the terms of EC2. Rules only allow. What answers to something
// that was allowed is allowed.
//
// A task without groups reaches everything outside this host and is reached by nobody
// but this host, and by others through the ports that it publishes.
type SecurityGroup struct {
	ID          string       `json:"groupId" doc:"sg- and 17 hex digits; given by the server"`
	Name        string       `json:"groupName" maxLength:"255"`
	Description string       `json:"description,omitempty" maxLength:"255"`
	Ingress     []Permission `json:"ipPermissions" doc:"What may come in; nothing if empty"`
	Egress      []Permission `json:"ipPermissionsEgress" doc:"What may go out; nothing if empty"`
}

// Everything is what a group lets out that does not say (EC2 API, CreateSecurityGroup).
func Everything() []Permission {
	return []Permission{{Protocol: "-1", Ranges: []IPRange{{CIDR: "0.0.0.0/0"}}}}
}

// Permission allows some traffic (EC2 API, IpPermission).
type Permission struct {
	Protocol string      `json:"ipProtocol" doc:"tcp, udp, icmp or -1 for all"`
	FromPort *int        `json:"fromPort,omitempty" doc:"The first port; all if left out"`
	ToPort   *int        `json:"toPort,omitempty" doc:"The last port"`
	Ranges   []IPRange   `json:"ipRanges,omitempty"`
	Pairs    []GroupPair `json:"userIdGroupPairs,omitempty" doc:"Tasks in these groups"`
}

// IPRange is a range of addresses (EC2 API, IpRange).
type IPRange struct {
	CIDR        string `json:"cidrIp"`
	Description string `json:"description,omitempty"`
}

// GroupPair names a security group (EC2 API, UserIdGroupPair).
type GroupPair struct {
	GroupID string `json:"groupId" doc:"Of a group; its name is taken too"`
}

// Limits of a security group (Amazon VPC quotas).
const (
	maxRules       = 60 // each way
	maxDescription = 255
)

var (
	groupName = regexp.MustCompile(`^[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}$`) // EC2 API, CreateSecurityGroup
	// GroupID is the form of a security group's ID.
	GroupID = regexp.MustCompile(`^sg-[0-9a-f]{17}$`)
)

// Validate reports the first thing wrong with g. Groups in its rules are not looked up.
func (g SecurityGroup) Validate() error {
	switch {
	case !groupName.MatchString(g.Name):
		return fault.At("groupName", "has 1 to 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*")
	case strings.HasPrefix(g.Name, "sg-"):
		return fault.At("groupName", "must not begin with sg-")
	case len(g.Description) > maxDescription:
		return fault.At("description", "has at most %d characters", maxDescription)
	}
	if err := validatePermissions("ipPermissions", g.Ingress); err != nil {
		return err
	}
	return validatePermissions("ipPermissionsEgress", g.Egress)
}

func validatePermissions(field string, all []Permission) error {
	rules := 0
	for i, p := range all {
		at := fmt.Sprintf("%s[%d].", field, i)
		if p.Protocol == "" {
			return fault.At(at+"ipProtocol", "should not be null or empty.")
		}
		if err := oneOf(at+"ipProtocol", p.Protocol, "tcp", "udp", "icmp", "-1"); err != nil {
			return err
		}
		ports := p.Protocol == "tcp" || p.Protocol == "udp"
		switch {
		case (p.FromPort == nil) != (p.ToPort == nil):
			return fault.At(at+"toPort", "fromPort and toPort are given both or not at all")
		case p.FromPort != nil && !ports && (*p.FromPort != -1 || *p.ToPort != -1):
			return fault.At(at+"fromPort", "only tcp and udp have ports")
		case p.FromPort != nil && ports && (*p.FromPort < 0 || *p.ToPort > 65535 || *p.FromPort > *p.ToPort):
			return fault.At(at+"fromPort", "must be ports from 0 to 65535, the first not above the last")
		case len(p.Ranges)+len(p.Pairs) == 0:
			return fault.At(at+"ipRanges", "a rule names ipRanges or userIdGroupPairs")
		}
		for j, r := range p.Ranges {
			prefix, err := netip.ParsePrefix(r.CIDR)
			if err != nil || !prefix.Addr().Is4() || prefix != prefix.Masked() {
				return fault.At(fmt.Sprintf("%sipRanges[%d].cidrIp", at, j), "must be an IPv4 CIDR without host bits, as in 10.0.0.0/8, not %q", r.CIDR)
			}
		}
		for j, pair := range p.Pairs {
			if pair.GroupID == "" {
				return fault.At(fmt.Sprintf("%suserIdGroupPairs[%d].groupId", at, j), "should not be null or empty.")
			}
		}
		if rules += len(p.Ranges) + len(p.Pairs); rules > maxRules {
			return fault.At(field, "has at most %d rules", maxRules)
		}
	}
	return nil
}
