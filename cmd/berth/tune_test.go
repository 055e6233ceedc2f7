package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"berth/billing/tuning"
	"berth/server/rest"
	"berth/server/rest/resttest"
)

// Ensure whoever follows a tuning and leaves is told how to come back, and that it goes
// on; and that a server that is away for a moment ends nothing.
func TestTuneLeft(t *testing.T) {
	fake := resttest.New()
	fake.Script = demo
	c := fake.Config()
	c.Log = zap.NewNop()
	api := rest.New(t.Context(), c)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var waits atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("waitSeconds") {
			switch waits.Add(1) {
			case 1:
				http.Error(w, "a proxy without a server", http.StatusBadGateway)
				return
			case 3: // It knows what there is and waits for more.
				leave()
			}
		}
		api.ServeHTTP(w, r)
	}))
	defer srv.Close()
	say := func(ctx context.Context, args ...string) (int, string) {
		var out, errs strings.Builder
		a := newApp(strings.NewReader(""), &out, &errs)
		a.env = func(key string) (string, bool) { return srv.URL, key == "BERTH_ENDPOINT" }
		root := a.root()
		root.SetArgs(args)
		return a.report(root.ExecuteContext(ctx)), out.String() + errs.String()
	}
	definition := t.TempDir() + "/job.json"
	text := `{"family": "job", "cpu": "512", "memory": "1024", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"],
		"containerDefinitions": [{"name": "main", "image": "berth/demo", "command": ["sleep"]}]}`
	if err := os.WriteFile(definition, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, said := say(t.Context(), "definition", "register", definition); code != 0 {
		t.Fatal(said)
	}
	code, said := say(ctx, "rightsize", "tune", "job", "--sizes", "256:512")
	if code != 130 || !strings.Contains(said, `The tuning goes on. "berth rightsize tune --follow 00000000000000000000000000007001" shows how`) {
		t.Errorf("exit code %d, said %s", code, said)
	}
	if n := waits.Load(); n != 3 {
		t.Errorf("it asked %d times", n)
	}
	if r, err := fake.Config().Tunings.Tuning(t.Context(), "00000000000000000000000000007001"); err != nil || r.Status != tuning.Running {
		t.Errorf("it is %s, %v", r.Status, err)
	}
}
