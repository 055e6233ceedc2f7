//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// load asks a URL over and over until stop is called, which returns how many answers came
// from whom and what failed.
func load(url string, clients int) (stop func() (map[string]int, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	from, failed := make(map[string]int), []string(nil)
	var all sync.WaitGroup
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	once := func() error {
		resp, err := c.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status + " " + string(body))
		}
		mu.Lock()
		defer mu.Unlock()
		if from[string(body)]++; err != nil {
			delete(from, string(body))
		}
		return err
	}
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := once(); err != nil {
					mu.Lock()
					failed = append(failed, err.Error())
					mu.Unlock()
				}
				time.Sleep(10 * time.Millisecond) // so many a second are enough
			}
		})
	}
	return func() (map[string]int, []string) {
		cancel()
		all.Wait()
		c.CloseIdleConnections()
		return from, failed
	}
}

// targets returns the states of the targets of a group, by task.
func (s *server) targets(group string) map[string]string {
	s.t.Helper()
	var out struct {
		Targets []struct{ TaskARN, State string }
	}
	s.call("GET", "/api/v1/target-groups/"+group+"/targets", "", &out)
	states := make(map[string]string)
	for _, t := range out.Targets {
		states[t.TaskARN[strings.LastIndex(t.TaskARN, "/")+1:]] = t.State
	}
	return states
}

// Ensure no request to a group fails while one of its tasks is killed, another is stopped
// and a third takes their places, that a killed server leaves tasks as they are and the
// next one goes on, and that connections are shared out over TCP too.
func TestLoadBalancer(t *testing.T) {
	s := start(t)
	port, tcp := freePort(t), freePort(t)
	if code := s.call("PUT", "/api/v1/target-groups/web", fmt.Sprintf(`{"listenPort":%d,"deregistrationDelaySeconds":10,
			"healthCheck":{"intervalSeconds":1,"timeoutSeconds":1,"healthyThresholdCount":1}}`, port), nil); code != http.StatusOK {
		t.Fatalf("put a group: %d", code)
	}
	if code := s.call("PUT", "/api/v1/target-groups/raw", fmt.Sprintf(`{"protocol":"TCP","listenPort":%d}`, tcp), nil); code != http.StatusOK {
		t.Fatalf("put a group: %d", code)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	if code := s.call("PUT", "/api/v1/target-groups/other", fmt.Sprintf(`{"listenPort":%d}`, port), nil); code != http.StatusConflict {
		t.Errorf("a second group with the same port: %d", code)
	}
	if resp, err := http.Get(url); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without targets: %v, %v", resp, err)
	}
	run := func(network string) string {
		var out struct{ Tasks []aTask }
		d := definition("web", "256", "512", `,"portMappings":[{"containerPort":8080}]`, "serve", "8080")
		body := fmt.Sprintf(`{"taskDefinition":%s,"networkConfiguration":{"awsvpcConfiguration":%s},"loadBalancers":[
			{"targetGroupArn":"web","containerName":"main","containerPort":8080},{"targetGroupArn":"raw","containerName":"main","containerPort":8080}]}`, d, network)
		if code := s.call("POST", "/api/v1/tasks", body, &out); code != http.StatusCreated {
			t.Fatalf("run: %d", code)
		}
		return out.Tasks[0].id()
	}
	healthy := func(ids ...string) {
		t.Helper()
		s.eventually(40*time.Second, "the targets are healthy", func() error {
			states := s.targets("web")
			for _, id := range ids {
				if states[id] != "healthy" {
					return fmt.Errorf("%s is %q", id, states[id])
				}
			}
			return nil
		})
	}
	if code := s.call("PUT", "/api/v1/security-groups/shut", "{}", nil); code != http.StatusOK { // keeps all out but the host
		t.Fatalf("put a group: %d", code)
	}
	one, two := run("{}"), run(`{"securityGroups":["shut"]}`)
	healthy(one, two)
	stop := load(url, 4)
	time.Sleep(500 * time.Millisecond) // of load on both
	// A process that is killed takes with it what it was asked; that is asked again elsewhere.
	pids, _ := filepath.Glob("/sys/fs/cgroup/*/berth/*/" + one + "/*/cgroup.procs")
	more, _ := filepath.Glob("/sys/fs/cgroup/berth/*/" + one + "/*/cgroup.procs")
	killed := false
	for _, file := range append(pids, more...) {
		text, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(word, &pid); err == nil && !killed {
				killed = unix.Kill(pid, unix.SIGKILL) == nil
			}
		}
	}
	if !killed {
		t.Fatal("found no process of the task")
	}
	three := run("{}")
	healthy(two, three)
	s.until(one, "STOPPED", 30*time.Second)
	time.Sleep(time.Second) // of load on both
	s.call("POST", "/api/v1/tasks/"+two+"/stop", "{}", nil)
	s.until(two, "STOPPED", 30*time.Second)
	time.Sleep(time.Second)
	from, failed := stop()
	total := 0
	for _, n := range from {
		total += n
	}
	t.Logf("%d requests, %d failed, by target: %v", total, len(failed), from)
	if len(failed) > 0 || total < 200 || len(from) != 3 {
		t.Errorf("%d of %d requests failed, answered by %v: %v", len(failed), total, from, failed)
	}
	if states := s.targets("web"); len(states) != 1 || states[three] != "healthy" {
		t.Errorf("in the end: %v", states)
	}
	s.eventually(40*time.Second, "a connection is passed on", func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tcp))
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
		answer, err := io.ReadAll(c)
		if err == nil && !strings.Contains(string(answer), "hello from") {
			err = fmt.Errorf("it answers %q", answer)
		}
		return err
	})
	s.kill()
	s.run()
	s.eventually(20*time.Second, "the next server balances", func() error {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	if code := s.call("DELETE", "/api/v1/target-groups/web", "", nil); code != http.StatusConflict {
		t.Errorf("removing a group that a task names: %d", code)
	}
	s.call("POST", "/api/v1/tasks/"+three+"/stop", "{}", nil)
	s.until(three, "STOPPED", 30*time.Second)
	if code := s.call("DELETE", "/api/v1/target-groups/web", "", nil); code != http.StatusNoContent {
		t.Errorf("removing a group: %d", code)
	}
	s.eventually(10*time.Second, "its port is shut", func() error {
		if reach(fmt.Sprintf("127.0.0.1:%d", port)) == nil {
			return errors.New("it is open")
		}
		return nil
	})
	var refused problem
	body := `{"taskDefinition":"web","loadBalancers":[{"targetGroupArn":"web","containerName":"main","containerPort":8080}]}`
	if code := s.call("POST", "/api/v1/tasks", body, &refused); code != http.StatusBadRequest || refused.Field != "loadBalancers[0].targetGroupArn" {
		t.Errorf("a group that does not exist: %d, %+v", code, refused)
	}
}

func freePort(t testing.TB) (port int) {
	t.Helper()
	_, text, err := net.SplitHostPort(freeAddr(t))
	if err == nil {
		err = json.Unmarshal([]byte(text), &port)
	}
	if err != nil {
		t.Fatal(err)
	}
	return port
}
