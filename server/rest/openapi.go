package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"berth/access"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/billing/prices"
	"berth/billing/rightsize"
	"berth/billing/tuning"
	"berth/billing/waste"
	"berth/billing/whatif"
	"berth/server/api"
	"berth/task"
)

// document writes the OpenAPI 3.1 document of the operations. It panics on a
// type that JSON Schema cannot say: that is a bug, and New runs into it at once.
func document(operations []operation, version string) []byte {
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Berth", Version: version,
			Description: "Runs task definitions at once, isolated and with exactly their limits; meters them every second and bills them.",
		},
		Servers:    []*huma.Server{{URL: api.Base}},
		Paths:      make(map[string]*huma.PathItem),
		Components: &huma.Components{Schemas: schemas},
	}
	for _, op := range operations {
		doc.AddOperation(op.describe(schemas))
	}
	nameOrDefinition(schemas)
	optionalLists(schemas)
	out, err := json.Marshal(doc)
	if err != nil {
		panic(fmt.Sprintf("rest: encode OpenAPI document: %v", err))
	}
	return out
}

// schemaName names the schema of t after its type, and after its package too
// where the type has a namesake.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[api.Fault]().PkgPath() && (name == "Image" || name == "Usage") {
		return "Api" + name
	}
	switch t.PkgPath() {
	case reflect.TypeFor[access.User]().PkgPath():
		return "Access" + name
	case reflect.TypeFor[prices.List]().PkgPath():
		return "Prices" + name
	case reflect.TypeFor[estimate.Estimate]().PkgPath():
		return "Estimate" + strings.TrimPrefix(name, "Estimate")
	case reflect.TypeFor[rightsize.Advice]().PkgPath():
		return "Rightsize" + name
	case reflect.TypeFor[tuning.Tuning]().PkgPath():
		return "Tuning" + strings.TrimPrefix(name, "Tuning")
	case reflect.TypeFor[waste.Report]().PkgPath():
		return "Waste" + name
	case reflect.TypeFor[whatif.Result]().PkgPath():
		return "WhatIf" + name
	case reflect.TypeFor[history.Quote]().PkgPath():
		return "History" + name
	}
	return name
}

// nameOrDefinition says of RunRequest what Go's types cannot: its task definition
// is a name or a whole definition.
func nameOrDefinition(schemas huma.Registry) {
	run := schemas.Map()["RunRequest"]
	described := run.Properties["taskDefinition"].Description
	run.Properties["taskDefinition"] = &huma.Schema{
		Description: described,
		OneOf:       []*huma.Schema{{Type: huma.TypeString}, schemas.Schema(reflect.TypeFor[task.Definition](), true, "")},
	}
}

// optionalLists says that the lists in a definition may be left out, although
// answers always have them; all but the one that a definition is about.
func optionalLists(schemas huma.Registry) {
	for _, s := range schemas.Map() {
		s.Required = slices.DeleteFunc(s.Required, func(name string) bool {
			return s.Properties[name].Type == huma.TypeArray && name != "containerDefinitions"
		})
	}
}

// variable finds gin's parameters, which OpenAPI writes in braces.
var variable = regexp.MustCompile(`[:*]([a-z]+)`)

func (op operation) describe(schemas huma.Registry) *huma.Operation {
	path := variable.ReplaceAllString(op.path, "{$1}")
	out := &huma.Operation{
		Method: op.method, Path: path, Summary: op.summary, OperationID: op.id(),
		Tags:      []string{strings.Split(path, "/")[1]},
		Responses: map[string]*huma.Response{strconv.Itoa(op.status): op.success(schemas), "default": failure(schemas)},
	}
	if s, ok := reflect.New(op.in.of).Interface().(statuser); ok {
		out.Responses[strconv.Itoa(s.status())] = op.success(schemas)
		out.Responses["200"] = op.success(schemas) // a dry run
	}
	for _, q := range op.in.params {
		out.Parameters = append(out.Parameters, &huma.Param{
			Name: q.name, In: q.in, Required: q.required, Description: q.field.Tag.Get("doc"), Schema: q.schema(schemas),
		})
	}
	switch {
	case op.in.accept != nil:
		out.RequestBody = &huma.RequestBody{Required: true, Content: make(map[string]*huma.MediaType)}
		for _, media := range op.in.accept {
			out.RequestBody.Content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
		}
	case op.in.body != nil:
		out.RequestBody = &huma.RequestBody{Required: op.in.must, Content: map[string]*huma.MediaType{
			api.JSON: {Schema: schemas.Schema(op.in.body, true, "")},
		}}
	}
	return out
}

// id names the operation as a program would: listed by what it does to what.
func (op operation) id() string {
	path := variable.ReplaceAllString(op.path, "$1")
	return strings.ToLower(op.method) + strings.ReplaceAll(strings.ReplaceAll(path, "/", "-"), ".", "-")
}

// success describes the answer when all went well.
func (op operation) success(schemas huma.Registry) *huma.Response {
	r := &huma.Response{Description: http.StatusText(op.status)}
	if op.status == http.StatusNoContent {
		return r
	}
	schema := schemas.Schema(op.out, true, "")
	r.Content = map[string]*huma.MediaType{api.JSON: {Schema: schema}}
	if op.formats != nil {
		r.Description = "One item after the other, as they come"
		r.Content = make(map[string]*huma.MediaType)
	}
	for _, media := range op.formats {
		r.Content[media] = &huma.MediaType{Schema: schema}
		if media == api.Text {
			r.Content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
		}
	}
	return r
}

func failure(schemas huma.Registry) *huma.Response {
	return &huma.Response{
		Description: "A problem of RFC 9457",
		Content: map[string]*huma.MediaType{
			api.Problem: {Schema: schemas.Schema(reflect.TypeFor[api.Fault](), true, "")},
		},
	}
}

// schema describes the values that the parameter may have.
func (q param) schema(schemas huma.Registry) *huma.Schema {
	s := huma.SchemaFromField(schemas, q.field, "")
	s.Description = "" // the parameter itself has it
	return s
}
