package prices

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"

	"berth/fault"
)

// Limits of files that come from outside. The offer of all regions has about
// 100,000 values, eight deep.
const (
	// MaxFile is the most bytes that an imported file may have: 16 MiB.
	MaxFile = 16 << 20

	maxDepth  = 24
	maxValues = 1_000_000
	maxRows   = 100_000 // of CSV
)

// object is an object of JSON. Numbers in it are as they were written.
type object map[string]any

// tree reads JSON into object, []any, string, json.Number, bool and nil, within the
// limits above. Of two members with the same name encoding/json would take the last;
// here they are an error, since nobody knows which price is meant.
type tree struct {
	left int // values that may still come
}

func newTree() *tree { return &tree{left: maxValues} }

func (t *tree) parse(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := t.read(d, 0)
	if err == nil {
		_, err = d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return v, nil
		case err == nil:
			return nil, fault.New(fault.Invalid, "there is more after the end of the JSON value")
		}
	}
	if fault.KindOf(err) == fault.Invalid {
		return nil, err
	}
	return nil, fault.Wrap(fault.Invalid, err, "it is not JSON")
}

func (t *tree) read(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fault.New(fault.Invalid, "it is nested more than %d deep", maxDepth)
	}
	if t.left--; t.left < 0 {
		return nil, fault.New(fault.Invalid, "it has more than %d values", maxValues)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := t.read(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	case json.Delim('{'):
		o := make(object)
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := name.(string) // The decoder sees to it.
			if _, twice := o[key]; twice {
				return nil, fault.New(fault.Invalid, "%q is there twice", short(key))
			}
			if o[key], err = t.read(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return o, err
	}
	return token, nil
}

// object returns the member of that name as an object, empty if it is none.
func (o object) object(name string) object {
	child, _ := o[name].(object)
	return child
}

// text returns the member of that name as a string, "" if it is none.
func (o object) text(name string) string {
	s, _ := o[name].(string)
	return s
}

// list returns the member of that name as an array, empty if it is none.
func (o object) list(name string) []any {
	l, _ := o[name].([]any)
	return l
}

// names returns the names of the members, in order.
func (o object) names() []string { return slices.Sorted(maps.Keys(o)) }
