package elbv2

import (
	"context"
	"net"
	"slices"
	"strconv"

	"berth/balancer"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

type matcher struct {
	HTTPCode string `json:"HttpCode" xml:"HttpCode,omitempty"`
}

// checkIn is what CreateTargetGroup and ModifyTargetGroup say of health checks.
type checkIn struct {
	HealthCheckProtocol        *string  `json:"HealthCheckProtocol" enum:"HTTP,HTTPS,TCP,TLS,UDP,TCP_UDP,GENEVE,QUIC,TCP_QUIC"`
	HealthCheckPort            *string  `json:"HealthCheckPort"`
	HealthCheckEnabled         *bool    `json:"HealthCheckEnabled"`
	HealthCheckPath            *string  `json:"HealthCheckPath" min:"1" max:"1024"`
	HealthCheckIntervalSeconds *int     `json:"HealthCheckIntervalSeconds"`
	HealthCheckTimeoutSeconds  *int     `json:"HealthCheckTimeoutSeconds"`
	HealthyThresholdCount      *int     `json:"HealthyThresholdCount"`
	UnhealthyThresholdCount    *int     `json:"UnhealthyThresholdCount"`
	Matcher                    *matcher `json:"Matcher"`
}

// apply changes what in says.
func (in checkIn) apply(c *balancer.Check) error {
	if in.HealthCheckEnabled != nil && !*in.HealthCheckEnabled {
		return unsupported("a target group of type ip without health checks")
	}
	if p := in.HealthCheckProtocol; p != nil {
		if *p != string(balancer.HTTP) && *p != string(balancer.TCP) {
			return unsupported("a health check over " + *p)
		}
		c.Protocol = balancer.Protocol(*p)
		if c.Protocol == balancer.TCP {
			c.Path, c.Matcher = "", ""
		}
	}
	if p := in.HealthCheckPort; p != nil {
		if c.Port = 0; *p != "traffic-port" {
			port, err := strconv.Atoi(*p)
			if err != nil {
				return wire.Errorf("ValidationError", "Health check port '%s' must be 'traffic-port' or a valid port number", *p)
			}
			c.Port = port
		}
	}
	if in.HealthCheckPath != nil {
		c.Path = *in.HealthCheckPath
	}
	for _, n := range []struct {
		from *int
		to   *task.Seconds
	}{{in.HealthCheckIntervalSeconds, &c.Interval}, {in.HealthCheckTimeoutSeconds, &c.Timeout}} {
		if n.from != nil {
			*n.to = task.Seconds(*n.from)
		}
	}
	if in.HealthyThresholdCount != nil {
		c.Healthy = *in.HealthyThresholdCount
	}
	if in.UnhealthyThresholdCount != nil {
		c.Unhealthy = *in.UnhealthyThresholdCount
	}
	if in.Matcher != nil && in.Matcher.HTTPCode != "" {
		c.Matcher = in.Matcher.HTTPCode
	}
	return nil
}

type createTargetGroupIn struct {
	Name            string  `json:"Name" required:"true"`
	Protocol        *string `json:"Protocol" enum:"HTTP,HTTPS,TCP,TLS,UDP,TCP_UDP,GENEVE,QUIC,TCP_QUIC"`
	ProtocolVersion *string `json:"ProtocolVersion"`
	Port            *int    `json:"Port" min:"1" max:"65535"`
	VpcID           *string `json:"VpcId"`
	TargetType      *string `json:"TargetType" enum:"instance,ip,lambda,alb"`
	IPAddressType   *string `json:"IpAddressType" enum:"ipv4,ipv6"`
	Tags            []tag   `json:"Tags" min:"1"`
	checkIn
}

// groupOut is a target group as the API shows it.
type groupOut struct {
	TargetGroupArn             string       `xml:"TargetGroupArn"`
	TargetGroupName            string       `xml:"TargetGroupName"`
	Protocol                   string       `xml:"Protocol"`
	Port                       int          `xml:"Port"`
	VpcID                      string       `xml:"VpcId,omitempty"`
	HealthCheckProtocol        string       `xml:"HealthCheckProtocol"`
	HealthCheckPort            string       `xml:"HealthCheckPort"`
	HealthCheckEnabled         bool         `xml:"HealthCheckEnabled"`
	HealthCheckIntervalSeconds int          `xml:"HealthCheckIntervalSeconds"`
	HealthCheckTimeoutSeconds  int          `xml:"HealthCheckTimeoutSeconds"`
	HealthyThresholdCount      int          `xml:"HealthyThresholdCount"`
	UnhealthyThresholdCount    int          `xml:"UnhealthyThresholdCount"`
	HealthCheckPath            string       `xml:"HealthCheckPath,omitempty"`
	Matcher                    *matcher     `xml:"Matcher"`
	LoadBalancerArns           list[string] `xml:"LoadBalancerArns"`
	TargetType                 string       `xml:"TargetType"`
	ProtocolVersion            string       `xml:"ProtocolVersion,omitempty"`
	IPAddressType              string       `xml:"IpAddressType"`
}

type groupsOut struct {
	TargetGroups list[groupOut] `xml:"TargetGroups"`
}

func showGroup(g balancer.TargetGroup, all []balancer.LoadBalancer) groupOut {
	c := g.HealthCheck
	out := groupOut{
		TargetGroupArn: g.ARN, TargetGroupName: g.Name, Protocol: string(g.Protocol), Port: g.Port, VpcID: g.VPC,
		HealthCheckProtocol: string(c.Protocol), HealthCheckPort: "traffic-port", HealthCheckEnabled: true,
		HealthCheckIntervalSeconds: int(c.Interval), HealthCheckTimeoutSeconds: int(c.Timeout),
		HealthyThresholdCount: c.Healthy, UnhealthyThresholdCount: c.Unhealthy, HealthCheckPath: c.Path,
		TargetType: "ip", IPAddressType: "ipv4",
	}
	if c.Port != 0 {
		out.HealthCheckPort = strconv.Itoa(c.Port)
	}
	if c.Matcher != "" {
		out.Matcher = &matcher{c.Matcher}
	}
	if g.Protocol == balancer.HTTP {
		out.ProtocolVersion = "HTTP1"
	}
	for _, l := range all {
		if slices.ContainsFunc(l.Listeners, func(l balancer.Listener) bool { return l.GroupARN == g.ARN }) {
			out.LoadBalancerArns.add(l.ARN)
		}
	}
	return out
}

func (s *server) createTargetGroup(ctx context.Context, c wire.Call, in *createTargetGroupIn) (*groupsOut, error) {
	switch {
	case in.TargetType == nil || *in.TargetType != "ip":
		return nil, unsupported("a target type other than ip, which tasks have,")
	case in.Protocol == nil:
		return nil, wire.Errorf("ValidationError", "A protocol must be specified")
	case *in.Protocol != string(balancer.HTTP) && *in.Protocol != string(balancer.TCP):
		return nil, unsupported("protocol " + *in.Protocol)
	case in.Port == nil:
		return nil, wire.Errorf("ValidationError", "A port must be specified")
	case in.ProtocolVersion != nil && *in.ProtocolVersion != "HTTP1":
		return nil, unsupported("protocol version " + *in.ProtocolVersion)
	case in.IPAddressType != nil && *in.IPAddressType != "ipv4":
		return nil, unsupported("address type " + *in.IPAddressType)
	}
	g := balancer.TargetGroup{Name: in.Name, Protocol: balancer.Protocol(*in.Protocol), Port: *in.Port, DeregistrationDelay: balancer.DefaultDelay, Tags: tagsIn(in.Tags)}
	if in.VpcID != nil {
		g.VPC = *in.VpcID
	}
	if g.Protocol == balancer.HTTP {
		g.HealthCheck.Matcher = "200" // as an Application Load Balancer's
	}
	if err := in.checkIn.apply(&g.HealthCheck); err != nil {
		return nil, err
	}
	if g.Protocol == balancer.HTTP && g.HealthCheck.Protocol == balancer.TCP {
		return nil, unsupported("a health check over TCP of a group that speaks HTTP")
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if known, err := s.Groups.Group(ctx, c.Realm(), g.Name); err == nil {
		g.ARN, g.CreatedAt, g.ListenPort = known.ARN, known.CreatedAt, known.ListenPort
		if same := g.WithDefaults(); same.HealthCheck == known.HealthCheck && same.Protocol == known.Protocol && same.Port == known.Port {
			return &groupsOut{listOf(showGroup(known, nil))}, nil // Creating the same again is the same.
		}
		return nil, wire.Errorf("DuplicateTargetGroupName", "A target group with the same name '%s' exists, but with different settings", g.Name)
	} else if fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	g, err := s.Groups.PutGroup(ctx, c.Realm(), g)
	if err != nil {
		return nil, err
	}
	return &groupsOut{listOf(showGroup(g, nil))}, nil
}

type describeTargetGroupsIn struct {
	LoadBalancerArn string   `json:"LoadBalancerArn"`
	TargetGroupArns []string `json:"TargetGroupArns"`
	Names           []string `json:"Names"`
	Marker          string   `json:"Marker"`
	PageSize        int      `json:"PageSize" min:"1" max:"400"`
}

// describeTargetGroups gives all at once: there is no next page.
func (s *server) describeTargetGroups(ctx context.Context, c wire.Call, in *describeTargetGroupsIn) (*groupsOut, error) {
	all, err := s.Groups.Groups(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	balancers, err := s.Book.LoadBalancers(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	wanted := slices.Concat(in.TargetGroupArns, in.Names)
	for _, ref := range wanted {
		if !slices.ContainsFunc(all, func(g balancer.TargetGroup) bool { return g.ARN == ref || g.Name == ref }) {
			return nil, wire.Errorf("TargetGroupNotFound", "One or more target groups not found")
		}
	}
	if in.LoadBalancerArn != "" {
		if _, err := find(balancers, in.LoadBalancerArn); err != nil {
			return nil, err
		}
	}
	out := &groupsOut{}
	for _, g := range all {
		shown := showGroup(g, balancers)
		if len(wanted) > 0 && !slices.Contains(wanted, g.ARN) && !slices.Contains(wanted, g.Name) ||
			in.LoadBalancerArn != "" && !slices.Contains(shown.LoadBalancerArns.Members, in.LoadBalancerArn) {
			continue
		}
		out.TargetGroups.add(shown)
	}
	return out, nil
}

type modifyTargetGroupIn struct {
	TargetGroupArn string `json:"TargetGroupArn" required:"true"`
	checkIn
}

func (s *server) modifyTargetGroup(ctx context.Context, c wire.Call, in *modifyTargetGroupIn) (*groupsOut, error) {
	g, err := s.change(ctx, c, in.TargetGroupArn, func(g *balancer.TargetGroup) error { return in.checkIn.apply(&g.HealthCheck) })
	if err != nil {
		return nil, err
	}
	balancers, err := s.Book.LoadBalancers(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	return &groupsOut{listOf(showGroup(g, balancers))}, nil
}

// change changes a target group.
func (s *server) change(ctx context.Context, c wire.Call, arn string, f func(g *balancer.TargetGroup) error) (balancer.TargetGroup, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	g, err := s.Groups.Group(ctx, c.Realm(), arn)
	if err != nil {
		return g, err
	}
	if err := f(&g); err != nil {
		return g, err
	}
	return s.Groups.PutGroup(ctx, c.Realm(), g)
}

type groupIn struct {
	TargetGroupArn string `json:"TargetGroupArn" required:"true"`
}

func ofGroup(_ wire.Call, in *groupIn) []string { return []string{in.TargetGroupArn} }

// deleteTargetGroup does nothing if there is no such group, as Elastic Load Balancing does.
func (s *server) deleteTargetGroup(ctx context.Context, c wire.Call, in *groupIn) (*wire.None, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	balancers, err := s.Book.LoadBalancers(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	for _, l := range balancers {
		if slices.ContainsFunc(l.Listeners, func(l balancer.Listener) bool { return l.GroupARN == in.TargetGroupArn }) {
			return nil, wire.Errorf("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", in.TargetGroupArn)
		}
	}
	if err := s.Groups.RemoveGroup(ctx, c.Realm(), in.TargetGroupArn); fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	return nil, nil
}

type targetIn struct {
	ID               string `json:"Id" required:"true"`
	Port             int    `json:"Port"`
	AvailabilityZone string `json:"AvailabilityZone"`
}

type describeTargetHealthIn struct {
	TargetGroupArn string     `json:"TargetGroupArn" required:"true"`
	Targets        []targetIn `json:"Targets"`
	Include        []string   `json:"Include"`
}

type targetOut struct {
	ID   string `xml:"Target>Id"`
	Port int    `xml:"Target>Port"`
	Zone string `xml:"Target>AvailabilityZone"`

	HealthCheckPort string `xml:"HealthCheckPort"`
	State           string `xml:"TargetHealth>State"`
	Reason          string `xml:"TargetHealth>Reason,omitempty"`
	Description     string `xml:"TargetHealth>Description,omitempty"`
}

type targetsOut struct {
	Descriptions list[targetOut] `xml:"TargetHealthDescriptions"`
}

func (s *server) describeTargetHealth(ctx context.Context, c wire.Call, in *describeTargetHealthIn) (*targetsOut, error) {
	g, err := s.Groups.Group(ctx, c.Realm(), in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	all, err := s.Groups.Targets(ctx, c.Realm(), g.ARN)
	if err != nil {
		return nil, err
	}
	out := &targetsOut{}
	show := func(t balancer.Target) {
		port := t.Port
		if g.HealthCheck.Port != 0 {
			port = g.HealthCheck.Port
		}
		out.Descriptions.add(targetOut{
			ID: t.IP, Port: t.Port, Zone: c.Identity.Region + "a", HealthCheckPort: strconv.Itoa(port),
			State: string(t.State), Reason: t.Reason, Description: t.Description,
		})
	}
	for _, wanted := range in.Targets {
		port := wanted.Port
		if port == 0 {
			port = g.Port
		}
		i := slices.IndexFunc(all, func(t balancer.Target) bool { return t.IP == wanted.ID && t.Port == port })
		switch {
		case i >= 0:
			show(all[i])
		case net.ParseIP(wanted.ID) == nil:
			return nil, wire.Errorf("ValidationError", "The IP address '%s' is not a valid IPv4 address", wanted.ID)
		default:
			show(balancer.Target{IP: wanted.ID, Port: port, State: "unused", Reason: "Target.NotRegistered", Description: "Target is not registered to the target group"})
		}
	}
	if len(in.Targets) == 0 {
		for _, t := range all {
			show(t)
		}
	}
	return out, nil
}

// delayKey is the attribute that a target group has besides those that cannot be changed.
const delayKey = "deregistration_delay.timeout_seconds"

// groupAttributes are those of a group that are always so (Elastic Load Balancing API,
// TargetGroupAttribute).
func groupAttributes(g balancer.TargetGroup) []attribute {
	all := []attribute{{delayKey, strconv.Itoa(int(g.DeregistrationDelay))}, {"stickiness.enabled", "false"}}
	if g.Protocol == balancer.HTTP {
		return append(all, attribute{"stickiness.type", "lb_cookie"}, attribute{"stickiness.lb_cookie.duration_seconds", "86400"},
			attribute{"slow_start.duration_seconds", "0"}, attribute{"load_balancing.algorithm.type", "round_robin"},
			attribute{"load_balancing.cross_zone.enabled", "use_load_balancer_configuration"})
	}
	return append(all, attribute{"stickiness.type", "source_ip"}, attribute{"deregistration_delay.connection_termination.enabled", "true"},
		attribute{"preserve_client_ip.enabled", "false"}, attribute{"proxy_protocol_v2.enabled", "false"})
}

type attributesOut struct {
	Attributes list[attribute] `xml:"Attributes"`
}

func (s *server) describeTargetGroupAttributes(ctx context.Context, c wire.Call, in *groupIn) (*attributesOut, error) {
	g, err := s.Groups.Group(ctx, c.Realm(), in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	return &attributesOut{listOf(groupAttributes(g)...)}, nil
}

type modifyGroupAttributesIn struct {
	TargetGroupArn string      `json:"TargetGroupArn" required:"true"`
	Attributes     []attribute `json:"Attributes" required:"true"`
}

func (s *server) modifyTargetGroupAttributes(ctx context.Context, c wire.Call, in *modifyGroupAttributesIn) (*attributesOut, error) {
	g, err := s.change(ctx, c, in.TargetGroupArn, func(g *balancer.TargetGroup) error {
		for _, a := range in.Attributes {
			if a.Key == delayKey {
				n, err := strconv.Atoi(a.Value)
				if err != nil {
					return wire.Errorf("ValidationError", "Target group attribute value '%s' is not valid for '%s'", a.Value, a.Key)
				}
				g.DeregistrationDelay = task.Seconds(n)
				continue
			}
			if !slices.Contains(groupAttributes(*g), a) {
				return unsupported("target group attribute " + a.Key + " with value '" + a.Value + "'")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &attributesOut{listOf(groupAttributes(g)...)}, nil
}
