package rest

import (
	"encoding"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"berth/fault"
	"berth/strictjson"
)

// plan is how a request becomes a Go struct. The struct's tags say it:
//
//	path:"id"  query:"limit"  header:"Idempotency-Key"   a parameter: string, int, bool or encoding.TextUnmarshaler
//	minimum:"1" maximum:"100" enum:"a,b" required:"true"  what values it may have
//
// A field called Body is decoded from JSON. An io.Reader with the tag accept,
// which lists media types, is the body as it comes. A struct with neither takes no body.
type plan struct {
	of     reflect.Type
	params []param
	body   reflect.Type // nil if there is none
	must   bool         // the body may not be left out
	accept []string     // media types of a body that is taken as it comes
	bodyAt []int
}

// param is one parameter of an operation.
type param struct {
	field    reflect.StructField
	name, in string // in is path, query or header
	required bool
	enum     []string
	min, max *int
}

// rawDecoder is an input that decodes its body itself.
type rawDecoder interface{ decode(body []byte) error }

// newPlan reads the tags of t. It panics on a mistake in them: that is a bug, and
// New runs into it at once.
func newPlan(t reflect.Type) *plan {
	p := &plan{of: t}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue // its fields follow
		}
		if accept, ok := f.Tag.Lookup("accept"); ok {
			p.accept, p.bodyAt = strings.Split(accept, ","), f.Index
			continue
		}
		if f.Name == "Body" {
			p.body, p.bodyAt, p.must = f.Type, f.Index, f.Tag.Get("required") != "false"
			continue
		}
		p.params = append(p.params, newParam(t, f))
	}
	return p
}

func newParam(t reflect.Type, f reflect.StructField) param {
	q := param{field: f, required: f.Tag.Get("required") == "true", min: number(f, "minimum"), max: number(f, "maximum")}
	for _, in := range []string{"path", "query", "header"} {
		if name, ok := f.Tag.Lookup(in); ok {
			q.name, q.in, q.required = name, in, q.required || in == "path"
		}
	}
	if q.in == "" {
		panic(fmt.Sprintf("rest: field %s of %s says neither path, query nor header", f.Name, t))
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		q.enum = strings.Split(enum, ",")
	}
	return q
}

func number(f reflect.StructField, tag string) *int {
	s, ok := f.Tag.Lookup(tag)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("rest: tag %s of field %s: %v", tag, f.Name, err))
	}
	return &n
}

// bind fills in, a pointer to the struct that p was made of, from the request.
func (s *server) bind(c *gin.Context, p *plan, in any) error {
	if err := p.known(c); err != nil {
		return err
	}
	v := reflect.ValueOf(in).Elem()
	for _, q := range p.params {
		text, given := q.lookup(c)
		if !given {
			if q.required {
				return fault.At(q.name, "%s parameter is missing", q.in)
			}
			continue
		}
		if err := q.set(v.FieldByIndex(q.field.Index), text); err != nil {
			return err
		}
	}
	switch {
	case p.accept != nil:
		body, err := s.openBody(c, p.accept)
		if err != nil {
			return err
		}
		v.FieldByIndex(p.bodyAt).Set(reflect.ValueOf(io.Reader(body)))
		return nil
	case p.body == nil:
		return s.bindNothing(c)
	}
	body, err := s.readBody(c, p.must)
	if err != nil || body == nil {
		return err
	}
	if d, ok := in.(rawDecoder); ok {
		return d.decode(body)
	}
	return strictjson.Unmarshal(body, v.FieldByIndex(p.bodyAt).Addr().Interface())
}

// bindNothing refuses whatever the body of a request asks of an operation that takes
// none: who says how something is to be done must not have it done otherwise. No body
// and an empty object ask nothing. The body of a GET has no meaning (RFC 9110, section
// 9.3.1) and is not read.
func (s *server) bindNothing(c *gin.Context) error {
	if c.Request.Method == http.MethodGet {
		return nil
	}
	body, err := s.readBody(c, false)
	if err != nil || body == nil {
		return err
	}
	return strictjson.Unmarshal(body, &struct{}{})
}

// known refuses query parameters that the operation does not have, or that are there
// twice: a filter that is misspelt or not looked at must not select everything.
func (p *plan) known(c *gin.Context) error {
	for name, values := range c.Request.URL.Query() {
		if !slices.ContainsFunc(p.params, func(q param) bool { return q.in == "query" && q.name == name }) {
			return fault.At(name, "unknown query parameter")
		}
		if len(values) > 1 {
			return fault.At(name, "is there %d times; it can be there once", len(values))
		}
	}
	return nil
}

func (q param) lookup(c *gin.Context) (text string, given bool) {
	switch q.in {
	case "path":
		text = strings.TrimPrefix(c.Param(q.name), "/") // gin leaves the slash before a *name
		return text, text != ""
	case "header":
		text = c.GetHeader(q.name)
		return text, text != ""
	}
	return c.GetQuery(q.name)
}

// set parses text into v.
func (q param) set(v reflect.Value, text string) error {
	if q.enum != nil && !slices.Contains(q.enum, text) {
		return fault.At(q.name, "%q is not one of %s", text, strings.Join(q.enum, ", "))
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return &fault.Error{Kind: fault.KindOf(err), Field: q.name, Msg: fault.Message(err)}
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return q.set(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil && text != "" { // ?follow says the same as ?follow=true
			return fault.At(q.name, "%q is neither true nor false", text)
		}
		v.SetBool(b || text == "")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fault.At(q.name, "%q is not a whole number", text)
		}
		if q.min != nil && n < int64(*q.min) || q.max != nil && n > int64(*q.max) {
			return fault.At(q.name, "%d is not %s", n, q.bounds())
		}
		v.SetInt(n)
	default:
		panic(fmt.Sprintf("rest: parameter %s has the type %s", q.name, v.Type()))
	}
	return nil
}

func (q param) bounds() string {
	switch {
	case q.max == nil:
		return fmt.Sprintf("%d or more", *q.min)
	case q.min == nil:
		return fmt.Sprintf("%d or less", *q.max)
	}
	return fmt.Sprintf("from %d to %d", *q.min, *q.max)
}
