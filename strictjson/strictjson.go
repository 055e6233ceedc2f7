// Package strictjson decodes JSON and refuses what encoding/json would let pass:
// unknown fields, duplicate fields, names in another case, trailing data. Every
// refusal is a fault.Invalid that names the place by its JSON path, as in
// containerDefinitions[0].image, or, for text that is not JSON at all, by line
// and column.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"berth/fault"
)

// maxDepth is the deepest nesting that Unmarshal follows.
const maxDepth = 64

// Unmarshal decodes the one JSON value in data into v, which must be a pointer.
// Fields are matched by their json tags. A field that is null is absent, as in the AWS
// APIs; null alone is not a value: it would leave all of v as it is, as an empty object
// would.
// Types that encoding/json decodes by a method of their own (time.Time,
// json.RawMessage) are decoded so.
func Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	tree, err := read(d, "", 0)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			return fault.New(fault.Invalid, "there is more after the end of the JSON value, at %s", position(data, d.InputOffset()))
		}
		out := reflect.ValueOf(v).Elem()
		if tree == nil {
			if out.Kind() == reflect.Slice {
				return fault.New(fault.Invalid, "must be an array, not null")
			}
			return fault.New(fault.Invalid, "must be an object, not null")
		}
		return assign("", tree, out)
	}
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	offset := d.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	}
	return fault.Wrap(fault.Invalid, err, "not JSON at %s: %s", position(data, offset), strings.TrimPrefix(err.Error(), "json: "))
}

// position says where in data offset is.
func position(data []byte, offset int64) string {
	before := data[:min(int(offset), len(data))]
	line := bytes.Count(before, []byte("\n"))
	return fmt.Sprintf("line %d, column %d", line+1, len(before)-bytes.LastIndexByte(before, '\n'))
}

// object is a JSON object with its fields in order, as they were written.
type object struct {
	names  []string
	values map[string]any
}

// read reads one value: nil, bool, json.Number, string, []any or object.
func read(d *json.Decoder, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fault.At(path, "nested more than %d deep", maxDepth)
	}
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := read(d, index(path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, end(d)
	case json.Delim('{'):
		o := object{values: make(map[string]any)}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := name.(string) // The decoder sees to it.
			if _, twice := o.values[key]; twice {
				return nil, fault.At(join(path, key), "the field is there twice")
			}
			v, err := read(d, join(path, key), depth+1)
			if err != nil {
				return nil, err
			}
			o.names, o.values[key] = append(o.names, key), v
		}
		return o, end(d)
	}
	return t, nil
}

// end reads the delimiter that ends an array or object.
func end(d *json.Decoder) error {
	_, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	instant     = reflect.TypeFor[time.Time]()
)

// assign sets out to v.
func assign(path string, v any, out reflect.Value) error {
	if v == nil {
		return nil
	}
	if out.Kind() == reflect.Pointer {
		p := reflect.New(out.Type().Elem())
		if err := assign(path, v, p.Elem()); err != nil {
			return err
		}
		out.Set(p)
		return nil
	}
	if out.Type() == instant || out.Addr().Type().Implements(unmarshaler) {
		raw, err := json.Marshal(plain(v))
		if err != nil {
			return fmt.Errorf("encode %s: %w", path, err)
		}
		if err := json.Unmarshal(raw, out.Addr().Interface()); err != nil {
			if fault.KindOf(err) != fault.Internal {
				return err
			}
			return fault.At(path, "not a %s: %s", strings.ToLower(out.Type().Name()), err)
		}
		return nil
	}
	if u, ok := out.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return assignText(path, v, u)
	}
	wrong := func(want string) error { return fault.At(path, "must be %s, not %s", want, kind(v)) }
	switch out.Kind() {
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			return wrong("a string")
		}
		out.SetString(s)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			return wrong("true or false")
		}
		out.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := v.(json.Number)
		if !ok {
			return wrong("an integer")
		}
		i, err := strconv.ParseInt(n.String(), 10, out.Type().Bits())
		if err != nil || i > math.MaxInt32 && out.Kind() == reflect.Int {
			return fault.At(path, "must be an integer within range, not %.40s", n)
		}
		out.SetInt(i)
	case reflect.Float64:
		n, ok := v.(json.Number)
		if !ok {
			return wrong("a number")
		}
		f, err := strconv.ParseFloat(n.String(), 64)
		if err != nil {
			return fault.At(path, "must be a number within range, not %.40s", n)
		}
		out.SetFloat(f)
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return wrong("an array")
		}
		return assignList(path, list, out)
	case reflect.Map:
		o, ok := v.(object)
		if !ok {
			return wrong("an object")
		}
		return assignMap(path, o, out)
	case reflect.Struct:
		o, ok := v.(object)
		if !ok {
			return wrong("an object")
		}
		return assignStruct(path, o, out)
	default:
		return fmt.Errorf("%s: no way to decode into %s", path, out.Type())
	}
	return nil
}

// assignText has u read a string, or a number as it is written.
func assignText(path string, v any, u encoding.TextUnmarshaler) error {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	default:
		return fault.At(path, "must be a string, not %s", kind(v))
	}
	err := u.UnmarshalText([]byte(text))
	if fault.KindOf(err) == fault.Invalid {
		return fault.At(path, "%s", fault.Message(err))
	}
	return err
}

func assignList(path string, list []any, out reflect.Value) error {
	s := reflect.MakeSlice(out.Type(), len(list), len(list))
	for i, v := range list {
		if v == nil {
			return fault.At(index(path, i), "must not be null")
		}
		if err := assign(index(path, i), v, s.Index(i)); err != nil {
			return err
		}
	}
	out.Set(s)
	return nil
}

func assignMap(path string, o object, out reflect.Value) error {
	m := reflect.MakeMapWithSize(out.Type(), len(o.names))
	for _, name := range o.names {
		e := reflect.New(out.Type().Elem()).Elem()
		if err := assign(join(path, name), o.values[name], e); err != nil {
			return err
		}
		m.SetMapIndex(reflect.ValueOf(name), e)
	}
	out.Set(m)
	return nil
}

func assignStruct(path string, o object, out reflect.Value) error {
	fields := fieldsOf(out.Type())
	for _, name := range o.names {
		i, ok := fields[name]
		if !ok {
			return unknown(join(path, name), name, fields)
		}
		if err := assign(join(path, name), o.values[name], out.FieldByIndex(i)); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf maps the JSON names of t's fields, embedded ones included, to where
// they are.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := make(map[string][]int)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "" || name == "-" {
			continue
		}
		fields[name] = f.Index
	}
	return fields
}

// unknown refuses a field, and says which one may have been meant.
func unknown(path, name string, fields map[string][]int) error {
	best, least := "", 3 // at most two letters off
	for f := range fields {
		if d := distance(strings.ToLower(name), strings.ToLower(f)); d < least || d == least && f < best {
			best, least = f, d
		}
	}
	if best != "" {
		return fault.At(path, "unknown field; did you mean %s?", best)
	}
	return fault.At(path, "unknown field")
}

// distance is the number of letters to insert, delete or change to get from a to
// b (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// kind names what v is to somebody who writes JSON.
func kind(v any) string {
	switch v.(type) {
	case bool:
		return "true or false"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}

// plain returns v as encoding/json knows it.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		m := make(map[string]any, len(v.names))
		for name, e := range v.values {
			m[name] = plain(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plain(e)
		}
		return list
	}
	return v
}
