//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// reach tries to connect and says what came of it.
func reach(address string) error {
	c, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// Ensure tasks in security groups reach one another as the rules say, that a task's ports
// are published, and that both stay over a kill -9 of the server and go with the task.
func TestNetworkOfTasks(t *testing.T) {
	s := start(t)
	if code := s.call("PUT", "/api/v1/security-groups/client", "{}", nil); code != http.StatusOK {
		t.Fatalf("put a group: %d", code)
	}
	if code := s.call("PUT", "/api/v1/security-groups/web",
		`{"ipPermissions":[{"ipProtocol":"tcp","fromPort":8080,"toPort":8080,"userIdGroupPairs":[{"groupId":"client"}]}]}`, nil); code != http.StatusOK {
		t.Fatalf("put a group: %d", code)
	}
	run := func(definition, network string) aTask {
		var out struct{ Tasks []aTask }
		body := fmt.Sprintf(`{"taskDefinition":%s,"networkConfiguration":{"awsvpcConfiguration":%s}}`, definition, network)
		if code := s.call("POST", "/api/v1/tasks", body, &out); code != http.StatusCreated {
			t.Fatalf("run: %d", code)
		}
		return out.Tasks[0]
	}
	serve := definition("serve", "256", "512", `,"portMappings":[{"containerPort":8080}]`, "serve", "8080")
	grouped := run(serve, `{"securityGroups":["web"]}`)
	public := run(serve, `{"assignPublicIp":"ENABLED"}`)
	address := ""
	s.eventually(20*time.Second, "both run", func() error {
		for _, id := range []string{grouped.id(), public.id()} {
			if now := s.task(id); now.LastStatus != "RUNNING" {
				return fmt.Errorf("%s is %s", id, now.LastStatus)
			}
		}
		return nil
	})
	for _, d := range s.task(grouped.id()).Attachments[0].Details {
		if d.Name == "privateIPv4Address" {
			address = d.Value
		}
	}
	bindings := s.task(public.id()).Containers[0].NetworkBindings
	if len(bindings) != 1 || bindings[0].ContainerPort != 8080 || bindings[0].HostPort == 0 {
		t.Fatalf("bindings: %+v", bindings)
	}
	open := fmt.Sprintf("127.0.0.1:%d", bindings[0].HostPort)
	look := definition("look", "256", "512", "", "get", address+":8080")
	check := func(when string) {
		s.eventually(10*time.Second, "the published port answers "+when, func() error { return reach(open) })
		member := run(look, `{"securityGroups":["client"]}`).id()
		if code := s.until(member, "STOPPED", 30*time.Second).code("main"); code != 0 {
			t.Errorf("%s: a member is not let in: %d, %v", when, code, s.logs(member))
		}
		if code := s.until(run(look, `{}`).id(), "STOPPED", 30*time.Second).code("main"); code == 0 {
			t.Errorf("%s: a stranger is let in", when)
		}
	}
	check("at first")
	sum := sha256.Sum256([]byte(s.dir))
	for _, family := range []string{"inet", "bridge"} {
		if out, err := exec.Command("nft", "delete", "table", family, "berth"+hex.EncodeToString(sum[:4])).CombinedOutput(); err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		s.eventually(2*time.Second, "the packet filter is back", func() error {
			return exec.Command("nft", "list", "table", family, "berth"+hex.EncodeToString(sum[:4])).Run()
		})
	}
	check("after somebody took the filter away")
	s.kill()
	if err := reach(open); err != nil {
		t.Errorf("without a server the published port is shut: %v", err)
	}
	s.run()
	check("after a kill -9")

	var wrong problem
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":"look","networkConfiguration":{"awsvpcConfiguration":{"securityGroups":["sg-nobody"]}}}`, &wrong); code != http.StatusBadRequest ||
		!strings.Contains(wrong.Detail, "InvalidGroup.NotFound") || wrong.Field != "networkConfiguration.awsvpcConfiguration.securityGroups[0]" {
		t.Errorf("a group that does not exist: %d, %+v", code, wrong)
	}
	if code := s.call("DELETE", "/api/v1/security-groups/web", "", nil); code != http.StatusConflict {
		t.Errorf("removing a group in use: %d", code)
	}
	for _, id := range []string{grouped.id(), public.id()} {
		s.call("POST", "/api/v1/tasks/"+id+"/stop", "{}", nil)
		s.until(id, "STOPPED", 60*time.Second)
	}
	if err := reach(open); err == nil {
		t.Error("a port is published after its task has stopped")
	}
	for _, name := range []string{"web", "client"} {
		if code := s.call("DELETE", "/api/v1/security-groups/"+name, "", nil); code != http.StatusNoContent {
			t.Errorf("removing %s: %d", name, code)
		}
	}
}
