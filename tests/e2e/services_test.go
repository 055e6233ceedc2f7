//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// aService is what these tests read of a service.
type aService struct {
	Status       string
	DesiredCount int
	RunningCount int
	Deployments  []struct {
		ID, Status, RolloutState, TaskDefinition string
		RunningCount, FailedTasks                int
	}
	Events []struct{ Message string }
}

// ecs sends a request of the ECS API that must succeed.
func (s *server) ecs(op, body string, out any) {
	s.t.Helper()
	r, err := http.NewRequest("POST", "http://"+s.addr+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+op)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20261129/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=00")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s %v", op, body, resp.Status, b, err)
	}
}

func (s *server) service(name string) aService {
	s.t.Helper()
	var out struct{ Services []aService }
	s.ecs("DescribeServices", fmt.Sprintf(`{"services":[%q]}`, name), &out)
	if len(out.Services) != 1 {
		s.t.Fatalf("%d services are %s", len(out.Services), name)
	}
	return out.Services[0]
}

// serviceTasks returns the tasks of a service that are to run.
func (s *server) serviceTasks(name string) []string {
	s.t.Helper()
	var out struct{ TaskArns []string }
	s.ecs("ListTasks", fmt.Sprintf(`{"serviceName":%q}`, name), &out)
	return out.TaskArns
}

// Ensure a service keeps its tasks, deploys and rolls back, with real containers and a
// server that is killed in the middle of each, and leaves nothing behind.
func TestService(t *testing.T) {
	s := start(t, "--vcpu", "4", "--memory", "8192")
	register := func(command ...string) {
		t.Helper()
		if code := s.call("POST", "/api/v1/task-definitions", definition("web", "256", "512", "", command...), nil); code != http.StatusCreated {
			t.Fatalf("register: %d", code)
		}
	}
	until := func(limit time.Duration, what string, f func(v aService) bool) (v aService) {
		t.Helper()
		s.eventually(limit, what, func() error {
			if v = s.service("web"); !f(v) {
				return fmt.Errorf("it is %+v", v)
			}
			return nil
		})
		return v
	}
	completed := func(v aService) bool {
		return len(v.Deployments) == 1 && v.Deployments[0].RolloutState == "COMPLETED" && v.RunningCount == 2 && len(s.serviceTasks("web")) == 2
	}
	register("hello", "-for", "1h")
	s.ecs("CreateService", `{"serviceName":"web","taskDefinition":"web","desiredCount":2,"networkConfiguration":{"awsvpcConfiguration":{"subnets":["subnet-1"]}},
		"deploymentConfiguration":{"deploymentCircuitBreaker":{"enable":true,"rollback":true}}}`, nil)
	s.kill()
	s.run()
	first := until(90*time.Second, "the service is steady", completed).Deployments[0]

	register("nonsense")
	s.ecs("UpdateService", `{"service":"web","taskDefinition":"web"}`, nil)
	s.kill()
	s.run()
	back := until(2*time.Minute, "a deployment whose tasks fail is rolled back", func(v aService) bool {
		return completed(v) && strings.Contains(fmt.Sprint(v.Events), "rolling back to deployment "+first.ID)
	})
	if back.Deployments[0].ID != first.ID {
		t.Errorf("it went back to %+v", back.Deployments)
	}

	register("hello", "-for", "2h")
	s.ecs("UpdateService", `{"service":"web","taskDefinition":"web"}`, nil)
	until(30*time.Second, "the new tasks run", func(v aService) bool { return v.Deployments[0].RunningCount == 2 })
	s.kill()
	s.run()
	next := until(2*time.Minute, "the old tasks are replaced", completed)
	if next.Deployments[0].ID == first.ID || !strings.HasSuffix(next.Deployments[0].TaskDefinition, "web:3") {
		t.Errorf("it runs %+v", next.Deployments)
	}
	s.ecs("StopTask", fmt.Sprintf(`{"task":%q}`, s.serviceTasks("web")[0]), nil)
	s.kill()
	s.run()
	until(30*time.Second, "the task that was stopped is replaced", completed)

	s.ecs("DeleteService", `{"service":"web","force":true}`, nil)
	s.kill()
	s.run()
	until(time.Minute, "the service is gone", func(v aService) bool { return v.Status == "INACTIVE" && v.RunningCount == 0 })
	if left := s.serviceTasks("web"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
