package rest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"berth/server/api"
)

// secretCall makes a call whose body is a value.
func (w *world) secretCall(method, path, body, media string) *httptest.ResponseRecorder {
	r := request(method, api.Base+path, body)
	if body != "" {
		r.Header.Set("Content-Type", media)
	}
	return w.serve(r)
}

const octets = "application/octet-stream"

// Ensure secrets go in under names with slashes, however those are written, and that no
// answer and no log has their values.
func TestSecrets(t *testing.T) {
	w := newWorld(t)
	const value = "correct horse battery staple"
	for path, name := range map[string]string{"/secrets/prod/db": "prod/db", "/secrets/prod%2Fapi": "prod/api", "/secrets/%2Ftop": "top"} {
		rec := w.secretCall("PUT", path, value, octets)
		got := decode[api.SecretInfo](t, rec)
		if rec.Code != 200 || got.Name != name || got.SizeBytes != len(value) || strings.Contains(rec.Body.String(), "horse") {
			t.Errorf("put %s: %d %s", path, rec.Code, rec.Body)
		}
	}
	rec := w.call("GET", "/secrets", "")
	list := decode[api.SecretList](t, rec)
	if rec.Code != 200 || len(list.Secrets) != 3 || list.Secrets[1].Name != "prod/db" || strings.Contains(rec.Body.String(), "horse") {
		t.Errorf("list: %d %s", rec.Code, rec.Body)
	}
	if rec := w.call("DELETE", "/secrets/prod/db", ""); rec.Code != 204 {
		t.Errorf("delete: %d %s", rec.Code, rec.Body)
	}
	for _, e := range w.logs.All() {
		if strings.Contains(e.Message, "horse") {
			t.Errorf("the log says %q", e.Message)
		}
	}
}

func TestSecretsRefused(t *testing.T) {
	w := newWorld(t)
	for name, tt := range map[string]struct {
		method, path, body, media string
		status                    int
	}{
		"another type":  {"PUT", "/secrets/a", "x", "application/x-www-form-urlencoded", 415},
		"too large":     {"PUT", "/secrets/a", strings.Repeat("x", api.MaxSecret+1), octets, 413},
		"no name":       {"PUT", "/secrets/", "x", octets, 400},
		"odd name":      {"PUT", "/secrets/a%20b", "x", octets, 400},
		"up":            {"PUT", "/secrets/a/%2E%2E/b", "x", octets, 400},
		"unknown":       {"DELETE", "/secrets/none", "", "", 404},
		"a value":       {"GET", "/secrets/a", "", "", 405},
		"unknown query": {"GET", "/secrets?values=1", "", "", 400},
	} {
		rec := w.secretCall(tt.method, tt.path, tt.body, tt.media)
		if rec.Code != tt.status || decode[api.Fault](t, rec).Detail == "" {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	if list := decode[api.SecretList](t, w.call("GET", "/secrets", "")); list.Secrets == nil || len(list.Secrets) != 0 {
		t.Errorf("what was refused is kept: %v", list)
	}
	if rec := w.secretCall("PUT", "/secrets/a", strings.Repeat("x", api.MaxSecret), "text/plain"); rec.Code != 200 {
		t.Errorf("the largest: %d %s", rec.Code, rec.Body)
	}
}
