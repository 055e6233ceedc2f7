package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"berth/server/api"
	"berth/task"
)

// Ensure bad input is refused with the path of the field, and leaves no trace.
func TestBadInput(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		field                    string
		detail                   string // part of it
	}{
		{"no body", "POST", "/tasks", ``, 415, "", "Content-Type"},
		{"not JSON", "POST", "/tasks", `{`, 400, "", "line 1, column 2"},
		{"not an object", "POST", "/tasks", `[]`, 400, "", ""},
		{"unknown field", "POST", "/tasks", `{"taskDefinition":"a","cout":1}`, 400, "cout", ""},
		{"unknown field deep down", "POST", "/tasks", `{"taskDefinition":"a","overrides":{"containerOverrides":[{"nam":"x"}]}}`, 400, "overrides.containerOverrides[0].nam", ""},
		{"unknown field in a definition", "POST", "/tasks", `{"taskDefinition":` + strings.Replace(hello, `"image"`, `"imag"`, 1) + `}`, 400, "taskDefinition.containerDefinitions[0].imag", ""},
		{"twice the same field", "POST", "/tasks", `{"taskDefinition":"a","taskDefinition":"b"}`, 400, "taskDefinition", ""},
		{"trailing data", "POST", "/tasks", `{"taskDefinition":"a"} {}`, 400, "", "more"},
		{"no definition", "POST", "/tasks", `{}`, 400, "taskDefinition", "missing"},
		{"definition is a number", "POST", "/tasks", `{"taskDefinition":7}`, 400, "taskDefinition", ""},
		{"unknown definition", "POST", "/tasks", `{"taskDefinition":"nobody"}`, 404, "", ""},
		{"count 0", "POST", "/tasks", `{"count":0,"taskDefinition":` + hello + `}`, 400, "count", "from 1 to 10"},
		{"count 11", "POST", "/tasks", `{"count":11,"taskDefinition":` + hello + `}`, 400, "count", "from 1 to 10"},
		{"count -1", "POST", "/tasks", `{"count":-1,"taskDefinition":` + hello + `}`, 400, "count", ""},
		{"absurd count", "POST", "/tasks", `{"count":99999999999999999999,"taskDefinition":` + hello + `}`, 400, "count", ""},
		{"count is a string", "POST", "/tasks", `{"count":"1","taskDefinition":` + hello + `}`, 400, "count", ""},
		{"negative timeout", "POST", "/tasks", `{"timeoutSeconds":-1,"taskDefinition":` + hello + `}`, 400, "timeoutSeconds", ""},
		{"bad size", "POST", "/tasks", `{"taskDefinition":` + strings.Replace(hello, `"512"`, `"513"`, 1) + `}`, 400, "taskDefinition.memory", "No Fargate configuration exists"},
		{"too large for this host", "POST", "/tasks", `{"overrides":{"cpu":"16384","memory":"32768"},"taskDefinition":` + hello + `}`, 429, "", "RESOURCE"},
		{"long token", "POST", "/tasks", `{"clientToken":"` + long + `","taskDefinition":` + hello + `}`, 400, "clientToken", ""},
		{"dryRun maybe", "POST", "/tasks?dryRun=maybe", `{"taskDefinition":"a"}`, 400, "dryRun", ""},
		{"too large a body", "POST", "/tasks", `{"taskDefinition":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "", "1048576"},
		{"too large a definition", "POST", "/task-definitions", strings.Replace(hello, `"hello"]`, `"`+strings.Repeat("a", 65<<10)+`"]`, 1), 413, "", "65536"},
		{"definition without containers", "POST", "/task-definitions", `{"family":"x"}`, 400, "containerDefinitions", ""},
		{"unknown member of a definition", "POST", "/task-definitions", `{"family":"x","contaners":[]}`, 400, "contaners", ""},
		{"definition with a revision", "POST", "/task-definitions", strings.Replace(hello, `{`, `{"revision":3,`, 1), 400, "revision", ""},
		{"limit 0", "GET", "/tasks?limit=0", ``, 400, "limit", "from 1 to 100"},
		{"limit 101", "GET", "/tasks?limit=101", ``, 400, "limit", ""},
		{"limit ten", "GET", "/tasks?limit=ten", ``, 400, "limit", ""},
		{"absurd limit", "GET", "/tasks?limit=99999999999999999999", ``, 400, "limit", ""},
		{"odd status", "GET", "/tasks?lastStatus=running", ``, 400, "lastStatus", "RUNNING"},
		{"misspelt filter", "GET", "/tasks?famly=x", ``, 400, "famly", "unknown"},
		{"filter twice", "GET", "/tasks?family=x&family=y", ``, 400, "family", "2 times"},
		{"filter twice, the same", "GET", "/waste?groupBy=family&groupBy=family", ``, 400, "groupBy", "2 times"},
		{"foreign token", "GET", "/tasks?nextToken=x", ``, 400, "nextToken", ""},
		{"odd sort", "GET", "/task-definitions?sort=UP", ``, 400, "sort", ""},
		{"bad name", "GET", "/task-definitions/a%20b", ``, 400, "taskDefinition", ""},
		{"unknown family", "GET", "/task-definitions/nobody", ``, 404, "", ""},
		{"revision 0", "GET", "/task-definitions/nobody:0", ``, 400, "taskDefinition", ""},
		{"deregister a family", "DELETE", "/task-definitions/nobody", ``, 400, "name", "family:revision"},
		{"deregister the unknown", "DELETE", "/task-definitions/nobody:1", ``, 404, "", ""},
		{"tag the unknown", "PUT", "/task-definitions/nobody:1/tags", `{"tags":[]}`, 404, "", ""},
		{"odd tags", "PUT", "/task-definitions/nobody:1/tags", `{"tags":[{"key":"aws:x","value":""}]}`, 400, "tags[0].key", ""},
		{"odd task", "GET", "/tasks/deadbeef", ``, 404, "id", "32 hex"},
		{"unknown task", "GET", "/tasks/" + first, ``, 404, "", ""},
		{"stop the unknown", "POST", "/tasks/" + first + "/stop", `{}`, 404, "", ""},
		{"long reason", "POST", "/tasks/" + first + "/stop", `{"reason":"` + long + `"}`, 400, "reason", "255"},
		{"interrupt with a wish", "POST", "/tasks/" + first + "/interrupt", `{"foo":1}`, 400, "foo", "unknown field"},
		{"interrupt with nonsense", "POST", "/tasks/" + first + "/interrupt", `{ nonsense`, 400, "", "not JSON"},
		{"interrupt with a list", "POST", "/tasks/" + first + "/interrupt", `[]`, 400, "", "must be an object"},
		{"logs of the unknown", "GET", "/tasks/" + first + "/logs", ``, 404, "", ""},
		{"odd stream", "GET", "/tasks/" + first + "/logs?stream=stdin", ``, 400, "stream", ""},
		{"odd since", "GET", "/tasks/" + first + "/logs?since=yesterday", ``, 400, "since", ""},
		{"negative tail", "GET", "/tasks/" + first + "/logs?tail=-1", ``, 400, "tail", "0 or more"},
		{"usage of the unknown", "GET", "/tasks/" + first + "/usage", ``, 404, "", ""},
		{"resolution 0", "GET", "/tasks/" + first + "/usage?resolution=0", ``, 400, "resolution", ""},
		{"to before from", "GET", "/tasks/" + first + "/usage?from=1m&to=2m", ``, 400, "to", ""},
		{"bill of the unknown", "GET", "/tasks/" + first + "/bill", ``, 404, "", ""},
		{"odd position", "GET", "/events?after=x", ``, 400, "after", ""},
		{"huge position", "GET", "/events?after=18446744073709551615", ``, 400, "after", ""},
		{"events of the unknown", "GET", "/events?task=" + first, ``, 404, "", ""},
		{"pull nothing", "POST", "/images/pull", `{}`, 400, "image", ""},
		{"remove what is not there", "DELETE", "/images/docker.io/library/nothing:latest", ``, 404, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			rec := w.call(tt.method, tt.path, tt.body)
			p := decode[api.Fault](t, rec)
			if rec.Code != tt.status || p.Status != tt.status || p.Field != tt.field || !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("got %d %s, want %d, field %q, detail with %q", rec.Code, rec.Body, tt.status, tt.field, tt.detail)
			}
			if got := rec.Header().Get("Content-Type"); got != api.Problem {
				t.Errorf("Content-Type %q", got)
			}
			w.leavesNoTrace(t)
		})
	}
}

// Ensure null is no body: it would say nothing, and so replace what is there by nothing.
func TestNullBody(t *testing.T) {
	w := newWorld(t)
	w.run(t, `{"taskDefinition":`+hello+`}`)
	w.call("PUT", "/task-definitions/hello:1/tags", `{"tags":[{"key":"a","value":"b"}]}`)
	w.call("PUT", "/security-groups/web", `{"ipPermissions":[{"ipProtocol":"tcp","fromPort":80,"toPort":80,"ipRanges":[{"cidrIp":"10.0.0.0/8"}]}]}`)
	before := w.everything()
	for _, tt := range []struct{ method, path, body, field, detail string }{
		{"POST", "/task-definitions", `null`, "", "must be an object"},
		{"PUT", "/task-definitions/hello:1/tags", `null`, "", "must be an object"},
		{"PUT", "/task-definitions/hello:1/tags", `{"tags":null}`, "tags", "missing"},
		{"PUT", "/task-definitions/hello:1/tags", `{}`, "tags", "missing"},
		{"POST", "/tasks", `null`, "", "must be an object"},
		{"POST", "/tasks/" + first + "/stop", `null`, "", "must be an object"},
		{"PUT", "/security-groups/web", `null`, "", "must be an object"},
		{"PUT", "/security-groups/web", ` null `, "", "must be an object"},
		{"POST", "/images/pull", `null`, "", "must be an object"},
		{"POST", "/price-lists", `null`, "", "must be an object"},
		{"POST", "/price-lists/use", `null`, "", "must be an object"},
		{"POST", "/price-lists/us-east-1/activate", `null`, "", "must be an object"},
	} {
		rec := w.call(tt.method, tt.path, tt.body)
		p := decode[api.Fault](t, rec)
		if rec.Code != http.StatusBadRequest || p.Field != tt.field || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %s with %s: %d %s, want 400, field %q, detail with %q", tt.method, tt.path, tt.body, rec.Code, rec.Body, tt.field, tt.detail)
		}
	}
	if after := w.everything(); after != before {
		t.Errorf("something happened: %s, before it %s", after, before)
	}
	if rec := w.call("PUT", "/task-definitions/hello:1/tags", `{"tags":[]}`); rec.Code != http.StatusOK {
		t.Errorf("take all tags away: %d %s", rec.Code, rec.Body)
	}
}

// Ensure that who asks for something in the body of a call that takes none is told so
// before anything happens, and that an empty one asks nothing.
func TestUnwantedBody(t *testing.T) {
	for _, tt := range []struct{ method, path string }{
		{"POST", "/tasks/" + first + "/interrupt"},
		{"DELETE", "/task-definitions/hello:1"},
		{"DELETE", "/security-groups/web"},
		{"DELETE", "/images/docker.io/library/used:latest"},
		{"POST", "/images/collect"},
		{"DELETE", "/secrets/prod/db"},
	} {
		w := newWorld(t)
		w.call("POST", "/tasks", `{"taskDefinition":`+hello+`,"capacityProviderStrategy":[{"capacityProvider":"FARGATE_SPOT","weight":1}]}`)
		w.call("PUT", "/security-groups/web", `{}`)
		w.SetImages(task.Image{Name: "docker.io/library/used:latest"})
		if _, err := w.PutSecret(t.Context(), "prod/db", []byte("x")); err != nil {
			t.Fatal(err)
		}
		before := w.everything()
		for body, field := range map[string]string{`{"foo":{"bar":1}}`: "foo", `{ nonsense`: "", `[]`: "", `null`: "", `{} {}`: ""} {
			rec := w.call(tt.method, tt.path, body)
			if rec.Code != http.StatusBadRequest || decode[api.Fault](t, rec).Field != field {
				t.Errorf("%s %s with %s: %d %s", tt.method, tt.path, body, rec.Code, rec.Body)
			}
		}
		r := request(tt.method, api.Base+tt.path, `force=true`)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if rec := w.serve(r); rec.Code != http.StatusUnsupportedMediaType {
			t.Errorf("%s %s with a form: %d %s", tt.method, tt.path, rec.Code, rec.Body)
		}
		if after := w.everything(); after != before {
			t.Errorf("%s %s happened", tt.method, tt.path)
		}
		if rec := w.call(tt.method, tt.path, `{}`); rec.Code >= 300 {
			t.Errorf("%s %s with an empty object: %d %s", tt.method, tt.path, rec.Code, rec.Body)
		}
	}
}

// everything is what a call can change.
func (w *world) everything() string {
	var all strings.Builder
	for _, path := range []string{"/tasks", "/task-definitions?status=ACTIVE", "/security-groups", "/images", "/secrets", "/price-lists"} {
		all.WriteString(w.call("GET", path, "").Body.String())
	}
	return all.String()
}

// Ensure HTTP's own refusals are problems too.
func TestRefusals(t *testing.T) {
	type change func(*http.Request)
	host := func(h string) change { return func(r *http.Request) { r.Host = h } }
	header := func(k, v string) change { return func(r *http.Request) { r.Header.Set(k, v) } }
	for _, tt := range []struct {
		name, method, path, body string
		change                   change
		status                   int
	}{
		{"unknown path", "GET", "/api/v1/nothing", "", nil, 404},
		{"the root", "GET", "/", "", nil, 404},
		{"slash at the end", "GET", "/api/v1/tasks/", "", nil, 404},
		{"wrong method", "PATCH", "/api/v1/tasks", "", nil, 405},
		{"wrong method on a task", "DELETE", "/api/v1/tasks/" + first, "", nil, 405},
		{"form", "POST", "/api/v1/tasks", "{}", header("Content-Type", "application/x-www-form-urlencoded"), 415},
		{"text", "POST", "/api/v1/tasks", "{}", header("Content-Type", "text/plain"), 415},
		{"odd type", "POST", "/api/v1/tasks", "{}", header("Content-Type", "///"), 415},
		{"JSON with charset", "POST", "/api/v1/tasks", "{}", header("Content-Type", "application/json; charset=utf-8"), 400},
		{"import without a type", "POST", "/api/v1/images", "x", header("Content-Type", ""), 415},
		{"localhost", "GET", "/api/v1/tasks", "", host("localhost:8080"), 200},
		{"IPv6", "GET", "/api/v1/tasks", "", host("[::1]:8080"), 200},
		{"an address", "GET", "/api/v1/tasks", "", host("192.0.2.7"), 200},
		{"a name of ours", "GET", "/api/v1/tasks", "", host("Berth.Example.:80"), 200},
		{"rebound name", "GET", "/api/v1/tasks", "", host("evil.example"), 421},
		{"rebound name with our address in it", "GET", "/api/v1/tasks", "", host("127.0.0.1.evil.example"), 421},
		{"no host", "GET", "/api/v1/tasks", "", host(""), 421},
		{"other origin", "POST", "/api/v1/tasks", "{}", header("Origin", "https://evil.example"), 403},
		{"null origin", "POST", "/api/v1/tasks", "{}", header("Origin", "null"), 403},
		{"other port", "DELETE", "/api/v1/images/x", "", header("Origin", "http://127.0.0.1:9999"), 403},
		{"cross-site fetch", "POST", "/api/v1/images/collect", "", header("Sec-Fetch-Site", "cross-site"), 403},
		{"same origin", "POST", "/api/v1/tasks", "{}", header("Origin", "http://127.0.0.1:8080"), 400},
		{"unknown health", "POST", "/healthz", "", nil, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			r := request(tt.method, tt.path, tt.body)
			if tt.change != nil {
				tt.change(r)
			}
			rec := w.serve(r)
			if rec.Code != tt.status {
				t.Errorf("status %d, want %d: %s", rec.Code, tt.status, rec.Body)
			}
			if rec.Code >= 400 && decode[api.Fault](t, rec).Status != tt.status {
				t.Errorf("not a problem: %s", rec.Body)
			}
			if tt.status == 405 && rec.Header().Get("Allow") == "" {
				t.Error("no Allow")
			}
			for _, h := range []string{"X-Content-Type-Options", api.RequestID} {
				if rec.Header().Get(h) == "" {
					t.Errorf("no %s", h)
				}
			}
		})
	}
}
