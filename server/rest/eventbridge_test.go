package rest_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"berth/eventbridge"
	"berth/server/api"
)

// Ensure a reader gets what its pattern selects, once and in order, also when it comes back;
// and nothing of another account unless it may see all.
func TestEventBridge(t *testing.T) { synctest.Test(t, eventBridge) }

func eventBridge(t *testing.T) {
	w := newWorld(t)
	f := w.Fake
	w.run(t, `{"taskDefinition":`+hello+`}`)
	live(f, first)
	stop(f, first, 0)
	stream := func(query string, header ...string) string {
		ctx, cancel := context.WithCancel(t.Context())
		r := request("GET", api.Base+"/events/eventbridge?"+query, "").WithContext(ctx)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		body := make(chan string)
		go func() { body <- w.serve(r).Body.String() }()
		synctest.Wait()
		cancel()
		return <-body
	}
	read := func(query string, header ...string) []string { return fields(stream(query, header...), "id") }
	all := read("after=0")
	if len(all) != 8 {
		t.Fatalf("%d events: %v", len(all), all)
	}
	if rest := read("", "Last-Event-ID", all[1]); strings.Join(rest, " ") != strings.Join(all[2:], " ") {
		t.Errorf("after %s: %v", all[1], rest)
	}
	pattern := url.QueryEscape(`{"source":["aws.ecs"],"detail":{"lastStatus":["STOPPED"],"containers":{"exitCode":[0]}}}`)
	if got := read("after=0&pattern=" + pattern); len(got) != 1 || got[0] != all[len(all)-1] {
		t.Errorf("stopped: %v of %v", got, all)
	}
	data := fields(stream("after=0&pattern="+pattern), "data")
	var ev eventbridge.Event
	if err := json.Unmarshal([]byte(data[0]), &ev); err != nil || ev.DetailType != eventbridge.TaskStateChange || ev.Account != f.Realm.Account {
		t.Errorf("%s: %v", data[0], err)
	}
	f.Who.Account, f.Who.Admin = "999999999999", false
	if got := read("after=0"); len(got) != 0 {
		t.Errorf("another account gets %v", got)
	}
	for query, says := range map[string]string{
		"after=x":                         "is not a position",
		"pattern=" + url.QueryEscape(`{`): "Event pattern is not valid. Reason: it is not JSON",
	} {
		if rec := w.call("GET", "/events/eventbridge?"+query, ""); rec.Code != 400 || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s: %d %s", query, rec.Code, rec.Body)
		}
	}
}

// Ensure rules can be made, changed by what was read of them, and removed, and their
// webhooks are told to nobody.
func TestEventRules(t *testing.T) {
	w := newWorld(t)
	made := decode[api.EventRule](t, w.call("PUT", "/event-rules/stops", `{"pattern":{"detail":{"lastStatus":["STOPPED"]}},"webhook":"https://example.com/secret"}`))
	if made.Webhook != "https://example.com/…" || string(made.Pattern) != `{"detail":{"lastStatus":["STOPPED"]}}` || made.Position != "0-0" {
		t.Errorf("%+v", made)
	}
	if got := decode[api.EventRule](t, w.call("PUT", "/event-rules/stops", `{"pattern":"{\"source\": [\"aws.ecs\"]}","webhook":"https://example.com/…"}`)); string(got.Pattern) != `{"source":["aws.ecs"]}` {
		t.Errorf("%+v", got)
	}
	if got := decode[api.EventRuleList](t, w.call("GET", "/event-rules", "")); len(got.Rules) != 1 || got.Rules[0].Webhook != "https://example.com/…" {
		t.Errorf("%+v", got)
	}
	for body, says := range map[string]string{
		`{"webhook":"https://other.com/…"}`:                 "stands for the webhook of a rule",
		`{"webhook":"ftp://example.com"}`:                   "a webhook is the URL",
		`{"webhook":"https://a.b","pattern":{"source":[]}}`: "Empty arrays are not allowed",
		`{"webhook":"https://a.b","pattern":3}`:             "Filter is not an object",
	} {
		if rec := w.call("PUT", "/event-rules/x", body); rec.Code != 400 || !strings.Contains(rec.Body.String(), says) {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
	if rec := w.call("DELETE", "/event-rules/stops", ""); rec.Code != 204 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := w.call("GET", "/event-rules/stops", ""); rec.Code != 404 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
