package notice

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"berth/fault"
)

// Ensure a webhook is a URL that can be posted to, and the fault is said at its field.
func TestCheckWebhook(t *testing.T) {
	for url, good := range map[string]bool{
		"http://127.0.0.1:9000": true, "https://example.com/costs?team=a": true, "https://[::1]:1/": true, "HTTPS://example.com": true,
		"": false, "example.com": false, "/costs": false, "ftp://example.com": false, "http://": false, "http://:80/": false, "https://a b/": false,
		"https://ann@example.com": false, "https://ann:pw@example.com": false, "https://example.com#x": false, "https://example.com/#": false,
		"file:///etc/passwd": false, "https://example.com/" + strings.Repeat("a", 2028): true, "https://example.com/" + strings.Repeat("a", 2029): false,
		"https://example.com/\n": false,
	} {
		err := CheckWebhook("notify[0].webhook", url)
		if (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && (fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != "notify[0].webhook") {
			t.Errorf("%q: the fault is %v at %q", url, fault.KindOf(err), fault.FieldOf(err))
		}
	}
}

// Ensure an ID is the same for the same parts only, wherever they are cut.
func TestID(t *testing.T) {
	if ID("a", "b") != ID("a", "b") {
		t.Error("an ID changed")
	}
	seen := map[string]bool{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"a", "1:b"}, {"a1:b"}} {
		id := ID(parts...)
		if seen[id] {
			t.Errorf("%q has the ID of others", parts)
		}
		seen[id] = true
		n := Notice{ID: id, At: time.Unix(1, 0), Type: "t", Subject: "s", Data: []byte(`{}`)}
		if err := n.Check(); err != nil {
			t.Error(err)
		}
	}
}

// Ensure an event has the fields that CloudEvents 1.0 wants, under its names.
func TestEvent(t *testing.T) {
	n := Notice{ID: "i", At: time.Date(2026, 11, 1, 2, 0, 0, 0, time.FixedZone("", 3600)), Type: "berth.x", Subject: "a/b", Data: []byte(`{"x":1}`), Webhook: "https://a"}
	got, err := json.Marshal(n.Event("urn:berth:r:a:i"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"i","source":"urn:berth:r:a:i","type":"berth.x","subject":"a/b","time":"2026-11-01T01:00:00Z","datacontenttype":"application/json","data":{"x":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Ensure attempts come ever later, and end within a day and not before 18 hours.
func TestDelay(t *testing.T) {
	for _, chance := range []float64{0, 0.5, 0.999} {
		sum, before := time.Duration(0), time.Duration(0)
		for n := 1; n < attempts; n++ {
			d := Delay(n, chance)
			if d < before {
				t.Errorf("delay %d is %s after %s", n, d, before)
			}
			sum, before = sum+d, d
		}
		if sum > 24*time.Hour || sum < 18*time.Hour {
			t.Errorf("chance %v: it is given up after %s", chance, sum)
		}
	}
	if Delay(1, 0) != 10*time.Second || Delay(3, 0) != 90*time.Second || Delay(12, 0) != 4*time.Hour {
		t.Error(Delay(1, 0), Delay(3, 0), Delay(12, 0))
	}
}

// Ensure that what may be a secret in a webhook is not shown, and that what is shown is known again.
func TestShown(t *testing.T) {
	for webhook, want := range map[string]string{
		"":                                  "",
		"https://example.com":               "https://example.com",
		"https://example.com/":              "https://example.com/",
		"http://[::1]:9000/a/b":             "http://[::1]:9000/…",
		"https://example.com/?token=secret": "https://example.com/…",
		"https://example.com?token=secret":  "https://example.com/…",
	} {
		if got := Shown(webhook); got != want || Hidden(got) != strings.Contains(want, "…") || Shown(got) != got {
			t.Errorf("%q is shown as %q, hidden: %t", webhook, got, Hidden(got))
		}
	}
}
