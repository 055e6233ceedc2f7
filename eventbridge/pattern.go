package eventbridge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"berth/fault"
)

// PatternMax is how many bytes a pattern can have (EventBridge quotas).
const PatternMax = 4096

// deepest is how deep a pattern can be nested.
const deepest = 32

// mostFields and mostValues bound what a pattern makes the server do for each event.
const (
	mostFields = 200
	mostValues = 1000
)

// Pattern selects events, as Amazon EventBridge's event patterns do. The zero Pattern
// selects all.
//
// A pattern has the structure of an event. Each of its fields is a list of values and
// comparisons, one of which has to hold for a value of the event; what the pattern does not
// name does not matter. Comparisons are prefix, suffix, equals-ignore-case, wildcard,
// anything-but, numeric, exists and cidr; $or joins patterns. An array of the event matches
// if one of its elements does, and several fields of a pattern are compared with the same
// element.
type Pattern struct {
	text string
	root *node
}

// node is one level of a pattern: all of fields have to match, and of each of ors one.
type node struct {
	fields map[string]field
	ors    [][]*node
}

// field is what is wanted of one member: a node, or one of some tests.
type field struct {
	node  *node
	tests []test
}

// test compares one value of an event, which is absent if there is none.
type test func(v any) bool

// absent stands for a value that an event does not have.
type absent struct{}

// invalid is what EventBridge says of a pattern that it cannot use.
func invalid(format string, args ...any) error {
	return fault.At("pattern", "Event pattern is not valid. Reason: "+format, args...)
}

// ParsePattern reads a pattern. An empty text is the pattern that selects all. Errors are
// fault.Invalid and say which field is wrong.
func ParsePattern(text string) (Pattern, error) {
	if strings.TrimSpace(text) == "" {
		return Pattern{}, nil
	}
	if len(text) > PatternMax {
		return Pattern{}, invalid("it has %d bytes, and at most %d are allowed", len(text), PatternMax)
	}
	v, err := decode([]byte(text))
	if err != nil {
		return Pattern{}, invalid("it is not JSON: %s", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return Pattern{}, invalid("Filter is not an object")
	}
	c := compiler{}
	root, err := c.object("", object, 0)
	if err != nil {
		return Pattern{}, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		return Pattern{}, invalid("it is not JSON: %s", err)
	}
	return Pattern{compact.String(), root}, nil
}

// decode reads one JSON value, with numbers as they are written.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows it")
	}
	return v, nil
}

// String returns p as JSON, "" if it selects all.
func (p Pattern) String() string { return p.text }

// Matches reports whether p selects ev.
func (p Pattern) Matches(ev Event) bool {
	if p.root == nil {
		return true
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return false // Its detail is no JSON, and event made it.
	}
	v, err := decode(body)
	return err == nil && p.root.matches(v)
}

func (n *node) matches(v any) bool {
	if list, ok := v.([]any); ok {
		for _, each := range list {
			if n.matches(each) {
				return true
			}
		}
		if len(list) > 0 {
			return false
		}
	}
	members, _ := v.(map[string]any) // Of anything else, all members are absent.
	for name, f := range n.fields {
		member, ok := members[name]
		if !ok {
			member = absent{}
		}
		if !f.matches(member) {
			return false
		}
	}
	for _, or := range n.ors {
		if !slices.ContainsFunc(or, func(alternative *node) bool { return alternative.matches(v) }) {
			return false
		}
	}
	return true
}

func (f field) matches(v any) bool {
	if f.node != nil {
		return f.node.matches(v)
	}
	if list, ok := v.([]any); ok && len(list) > 0 {
		return slices.ContainsFunc(list, f.matches)
	} else if ok {
		v = absent{}
	}
	if _, ok := v.(map[string]any); ok {
		v = absent{} // Only what has no members is compared.
	}
	return slices.ContainsFunc(f.tests, func(t test) bool { return t(v) })
}

// compiler makes nodes of JSON, and counts how many.
type compiler struct{ fields, values int }

func (c *compiler) object(at string, object map[string]any, depth int) (*node, error) {
	switch {
	case depth > deepest:
		return nil, invalid("%s is nested too deeply", at)
	case len(object) == 0:
		return nil, invalid("Empty objects are not allowed%s", where(at))
	}
	n := &node{fields: make(map[string]field)}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		below := strings.TrimPrefix(at+"."+name, ".")
		if c.fields++; c.fields > mostFields {
			return nil, invalid("it has more than %d fields", mostFields)
		}
		switch v := object[name].(type) {
		case map[string]any:
			child, err := c.object(below, v, depth+1)
			if err != nil {
				return nil, err
			}
			n.fields[name] = field{node: child}
		case []any:
			if name == "$or" {
				or, err := c.or(below, at, v, depth)
				if err != nil {
					return nil, err
				}
				n.ors = append(n.ors, or)
				continue
			}
			tests, err := c.tests(below, v)
			if err != nil {
				return nil, err
			}
			n.fields[name] = field{tests: tests}
		default:
			return nil, invalid("\"%s\" must be an object or an array", below)
		}
	}
	return n, nil
}

func (c *compiler) or(at, outer string, list []any, depth int) ([]*node, error) {
	if len(list) < 2 {
		return nil, invalid("%s must have at least two alternatives", at)
	}
	var all []*node
	for _, each := range list {
		object, ok := each.(map[string]any)
		if !ok {
			return nil, invalid("%s must be an array of objects", at)
		}
		n, err := c.object(outer, object, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func (c *compiler) tests(at string, list []any) ([]test, error) {
	if len(list) == 0 {
		return nil, invalid("Empty arrays are not allowed%s", where(at))
	}
	var all []test
	for _, each := range list {
		if c.values++; c.values > mostValues {
			return nil, invalid("it has more than %d values", mostValues)
		}
		var t test
		var err error
		if object, ok := each.(map[string]any); ok {
			t, err = comparison(at, object)
		} else {
			t, err = literal(at, each)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func where(at string) string {
	if at == "" {
		return ""
	}
	return " at \"" + at + "\""
}
