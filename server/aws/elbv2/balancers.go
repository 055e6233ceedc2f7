package elbv2

import (
	"cmp"
	"context"
	"errors"
	"net"
	"regexp"
	"slices"
	"strings"

	"berth/balancer"
	"berth/server/aws/wire"
	"berth/task"
)

// find returns the load balancer of that ARN or name.
func find(all []balancer.LoadBalancer, ref string) (balancer.LoadBalancer, error) {
	for _, l := range all {
		if l.ARN == ref || l.Name == ref {
			return l, nil
		}
	}
	return balancer.LoadBalancer{}, &wire.Error{Code: "LoadBalancerNotFound", Message: "Load balancer '" + ref + "' not found"}
}

// loadBalancer reads the one of that ARN.
func (s *server) loadBalancer(ctx context.Context, in task.Realm, arn string) (balancer.LoadBalancer, error) {
	all, err := s.Book.LoadBalancers(ctx, in)
	if err != nil {
		return balancer.LoadBalancer{}, err
	}
	return find(all, arn)
}

type subnetMapping struct {
	SubnetID string `json:"SubnetId"`
}

type createLoadBalancerIn struct {
	Name           string          `json:"Name" required:"true"`
	Subnets        []string        `json:"Subnets"`
	SubnetMappings []subnetMapping `json:"SubnetMappings"`
	SecurityGroups []string        `json:"SecurityGroups"`
	Scheme         string          `json:"Scheme" enum:"internet-facing,internal"`
	Tags           []tag           `json:"Tags" min:"1"`
	Type           string          `json:"Type" enum:"application,network,gateway"`
	IPAddressType  string          `json:"IpAddressType" enum:"ipv4,dualstack,dualstack-without-public-ipv4"`
}

type zoneOut struct {
	ZoneName string `xml:"ZoneName"`
	SubnetID string `xml:"SubnetId"`
}

type balancerOut struct {
	LoadBalancerArn   string        `xml:"LoadBalancerArn"`
	DNSName           string        `xml:"DNSName"`
	CanonicalZone     string        `xml:"CanonicalHostedZoneId"`
	CreatedTime       wire.Time     `xml:"CreatedTime"`
	LoadBalancerName  string        `xml:"LoadBalancerName"`
	Scheme            string        `xml:"Scheme"`
	State             string        `xml:"State>Code"`
	Type              string        `xml:"Type"`
	AvailabilityZones list[zoneOut] `xml:"AvailabilityZones"`
	SecurityGroups    list[string]  `xml:"SecurityGroups"`
	IPAddressType     string        `xml:"IpAddressType"`
}

type balancersOut struct {
	LoadBalancers list[balancerOut] `xml:"LoadBalancers"`
}

func (s *server) showBalancer(c wire.Call, l balancer.LoadBalancer) balancerOut {
	out := balancerOut{
		LoadBalancerArn: l.ARN, DNSName: s.address(c), CanonicalZone: "Z00000000000000000000", CreatedTime: wire.At(l.CreatedAt),
		LoadBalancerName: l.Name, Scheme: l.Scheme, State: "active", Type: l.Type, SecurityGroups: listOf(l.SecurityGroups...), IPAddressType: "ipv4",
	}
	for i, id := range l.Subnets {
		out.AvailabilityZones.add(zoneOut{c.Identity.Region + string(rune('a'+i%26)), id})
	}
	return out
}

// address is where listeners are reached by who calls.
func (s *server) address(c wire.Call) string {
	if ip := net.ParseIP(s.Address); ip != nil && !ip.IsUnspecified() {
		return s.Address
	}
	host, _, err := net.SplitHostPort(c.Host)
	if err != nil {
		return c.Host
	}
	return host
}

var balancerName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$`)

func (s *server) createLoadBalancer(ctx context.Context, c wire.Call, in *createLoadBalancerIn) (*balancersOut, error) {
	kind := cmp.Or(in.Type, "application")
	switch {
	case kind == "gateway":
		return nil, unsupported("a gateway load balancer")
	case in.IPAddressType != "" && in.IPAddressType != "ipv4":
		return nil, unsupported("address type " + in.IPAddressType)
	case !balancerName.MatchString(in.Name) || strings.HasPrefix(in.Name, "internal-"):
		return nil, wire.Errorf("ValidationError", "The load balancer name '%s' must have 1 to 32 letters, digits and hyphens, and neither begin nor end with a hyphen nor begin with 'internal-'", in.Name)
	}
	l := balancer.LoadBalancer{
		Name: in.Name, Type: kind, Scheme: cmp.Or(in.Scheme, "internet-facing"), CreatedAt: s.Now().UTC(),
		Subnets: in.Subnets, SecurityGroups: in.SecurityGroups, Tags: tagsIn(in.Tags),
	}
	for _, m := range in.SubnetMappings {
		l.Subnets = append(l.Subnets, m.SubnetID)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	all, err := s.Book.LoadBalancers(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	if known, err := find(all, in.Name); err == nil {
		if known.Type == l.Type && known.Scheme == l.Scheme && slices.Equal(known.Subnets, l.Subnets) && slices.Equal(known.SecurityGroups, l.SecurityGroups) {
			return &balancersOut{listOf(s.showBalancer(c, known))}, nil // Creating the same again is the same.
		}
		return nil, wire.Errorf("DuplicateLoadBalancerName", "A load balancer with the same name '%s' exists, but with different settings", in.Name)
	}
	short := map[string]string{"application": "app", "network": "net"}[kind]
	l.ARN = "arn:aws:elasticloadbalancing:" + c.Identity.Region + ":" + c.Identity.Account + ":loadbalancer/" + short + "/" + l.Name + "/" + s.NewID()
	if err := s.Book.PutLoadBalancer(ctx, c.Realm(), l); err != nil {
		return nil, err
	}
	return &balancersOut{listOf(s.showBalancer(c, l))}, nil
}

type describeLoadBalancersIn struct {
	LoadBalancerArns []string `json:"LoadBalancerArns"`
	Names            []string `json:"Names"`
	Marker           string   `json:"Marker"`
	PageSize         int      `json:"PageSize" min:"1" max:"400"`
}

// describeLoadBalancers gives all at once: there is no next page.
func (s *server) describeLoadBalancers(ctx context.Context, c wire.Call, in *describeLoadBalancersIn) (*balancersOut, error) {
	all, err := s.Book.LoadBalancers(ctx, c.Realm())
	if err != nil {
		return nil, err
	}
	if wanted := slices.Concat(in.LoadBalancerArns, in.Names); len(wanted) > 0 {
		var found []balancer.LoadBalancer
		for _, ref := range wanted {
			l, err := find(all, ref)
			if err != nil {
				return nil, err
			}
			found = append(found, l)
		}
		all = found
	}
	out := &balancersOut{}
	for _, l := range all {
		out.LoadBalancers.add(s.showBalancer(c, l))
	}
	return out, nil
}

type balancerIn struct {
	LoadBalancerArn string `json:"LoadBalancerArn" required:"true"`
}

func ofLoadBalancer(_ wire.Call, in *balancerIn) []string { return []string{in.LoadBalancerArn} }

// deleteLoadBalancer shuts its listeners; one that does not exist is gone already.
func (s *server) deleteLoadBalancer(ctx context.Context, c wire.Call, in *balancerIn) (*wire.None, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	l, err := s.loadBalancer(ctx, c.Realm(), in.LoadBalancerArn)
	var none *wire.Error
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if l.Attributes["deletion_protection.enabled"] == "true" {
		return nil, wire.Errorf("OperationNotPermitted", "Load balancer '%s' cannot be deleted because deletion protection is enabled", l.ARN)
	}
	for _, each := range l.Listeners {
		if err := s.point(ctx, c.Realm(), each.GroupARN, 0); err != nil {
			return nil, err
		}
	}
	return nil, s.Book.RemoveLoadBalancer(ctx, c.Realm(), l.ARN)
}

// balancerAttributes are those of a load balancer that nobody changed (Elastic Load
// Balancing API, LoadBalancerAttribute).
func balancerAttributes(l balancer.LoadBalancer) []attribute {
	all := []attribute{{"access_logs.s3.enabled", "false"}, {"access_logs.s3.bucket", ""}, {"access_logs.s3.prefix", ""}, {"deletion_protection.enabled", "false"}}
	if l.Type == "network" {
		all = append(all, attribute{"load_balancing.cross_zone.enabled", "false"})
	} else {
		all = append(all, attribute{"idle_timeout.timeout_seconds", "60"}, attribute{"load_balancing.cross_zone.enabled", "true"},
			attribute{"routing.http2.enabled", "true"}, attribute{"routing.http.xff_header_processing.mode", "append"})
	}
	for i := range all {
		if value, ok := l.Attributes[all[i].Key]; ok {
			all[i].Value = value
		}
	}
	return all
}

func (s *server) describeLoadBalancerAttributes(ctx context.Context, c wire.Call, in *balancerIn) (*attributesOut, error) {
	l, err := s.loadBalancer(ctx, c.Realm(), in.LoadBalancerArn)
	if err != nil {
		return nil, err
	}
	return &attributesOut{listOf(balancerAttributes(l)...)}, nil
}

type modifyBalancerAttributesIn struct {
	LoadBalancerArn string      `json:"LoadBalancerArn" required:"true"`
	Attributes      []attribute `json:"Attributes" required:"true"`
}

// freeAttributes can have any value: the first counts, the others do not matter within one
// host, or say what there is none of.
var freeAttributes = []string{"deletion_protection.enabled", "load_balancing.cross_zone.enabled", "routing.http2.enabled"}

// modifyLoadBalancerAttributes takes what is as it always is here, and says so where not.
func (s *server) modifyLoadBalancerAttributes(ctx context.Context, c wire.Call, in *modifyBalancerAttributesIn) (*attributesOut, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	l, err := s.loadBalancer(ctx, c.Realm(), in.LoadBalancerArn)
	if err != nil {
		return nil, err
	}
	set := make(map[string]string)
	for key, value := range l.Attributes {
		set[key] = value
	}
	for _, a := range in.Attributes {
		off := a.Value == "false" || a.Value == "" // what nobody wants is no matter
		if !off && !slices.Contains(freeAttributes, a.Key) && !slices.Contains(usualAttributes, a) {
			return nil, unsupported("load balancer attribute " + a.Key + " with value '" + a.Value + "'")
		}
		set[a.Key] = a.Value
	}
	l.Attributes = set
	if err := s.Book.PutLoadBalancer(ctx, c.Realm(), l); err != nil {
		return nil, err
	}
	return &attributesOut{listOf(balancerAttributes(l)...)}, nil
}

// usualAttributes are as things are here, or AWS's own defaults of what nobody notices.
var usualAttributes = []attribute{
	{"idle_timeout.timeout_seconds", "60"}, {"routing.http.xff_header_processing.mode", "append"}, {"client_keep_alive.seconds", "3600"},
	{"routing.http.desync_mitigation_mode", "defensive"}, {"dns_record.client_routing_policy", "any_availability_zone"},
}

type capacityOut struct {
	DecreaseRequestsRemaining int `xml:"DecreaseRequestsRemaining"`
}

// describeCapacityReservation says that nothing is reserved.
func (s *server) describeCapacityReservation(ctx context.Context, c wire.Call, in *balancerIn) (*capacityOut, error) {
	_, err := s.loadBalancer(ctx, c.Realm(), in.LoadBalancerArn)
	return &capacityOut{DecreaseRequestsRemaining: 2}, err
}
