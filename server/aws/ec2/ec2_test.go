package ec2_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/server/aws/ec2"
	"berth/server/aws/wire"
	"berth/task"
)

var update = flag.Bool("update", false, "write the golden file")

var here = task.Realm{Region: "eu-west-1", Account: "111122223333", Cluster: "default"}

// world has tasks and groups of one account.
type world struct {
	mu     sync.Mutex
	tasks  []task.Task
	groups []task.SecurityGroup
	used   string // group that tasks are in
}

func (w *world) Connected(_ context.Context, in task.Realm) ([]task.Task, error) {
	if in.Account != here.Account {
		return nil, nil
	}
	return w.tasks, nil
}

func (w *world) Groups(_ context.Context, in task.Realm) ([]task.SecurityGroup, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in.Account != here.Account {
		return nil, nil
	}
	return slices.Clone(w.groups), nil
}

func (w *world) Group(ctx context.Context, in task.Realm, ref string) (task.SecurityGroup, error) {
	all, err := w.Groups(ctx, in)
	for _, g := range all {
		if g.ID == ref || g.Name == ref {
			return g, nil
		}
	}
	return task.SecurityGroup{}, fault.New(fault.NotFound, "no group %s: %v", ref, err)
}

func (w *world) PutGroup(_ context.Context, _ task.Realm, g task.SecurityGroup) (task.SecurityGroup, error) {
	if err := g.Validate(); err != nil {
		return g, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, old := range w.groups {
		if old.Name == g.Name {
			g.ID = old.ID
			w.groups[i] = g
			return g, nil
		}
	}
	g.ID = fmt.Sprintf("sg-%017x", len(w.groups)+1)
	w.groups = append(w.groups, g)
	return g, nil
}

func (w *world) RemoveGroup(_ context.Context, _ task.Realm, ref string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ref == w.used {
		return fault.New(fault.Conflict, "in use")
	}
	w.groups = slices.DeleteFunc(w.groups, func(g task.SecurityGroup) bool { return g.ID == ref })
	return nil
}

// run adds a task that is connected.
func (w *world) run(t *testing.T, n int, ip string, network *task.NetworkConfiguration, port int) task.Task {
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	now := task.Instant{Wall: noon, Boot: time.Hour, BootID: "b"}
	d := task.Definition{Family: "web", CPU: "256", Memory: "512", ContainerDefinitions: []task.ContainerDefinition{{Name: "app", Image: "i", PortMappings: []task.PortMapping{{ContainerPort: 80}}}}}
	tk, err := task.New(d, task.Run{Realm: here, Network: network}, task.ID(fmt.Sprintf("%032x", n)), now)
	if err != nil {
		t.Fatal(err)
	}
	net := task.Network{IPv4: ip, MAC: "0a:98:eb:a7:29:ba"}
	if port > 0 {
		net.Published = []task.Port{{Protocol: "tcp", Container: 80, Host: port}}
	}
	if tk, err = tk.Apply(task.Provisioned(tk, now, net, fmt.Sprintf("%032x", 0xabc00+n))); err != nil {
		t.Fatal(err)
	}
	w.tasks = append(w.tasks, tk)
	return tk
}

func (w *world) front() *wire.Front {
	return wire.New(wire.Config{
		Services:     []wire.Service{ec2.New(ec2.Config{Tasks: w, Groups: w, Subnet: netip.MustParsePrefix("10.108.0.0/16"), HostIP: func() string { return "192.0.2.7" }})},
		Authenticate: wire.Anybody(here.Account, here.Region), Access: access.Open{}, Hosts: []string{"berth.example"},
		Log: zap.NewNop(), Now: time.Now, NewRequestID: func() string { return "request-1" },
	})
}

func ask(front *wire.Front, host, account, form string) (int, string) {
	r := httptest.NewRequest("POST", "http://"+host+"/", strings.NewReader(form+"&Version=2016-11-15"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if account != "" {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+account+"/20261129/eu-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0")
	}
	rec := httptest.NewRecorder()
	front.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

// indented is XML with a line for each element.
func indented(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	d, e := xml.NewDecoder(strings.NewReader(text)), xml.NewEncoder(&b)
	e.Indent("", "  ")
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if start, ok := token.(xml.StartElement); ok {
			start.Name.Space, start.Attr = "", nil
			token = start
		}
		if end, ok := token.(xml.EndElement); ok {
			end.Name.Space = ""
			token = end
		}
		if _, ok := token.(xml.ProcInst); ok {
			continue
		}
		if err := e.EncodeToken(token); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Ensure a session of calls is answered as EC2 answers it.
func TestCalls(t *testing.T) {
	w := &world{}
	front := w.front()
	var got strings.Builder
	say := func(form string) string {
		t.Helper()
		status, body := ask(front, "127.0.0.1:8080", "", form)
		fmt.Fprintf(&got, "%s\n%d %s\n\n", form, status, indented(t, body))
		return body
	}
	say("Action=CreateSecurityGroup&GroupName=web&GroupDescription=the+web&DryRun=true")
	say("Action=CreateSecurityGroup&GroupName=web&GroupDescription=the+web&VpcId=" + here.VPCID())
	say("Action=CreateSecurityGroup&GroupName=web&GroupDescription=again")
	say("Action=CreateSecurityGroup&GroupName=db&GroupDescription=x&TagSpecification.1.ResourceType=security-group&TagSpecification.1.Tag.1.Key=a&TagSpecification.1.Tag.1.Value=b")
	const sg = "sg-00000000000000001"
	say("Action=AuthorizeSecurityGroupIngress&GroupId=" + sg + "&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=81&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.1.Description=lan&IpPermissions.1.Groups.1.GroupId=" + sg)
	say("Action=AuthorizeSecurityGroupIngress&GroupId=" + sg + "&IpProtocol=6&FromPort=80&ToPort=81&CidrIp=10.0.0.0/8")
	say("Action=AuthorizeSecurityGroupIngress&GroupId=" + sg + "&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=::/0")
	say("Action=AuthorizeSecurityGroupIngress&GroupId=sg-00000000000000009&IpProtocol=tcp&FromPort=1&ToPort=1&CidrIp=10.0.0.0/8")
	say("Action=RevokeSecurityGroupEgress&GroupId=" + sg + "&IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0")
	say("Action=RevokeSecurityGroupEgress&GroupId=" + sg + "&IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0")
	say("Action=DescribeSecurityGroups&GroupId.1=" + sg)
	say("Action=DescribeSecurityGroups&Filter.1.Name=ip-permission.from-port&Filter.1.Value.1=80&Filter.2.Name=group-name&Filter.2.Value.1=d*")
	say("Action=DescribeSecurityGroups&GroupId.1=web")
	rules := say("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1=" + sg)

	w.run(t, 1, "10.108.0.2", &task.NetworkConfiguration{AWSVPC: task.AWSVPC{SecurityGroups: []string{sg}, AssignPublicIP: "ENABLED", Subnets: []string{"subnet-mine"}}}, 32768)
	second := w.run(t, 2, "10.108.0.3", nil, 0)
	say("Action=DescribeNetworkInterfaces")
	say("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=" + second.ENIs()[0].ID)
	say("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-0")
	say("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=x")
	say("Action=DescribeNetworkInterfaces&Filter.1.Name=colour&Filter.1.Value.1=red")
	say("Action=DescribeSubnets&SubnetId.1=" + here.SubnetID())
	say("Action=DescribeSubnets&SubnetId.1=subnet-1")
	say("Action=DescribeVpcs&Filter.1.Name=isDefault&Filter.1.Value.1=true")
	say("Action=DescribeVpcs&Filter.1.Name=tag:Name&Filter.1.Value.1=x")
	say("Action=DescribeVpcAttribute&Attribute=enableDnsSupport&VpcId=" + here.VPCID())
	say("Action=DescribeAvailabilityZones&Filter.1.Name=state&Filter.1.Value.1=available")
	say("Action=DescribeRegions&RegionName.1=us-east-1")
	say("Action=DescribeAccountAttributes&AttributeName.1=default-vpc")
	w.used = sg
	say("Action=DeleteSecurityGroup&GroupId=" + sg)
	w.used = ""
	say("Action=DeleteSecurityGroup&GroupName=web")
	say("Action=DeleteSecurityGroup&GroupName=web")
	say("Action=RunInstances")

	if !strings.Contains(rules, "<securityGroupRuleId>sgr-") {
		t.Error("rules have no IDs")
	}
	path := filepath.Join("testdata", "calls.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got.String() {
		t.Errorf("the answers are\n%s", got.String())
	}
}

// Ensure interfaces are found by what they are, in pages that have each once, and a task's
// public address is where the caller reaches this host.
func TestInterfaces(t *testing.T) {
	w := &world{}
	front := w.front()
	open := &task.NetworkConfiguration{AWSVPC: task.AWSVPC{AssignPublicIP: "ENABLED"}}
	for i := range 12 {
		w.run(t, i, fmt.Sprintf("10.108.0.%d", i+2), open, 40000+i)
	}
	var seen []string
	for token := ""; ; {
		_, body := ask(front, "127.0.0.1", "", "Action=DescribeNetworkInterfaces&MaxResults=5&NextToken="+token)
		var page struct {
			IDs  []string `xml:"networkInterfaceSet>item>networkInterfaceId"`
			Next string   `xml:"nextToken"`
		}
		if err := xml.Unmarshal([]byte(body), &page); err != nil || len(page.IDs) == 0 || len(page.IDs) > 5 {
			t.Fatalf("%s: %v", body, err)
		}
		seen = append(seen, page.IDs...)
		if token = page.Next; token == "" {
			break
		}
	}
	if slices.Sort(seen); len(seen) != 12 || len(slices.Compact(seen)) != 12 {
		t.Errorf("the pages have %v", seen)
	}
	for host, ip := range map[string]string{"127.0.0.1:8080": "127.0.0.1", "10.1.2.3": "10.1.2.3", "localhost:8080": "127.0.0.1", "berth.example": "192.0.2.7"} {
		_, body := ask(front, host, "", "Action=DescribeNetworkInterfaces&Filter.1.Name=private-ip-address&Filter.1.Value.1=10.108.0.3")
		if n := strings.Count(body, "<networkInterfaceId>"); n != 1 || !strings.Contains(body, "<publicIp>"+ip+"</publicIp>") {
			t.Errorf("by %s: %d interfaces, %s", host, n, body)
		}
	}
	if _, body := ask(front, "127.0.0.1", "999999999999", "Action=DescribeNetworkInterfaces"); strings.Contains(body, "eni-") {
		t.Errorf("another account sees %s", body)
	}
	if _, body := ask(front, "127.0.0.1", "999999999999", "Action=DescribeVpcs"); strings.Contains(body, here.VPCID()) {
		t.Errorf("another account has the same VPC")
	}
}

// Ensure rules that are added at the same time are all kept.
func TestRulesAtOnce(t *testing.T) {
	w := &world{}
	front := w.front()
	if status, body := ask(front, "127.0.0.1", "", "Action=CreateSecurityGroup&GroupName=web&GroupDescription=x"); status != 200 {
		t.Fatal(body)
	}
	var all sync.WaitGroup
	for port := range 30 {
		all.Go(func() {
			if status, body := ask(front, "127.0.0.1", "", fmt.Sprintf("Action=AuthorizeSecurityGroupIngress&GroupName=web&IpProtocol=tcp&FromPort=%d&ToPort=%d&CidrIp=10.0.0.0/8", port+1, port+1)); status != 200 {
				t.Error(body)
			}
		})
	}
	all.Wait()
	if n := len(w.groups[0].Ingress); n != 30 {
		t.Errorf("%d rules are left of 30", n)
	}
}
