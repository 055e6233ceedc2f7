//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Ensure health checks run inside containers, that containers wait for one another to be
// healthy, that a check that does not end is killed, and that a container with a restart
// policy is started anew in a task that goes on; all of it over a kill -9 of the server.
func TestHealthAndRestarts(t *testing.T) {
	s := start(t)
	policy := s.submit(definition("again", "256", "512", `,"restartPolicy":{"enabled":true,"restartAttemptPeriod":60}`, "sleep", "62s"))
	check := func(command string) string {
		return `"healthCheck":{"command":` + command + `,"interval":5,"timeout":2,"retries":1}`
	}
	container := func(name, extra string, command ...string) string {
		line := ""
		for i, w := range command {
			if i > 0 {
				line += ","
			}
			line += fmt.Sprintf("%q", w)
		}
		return fmt.Sprintf(`{"name":%q,"image":"berth/demo:latest","command":[%s]%s}`, name, line, extra)
	}
	task := func(family string, containers ...string) string {
		list := ""
		for i, c := range containers {
			if i > 0 {
				list += ","
			}
			list += c
		}
		return fmt.Sprintf(`{"family":%q,"networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","containerDefinitions":[%s]}`, family, list)
	}
	web := s.submit(task("web",
		container("db", ","+check(`["CMD","/demo","get","127.0.0.1:8080"]`), "serve", "8080"),
		container("app", `,"dependsOn":[{"containerName":"db","condition":"HEALTHY"}],`+check(`["CMD","/demo","exit","0"]`), "sleep", "1h")))
	sick := s.submit(task("sick",
		container("hangs", ","+check(`["CMD","/demo","sleep","1h"]`), "sleep", "1h"),
		container("gone", ","+check(`["CMD","/nowhere"]`), "sleep", "1h")))
	health := func(id string) string {
		got := s.task(id)
		line := got.LastStatus + " " + got.HealthStatus
		for _, c := range got.Containers {
			line += " " + c.HealthStatus
		}
		return line
	}
	becomes := func(id, want string) {
		t.Helper()
		s.eventually(40*time.Second, id+" is "+want, func() error {
			if got := health(id); got != want {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	becomes(web.id(), "RUNNING HEALTHY HEALTHY HEALTHY")
	if got := s.task(web.id()); got.Containers[1].StartedAt.Sub(got.Containers[0].StartedAt) < 5*time.Second {
		t.Errorf("the app did not wait for the first check: %+v", got.Containers)
	}
	becomes(sick.id(), "RUNNING UNHEALTHY UNHEALTHY UNHEALTHY")
	s.kill()
	s.run()
	if got := health(web.id()); got != "RUNNING HEALTHY HEALTHY HEALTHY" {
		t.Errorf("after a kill -9: %s", got)
	}
	again := s.submit(definition("late", "256", "512", ","+check(`["CMD","/demo","exit","0"]`), "sleep", "1h"))
	becomes(again.id(), "RUNNING HEALTHY HEALTHY")

	s.eventually(90*time.Second, "the container is started anew", func() error {
		got := s.task(policy.id())
		if c := got.Containers[0]; got.LastStatus != "RUNNING" || c.RestartCount != 1 || c.LastStatus != "RUNNING" || c.ExitCode != nil {
			return fmt.Errorf("%s %+v", got.LastStatus, c)
		}
		return nil
	})
	for _, id := range []string{policy.id(), web.id(), sick.id(), again.id()} {
		if code := s.call("POST", "/api/v1/tasks/"+id+"/stop", "{}", nil); code != http.StatusOK {
			t.Errorf("stop: %d", code)
		}
		s.checkBill(s.until(id, "STOPPED", 60*time.Second))
	}
}
