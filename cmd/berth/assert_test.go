package main

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"

	"berth/fault"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

// Ensure that what is not known is not asserted: a task that was never measured, and a
// bill that is not closed, are an error and not a success; and that a container's code
// comes before both.
func TestNotAsserted(t *testing.T) {
	fake := resttest.New()
	c := fake.Config()
	c.Log = zap.NewNop()
	srv := httptest.NewServer(rest.New(t.Context(), c))
	defer srv.Close()
	d, err := task.ParseDefinition([]byte(`{"family":"x","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","containerDefinitions":[{"name":"main","image":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	ts, err := fake.Submit(t.Context(), task.Run{Inline: &d})
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	a := newApp(strings.NewReader(""), io.Discard, &said)
	a.endpoint = srv.URL
	for _, tt := range []struct {
		as   asserts
		says string
	}{{asserts{peak: 1 << 40}, "never measured"}, {asserts{cost: "1", most: 1e9}, "not closed"}, {asserts{cost: "1", most: 1e9, peak: 1 << 40}, "not closed"}} {
		if code, err := a.assert(t.Context(), tt.as, ts, 0); fault.KindOf(err) != fault.Unavailable || code != 0 || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: code %d, %v", tt.as, code, err)
		}
		said.Reset()
		if code, err := a.assert(t.Context(), tt.as, ts, 7); err != nil || code != 7 || !strings.Contains(said.String(), "Not asserted: ") {
			t.Errorf("%+v after a failure: code %d, %v, %q", tt.as, code, err, said.String())
		}
	}
	if code, err := a.assert(t.Context(), asserts{}, ts, 0); code != 0 || err != nil {
		t.Errorf("nothing asserted: code %d, %v", code, err)
	}
}
