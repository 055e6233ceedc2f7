package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/fault"
	"berth/server/api"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

// hello is a definition that Fargate accepts.
const hello = `{"family":"hello","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512",
	"containerDefinitions":[{"name":"main","image":"berth/demo:latest","command":["hello"]}]}`

// first is the ID of the first task that a Fake makes.
const first = "00000000000000000000000000000001"

// world is an API over a Fake.
type world struct {
	*resttest.Fake
	api  http.Handler
	logs *observer.ObservedLogs
}

func newWorld(t *testing.T) *world {
	return worldOf(t.Context(), resttest.New())
}

func worldOf(ctx context.Context, f *resttest.Fake) *world {
	core, logs := observer.New(zap.DebugLevel)
	c := f.Config()
	c.Log, c.Hosts = zap.New(core), []string{"berth.example"}
	return &world{f, rest.New(ctx, c), logs}
}

// request makes a request as a well-behaved client would.
func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:8080"
	if body != "" {
		r.Header.Set("Content-Type", api.JSON)
	}
	return r
}

func (w *world) serve(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return rec
}

func (w *world) call(method, path, body string) *httptest.ResponseRecorder {
	return w.serve(request(method, api.Base+path, body))
}

func decode[T any](t *testing.T, rec *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer %q: %v", rec.Body, err)
	}
	return v
}

func (w *world) run(t *testing.T, body string) api.RunResponse {
	t.Helper()
	rec := w.call("POST", "/tasks", body)
	if rec.Code != http.StatusCreated {
		t.Fatalf("run: %d %s", rec.Code, rec.Body)
	}
	return decode[api.RunResponse](t, rec)
}

// Ensure a task can be run, seen and stopped, with the field names of ECS.
func TestRun(t *testing.T) {
	w := newWorld(t)
	got := w.run(t, `{"taskDefinition":`+hello+`,"count":2,"startedBy":"me","tags":[{"key":"team","value":"x"}]}`)
	if len(got.Tasks) != 2 || got.Failures == nil || got.Tasks[0].LastStatus != task.Provisioning {
		t.Fatalf("run: %+v", got)
	}
	rec := w.call("GET", "/tasks/"+first, "")
	for _, want := range []string{`"taskArn":"arn:aws:ecs:`, `"lastStatus":"PROVISIONING"`, `"createdAt":"2026-01-02T15:04:05Z"`} {
		if rec.Code != 200 || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("task %d %s: no %s", rec.Code, rec.Body, want)
		}
	}
	arn := strings.ReplaceAll(got.Tasks[0].ARN, "/", "%2F")
	if rec := w.call("GET", "/tasks/"+arn, ""); rec.Code != 200 {
		t.Errorf("by ARN: %d %s", rec.Code, rec.Body)
	}
	stopped := decode[task.Task](t, w.call("POST", "/tasks/"+first+"/stop", `{"reason":"enough"}`))
	if stopped.DesiredStatus != task.Stopped || stopped.StoppedReason != "enough" {
		t.Errorf("stop: %+v", stopped)
	}
	if rec := w.call("POST", "/tasks/"+first+"/stop", ""); rec.Code != 200 {
		t.Errorf("stop without a body: %d %s", rec.Code, rec.Body)
	}
	if page := decode[api.TaskPage](t, w.call("GET", "/tasks?desiredStatus=RUNNING&startedBy=me&tag=team=x", "")); len(page.Tasks) != 1 {
		t.Errorf("running tasks: %d, want 1", len(page.Tasks))
	}
}

// Ensure the same file is registered once, and another one is a new revision.
func TestRunInline(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		got := w.run(t, `{"taskDefinition":`+hello+`}`)
		if !strings.HasSuffix(got.Tasks[0].DefinitionARN, "/hello:1") {
			t.Errorf("runs %s, want hello:1", got.Tasks[0].DefinitionARN)
		}
	}
	got := w.run(t, `{"taskDefinition":`+strings.Replace(hello, `"512"`, `"1024"`, 1)+`}`)
	if !strings.HasSuffix(got.Tasks[0].DefinitionARN, "/hello:2") {
		t.Errorf("runs %s, want hello:2", got.Tasks[0].DefinitionARN)
	}
	w.call("DELETE", "/task-definitions/hello:2", "")
	if got := w.run(t, `{"taskDefinition":"hello"}`); !strings.HasSuffix(got.Tasks[0].DefinitionARN, "/hello:1") {
		t.Errorf("runs %s, want hello:1, for hello:2 is INACTIVE", got.Tasks[0].DefinitionARN)
	}
}

// Ensure repeating a request with its key returns the same tasks.
func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	r := func() *http.Request {
		r := request("POST", api.Base+"/tasks", `{"taskDefinition":`+hello+`}`)
		r.Header.Set(api.IdempotencyKey, "once")
		return r
	}
	a, b := decode[api.RunResponse](t, w.serve(r())), decode[api.RunResponse](t, w.serve(r()))
	if a.Tasks[0].ID != b.Tasks[0].ID {
		t.Errorf("two tasks: %s and %s", a.Tasks[0].ID, b.Tasks[0].ID)
	}
	c := w.run(t, `{"clientToken":"once","taskDefinition":`+hello+`}`)
	if c.Tasks[0].ID != a.Tasks[0].ID {
		t.Errorf("clientToken is not the header's equal: %s and %s", a.Tasks[0].ID, c.Tasks[0].ID)
	}
}

func (w *world) leavesNoTrace(t *testing.T) {
	t.Helper()
	if p := decode[api.TaskPage](t, w.call("GET", "/tasks", "")); len(p.Tasks) != 0 {
		t.Errorf("%d tasks are left", len(p.Tasks))
	}
	if p := decode[api.DefinitionPage](t, w.call("GET", "/task-definitions", "")); len(p.TaskDefinitions) != 0 {
		t.Errorf("%d definitions are left", len(p.TaskDefinitions))
	}
}

// Ensure problems have the form of RFC 9457, and hide what is not the user's.
func TestProblem(t *testing.T) {
	w := newWorld(t)
	w.Broken = fmt.Errorf("ask runner: %w", errors.New("secret /var/lib path"))
	rec := w.call("GET", "/capacity", "")
	got := decode[map[string]any](t, rec)
	want := map[string]any{
		"type": "urn:berth:fault:internal", "title": "Internal", "status": 500.0, "detail": "internal error", "instance": "request-1",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	if strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("the cause is shown: %s", rec.Body)
	}
	if n := w.logs.FilterMessage("request failed").Len(); n != 1 {
		t.Errorf("the cause was logged %d times", n)
	}
	w.Broken = errors.Join(fault.At("a", "one"), fault.At("b", "two"))
	p := decode[api.Fault](t, w.call("GET", "/capacity", ""))
	if p.Status != 400 || len(p.Errors) != 2 || p.Errors[1] != (api.FieldError{Field: "b", Message: "two"}) {
		t.Errorf("two at once: %+v", p)
	}
}

type panicky struct{ *resttest.Fake }

func (panicky) Capacity(context.Context) (api.Capacity, error) { panic("boom") }

// Ensure a handler that panics answers 500, is logged with its stack, and does
// not take the server with it.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	c := w.Config()
	c.Host = panicky{w.Fake}
	core, logs := observer.New(zap.DebugLevel)
	c.Log = zap.New(core)
	h := rest.New(t.Context(), c)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, request("GET", api.Base+"/capacity", ""))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "boom") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	entries := logs.FilterMessage("handler panicked").All()
	if len(entries) != 1 || !strings.Contains(fmt.Sprint(entries[0].ContextMap()["stack"]), "panicky") {
		t.Errorf("logged %v", entries)
	}
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, request("GET", api.Base+"/tasks", ""))
	if rec.Code != 200 {
		t.Errorf("then: %d", rec.Code)
	}
}

// Ensure health says why not.
func TestHealth(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	w := worldOf(ctx, resttest.New())
	get := func(path string) int { return w.serve(request("GET", path, "")).Code }
	if get("/healthz") != 200 || get("/readyz") != 200 {
		t.Error("not healthy")
	}
	w.NotReady = []string{"containerd is starting"}
	rec := w.serve(request("GET", "/healthz", ""))
	if rec.Code != 503 || !strings.Contains(rec.Body.String(), "containerd is starting") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	w.NotReady = nil
	stop()
	if get("/healthz") != 200 || get("/readyz") != 503 {
		t.Error("a stopping server is healthy, and not ready")
	}
}

// Ensure Prometheus sees tasks, capacity and requests by route.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.run(t, `{"taskDefinition":`+hello+`}`)
	w.call("GET", "/tasks/"+first, "")
	body := w.serve(request("GET", "/metrics", "")).Body.String()
	for _, want := range []string{
		`berth_tasks{status="PROVISIONING"} 1`, `berth_tasks{status="STOPPED"} 0`, `berth_cpu_units{kind="total"} 4096`, `berth_tasks_waiting 1`,
		`berth_http_request_duration_seconds_count{method="GET",route="/api/v1/tasks/:id",status="200"} 1`, `go_goroutines`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
}

// Ensure images are streamed in, listed and removed by names with slashes.
func TestImages(t *testing.T) {
	w := newWorld(t)
	r := request("POST", api.Base+"/images?tag=team/app:1", "a tar")
	r.Header.Set("Content-Type", "application/x-tar")
	if rec := w.serve(r); rec.Code != 201 || decode[api.ImageList](t, rec).Images[0].Name != "team/app:1" {
		t.Fatalf("import: %d %s", rec.Code, rec.Body)
	}
	large := request("POST", api.Base+"/images", "")
	large.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 2<<20))) // of unknown length
	large.ContentLength = -1
	large.Header.Set("Content-Type", "application/x-tar")
	if rec := w.serve(large); rec.Code != 413 {
		t.Errorf("2 MiB where 1 is allowed: %d %s", rec.Code, rec.Body)
	}
	w.SetImages(task.Image{Name: "team/app:1", InUse: true}, task.Image{Name: "old", SizeBytes: 7})
	if rec := w.call("DELETE", "/images/team/app:1", ""); rec.Code != 409 {
		t.Errorf("remove what is in use: %d", rec.Code)
	}
	if rec := w.call("DELETE", "/images/team%2Fapp:1?force", ""); rec.Code != 204 {
		t.Errorf("remove by force: %d %s", rec.Code, rec.Body)
	}
	if got := decode[api.Collected](t, w.call("POST", "/images/collect", "")); got.FreedBytes != 7 {
		t.Errorf("collected %+v", got)
	}
	if list := decode[map[string][]any](t, w.call("GET", "/images", "")); list["images"] == nil || len(list["images"]) != 0 {
		t.Errorf("images: %v", list)
	}
}

// Ensure pages lead from one to the next.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.run(t, `{"count":10,"taskDefinition":`+hello+`}`)
	}
	seen, token, pages := map[task.ID]bool{}, "", 0
	for {
		path := "/tasks?limit=7"
		if token != "" {
			path += "&nextToken=" + token
		}
		p := decode[api.TaskPage](t, w.call("GET", path, ""))
		for _, each := range p.Tasks {
			seen[each.ID] = true
		}
		if pages++; p.NextToken == "" || pages > 10 {
			break
		}
		token = p.NextToken
	}
	if len(seen) != 30 || pages != 5 {
		t.Errorf("%d tasks on %d pages", len(seen), pages)
	}
}
