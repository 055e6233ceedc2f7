package rest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"berth/server/api"
	"berth/task"
)

// Ensure a dry run says what would be and leaves no trace.
func TestDryRun(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Import(context.Background(), "berth/demo:latest", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	preview := func(body string) api.RunResponse {
		t.Helper()
		rec := w.call("POST", "/tasks?dryRun=true", body)
		got := decode[api.RunResponse](t, rec)
		if rec.Code != http.StatusOK || !got.DryRun || got.Quote == nil || got.TaskDefinition == nil || got.Admission == nil || got.Estimate == nil || len(got.Images) == 0 {
			t.Fatalf("dry run: %d %s", rec.Code, rec.Body)
		}
		return got
	}
	definition := func(image string) string {
		return `{"family":"measured","cpu":"1024","memory":"2048","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"containerDefinitions":[{"name":"main","image":"` + image + `"}]}`
	}
	got := preview(`{"taskDefinition":` + definition("berth/demo:latest") + `,"count":6,
		"capacityProviderStrategy":[{"capacityProvider":"FARGATE","base":1},{"capacityProvider":"FARGATE_SPOT","weight":1}]}`)
	a := *got.Admission
	if len(got.Tasks) != 6 || a.Decision != api.AdmitLater || a.StartNow != 4 || a.Wait != 2 || a.Ahead != 0 ||
		a.Total != (api.Resources{CPU: 4096, Memory: 8192}) || a.Free != a.Total || a.Reason == "" {
		t.Errorf("%d tasks, %+v", len(got.Tasks), a)
	}
	if i := got.Images[0]; len(got.Images) != 1 || !i.Here || i.SizeBytes != 1 {
		t.Errorf("images: %+v", got.Images)
	}
	e := *got.Estimate
	if len(e.Terms) != 2 || e.Terms[0].CapacityProvider != task.OnDemand || e.Terms[0].Count != 1 || e.Terms[1].Count != 5 || e.Duration.Runs != 2 ||
		e.Terms[1].PerTask.Low.Total >= e.Terms[0].PerTask.Low.Total || e.Terms[1].Total.Expected != 5*e.Terms[1].PerTask.Expected.Total || e.Total.High != e.Terms[0].Total.High+e.Terms[1].Total.High || e.Total.Low <= 0 {
		t.Errorf("estimate: %+v", e)
	}
	if got = preview(`{"taskDefinition":` + definition("example.com/other:1") + `}`); got.Admission.Decision != api.AdmitNow || got.Images[0].Here {
		t.Errorf("one task: %+v, %+v", got.Admission, got.Images)
	}
	got = preview(`{"taskDefinition":` + strings.Replace(definition("x"), `"cpu":"1024","memory":"2048"`, `"cpu":"8192","memory":"16384"`, 1) + `}`)
	if a := *got.Admission; a.Decision != api.AdmitNever || a.StartNow != 0 || a.Wait != 0 || !strings.Contains(a.Reason, "RESOURCE:CPU") {
		t.Errorf("a task that is too large: %+v", a)
	}
	w.Spent = 2
	if rec := w.call("PUT", "/budgets/broke", `{"limit":"0.000000002","action":"DENY","scope":{"family":["measured"]}}`); rec.Code != http.StatusOK {
		t.Fatal(rec.Code, rec.Body)
	}
	if rec := w.call("POST", "/tasks?dryRun=true", `{"taskDefinition":`+definition("x")+`}`); rec.Code != http.StatusPaymentRequired || !strings.Contains(rec.Body.String(), "budget broke allows") {
		t.Errorf("without money: %d %s", rec.Code, rec.Body)
	}
	w.Spent = 1
	preview(`{"taskDefinition":` + definition("x") + `}`)
	w.leavesNoTrace(t)

	for _, body := range []string{
		`{"taskDefinition":"nothing"}`, `{"taskDefinition":` + definition("x") + `,"count":11}`, `{"taskDefinition":` + definition("x") + `,"group":"service:x"}`,
		`{"taskDefinition":` + definition("") + `}`, `{`, `{"taskDefinition":` + definition("x") + `,"overrides":{"cpu":"300"}}`,
	} {
		dry, wet := w.call("POST", "/tasks?dryRun=true", body), w.call("POST", "/tasks", body)
		x, y := decode[api.Fault](t, dry), decode[api.Fault](t, wet)
		if x.Instance, y.Instance = "", ""; dry.Code != wet.Code || dry.Code < 400 || x.Detail != y.Detail || x.Field != y.Field || x.Type != y.Type {
			t.Errorf("%s: a dry run says %d %+v, and a run %d %+v", body, dry.Code, x, wet.Code, y)
		}
	}
	w.leavesNoTrace(t)
}
