//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
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

// Ensure one sees what a task waits for, everywhere and over a kill -9, and that its last
// health is known in the end though the server died when the task had just come to run.
func TestHealthWhileWaiting(t *testing.T) {
	s := start(t)
	task := func(family, check, app string) string {
		return fmt.Sprintf(`{"family":%q,"networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","containerDefinitions":[
			{"name":"db","image":"berth/demo:latest","command":["sleep","1h"],"healthCheck":{"command":["CMD","/demo","exit",%q],"interval":5,"retries":1}},
			{"name":"init","image":"berth/demo:latest","essential":false,"command":["exit","0"]},
			{"name":"looks","image":"berth/demo:latest","essential":false,"command":["ask","-for","1h",%q]},
			{"name":"app","image":"berth/demo:latest","command":["sleep",%q],"dependsOn":[
				{"containerName":"db","condition":"HEALTHY"},{"containerName":"init","condition":"SUCCESS"}]}]}`, family, check, v4+"/task", app)
	}
	stuck := s.submit(task("stuck", "3", "1h"))
	look := func() error {
		got := s.task(stuck.id())
		line := got.LastStatus + " " + got.HealthStatus
		for _, c := range got.Containers {
			line += fmt.Sprintf(", %s %s %s", c.Name, c.LastStatus, c.HealthStatus)
		}
		db, first := got.Containers[0], got.Containers[1]
		if line != "ACTIVATING UNHEALTHY, db RUNNING UNHEALTHY, init STOPPED UNKNOWN, looks RUNNING UNKNOWN, app PENDING UNKNOWN" ||
			db.RuntimeID == "" || db.StartedAt.IsZero() || db.HealthCode != 3 || db.HealthSince.Sub(db.StartedAt) < 5*time.Second ||
			first.ExitCode == nil || *first.ExitCode != 0 || first.StartedAt.IsZero() {
			return fmt.Errorf("%s: %+v", line, got.Containers)
		}
		return nil
	}
	s.eventually(30*time.Second, "one sees what the task waits for", look)
	before := s.task(stuck.id())
	s.kill()
	s.run()
	if err := look(); err != nil {
		t.Errorf("after a kill -9: %v", err)
	}
	time.Sleep(6 * time.Second) // Checks go on.
	if err := look(); err != nil {
		t.Errorf("and a while after that: %v", err)
	}
	if now := s.task(stuck.id()); !now.Containers[0].HealthSince.Equal(before.Containers[0].HealthSince) || !now.Containers[0].StartedAt.Equal(before.Containers[0].StartedAt) {
		t.Errorf("after a kill -9 it is so since %v, and was since %v", now.Containers[0].HealthSince, before.Containers[0].HealthSince)
	}
	if out, err := s.berth("", "describe", stuck.id()); err != nil || !strings.Contains(out, "UNHEALTHY") {
		t.Errorf("describe: %v\n%s", err, out)
	}
	type metadata struct {
		KnownStatus string
		Containers  []struct {
			Name, KnownStatus string
			Health            *struct {
				Status      string
				StatusSince time.Time
				ExitCode    int
			}
		}
	}
	told := s.told(stuck.id(), "looks")
	seen := answer[metadata](t, told[len(told)-1]).Containers[0]
	if seen.KnownStatus != "RUNNING" || seen.Health == nil || seen.Health.Status != "UNHEALTHY" || seen.Health.ExitCode != 3 ||
		!seen.Health.StatusSince.Equal(before.Containers[0].HealthSince) {
		t.Errorf("the task is told: %s", told[len(told)-1])
	}

	short := s.submit(task("short", "0", "2s"))
	s.until(short.id(), "RUNNING", time.Minute)
	s.kill()
	time.Sleep(4 * time.Second) // The app ends.
	s.run()
	got := s.until(short.id(), "STOPPED", time.Minute)
	if db := got.Containers[0]; db.HealthStatus != "HEALTHY" || db.HealthSince.IsZero() || got.Containers[3].StartedAt.Before(db.HealthSince) {
		t.Errorf("in the end: %+v", got.Containers)
	}
	s.checkBill(got)
	if code := s.call("POST", "/api/v1/tasks/"+stuck.id()+"/stop", "{}", nil); code != http.StatusOK {
		t.Errorf("stop: %d", code)
	}
	got = s.until(stuck.id(), "STOPPED", time.Minute)
	if db := got.Containers[0]; db.HealthStatus != "UNHEALTHY" || db.HealthCode != 3 || !got.Containers[3].StartedAt.IsZero() {
		t.Errorf("when it was stopped: %+v", got.Containers)
	}
	s.checkBill(got)
}
