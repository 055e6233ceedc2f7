package access

import (
	"strings"
	"testing"
)

// Ensure what the audit log keeps of a request has nothing in it that opens anything,
// however the names of its members are written.
func TestParameters(t *testing.T) {
	in := map[string]any{
		"containerDefinitions": []any{map[string]any{
			"name": "main", "command": []any{"serve"}, "image": "web:1",
			"environment":      []any{map[string]any{"name": "A", "value": "hunter2"}},
			"logConfiguration": map[string]any{"logDriver": "splunk", "options": map[string]any{"splunk-token": "hunter2"}},
		}},
		"WebIdentityToken": "hunter2", "SecretAccessKey": "hunter2", "Password": "hunter2", "absent": nil,
	}
	got := string(Parameters(in))
	for _, want := range []string{`"name":"main"`, `"command":["serve"]`, `"image":"web:1"`, `"logDriver":"splunk"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") || strings.Contains(got, "absent") {
		t.Error(got)
	}
	if got := Parameters(map[string]any{"a": strings.Repeat("x", maxParameters)}); got != nil {
		t.Errorf("%d bytes are kept", len(got))
	}
}
