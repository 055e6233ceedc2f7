package rest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/billing/tuning"
	"berth/server/api"
)

// Ensure a tuning can be made, waited for, cancelled, resumed, listed and removed, and
// what makes no sense is refused with the field.
func TestTunings(t *testing.T) {
	w := newWorld(t)
	w.run(t, `{"taskDefinition":`+hello+`}`) // registers it
	rec := w.call("POST", "/tunings", `{"taskDefinition":"hello","sizes":[{"cpu":256,"memory":512},{"cpu":512,"memory":1024}],"runs":2,"maxCost":"0.01","balance":0.25,
		"overrides":{"containerOverrides":[{"name":"main","command":["sleep"]}]}}`)
	made := decode[tuning.Report](t, rec)
	if rec.Code != http.StatusCreated || made.Status != tuning.Waiting || made.Planned != 4 || made.MaxCost != 10_000_000 || made.Balance != 0.25 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	path := "/tunings/" + string(made.ID)
	rec = w.call("GET", path+"?waitSeconds=60&afterVersion=1", "")
	going := decode[tuning.Report](t, rec)
	if going.Status != tuning.Running || len(going.Log) != 1 || going.Log[0].State != tuning.Going {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	sent := decode[api.TaskPage](t, w.call("GET", "/tasks?startedBy=tuning/"+string(made.ID), ""))
	if len(sent.Tasks) != 1 || sent.Tasks[0].Group != "tuning:hello" || sent.Tasks[0].Overrides.Containers[0].Command[0] != "sleep" || sent.Tasks[0].Timeout != 900 {
		t.Errorf("its task: %+v", sent.Tasks)
	}
	begun := time.Now()
	if rec = w.call("GET", path+"?waitSeconds=1&afterVersion="+"99", ""); rec.Code != http.StatusOK || time.Since(begun) < 900*time.Millisecond {
		t.Errorf("it did not wait: %d after %v", rec.Code, time.Since(begun))
	}
	if rec = w.call("DELETE", path, ""); rec.Code != http.StatusConflict {
		t.Errorf("removing one that goes on: %d %s", rec.Code, rec.Body)
	}
	for range 2 {
		if rec = w.call("POST", path+"/cancel", ""); rec.Code != http.StatusOK {
			t.Errorf("cancel: %d %s", rec.Code, rec.Body)
		}
	}
	if got := decode[tuning.Report](t, w.call("GET", path, "")); got.Status != tuning.Stopping && got.Status != tuning.Cancelled {
		t.Errorf("it is %s", got.Status)
	}
	page := decode[api.TuningPage](t, w.call("GET", "/tunings?limit=1", ""))
	if len(page.Tunings) != 1 || page.NextToken != "" {
		t.Errorf("listed: %+v", page)
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		field              string
	}{
		{"POST", "/tunings", `{"taskDefinition":"hello","sizes":[{"cpu":256,"memory":4096}]}`, 400, `"sizes[0]"`},
		{"POST", "/tunings", `{"taskDefinition":"hello","maxCost":"-1"}`, 400, `"maxCost"`},
		{"POST", "/tunings", `{"taskDefinition":"hello","maxCost":"a lot"}`, 400, `"maxCost"`},
		{"POST", "/tunings", `{"taskDefinition":"hello","balance":"half"}`, 400, `"balance"`},
		{"POST", "/tunings", `{"taskDefinition":"hello","balance":1.5}`, 400, `"balance"`},
		{"POST", "/tunings", `{"taskDefinition":"hello","speed":1}`, 400, `"speed"`},
		{"POST", "/tunings", `{}`, 400, `"taskDefinition"`},
		{"POST", "/tunings", `{"taskDefinition":"other"}`, 404, ""},
		{"POST", path + "/resume", `{"maxCost":"0.000000001"}`, 409, ""},
		{"GET", "/tunings/x", "", 404, ""},
		{"GET", path + "?waitSeconds=61", "", 400, `"waitSeconds"`},
		{"GET", "/tunings?nextToken=x", "", 400, `"nextToken"`},
		{"DELETE", "/tunings/" + strings.Repeat("0", 32), "", 404, ""},
	} {
		if rec := w.call(c.method, c.path, c.body); rec.Code != c.code || !strings.Contains(rec.Body.String(), c.field) {
			t.Errorf("%s %s %s: %d %s, want %d for %s", c.method, c.path, c.body, rec.Code, rec.Body, c.code, c.field)
		}
	}
}
