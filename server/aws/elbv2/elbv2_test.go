package elbv2_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/balancer"
	"berth/server/aws/elbv2"
	"berth/server/aws/wire"
	"berth/server/rest/resttest"
	"berth/task"
)

// book keeps load balancers in memory, of all accounts.
type book map[string]balancer.LoadBalancer

func (b book) LoadBalancers(_ context.Context, in task.Realm) ([]balancer.LoadBalancer, error) {
	var all []balancer.LoadBalancer
	for _, arn := range slices.Sorted(maps.Keys(b)) {
		if strings.Contains(arn, ":"+in.Account+":") {
			all = append(all, b[arn])
		}
	}
	return all, nil
}

func (b book) PutLoadBalancer(_ context.Context, _ task.Realm, l balancer.LoadBalancer) error {
	b[l.ARN] = l
	return nil
}

func (b book) RemoveLoadBalancer(_ context.Context, _ task.Realm, arn string) error {
	delete(b, arn)
	return nil
}

// service is the API as account 111111111111.
type service struct {
	t      *testing.T
	url    string
	groups resttest.Balancer
}

func newService(t *testing.T) *service {
	t.Helper()
	groups, n := resttest.New().Balancer(), 0
	front := wire.New(wire.Config{
		Services: []wire.Service{elbv2.New(elbv2.Config{
			Groups: groups, Book: make(book), Address: "127.0.0.1", Now: time.Now,
			NewID: func() string { n++; return fmt.Sprintf("%016x", n) },
		})},
		Authenticate: wire.Anybody("111111111111", "us-east-1"), Access: access.Open{}, Log: zap.NewNop(), Now: time.Now,
		NewRequestID: func() string { return "request" },
	})
	srv := httptest.NewServer(front)
	t.Cleanup(srv.Close)
	return &service{t, srv.URL, groups}
}

// call returns the answer's code, or what it has at a path of elements.
func (s *service) call(action string, path string, pairs ...string) string {
	s.t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2015-12-01"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := http.PostForm(s.url, form)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		path = "Error>Code"
	}
	return at(s.t, body, path)
}

// at returns the texts of the elements at a path, anywhere in a document.
func at(t *testing.T, document []byte, path string) string {
	t.Helper()
	var open, found []string
	for d := xml.NewDecoder(strings.NewReader(string(document))); ; {
		token, err := d.Token()
		if err == io.EOF {
			return strings.Join(found, " ")
		}
		if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name.Local)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" && strings.HasSuffix(">"+strings.Join(open, ">"), ">"+path) {
				found = append(found, text)
			}
		}
	}
}

// Ensure a listener is made, changed and removed as the port of a target group, that
// repeating what makes things changes nothing, and that what is in use stays.
func TestReachable(t *testing.T) {
	s := newService(t)
	want := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	create := []string{"Name", "web", "Protocol", "HTTP", "Port", "80", "TargetType", "ip", "VpcId", "vpc-1", "HealthCheckPath", "/health", "Tags.member.1.Key", "a", "Tags.member.1.Value", "b"}
	arn := s.call("CreateTargetGroup", "TargetGroupArn", create...)
	want(s.call("CreateTargetGroup", "TargetGroupArn", create...), arn)
	want(s.call("CreateTargetGroup", "", append(create, "HealthCheckIntervalSeconds", "10")...), "DuplicateTargetGroupName")
	want(s.call("DescribeTargetGroups", "member>Matcher>HttpCode", "Names.member.1", "web"), "200")
	want(s.call("ModifyTargetGroup", "HealthCheckPath", "TargetGroupArn", arn, "HealthCheckPath", "/up", "HealthCheckIntervalSeconds", "7"), "/up")
	want(s.call("ModifyTargetGroupAttributes", "", "TargetGroupArn", arn, "Attributes.member.1.Key", "deregistration_delay.timeout_seconds", "Attributes.member.1.Value", "0"), "")
	lb := s.call("CreateLoadBalancer", "LoadBalancerArn", "Name", "lb", "Subnets.member.1", "subnet-1")
	want(s.call("CreateLoadBalancer", "LoadBalancerArn", "Name", "lb", "Subnets.member.1", "subnet-1"), lb)
	want(s.call("CreateLoadBalancer", "", "Name", "lb", "Subnets.member.1", "subnet-2"), "DuplicateLoadBalancerName")
	forward := func(arn string) []string {
		return []string{"DefaultActions.member.1.Type", "forward", "DefaultActions.member.1.TargetGroupArn", arn}
	}
	listen := append(forward(arn), "LoadBalancerArn", lb, "Protocol", "HTTP", "Port", "8000")
	l := s.call("CreateListener", "ListenerArn", listen...)
	want(s.call("CreateListener", "ListenerArn", listen...), l)
	want(s.call("CreateListener", "", append(forward(arn), "LoadBalancerArn", lb, "Protocol", "HTTP", "Port", "8001")...), "TargetGroupAssociationLimit")
	want(s.call("DescribeTargetGroups", "LoadBalancerArns>member", "LoadBalancerArn", lb), lb)
	realm := task.Realm{Account: "111111111111", Region: "us-east-1"}
	port := func(want int) {
		t.Helper()
		g, err := s.groups.Group(t.Context(), realm, "web")
		if err != nil || g.ListenPort != want || g.HealthCheck.Interval != 7 || g.DeregistrationDelay != 0 || g.VPC != "vpc-1" || len(g.Tags) != 1 {
			t.Errorf("the group is %+v, %v; want it at port %d", g, err, want)
		}
	}
	port(8000)
	want(s.call("ModifyListener", "Listeners>member>Port", "ListenerArn", l, "Port", "8002"), "8002")
	port(8002)
	other := s.call("CreateTargetGroup", "TargetGroupArn", "Name", "other", "Protocol", "HTTP", "Port", "80", "TargetType", "ip")
	want(s.call("ModifyListener", "DefaultActions>member>TargetGroupArn", append(forward(other), "ListenerArn", l)...), other)
	port(0)
	want(s.call("DeleteTargetGroup", "", "TargetGroupArn", other), "ResourceInUse")
	want(s.call("AddTags", "", "ResourceArns.member.1", lb, "ResourceArns.member.2", l, "Tags.member.1.Key", "team", "Tags.member.1.Value", "x"), "")
	want(s.call("DescribeTags", "Tags>member>Value", "ResourceArns.member.1", lb, "ResourceArns.member.2", l, "ResourceArns.member.3", arn), "x x b")
	want(s.call("RemoveTags", "", "ResourceArns.member.1", lb, "TagKeys.member.1", "team"), "")
	want(s.call("DescribeTags", "Tags>member>Value", "ResourceArns.member.1", lb), "")
	want(s.call("DeleteListener", "", "ListenerArn", l), "")
	want(s.call("DeleteListener", "", "ListenerArn", l), "ListenerNotFound")
	want(s.call("DeleteLoadBalancer", "", "LoadBalancerArn", lb), "")
	want(s.call("DeleteLoadBalancer", "", "LoadBalancerArn", lb), "")
	want(s.call("DescribeLoadBalancers", "", "Names.member.1", "lb"), "LoadBalancerNotFound")
	want(s.call("DeleteTargetGroup", "", "TargetGroupArn", other), "")
	want(s.call("DeleteTargetGroup", "", "TargetGroupArn", other), "")
}

// Ensure what the load balancer cannot do is refused.
func TestRefusals(t *testing.T) {
	s := newService(t)
	arn := s.call("CreateTargetGroup", "TargetGroupArn", "Name", "web", "Protocol", "HTTP", "Port", "80", "TargetType", "ip")
	lb := s.call("CreateLoadBalancer", "LoadBalancerArn", "Name", "lb")
	listen := []string{"LoadBalancerArn", lb, "Port", "8000", "Protocol"}
	forward := []string{"DefaultActions.member.1.Type", "forward", "DefaultActions.member.1.TargetGroupArn", arn}
	for _, tt := range []struct {
		action string
		pairs  []string
		code   string
	}{
		{"CreateTargetGroup", []string{"Name", "x", "Protocol", "HTTP", "Port", "80"}, "InvalidConfigurationRequest"}, // instances
		{"CreateTargetGroup", []string{"Name", "x", "Protocol", "HTTPS", "Port", "80", "TargetType", "ip"}, "InvalidConfigurationRequest"},
		{"CreateTargetGroup", []string{"Name", "x-", "Protocol", "HTTP", "Port", "80", "TargetType", "ip"}, "ValidationError"},
		{"CreateTargetGroup", []string{"Name", "x", "Protocol", "HTTP", "TargetType", "ip"}, "ValidationError"},
		{"CreateTargetGroup", []string{"Protocol", "HTTP", "Port", "80", "TargetType", "ip"}, "ValidationError"},
		{"CreateListener", append(slices.Clone(forward), append(listen, "HTTPS")...), "UnsupportedProtocol"},
		{"CreateListener", append([]string{"DefaultActions.member.1.Type", "forward", "DefaultActions.member.1.TargetGroupArn", arn + "0"}, append(listen, "HTTP")...), "TargetGroupNotFound"},
		{"CreateListener", append([]string{"DefaultActions.member.1.Type", "redirect"}, append(listen, "HTTP")...), "InvalidConfigurationRequest"},
		{"CreateListener", append(slices.Clone(forward), "LoadBalancerArn", lb+"0", "Port", "80", "Protocol", "HTTP"), "LoadBalancerNotFound"},
		{"CreateLoadBalancer", []string{"Name", "x", "Type", "gateway"}, "InvalidConfigurationRequest"},
		{"ModifyLoadBalancerAttributes", []string{"LoadBalancerArn", lb, "Attributes.member.1.Key", "access_logs.s3.enabled", "Attributes.member.1.Value", "true"}, "InvalidConfigurationRequest"},
		{"ModifyLoadBalancerAttributes", []string{"LoadBalancerArn", lb, "Attributes.member.1.Key", "idle_timeout.timeout_seconds", "Attributes.member.1.Value", "60"}, ""},
		{"ModifyTargetGroupAttributes", []string{"TargetGroupArn", arn, "Attributes.member.1.Key", "deregistration_delay.timeout_seconds", "Attributes.member.1.Value", "3601"}, "ValidationError"},
		{"DescribeListeners", nil, "ValidationError"},
	} {
		if got := s.call(tt.action, "", tt.pairs...); got != tt.code {
			t.Errorf("%s %v: %q, want %q", tt.action, tt.pairs, got, tt.code)
		}
	}
	if got := s.call("DescribeTargetHealth", "State", "TargetGroupArn", arn, "Targets.member.1.Id", "10.0.0.9"); got != "unused" {
		t.Errorf("a target that nobody has: %q", got)
	}
}
