//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// first is the first line that the demo program prints in each of its roles.
var first = regexp.MustCompile(`^demo: (exits|sleeps|taking|ignores) `)

// Ensure the server may die at any moment: 20 tasks in every state, 50 kills at
// random points, and every task ends once, with the right exit code, a right
// bill and nothing left over.
func TestKillStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("BERTH_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	t.Logf("BERTH_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	kills := 50
	if v := os.Getenv("BERTH_KILLS"); v != "" {
		kills, _ = strconv.Atoi(v)
	}
	s := start(t, "--vcpu", "4", "--memory", "8192")

	type wish struct {
		id      string
		code    int
		stopped bool // somebody asked for its end, or its time was up
	}
	var wishes []*wish
	submit := func() {
		w := &wish{}
		var def, more string
		switch n := rnd.IntN(10); {
		case n < 3: // ends by itself, soon
			w.code = rnd.IntN(200)
			def = definition("quick", "256", "512", "", "exit", strconv.Itoa(w.code))
		case n < 6: // ends by itself, later
			def = definition("slow", "256", "512", "", "sleep", fmt.Sprintf("%dms", 500+rnd.IntN(4000)))
		case n < 7: // is killed by the kernel
			w.code = 137
			def = definition("oom", "256", "512", "", "hog", "700")
		case n < 8: // cannot start
			w.code = -1
			def = strings.Replace(definition("nowhere", "256", "512", "", "exit", "0"), "berth/demo:latest", "127.0.0.1:1/none:latest", 1)
		case n < 9: // runs into its timeout
			w.stopped = true
			def, more = definition("timeout", "256", "512", `,"stopTimeout":2`, "sleep", "1h"), `,"timeoutSeconds":2`
		default: // is stopped and does not want to
			w.stopped = true
			def = definition("stop", "256", "512", `,"stopTimeout":2`, "ignore", "TERM")
		}
		var out struct{ Tasks []aTask }
		token := fmt.Sprintf("storm-%d", len(wishes))
		body := `{"taskDefinition":` + def + more + `,"clientToken":"` + token + `"}`
		// The answer may get lost with the server; the token makes asking again safe.
		s.eventually(30*time.Second, "the task is accepted", func() error {
			out.Tasks = nil
			_, err := s.try("POST", "/api/v1/tasks", body, &out)
			return err
		})
		w.id = out.Tasks[0].id()
		wishes = append(wishes, w)
		if strings.Contains(def, `"stop"`) {
			s.eventually(30*time.Second, "the stop is accepted", func() error {
				_, err := s.try("POST", "/api/v1/tasks/"+w.id+"/stop", `{"reason":"storm"}`, nil)
				return err
			})
		}
	}
	unfinished := func() int {
		n := 0
		for _, w := range wishes {
			if s.task(w.id).LastStatus != "STOPPED" {
				n++
			}
		}
		return n
	}
	for n := range kills {
		for missing := 20 - unfinished(); missing > 0; missing-- {
			submit()
		}
		time.Sleep(time.Duration(rnd.IntN(1200)) * time.Millisecond) // the random point
		s.kill()
		if n%10 == 3 { // things also happen while nobody watches
			time.Sleep(3 * time.Second)
		}
		s.run()
	}
	t.Logf("%d tasks, %d kills", len(wishes), kills)
	var ended []aTask
	for _, w := range wishes {
		got := s.until(w.id, "STOPPED", 4*time.Minute)
		ended = append(ended, got)
		switch {
		case w.stopped:
			if c := got.code("main"); c != -1 && c != 2 && c != 137 && c != 143 { // 2: Go as PID 1, before it has set up its handler
				t.Errorf("task %s was stopped and ended with %d", w.id, c)
			}
		case got.code("main") != w.code:
			t.Errorf("task %s ended with %d, want %d: %s %q %q", w.id, got.code("main"), w.code, got.StopCode, got.StoppedReason, got.Containers[0].Reason)
		}
		s.checkBill(got)
		if lines := s.logs(w.id); len(lines) > 0 {
			starts := 0
			for _, l := range lines {
				if first.MatchString(l.Message) {
					starts++
				}
			}
			if starts > 1 {
				t.Errorf("task %s ran %d times", w.id, starts)
			}
		}
	}
	s.checkUsage(ended)
	var traces struct{ Reserved struct{ CPU int } }
	s.call("GET", "/api/v1/capacity", "", &traces)
	if traces.Reserved.CPU != 0 {
		t.Errorf("capacity still reserved with no task left: %+v", traces)
	}
}

// Ensure no log line is lost or doubled while a container writes 10,000 lines a
// second and the server dies and comes back.
func TestLogsAcrossKills(t *testing.T) {
	const lines = 100_000
	s := start(t)
	id := s.submit(definition("chatty", "1024", "2048", "", "lines", strconv.Itoa(lines), "-rate", "10000", "-bytes", "80")).id()
	s.until(id, "RUNNING", 20*time.Second)

	next, cursor := 0, "" // what the follower has seen so far
	follow := func(until time.Duration) {
		req, _ := http.NewRequest("GET", "http://"+s.addr+"/api/v1/tasks/"+id+"/logs?follow=true", nil)
		req.Header.Set("Accept", "text/event-stream")
		if cursor != "" {
			req.Header.Set("Last-Event-ID", cursor)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		timer := time.AfterFunc(until, s.kill)
		defer timer.Stop()
		sc := bufio.NewScanner(resp.Body)
		sc.Buffer(nil, 1<<20)
		var seen string
		for sc.Scan() {
			if v, ok := strings.CutPrefix(sc.Text(), "id:"); ok {
				seen = strings.TrimSpace(v)
			}
			data, ok := strings.CutPrefix(sc.Text(), "data:")
			if !ok {
				continue
			}
			var e entry
			if json.Unmarshal([]byte(data), &e) != nil || e.Message == "" {
				continue
			}
			var n int
			if _, err := fmt.Sscanf(e.Message, "%d", &n); err != nil {
				continue // not a numbered line
			}
			if n != next {
				t.Fatalf("line %d follows line %d", n, next-1)
			}
			next, cursor = n+1, seen
		}
	}
	for range 4 {
		follow(1500 * time.Millisecond)
		s.kill()
		s.run()
	}
	s.until(id, "STOPPED", 90*time.Second)
	follow(time.Minute)
	if next != lines {
		t.Errorf("saw %d lines of %d", next, lines)
	}
	stored := 0
	for _, e := range s.logs(id) {
		var n int
		if _, err := fmt.Sscanf(e.Message, "%d", &n); err == nil {
			if n != stored {
				t.Fatalf("stored line %d follows line %d", n, stored-1)
			}
			stored++
		}
	}
	if stored != lines {
		t.Errorf("%d lines are stored, want %d", stored, lines)
	}
}

// Ensure several servers live on one host without knowing of each other.
func TestSideBySide(t *testing.T) {
	a, b := start(t), start(t)
	ida := a.submit(definition("a", "256", "512", "", "sleep", "3s")).id()
	idb := b.submit(definition("b", "256", "512", "", "sleep", "3s")).id()
	a.until(ida, "RUNNING", 30*time.Second)
	b.until(idb, "RUNNING", 30*time.Second)
	a.terminate()
	if got := b.until(idb, "STOPPED", 30*time.Second); got.code("main") != 0 {
		t.Errorf("b's task ended with %d when a's server ended", got.code("main"))
	}
	a.run()
	if got := a.until(ida, "STOPPED", 30*time.Second); got.code("main") != 0 {
		t.Errorf("a's task ended with %d across a restart of its server", got.code("main"))
	}
}
