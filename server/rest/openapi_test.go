package rest_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"berth/server/api"
	"berth/server/rest/resttest"
)

type openAPI struct {
	OpenAPI    string `json:"openapi"`
	Info       struct{ Title, Version string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]any }
}

type operation struct {
	OperationID string
	Summary     string
	Parameters  []struct {
		Name, In string
		Required bool
		Schema   map[string]any
	}
	RequestBody struct {
		Required bool
		Content  map[string]struct{ Schema map[string]any }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema map[string]any }
	}
}

var variables = regexp.MustCompile(`[:*]([a-z]+)`)

// Ensure the document covers every route and nothing else, and is one of OpenAPI
// 3.1 as far as programs depend on it: operations have IDs, path parameters are
// declared, every reference leads somewhere.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	rec := w.serve(request("GET", api.Base+"/openapi.json", ""))
	doc := decode[openAPI](t, rec)
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("not OpenAPI 3.1: %q, %+v", doc.OpenAPI, doc.Info)
	}
	documented := make(map[string]bool)
	ids := make(map[string]bool)
	for path, item := range doc.Paths {
		for method, op := range item {
			documented[strings.ToUpper(method)+" "+api.Base+path] = true
			checkOperation(t, path, op)
			if ids[op.OperationID] {
				t.Errorf("two operations are called %s", op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	for _, r := range w.api.(*gin.Engine).Routes() {
		if !strings.HasPrefix(r.Path, api.Base+"/") || strings.HasSuffix(r.Path, "/openapi.json") {
			continue
		}
		name := r.Method + " " + variables.ReplaceAllString(r.Path, "{$1}")
		if !documented[name] {
			t.Errorf("%s is not documented", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("%s is documented and does not exist", name)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(rec.Body.String(), -1) {
		if doc.Components.Schemas[strings.TrimPrefix(ref[1], "#/components/schemas/")] == nil {
			t.Errorf("%s leads nowhere", ref[1])
		}
	}
	for _, want := range []string{"Task", "Definition", "RunRequest", "Fault", "Bill", "Usage"} {
		if doc.Components.Schemas[want] == nil {
			t.Errorf("no schema %s", want)
		}
	}
}

func checkOperation(t *testing.T, path string, op operation) {
	t.Helper()
	if op.OperationID == "" || op.Summary == "" {
		t.Errorf("%s has no operationId or no summary", path)
	}
	for _, v := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(path, -1) {
		if !slices.ContainsFunc(op.Parameters, func(p struct {
			Name, In string
			Required bool
			Schema   map[string]any
		}) bool {
			return p.Name == v[1] && p.In == "path" && p.Required && p.Schema["type"] != nil
		}) {
			t.Errorf("%s: parameter %s is not declared", path, v[1])
		}
	}
	for status, r := range op.Responses {
		if status != "default" && (len(status) != 3 || http.StatusText(int(status[0]-'0')*100+int(status[1]-'0')*10+int(status[2]-'0')) == "") {
			t.Errorf("%s: odd status %q", path, status)
		}
		if r.Description == "" {
			t.Errorf("%s: response %s has no description", path, status)
		}
	}
	if op.Responses["default"].Content[api.Problem].Schema == nil {
		t.Errorf("%s does not document its problems", path)
	}
}

// Ensure a run may name its definition or bring it.
func TestOpenAPIRun(t *testing.T) {
	w := newWorld(t)
	doc := decode[struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]json.RawMessage
				Required   []string
			}
		}
	}](t, w.serve(request("GET", api.Base+"/openapi.json", "")))
	run := doc.Components.Schemas["RunRequest"]
	if got := string(run.Properties["taskDefinition"]); !strings.Contains(got, `"oneOf":[{"type":"string"},{"$ref":"#/components/schemas/Definition"}]`) {
		t.Errorf("taskDefinition: %s", got)
	}
	if !slices.Equal(run.Required, []string{"taskDefinition"}) {
		t.Errorf("required: %v", run.Required)
	}
	if d := doc.Components.Schemas["Definition"]; slices.Contains(d.Required, "volumes") {
		t.Errorf("a definition requires %v", d.Required)
	}
}

// Ensure no request, however odd, makes the server panic or answer 500.
func FuzzRun(f *testing.F) {
	for _, seed := range []string{
		`{"taskDefinition":` + hello + `}`, `{"taskDefinition":"hello:1","count":3,"overrides":{"cpu":"1 vCPU"}}`, `{`, `null`, `[]`, `"x"`, `{"taskDefinition":null}`,
		`{"taskDefinition":{"family":"x","containerDefinitions":[null]}}`, `{"overrides":{"containerOverrides":[{"name":"main","environment":[{}]}]},"taskDefinition":` + hello + `}`,
	} {
		f.Add(seed)
	}
	w := worldOf(f.Context(), resttest.New())
	f.Fuzz(func(t *testing.T, body string) {
		rec := w.call("POST", "/tasks?dryRun=true", body)
		if rec.Code >= 500 || rec.Code != 200 && decode[api.Fault](t, rec).Detail == "" {
			t.Errorf("%q: %d %s", body, rec.Code, rec.Body)
		}
	})
}
