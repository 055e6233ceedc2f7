//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runIn runs one task of an inline definition in a runtime class.
func (s *server) runIn(class, definition string) aTask {
	s.t.Helper()
	var out struct{ Tasks []aTask }
	body := fmt.Sprintf(`{"runtime":%q,"taskDefinition":%s}`, class, definition)
	if code := s.call("POST", "/api/v1/tasks", body, &out); code != http.StatusCreated || len(out.Tasks) != 1 {
		s.t.Fatalf("run in %s: status %d, %d tasks", class, code, len(out.Tasks))
	}
	return out.Tasks[0]
}

// needGVisor skips a test where gVisor was not built, and says so.
func needGVisor(t *testing.T) {
	t.Helper()
	if !hasGVisor() {
		t.Skip("NOT TESTED: gVisor is not built here: make build GVISOR=1")
	}
}

func hasGVisor() bool {
	_, err := os.Stat(filepath.Join(env("BERTH_LIBEXEC", filepath.Join(filepath.Dir(berth), "libexec")), "runsc"))
	return err == nil
}

func (s *server) said(id string) string {
	var text strings.Builder
	for _, e := range s.logs(id) {
		fmt.Fprintln(&text, e.Container+": "+e.Message)
	}
	return text.String()
}

// Ensure a runtime class that is not set up, or is none, is refused and changes nothing.
func TestRuntimeClassRefused(t *testing.T) {
	programs := t.TempDir()
	from := env("BERTH_LIBEXEC", filepath.Join(filepath.Dir(berth), "libexec"))
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "runsc" {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(programs, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	s := start(t, "--libexec", programs)
	for class, want := range map[string]string{"gvisor": "make up GVISOR=1", "kata": "Kata is not set up here", "crun": ""} {
		var p problem
		body := fmt.Sprintf(`{"runtime":%q,"taskDefinition":%s}`, class, definition("refused", "256", "512", "", "exit", "0"))
		code := s.call("POST", "/api/v1/tasks", body, &p)
		if code < 400 || code >= 500 || p.Field != "runtime" || !strings.Contains(p.Detail, want) {
			t.Errorf("runtime %s: %d %+v, want a 4xx that says %q", class, code, p, want)
		}
	}
	var all struct{ Tasks []aTask }
	if s.call("GET", "/api/v1/tasks", "", &all); len(all.Tasks) != 0 {
		t.Errorf("%d tasks were made of what was refused", len(all.Tasks))
	}
}

// Ensure a task in gVisor is a task like any other, with a kernel of its own.
func TestGVisor(t *testing.T) {
	needGVisor(t)
	s := start(t)

	// Several containers, one sandbox: they share the loopback.
	pair := s.runIn("gvisor", `{"family":"pair","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512",
		"containerDefinitions":[
		{"name":"web","image":"berth/demo:latest","command":["serve","8080"]},
		{"name":"kernel","image":"berth/demo:latest","essential":false,"command":["cat","/proc/version"]},
		{"name":"client","image":"berth/demo:latest","essential":false,"command":["get","127.0.0.1:8080"],"dependsOn":[{"containerName":"kernel","condition":"SUCCESS"}]}]}`)
	s.until(pair.id(), "RUNNING", 60*time.Second)
	var shown struct{ Runtime string }
	if s.call("GET", "/api/v1/tasks/"+pair.id(), "", &shown); shown.Runtime != "gvisor" {
		t.Errorf("the task says runtime %q", shown.Runtime)
	}
	s.eventually(30*time.Second, "client has ended", func() error {
		if c := s.task(pair.id()).code("client"); c != 0 {
			return fmt.Errorf("code %d", c)
		}
		return nil
	})
	if text := s.said(pair.id()); !strings.Contains(strings.ToLower(text), "gvisor") || !strings.Contains(text, "client: ") {
		t.Errorf("the log says\n%s", text)
	}

	// The host reaches it, through the bridge and gVisor's own network stack, also
	// when the server was killed meanwhile; and it stops when it is asked to.
	s.kill()
	s.run()
	address := ""
	for _, d := range s.task(pair.id()).Attachments[0].Details {
		if d.Name == "privateIPv4Address" {
			address = d.Value
		}
	}
	s.eventually(10*time.Second, "the task answers", func() error { return reach(address + ":8080") })
	s.call("POST", "/api/v1/tasks/"+pair.id()+"/stop", `{"reason":"enough"}`, nil)
	if got := s.until(pair.id(), "STOPPED", 60*time.Second); got.code("kernel") != 0 || got.code("client") != 0 || got.StopCode != "UserInitiated" {
		t.Errorf("stopped: %+v", got)
	}

	// Limits.
	hog := s.until(s.runIn("gvisor", definition("hog", "256", "512", "", "hog", "600")).id(), "STOPPED", 90*time.Second)
	if hog.code("main") != 137 || !strings.HasPrefix(hog.Containers[0].Reason, "OutOfMemoryError") {
		t.Errorf("hog: code %d, reason %q", hog.code("main"), hog.Containers[0].Reason)
	}
	s.checkBill(hog)
	spin := s.until(s.runIn("gvisor", definition("spin", "256", "512", "", "spin", "-for", "5s", "-threads", "4")).id(), "STOPPED", 90*time.Second)
	var usage struct {
		Samples []struct {
			Time     time.Time `json:"time"`
			CPUNanos int64     `json:"cpuNanos"`
		} `json:"samples"`
	}
	s.call("GET", "/api/v1/tasks/"+spin.id()+"/usage", "", &usage)
	n := len(usage.Samples)
	if n < 4 {
		t.Fatalf("%d samples of a task that ran 5 s", n)
	}
	// The first second has the sandbox's own start in it, which is not held to the limit.
	first, last := usage.Samples[1], usage.Samples[n-2]
	if share := float64(last.CPUNanos-first.CPUNanos) / float64(last.Time.Sub(first.Time)); share > 0.25*1.1 {
		t.Errorf("it got %.4f of a CPU, want at most 0.25", share)
	}
	trap := s.runIn("gvisor", definition("trap", "256", "512", "", "trap", "TERM"))
	s.until(trap.id(), "RUNNING", 60*time.Second)
	s.eventually(20*time.Second, "it waits for the signal", func() error {
		if text := s.said(trap.id()); !strings.Contains(text, "waits for") {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	s.call("POST", "/api/v1/tasks/"+trap.id()+"/stop", "{}", nil)
	if got := s.until(trap.id(), "STOPPED", 60*time.Second); got.code("main") != 0 {
		t.Errorf("asked to end: code %d, %s", got.code("main"), got.Containers[0].Reason)
	}
}
