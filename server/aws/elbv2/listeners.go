package elbv2

import (
	"context"
	"slices"
	"strings"

	"berth/balancer"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/task"
)

type groupWeight struct {
	TargetGroupArn string `json:"TargetGroupArn" xml:"TargetGroupArn"`
	Weight         *int   `json:"Weight" xml:"Weight"`
}

type stickiness struct {
	Enabled         bool `json:"Enabled" xml:"Enabled"`
	DurationSeconds *int `json:"DurationSeconds" xml:"DurationSeconds"`
}

type forwardIn struct {
	TargetGroups []groupWeight `json:"TargetGroups"`
	Stickiness   *stickiness   `json:"TargetGroupStickinessConfig"`
}

type actionIn struct {
	Type           string     `json:"Type" required:"true"`
	TargetGroupArn string     `json:"TargetGroupArn"`
	Order          *int       `json:"Order"`
	ForwardConfig  *forwardIn `json:"ForwardConfig"`
}

type forwardOut struct {
	TargetGroups list[groupWeight] `xml:"TargetGroups"`
	Stickiness   stickiness        `xml:"TargetGroupStickinessConfig"`
}

type actionOut struct {
	Type           string     `xml:"Type"`
	TargetGroupArn string     `xml:"TargetGroupArn"`
	Order          int        `xml:"Order"`
	ForwardConfig  forwardOut `xml:"ForwardConfig"`
}

type listenerOut struct {
	ListenerArn     string          `xml:"ListenerArn"`
	LoadBalancerArn string          `xml:"LoadBalancerArn"`
	Port            int             `xml:"Port"`
	Protocol        string          `xml:"Protocol"`
	DefaultActions  list[actionOut] `xml:"DefaultActions"`
}

type listenersOut struct {
	Listeners list[listenerOut] `xml:"Listeners"`
}

func showListener(l balancer.LoadBalancer, each balancer.Listener) listenerOut {
	one := 1
	return listenerOut{
		ListenerArn: each.ARN, LoadBalancerArn: l.ARN, Port: each.Port, Protocol: string(each.Protocol),
		DefaultActions: listOf(actionOut{
			Type: "forward", TargetGroupArn: each.GroupARN, Order: 1,
			ForwardConfig: forwardOut{TargetGroups: listOf(groupWeight{each.GroupARN, &one})},
		}),
	}
}

// forwardsTo returns the one target group that actions forward to.
func forwardsTo(actions []actionIn) (string, error) {
	if len(actions) != 1 || actions[0].Type != "forward" {
		return "", unsupported("a listener that does anything but forward to one target group")
	}
	a := actions[0]
	arn := a.TargetGroupArn
	if f := a.ForwardConfig; f != nil {
		if f.Stickiness != nil && f.Stickiness.Enabled {
			return "", unsupported("stickiness")
		}
		if len(f.TargetGroups) != 1 || arn != "" && f.TargetGroups[0].TargetGroupArn != arn {
			return "", unsupported("a listener that forwards to several target groups")
		}
		arn = f.TargetGroups[0].TargetGroupArn
	}
	if arn == "" {
		return "", wire.Errorf("ValidationError", "A target group ARN must be specified")
	}
	return arn, nil
}

// point makes a port of this host lead to a group; 0 shuts the one that does. A group that is
// gone has none.
func (s *server) point(ctx context.Context, in task.Realm, arn string, port int) error {
	g, err := s.Groups.Group(ctx, in, arn)
	if err != nil {
		if port == 0 && fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	}
	g.ListenPort = port
	_, err = s.Groups.PutGroup(ctx, in, g)
	if port != 0 && fault.KindOf(err) == fault.Conflict {
		return &wire.Error{Code: "DuplicateListener", Message: fault.Message(err), Err: err}
	}
	return err
}

type createListenerIn struct {
	LoadBalancerArn string     `json:"LoadBalancerArn" required:"true"`
	Protocol        *string    `json:"Protocol" enum:"HTTP,HTTPS,TCP,TLS,UDP,TCP_UDP,GENEVE,QUIC,TCP_QUIC"`
	Port            *int       `json:"Port" min:"1" max:"65535"`
	DefaultActions  []actionIn `json:"DefaultActions" required:"true"`
	Tags            []tag      `json:"Tags" min:"1"`
}

// fits reports whether a listener of that protocol can be l's and lead to g.
func fits(l balancer.LoadBalancer, protocol string, g balancer.TargetGroup) error {
	wanted := map[string]balancer.Protocol{"application": balancer.HTTP, "network": balancer.TCP}[l.Type]
	switch {
	case protocol != string(wanted):
		return wire.Errorf("UnsupportedProtocol", "Berth's listeners of %s load balancers speak %s, not %s", l.Type, wanted, protocol)
	case g.Protocol != wanted:
		return wire.Errorf("IncompatibleProtocols", "The target group '%s' speaks %s and the listener %s", g.ARN, g.Protocol, wanted)
	}
	return nil
}

func (s *server) createListener(ctx context.Context, c wire.Call, in *createListenerIn) (*listenersOut, error) {
	if in.Port == nil || in.Protocol == nil {
		return nil, wire.Errorf("ValidationError", "A protocol and a port must be specified")
	}
	arn, err := forwardsTo(in.DefaultActions)
	if err != nil {
		return nil, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	l, err := s.loadBalancer(ctx, c.Realm(), in.LoadBalancerArn)
	if err != nil {
		return nil, err
	}
	g, err := s.Groups.Group(ctx, c.Realm(), arn)
	if err != nil {
		return nil, err
	}
	if err := fits(l, *in.Protocol, g); err != nil {
		return nil, err
	}
	for _, each := range l.Listeners {
		if each.Port == *in.Port {
			if each.GroupARN == arn {
				return &listenersOut{listOf(showListener(l, each))}, nil // Creating the same again is the same.
			}
			return nil, wire.Errorf("DuplicateListener", "A listener already exists on port %d for this load balancer '%s'", each.Port, l.ARN)
		}
	}
	if err := s.free(ctx, c.Realm(), g.ARN, ""); err != nil {
		return nil, err
	}
	if err := s.point(ctx, c.Realm(), g.ARN, *in.Port); err != nil {
		return nil, err
	}
	each := balancer.Listener{
		ARN:      strings.Replace(l.ARN, ":loadbalancer/", ":listener/", 1) + "/" + s.NewID(),
		Protocol: g.Protocol, Port: *in.Port, GroupARN: g.ARN, Tags: tagsIn(in.Tags),
	}
	l.Listeners = append(l.Listeners, each)
	if err := s.Book.PutLoadBalancer(ctx, c.Realm(), l); err != nil {
		return nil, err
	}
	return &listenersOut{listOf(showListener(l, each))}, nil
}

// free refuses a target group that another listener than that one leads to: a group has one
// port.
func (s *server) free(ctx context.Context, in task.Realm, group, but string) error {
	all, err := s.Book.LoadBalancers(ctx, in)
	if err != nil {
		return err
	}
	for _, l := range all {
		for _, each := range l.Listeners {
			if each.GroupARN == group && each.ARN != but {
				return wire.Errorf("TargetGroupAssociationLimit", "The target group '%s' has a listener already: '%s'", group, each.ARN)
			}
		}
	}
	return nil
}

// listener returns the listener of that ARN: its load balancer, and where it is there.
func (s *server) listener(ctx context.Context, in task.Realm, arn string) (balancer.LoadBalancer, int, error) {
	all, err := s.Book.LoadBalancers(ctx, in)
	if err != nil {
		return balancer.LoadBalancer{}, 0, err
	}
	for _, l := range all {
		if i := slices.IndexFunc(l.Listeners, func(each balancer.Listener) bool { return each.ARN == arn }); i >= 0 {
			return l, i, nil
		}
	}
	return balancer.LoadBalancer{}, 0, &wire.Error{Code: "ListenerNotFound", Message: "Listener '" + arn + "' not found"}
}

type describeListenersIn struct {
	LoadBalancerArn string   `json:"LoadBalancerArn"`
	ListenerArns    []string `json:"ListenerArns"`
	Marker          string   `json:"Marker"`
	PageSize        int      `json:"PageSize" min:"1" max:"400"`
}

// describeListeners gives all at once: there is no next page.
func (s *server) describeListeners(ctx context.Context, c wire.Call, in *describeListenersIn) (*listenersOut, error) {
	out := &listenersOut{}
	if in.LoadBalancerArn == "" && len(in.ListenerArns) == 0 {
		return nil, wire.Errorf("ValidationError", "You must specify either listener ARNs or a load balancer ARN")
	}
	if in.LoadBalancerArn != "" {
		l, err := s.loadBalancer(ctx, c.Realm(), in.LoadBalancerArn)
		if err != nil {
			return nil, err
		}
		for _, each := range l.Listeners {
			out.Listeners.add(showListener(l, each))
		}
	}
	for _, arn := range in.ListenerArns {
		l, i, err := s.listener(ctx, c.Realm(), arn)
		if err != nil {
			return nil, err
		}
		out.Listeners.add(showListener(l, l.Listeners[i]))
	}
	return out, nil
}

type modifyListenerIn struct {
	ListenerArn    string     `json:"ListenerArn" required:"true"`
	Port           *int       `json:"Port" min:"1" max:"65535"`
	Protocol       *string    `json:"Protocol"`
	DefaultActions []actionIn `json:"DefaultActions"`
}

func (s *server) modifyListener(ctx context.Context, c wire.Call, in *modifyListenerIn) (*listenersOut, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	l, i, err := s.listener(ctx, c.Realm(), in.ListenerArn)
	if err != nil {
		return nil, err
	}
	each := l.Listeners[i]
	if in.Port != nil {
		each.Port = *in.Port
	}
	if in.DefaultActions != nil {
		if each.GroupARN, err = forwardsTo(in.DefaultActions); err != nil {
			return nil, err
		}
	}
	protocol := string(each.Protocol)
	if in.Protocol != nil {
		protocol = *in.Protocol
	}
	g, err := s.Groups.Group(ctx, c.Realm(), each.GroupARN)
	if err != nil {
		return nil, err
	}
	if err := fits(l, protocol, g); err != nil {
		return nil, err
	}
	if err := s.free(ctx, c.Realm(), each.GroupARN, each.ARN); err != nil {
		return nil, err
	}
	if before := l.Listeners[i].GroupARN; before != each.GroupARN { // Its port has to be free for the other one.
		if err := s.point(ctx, c.Realm(), before, 0); err != nil {
			return nil, err
		}
	}
	if err := s.point(ctx, c.Realm(), each.GroupARN, each.Port); err != nil {
		return nil, err
	}
	l.Listeners = slices.Clone(l.Listeners)
	l.Listeners[i] = each
	if err := s.Book.PutLoadBalancer(ctx, c.Realm(), l); err != nil {
		return nil, err
	}
	return &listenersOut{listOf(showListener(l, each))}, nil
}

type listenerIn struct {
	ListenerArn string `json:"ListenerArn" required:"true"`
}

func ofListener(_ wire.Call, in *listenerIn) []string { return []string{in.ListenerArn} }

func (s *server) deleteListener(ctx context.Context, c wire.Call, in *listenerIn) (*wire.None, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	l, i, err := s.listener(ctx, c.Realm(), in.ListenerArn)
	if err != nil {
		return nil, err
	}
	if err := s.point(ctx, c.Realm(), l.Listeners[i].GroupARN, 0); err != nil {
		return nil, err
	}
	l.Listeners = slices.Delete(slices.Clone(l.Listeners), i, i+1)
	return nil, s.Book.PutLoadBalancer(ctx, c.Realm(), l)
}

// describeListenerAttributes says that there are none.
func (s *server) describeListenerAttributes(ctx context.Context, c wire.Call, in *listenerIn) (*attributesOut, error) {
	_, _, err := s.listener(ctx, c.Realm(), in.ListenerArn)
	return &attributesOut{}, err
}
