//go:build e2e

// Package e2e tries the built binary on a real containerd, over HTTP and the
// command line only, as its users do.
package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// berth is the binary under test.
var berth = env("BERTH_BIN", "../../bin/berth")

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests run containers: run them as root")
		os.Exit(1)
	}
	path, err := filepath.Abs(berth)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no binary to test (make build):", err)
		os.Exit(1)
	}
	berth = path
	os.Exit(m.Run())
}

// server is one running Berth with a state directory and a port of its own.
type server struct {
	t     testing.TB
	dir   string
	addr  string
	flags []string
	cmd   *exec.Cmd
	done  chan struct{} // closed when cmd has ended
}

// start starts a server and waits until tasks can run. It is taken down with
// everything in it when the test ends.
func start(t testing.TB, flags ...string) *server {
	t.Helper()
	base := env("BERTH_TEST_STATE", "/tmp")
	dir, err := os.MkdirTemp(base, "berth-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir, addr: freeAddr(t), flags: flags}
	t.Cleanup(s.down)
	s.run()
	return s
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run starts the server process and waits until it is healthy.
func (s *server) run() {
	s.t.Helper()
	out, err := os.OpenFile(filepath.Join(s.dir, "stdio.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.Command(berth, append([]string{"server", "--state-dir", s.dir, "--listen", s.addr}, s.flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { cmd.Wait(); close(done) }(s.cmd, s.done)

	s.eventually(30*time.Second, "the server is healthy", func() error {
		select {
		case <-s.done:
			s.t.Fatalf("the server ended: %v\n%s", s.cmd.ProcessState, s.tail())
		default:
		}
		resp, err := http.Get("http://" + s.addr + "/healthz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// kill ends the server process with SIGKILL and waits until it is gone.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// terminate asks the server to end and waits until it has.
func (s *server) terminate() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.t.Errorf("the server did not end within 20 s of SIGTERM")
		s.kill()
	}
}

// down takes the server down as a user would, and checks that nothing is left.
func (s *server) down() {
	if s.cmd == nil {
		os.RemoveAll(s.dir)
		return
	}
	if s.t.Failed() {
		s.t.Logf("server log:\n%s", s.tail())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, berth, "down", "--state-dir", s.dir, "--purge").CombinedOutput()
	if err != nil {
		s.t.Errorf("berth down: %v\n%s", err, out)
	}
	s.kill()
	for _, l := range leftovers(s.dir) {
		s.t.Errorf("left behind: %s", l)
	}
	os.RemoveAll(s.dir)
}

// tail returns the last of what the server said.
func (s *server) tail() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "stdio.log"))
	return string(b[max(0, len(b)-8000):])
}

// leftovers lists what still exists on the host of the server with that state
// directory: processes, mounts, network interfaces, cgroups and run directory.
func leftovers(dir string) []string {
	sum := sha256.Sum256([]byte(dir))
	instance := hex.EncodeToString(sum[:4]) // by which everything outside dir is named
	ours := func(text string) bool { return strings.Contains(text, dir) || strings.Contains(text, instance) }

	var found []string
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		if line, err := os.ReadFile(p); err == nil && ours(string(line)) {
			found = append(found, "process "+p+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for m := range strings.Lines(string(mounts)) {
		if ours(m) {
			found = append(found, "mount "+m)
		}
	}
	for _, pattern := range []string{"/sys/class/net/*" + instance, "/sys/fs/cgroup/berth/" + instance, "/sys/fs/cgroup/*/berth/" + instance, "/run/berth/" + instance} {
		paths, _ := filepath.Glob(pattern)
		found = append(found, paths...)
	}
	return found
}

// eventually waits until f has no complaint.
func (s *server) eventually(limit time.Duration, what string, f func() error) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// call makes one call of the API and decodes the answer into out, if that is not
// nil. It returns the status.
func (s *server) call(method, path, body string, out any) int {
	s.t.Helper()
	code, err := s.try(method, path, body, out)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return code
}

// try is call for those who expect that the server may not answer.
func (s *server) try(method, path, body string, out any) (int, error) {
	req, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode >= 400 && out != nil {
		if _, problem := out.(*problem); !problem {
			return resp.StatusCode, fmt.Errorf("%s: %s", resp.Status, b)
		}
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			return resp.StatusCode, fmt.Errorf("%w in %.300s", err, b)
		}
	}
	return resp.StatusCode, nil
}

// problem is an RFC 9457 answer.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Field  string `json:"field"`
}

// aTask is what these tests read of a task.
type aTask struct {
	TaskARN       string `json:"taskArn"`
	LastStatus    string `json:"lastStatus"`
	DesiredStatus string `json:"desiredStatus"`
	StopCode      string `json:"stopCode"`
	HealthStatus  string `json:"healthStatus"`

	CapacityProvider string `json:"capacityProviderName"`

	StoppedReason string `json:"stoppedReason"`
	CPU           string `json:"cpu"`
	Memory        string `json:"memory"`
	Containers    []struct {
		Name       string `json:"name"`
		LastStatus string `json:"lastStatus"`
		ExitCode   *int   `json:"exitCode"`
		Reason     string `json:"reason"`

		HealthStatus string    `json:"healthStatus"`
		HealthSince  time.Time `json:"healthStatusSince"`
		HealthCode   int       `json:"healthExitCode"`
		RestartCount int       `json:"restartCount"`
		RuntimeID    string    `json:"runtimeId"`
		StartedAt    time.Time `json:"startedAt"`

		NetworkBindings []struct{ ContainerPort, HostPort int }
	} `json:"containers"`
	Attachments []struct {
		Details []struct{ Name, Value string }
	} `json:"attachments"`
	CreatedAt          time.Time `json:"createdAt"`
	PullStartedAt      time.Time `json:"pullStartedAt"`
	PullStoppedAt      time.Time `json:"pullStoppedAt"`
	StartedAt          time.Time `json:"startedAt"`
	StoppingAt         time.Time `json:"stoppingAt"`
	ExecutionStoppedAt time.Time `json:"executionStoppedAt"`
	StoppedAt          time.Time `json:"stoppedAt"`
}

func (t aTask) id() string { return t.TaskARN[strings.LastIndex(t.TaskARN, "/")+1:] }

// code returns the exit code of the named container, -1 if it has none.
func (t aTask) code(container string) int {
	for _, c := range t.Containers {
		if c.Name == container && c.ExitCode != nil {
			return *c.ExitCode
		}
	}
	return -1
}

// definition returns a definition of one container with the demo image.
func definition(family, cpu, memory string, extra string, command ...string) string {
	c, _ := json.Marshal(command)
	return fmt.Sprintf(`{"family":%q,"requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":%q,"memory":%q,
		"containerDefinitions":[{"name":"main","image":"berth/demo:latest","command":%s%s}]}`, family, cpu, memory, c, extra)
}

// submit runs one task of an inline definition.
func (s *server) submit(definition string) aTask {
	s.t.Helper()
	var out struct{ Tasks []aTask }
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+definition+`}`, &out); code != http.StatusCreated || len(out.Tasks) != 1 {
		s.t.Fatalf("submit: status %d, %d tasks", code, len(out.Tasks))
	}
	return out.Tasks[0]
}

// task returns a task as it is now.
func (s *server) task(id string) aTask {
	s.t.Helper()
	var t aTask
	s.call("GET", "/api/v1/tasks/"+id, "", &t)
	return t
}

// until waits until the task has the status.
func (s *server) until(id, status string, limit time.Duration) aTask {
	s.t.Helper()
	var t aTask
	s.eventually(limit, "task "+id+" is "+status, func() error {
		t = aTask{}
		if _, err := s.try("GET", "/api/v1/tasks/"+id, "", &t); err != nil {
			return err
		}
		if t.LastStatus != status {
			return fmt.Errorf("it is %s (%s %s)", t.LastStatus, t.StopCode, t.StoppedReason)
		}
		return nil
	})
	return t
}

// logs returns the task's log so far.
func (s *server) logs(id string) []entry {
	s.t.Helper()
	resp, err := http.Get("http://" + s.addr + "/api/v1/tasks/" + id + "/logs")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var es []entry
	d := json.NewDecoder(resp.Body)
	for {
		var e entry
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return es
		}
		if err != nil {
			s.t.Fatal(err)
		}
		es = append(es, e)
	}
}

// entry is one line of a log.
type entry struct {
	Time      time.Time `json:"time"`
	Container string    `json:"container"`
	Stream    string    `json:"stream"`
	Message   string    `json:"message"`
}
