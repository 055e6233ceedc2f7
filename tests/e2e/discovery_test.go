//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Ensure a task asks this server for names, in gVisor too and whatever its groups say, that
// it learns where its neighbours are and not where nobody is, and that the metadata
// endpoint says whom it asks.
func TestNames(t *testing.T) {
	s := start(t)
	if code := s.call("PUT", "/api/v1/security-groups/shut", `{"ipPermissionsEgress":[]}`, nil); code != 200 {
		t.Fatalf("put a group: %d", code)
	}
	neighbour := s.submit(definition("neighbour", "256", "512", "", "sleep", "10m"))
	s.until(neighbour.id(), "RUNNING", 30*time.Second)
	address := ""
	for _, d := range s.task(neighbour.id()).Attachments[0].Details {
		if d.Name == "privateIPv4Address" {
			address = d.Value
		}
	}
	name := "ip-" + strings.ReplaceAll(address, ".", "-") + ".ec2.internal"
	for _, class := range []string{"", "gvisor"} {
		if class != "" && !hasGVisor() {
			t.Log("NOT TESTED: gVisor is not built here: make build GVISOR=1")
			continue
		}
		runtime := ""
		if class != "" {
			runtime = `,"runtime":"` + class + `"`
		}
		d := definition("looks", "256", "512", "", "lookup", name, "nobody.default.berth.internal", "nobody")
		for _, groups := range []string{"", `,"networkConfiguration":{"awsvpcConfiguration":{"securityGroups":["shut"]}}`} {
			var out struct{ Tasks []aTask }
			if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+d+runtime+groups+`}`, &out); code != 201 {
				t.Fatalf("run: %d", code)
			}
			id := out.Tasks[0].id()
			s.until(id, "STOPPED", time.Minute)
			told := s.told(id, "main")
			if len(told) != 3 || told[0] != name+": "+address || !strings.HasPrefix(told[1], "nobody.default.berth.internal: ") || !strings.Contains(told[1], "no such host") {
				t.Errorf("in %q, with %q: %v", class, groups, told)
			}
		}
	}
	conf := s.answers(definition("conf", "256", "512", "", "cat", "/etc/resolv.conf"))
	gateway := ""
	if len(conf) > 1 {
		gateway, _ = strings.CutPrefix(conf[0], "nameserver ")
	}
	if len(conf) < 2 || gateway == "" || !strings.HasPrefix(conf[1], "search default.berth.internal") || slices.ContainsFunc(conf[1:], func(l string) bool { return strings.HasPrefix(l, "nameserver") }) {
		t.Errorf("resolv.conf: %v", conf)
	}
	told := s.answers(definition("asks", "256", "512", "", "ask", "${ECS_CONTAINER_METADATA_URI_V4}"))
	meta := answer[struct {
		Networks []struct {
			DomainNameServers    []string
			DomainNameSearchList []string
		}
	}](t, told[0])
	if n := meta.Networks; len(n) != 1 || fmt.Sprint(n[0].DomainNameServers) != "["+gateway+"]" || len(n[0].DomainNameSearchList) == 0 || n[0].DomainNameSearchList[0] != "default.berth.internal" {
		t.Errorf("the metadata endpoint says %+v", n)
	}
	if reach(gateway+":53") == nil {
		t.Error("the host itself reaches the name server of tasks")
	}

	s.ecs("RegisterTaskDefinition", `{"family":"web","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512",
		"containerDefinitions":[{"name":"web","image":"berth/demo:latest","command":["serve","8080"],"portMappings":[{"containerPort":8080,"name":"http"}]}]}`, nil)
	s.ecs("CreateService", `{"serviceName":"web","taskDefinition":"web","desiredCount":2,"launchType":"FARGATE","networkConfiguration":{"awsvpcConfiguration":{"subnets":["subnet-1"]}},
		"serviceConnectConfiguration":{"enabled":true,"namespace":"corp","services":[{"portName":"http","clientAliases":[{"port":8080,"dnsName":"api"}]}]}}`, nil)
	s.eventually(time.Minute, "a task finds the service by its names", func() error {
		told := s.answers(definition("finds", "256", "512", "", "lookup", "web", "web.default.berth.internal", "api", "http.corp"))
		for i, name := range []string{"web", "web.default.berth.internal", "api", "http.corp"} {
			if len(told) != 4 || !strings.HasPrefix(told[i], name+": ") || len(strings.Fields(told[i])) != 3 || strings.Fields(told[i])[1:][0] != strings.Fields(told[0])[1] {
				return fmt.Errorf("it finds %v", told)
			}
		}
		return nil
	})
	s.ecs("DeleteService", `{"service":"web","force":true}`, nil)
}
