package secret

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/fault"
)

const token = "s.0123456789"

// vault answers as Vault does: KV version 2 under /v1/secret, version 1 under /v1/old
// (Vault HTTP API, "KV secrets engine"). Names say what happens.
func vault(t *testing.T) *httptest.Server {
	t.Helper()
	var hanging atomic.Int32
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != token {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		v2 := func(data string) {
			fmt.Fprintf(w, `{"request_id":"1","data":{"data":%s,"metadata":{"version":3,"deletion_time":""}},"warnings":null}`, data)
		}
		switch r.Method + " " + r.URL.EscapedPath() {
		case "GET /v1/secret/data/prod/db":
			v2(`{"username":"u","password":"päss\"w","port":5432,"on":true}`)
		case "GET /v1/secret/data/one":
			v2(`{"value":"single"}`)
		case "GET /v1/secret/data/json":
			v2(`{"value":"{\"password\":\"inner\"}"}`)
		case "GET /v1/secret/data/huge":
			v2(`{"value":"` + strings.Repeat("x", MaxValue+1) + `"}`)
		case "GET /v1/secret/data/deleted":
			w.WriteHeader(http.StatusNotFound)
			v2("null")
		case "GET /v1/team/kv/data/one":
			v2(`{"value":"deep"}`)
		case "GET /v1/old/one":
			fmt.Fprint(w, `{"data":{"value":"first version","x":"y"},"lease_duration":2764800}`)
		case "GET /v1/secret/data/denied", "GET /v1/secret/data/app-AbCdEf":
			http.Error(w, `{"errors":["1 error occurred: permission denied"]}`, http.StatusForbidden)
		case "GET /v1/secret/data/app":
			v2(`{"value":"of the app"}`)
		case "GET /v1/secret/data/sealed":
			http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
		case "GET /v1/secret/data/broken":
			http.Error(w, `{"errors":["internal"]}`, http.StatusInternalServerError)
		case "GET /v1/secret/data/busy":
			http.Error(w, `{"errors":[]}`, http.StatusTooManyRequests)
		case "GET /v1/secret/data/odd":
			http.Error(w, `{"errors":["unsupported path"]}`, http.StatusBadRequest)
		case "GET /v1/secret/data/text":
			fmt.Fprint(w, "<html>")
		case "GET /v1/secret/data/standby":
			http.Redirect(w, r, "/v1/secret/data/one", http.StatusTemporaryRedirect)
		case "GET /v1/secret/data/loop":
			http.Redirect(w, r, "/v1/secret/data/loop", http.StatusTemporaryRedirect)
		case "GET /v1/secret/data/slow":
			hanging.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "GET /v1/secret/data/namespaced":
			v2(`{"value":"` + r.Header.Get("X-Vault-Namespace") + `"}`)
		default:
			http.Error(w, `{"errors":[]}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(func() { close(release); srv.Close() })
	return srv
}

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, address, file string) Vault {
	t.Helper()
	v, err := ParseVault(address, file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVault(t *testing.T) {
	srv := vault(t)
	file := tokenFile(t, token)
	v := open(t, srv.URL, file)
	wantValue(t, v, "prod/db", "password", `päss"w`)
	wantValue(t, v, "prod/db", "port", "5432")
	wantValue(t, v, "prod/db", "on", "true")
	wantValue(t, v, "prod/db", "", `{"on":true,"password":"päss\"w","port":5432,"username":"u"}`)
	wantValue(t, v, "one", "", "single")
	wantValue(t, v, "json", "", `{"password":"inner"}`)
	wantValue(t, v, "json", "password", "inner")
	wantValue(t, v, "standby", "", "single")
	wantValue(t, open(t, srv.URL+"/secret?field=password", file), "prod/db", "", `päss"w`)
	wantValue(t, open(t, srv.URL+"/team/kv/", file), "one", "", "deep")
	wantValue(t, open(t, srv.URL+"/old?kv=1", file), "one", "", "first version")
	wantValue(t, open(t, srv.URL+"?namespace=team/a", file), "namespaced", "", "team/a")

	for name, tt := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"none": {fault.NotFound, "none"}, "deleted": {fault.NotFound, "deleted"}, "denied": {fault.Invalid, "403"}, "odd": {fault.Invalid, "400"},
		"sealed": {fault.Unavailable, "503"}, "broken": {fault.Unavailable, "500"}, "busy": {fault.Unavailable, "429"},
		"text": {fault.Unavailable, "not Vault"}, "loop": {fault.Unavailable, "does not answer"}, "huge": {fault.Invalid, "more than"},
	} {
		_, err := v.Value(t.Context(), name, "")
		wantKind(t, err, tt.kind, tt.text)
	}
	_, err := v.Value(t.Context(), "prod/db", "nokey")
	wantKind(t, err, fault.NotFound, "did not contain json key nokey")
	_, err = open(t, srv.URL+"/old?kv=2", file).Value(t.Context(), "one", "")
	wantKind(t, err, fault.NotFound, "one")
	_, err = open(t, srv.URL+"/secret?kv=1", file).Value(t.Context(), "one", "")
	wantKind(t, err, fault.NotFound, "one")
}

// Ensure a Vault that hangs or is gone is a fault that passes, and that the token is
// read anew and shown to nobody.
func TestVaultTroubles(t *testing.T) {
	srv := vault(t)
	file := tokenFile(t, "old")
	v := open(t, srv.URL, file)
	_, err := v.Value(t.Context(), "one", "")
	wantKind(t, err, fault.Invalid, "denies")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	wantValue(t, v, "one", "", "single")

	v.Client.Timeout = 50 * time.Millisecond
	_, err = v.Value(t.Context(), "slow", "")
	wantKind(t, err, fault.Unavailable, "does not answer")
	srv.CloseClientConnections()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, err = open(t, gone.URL, file).Value(t.Context(), "one", "")
	wantKind(t, err, fault.Unavailable, "does not answer")
	if strings.Contains(err.Error(), token) {
		t.Errorf("the error has the token: %v", err)
	}
	_, err = open(t, srv.URL, filepath.Join(t.TempDir(), "none")).Value(t.Context(), "one", "")
	wantKind(t, err, fault.Unavailable, "token")
}

func TestParseVault(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8200", "ftp://x", "http://", "http://u:p@x", "http://x?kv=3", "http://x?colour=red", "http://x?field="} {
		if v, err := ParseVault(bad, "token"); err == nil {
			t.Errorf("%q is %+v", bad, v)
		}
	}
	if _, err := ParseVault("http://127.0.0.1:8200", ""); err == nil {
		t.Error("a Vault without a token")
	}
}

// Ensure the token does not leave TLS by a redirection.
func TestVaultRedirectedInClear(t *testing.T) {
	var heard atomic.Int32
	clear := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	defer clear.Close()
	srv := httptest.NewTLSServer(http.RedirectHandler(clear.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	v := open(t, srv.URL, tokenFile(t, token))
	v.Client.Transport = srv.Client().Transport
	_, err := v.Value(t.Context(), "one", "")
	wantKind(t, err, fault.Unavailable, "does not answer")
	if heard.Load() > 0 {
		t.Error("the token went out in clear")
	}
}
