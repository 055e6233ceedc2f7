//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// strike kills the processes of a task's that have that in their programs' names, at once
// or as soon as there are any, and gives up when over is closed. It returns whether there
// were any.
func strike(id, program string, over <-chan struct{}) bool {
	for {
		killed := false
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range all {
			line, _ := os.ReadFile(path)
			words := strings.Split(string(line), "\x00")
			if !strings.Contains(filepath.Base(words[0]), program) || !strings.Contains(string(line), id) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && unix.Kill(pid, unix.SIGKILL) == nil {
				killed = true
			}
		}
		if killed {
			return true
		}
		select {
		case <-over:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Ensure that tasks in gVisor whose shims, sandboxes, file servers and monitors, and whose
// server, are killed at random moments end with a reason, are billed by the second, and
// leave nothing.
func TestGVisorNothingIsLeft(t *testing.T) {
	needGVisor(t)
	seed, tasks := uint64(time.Now().UnixNano()), 32
	if v := os.Getenv("BERTH_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	if v := os.Getenv("BERTH_TASKS"); v != "" {
		tasks, _ = strconv.Atoi(v)
	}
	t.Logf("BERTH_SEED=%d BERTH_TASKS=%d", seed, tasks)
	s := start(t, "--vcpu", "8", "--memory", "16384")
	first := s.runIn("gvisor", definition("first", "256", "512", "", "exit", "0"))
	s.until(first.id(), "STOPPED", 60*time.Second)
	var before []string
	s.eventually(10*time.Second, "the first task has gone", func() error {
		if before = s.traces(); slices.ContainsFunc(before, func(x string) bool { return strings.Contains(x, first.id()) }) {
			return fmt.Errorf("there are %v", before)
		}
		return nil
	})

	rnd := rand.New(rand.NewPCG(seed, 0))
	// An empty one kills nobody.
	programs := []string{"containerd-shim", "runsc-sandbox", "runsc-gofer", "berth-runsc", "berth-log", ""}
	pair := func(family, one, other string) string {
		return fmt.Sprintf(`{"family":%q,"requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512","containerDefinitions":[
			{"name":"main","image":"berth/demo:latest","stopTimeout":2,"command":[%s]},
			{"name":"side","image":"berth/demo:latest","stopTimeout":2,"essential":false,"command":[%s]}]}`, family, one, other)
	}
	bodies := []string{
		definition("ends", "256", "512", "", "sleep", "1s"),
		definition("stays", "256", "512", `,"stopTimeout":2`, "sleep", "1h"),
		pair("pair", `"sleep","1h"`, `"lines","2000"`),
		pair("stubborn", `"ignore","TERM"`, `"exit","3"`),
		definition("checked", "256", "512", `,"stopTimeout":2,"healthCheck":{"command":["CMD","/demo","exit","0"],"interval":5,"timeout":2}`, "sleep", "1h"),
	}
	gates, running := make(chan struct{}, 4), sync.WaitGroup{}
	var mu sync.RWMutex // held while the server is away
	var counts sync.Mutex
	struck, reasons := make(map[string]int), make(map[string]int)
	kill := map[int]bool{rnd.IntN(tasks): true, rnd.IntN(tasks): true}
	for n := range tasks {
		body, program, wait := bodies[rnd.IntN(len(bodies))], programs[n%len(programs)], time.Duration(rnd.IntN(2000))*time.Millisecond
		gates <- struct{}{}
		if kill[n] {
			mu.Lock()
			s.kill()
			s.run()
			mu.Unlock()
		}
		running.Go(func() {
			defer func() { <-gates }()
			ask := func(method, path, body string, out any) error {
				mu.RLock()
				defer mu.RUnlock()
				_, err := s.try(method, path, body, out)
				return err
			}
			var out struct{ Tasks []aTask }
			if err := ask("POST", "/api/v1/tasks", fmt.Sprintf(`{"runtime":"gvisor","taskDefinition":%s,"clientToken":"left-%d"}`, body, n), &out); err != nil || len(out.Tasks) != 1 {
				t.Errorf("not accepted: %v", err)
				return
			}
			id := out.Tasks[0].id()
			over, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				select {
				case <-time.After(wait): // the random moment
				case <-over:
				}
				if program != "" && strike(id, program, over) {
					counts.Lock()
					struck[program]++
					counts.Unlock()
				}
			}()
			asked := false
			var got aTask
			for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
				// Somebody else may have ended it by then; else it is ended in the ordinary way.
				if !asked && time.Since(begun) > 2500*time.Millisecond {
					asked = ask("POST", "/api/v1/tasks/"+id+"/stop", "{}", nil) == nil
				}
				got = aTask{}
				if err := ask("GET", "/api/v1/tasks/"+id, "", &got); err == nil && got.LastStatus == "STOPPED" {
					break
				}
				if time.Since(begun) > 90*time.Second {
					t.Errorf("task %s does not end: %s; %q was killed after %v", id, got.LastStatus, program, wait)
					break
				}
			}
			close(over)
			<-done
			if got.StopCode == "" || got.StoppedReason == "" {
				t.Errorf("task %s ended without a reason; %q was killed after %v: %+v", id, program, wait, got)
			}
			counts.Lock()
			reasons[got.StopCode+": "+got.StoppedReason]++
			counts.Unlock()
			mu.RLock()
			defer mu.RUnlock()
			s.checkBill(got)
			said := 0
			for _, e := range s.logs(id) {
				if e.Container == "side" && strings.HasPrefix(e.Message, "0 ") {
					said++
				}
			}
			if said > 1 {
				t.Errorf("task %s: the other container ran %d times", id, said)
			}
		})
	}
	running.Wait()
	t.Logf("killed: %v; ends: %v", struck, reasons)
	if len(struck) < 4 {
		t.Errorf("of %q only these were killed: %v", programs, struck)
	}
	s.eventually(30*time.Second, "everything is as before", func() error {
		var more []string
		for _, x := range s.traces() {
			if !slices.Contains(before, x) {
				more = append(more, x)
			}
		}
		if len(more) > 0 {
			return fmt.Errorf("left: %v", more)
		}
		return nil
	})
}

// killInside kills the main process of a container in its sandbox.
func (s *server) killInside(id, container string) {
	s.t.Helper()
	records, _ := filepath.Glob(filepath.Join(s.dir, "tasks", id, "*", "container.json"))
	for _, record := range records {
		if text, err := os.ReadFile(record); err != nil || !strings.Contains(string(text), fmt.Sprintf(`"Name":%q`, container)) {
			continue
		}
		sum := sha256.Sum256([]byte(s.dir))
		root := filepath.Join("/run/berth", hex.EncodeToString(sum[:4]), "runsc", "berth")
		runsc := filepath.Join(env("BERTH_LIBEXEC", filepath.Join(filepath.Dir(berth), "libexec")), "runsc")
		if out, err := exec.Command(runsc, "--root", root, "kill", filepath.Base(filepath.Dir(record)), "KILL").CombinedOutput(); err != nil {
			s.t.Fatalf("runsc kill: %v: %s", err, out)
		}
		return
	}
	s.t.Fatalf("task %s has no container %s", id, container)
}

// Ensure health checks, logs, the metadata endpoint and the series of /metrics of tasks in
// gVisor outlive the server, again and again.
func TestGVisorAcrossKills(t *testing.T) {
	needGVisor(t)
	const lines = 30_000
	s := start(t)
	chatty := s.runIn("gvisor", definition("chatty", "512", "1024", "", "lines", strconv.Itoa(lines), "-rate", "3000", "-bytes", "80")).id()
	asks := s.runIn("gvisor", definition("asks", "256", "512", "", "ask", "-for", "1h", v4+"/task", v4+"/stats")).id()
	// Healthy for as long as its server answers on its loopback: when that ends, it is
	// sick, and only who still checks it sees that.
	sick := s.runIn("gvisor", `{"family":"sick","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512","containerDefinitions":[
		{"name":"server","image":"berth/demo:latest","essential":false,"command":["serve","8080"]},
		{"name":"main","image":"berth/demo:latest","command":["sleep","1h"],
		 "healthCheck":{"command":["CMD","/demo","get","127.0.0.1:8080"],"interval":5,"timeout":2,"retries":1}}]}`).id()
	for _, id := range []string{chatty, asks, sick} {
		s.until(id, "RUNNING", 60*time.Second)
	}
	answered := func(when string) {
		t.Helper()
		from := len(s.told(asks, "main"))
		s.eventually(20*time.Second, when+" it is answered", func() error {
			told := s.told(asks, "main")[from:]
			for _, want := range []string{`"Family":"asks"`, `"memory_stats"`} {
				if !slices.ContainsFunc(told, func(l string) bool { return strings.HasPrefix(l, "200 ") && strings.Contains(l, want) }) {
					return fmt.Errorf("no %s in %.300q", want, told)
				}
			}
			return nil
		})
	}
	answered("at first")
	s.eventually(30*time.Second, "it is healthy", func() error {
		if got := s.task(sick); got.HealthStatus != "HEALTHY" {
			return fmt.Errorf("it is %s", got.HealthStatus)
		}
		return nil
	})
	for range 3 {
		s.kill()
		s.run()
		answered("after a kill")
	}
	resp, err := http.Get("http://" + s.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`berth_ephemeral_storage_reserved_bytes{family="asks",task="` + asks + `"} 2.147483648e+10`, `berth_ephemeral_storage_utilized_bytes{family="asks",task="` + asks + `"} `} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("/metrics has no %s", want)
		}
	}

	if got := s.task(sick); got.HealthStatus != "HEALTHY" {
		t.Errorf("after the kills it is %s", got.HealthStatus)
	}
	s.kill()
	s.killInside(sick, "server")
	s.run()
	s.eventually(40*time.Second, "the next server finds that it is sick", func() error {
		if got := s.task(sick); got.HealthStatus != "UNHEALTHY" {
			return fmt.Errorf("it is %s", got.HealthStatus)
		}
		return nil
	})

	if got := s.until(chatty, "STOPPED", 90*time.Second); got.code("main") != 0 {
		t.Errorf("the one that writes ended with %d", got.code("main"))
	}
	next := 0
	for _, e := range s.logs(chatty) {
		var n int
		if _, err := fmt.Sscanf(e.Message, "%d", &n); err != nil {
			continue
		}
		if n != next {
			t.Fatalf("line %d follows line %d", n, next-1)
		}
		next++
	}
	if next != lines {
		t.Errorf("%d lines are kept, want %d", next, lines)
	}
	for _, id := range []string{asks, sick} {
		s.call("POST", "/api/v1/tasks/"+id+"/stop", "{}", nil)
	}
	for _, id := range []string{chatty, asks, sick} {
		s.checkBill(s.until(id, "STOPPED", 60*time.Second))
	}
}

// Ensure that nobody pays for the time after a task in gVisor was killed, also when no
// server was there to see it.
func TestGVisorKilledUnseen(t *testing.T) {
	needGVisor(t)
	s := start(t)
	victims := make(map[string]string)
	for _, program := range []string{"runsc-sandbox", "containerd-shim"} {
		victims[s.runIn("gvisor", definition("victim", "256", "512", "", "sleep", "1h")).id()] = program
	}
	for id := range victims {
		s.until(id, "RUNNING", 60*time.Second)
	}
	s.kill()
	for id, program := range victims {
		if !strike(id, program, nil) {
			t.Errorf("%s was not there", program)
		}
	}
	killed := time.Now()
	time.Sleep(4 * time.Second) // for which nobody is to pay
	s.run()
	for id, program := range victims {
		got := s.until(id, "STOPPED", 60*time.Second)
		for what, at := range map[string]time.Time{"executionStoppedAt": got.ExecutionStoppedAt, "stoppedAt": got.StoppedAt} {
			if late := at.Sub(killed); late < -3*time.Second || late > time.Second {
				t.Errorf("%s was killed: %s is %v after that", program, what, late)
			}
		}
		if got.StopCode == "" || got.StoppedReason == "" || got.code("main") != map[string]int{"runsc-sandbox": 137, "containerd-shim": -1}[program] {
			t.Errorf("%s was killed: %+v", program, got)
		}
		s.checkBill(got)
	}
}
