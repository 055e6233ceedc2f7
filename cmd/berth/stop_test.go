package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

// stopping is a server whose tasks sleep until they are stopped. A task that is asked to
// stop is in DEACTIVATING at once, and ends when somebody waits for one after all have been
// asked.
type stopping struct {
	fake     *resttest.Fake
	app      *app
	endpoint string
	out      strings.Builder
	errs     strings.Builder
	refused  task.ID // cannot be asked

	mu    sync.Mutex
	asked []task.ID // in order
	ended bool
	tasks []task.ID
}

func newStopping(t *testing.T, tasks int) *stopping {
	s := &stopping{fake: resttest.New()}
	s.fake.Script = demo
	c := s.fake.Config()
	c.Log = zap.NewNop()
	api := rest.New(t.Context(), c)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, stop := strings.CutSuffix(r.URL.Path, "/stop")
		id := task.ID(path[strings.LastIndex(path, "/")+1:])
		if stop && id == s.refused {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		if strings.HasSuffix(path, "/events") {
			s.end()
		}
		api.ServeHTTP(w, r)
		if stop {
			s.ask(id)
		}
	}))
	t.Cleanup(srv.Close)
	s.app = newApp(strings.NewReader(""), &s.out, &s.errs)
	s.app.env = func(string) (string, bool) { return "", false }
	s.endpoint, s.app.endpoint = srv.URL, srv.URL
	d, err := task.ParseDefinition([]byte(`{"family":"nap","networkMode":"awsvpc","cpu":"256","memory":"512",
		"containerDefinitions":[{"name":"main","image":"berth/demo","command":["sleep"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for range tasks {
		ts, err := s.fake.Submit(t.Context(), task.Run{Inline: &d})
		if err != nil {
			t.Fatal(err)
		}
		s.tasks = append(s.tasks, ts[0].ID)
	}
	return s
}

func (s *stopping) ask(id task.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := slices.Contains(s.asked, id)
	s.asked = append(s.asked, id)
	if again || !slices.Contains(s.tasks, id) {
		return
	}
	s.fake.Advance(id, func(t task.Task, now task.Instant) task.Transition {
		return task.Quit(now.Wall, task.UserInitiated, task.ReasonUserStopped, map[string]task.Outcome{"main": {Exit: &task.Exit{At: now.Wall}}})
	})
}

// end ends the tasks if all have been asked.
func (s *stopping) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || slices.ContainsFunc(s.tasks, func(id task.ID) bool { return !slices.Contains(s.asked, id) }) {
		return
	}
	s.ended = true
	for _, id := range s.tasks {
		s.fake.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Deactivated(now.Wall) })
		s.fake.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Ended(now.Wall, nil, nil) })
		s.fake.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Removed(now.Wall) })
	}
}

// run runs a command and returns its exit code.
func (s *stopping) run(t *testing.T, args ...string) int {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	root := s.app.root()
	root.SetArgs(append(args, "--endpoint", s.endpoint))
	return s.app.report(root.ExecuteContext(ctx))
}

// Ensure all tasks are asked to stop before one is waited for.
func TestStopWaitsForAllTogether(t *testing.T) {
	s := newStopping(t, 3)
	a, b, c := string(s.tasks[0]), string(s.tasks[1]), string(s.tasks[2])
	if code := s.run(t, "stop", "--wait", a, b, c); code != 0 {
		t.Fatalf("exit code %d: %s", code, s.errs.String())
	}
	if want := a + "\n" + b + "\n" + c + "\n"; s.out.String() != want {
		t.Errorf("printed %q, want %q", s.out.String(), want)
	}
}

// Ensure a task that cannot be stopped keeps others from nothing, and is reported.
func TestStopDespiteErrors(t *testing.T) {
	s := newStopping(t, 2)
	a, b := string(s.tasks[0]), string(s.tasks[1])
	if code := s.run(t, "stop", "--wait", "nonsense", a, strings.Repeat("f", 32), b); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if want := a + "\n" + b + "\n"; s.out.String() != want {
		t.Errorf("printed %q, want %q", s.out.String(), want)
	}
	if said := s.errs.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "nonsense") || !strings.Contains(said, strings.Repeat("f", 32)+" not found") {
		t.Errorf("said %q", said)
	}
}

// Ensure down asks each task once and counts it once, though it meets it in one state
// after the other.
func TestStopAllAsksOnce(t *testing.T) {
	s := newStopping(t, 8)
	if err := s.app.stopAll(t.Context(), 5*time.Second); err != nil {
		t.Error(err)
	}
	slices.Sort(s.asked)
	if !slices.Equal(s.asked, s.tasks) {
		t.Errorf("asked %d times, want %d: %q", len(s.asked), len(s.tasks), s.asked)
	}
	if said := s.errs.String(); said != "Stopping 8 tasks.\n" {
		t.Errorf("said %q", said)
	}
}

// Ensure what cannot be asked of one task is asked of the others.
func TestStopAllDespiteErrors(t *testing.T) {
	s := newStopping(t, 3)
	s.refused = s.tasks[1]
	s.tasks = slices.Delete(s.tasks, 1, 2)
	if err := s.app.stopAll(t.Context(), 5*time.Second); err == nil {
		t.Error("the error of one is lost")
	}
	slices.Sort(s.asked)
	if !slices.Equal(s.asked, s.tasks) {
		t.Errorf("asked %q, want %q", s.asked, s.tasks)
	}
}
