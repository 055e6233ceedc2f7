package eventbridge

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// literal returns the test whether a value is v: a string, number, boolean or null.
func literal(at string, v any) (test, error) {
	switch v := v.(type) {
	case json.Number:
		want, err := number(at, v)
		return func(got any) bool { n, ok := numeric(got); return ok && n == want }, err
	case string, bool, nil:
		return func(got any) bool { return got == v }, nil
	}
	return nil, invalid("\"%s\" must be an array of values and comparisons", at)
}

// largest is the largest number that patterns can have, either way (EventBridge user
// guide, "Numeric matching").
const largest = 5e9

func number(at string, v any) (float64, error) {
	text, ok := v.(json.Number)
	if !ok {
		return 0, invalid("Value of numeric must be a number%s", where(at))
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || n > largest || n < -largest {
		return 0, invalid("Value must be between -5.0E9 and 5.0E9, inclusive%s", where(at))
	}
	return n, nil
}

func numeric(v any) (float64, bool) {
	text, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(text), 64)
	return n, err == nil
}

// comparison returns the test that an object asks for, as in {"prefix": "a"}.
func comparison(at string, object map[string]any) (test, error) {
	if len(object) != 1 {
		return nil, invalid("Only one key allowed in match expression%s", where(at))
	}
	for kind, v := range object {
		switch kind {
		case "exists":
			want, ok := v.(bool)
			if !ok {
				return nil, invalid("exists match pattern must be either true or false%s", where(at))
			}
			return func(got any) bool { return (got != any(absent{})) == want }, nil
		case "numeric":
			return numericRange(at, v)
		case "anything-but":
			return anythingBut(at, v)
		case "cidr":
			return inside(at, v)
		default:
			return textual(at, kind, v)
		}
	}
	return nil, nil // It has one key.
}

// textual returns a test of strings.
func textual(at, kind string, v any) (test, error) {
	fold := false
	if object, ok := v.(map[string]any); ok && (kind == "prefix" || kind == "suffix") && len(object) == 1 {
		if v, ok = object["equals-ignore-case"]; ok {
			fold = true
		}
	}
	text, ok := v.(string)
	if !ok {
		return nil, invalid("%s match pattern must be a string%s", kind, where(at))
	}
	var f func(got string) bool
	switch kind {
	case "prefix":
		f = func(got string) bool { return strings.HasPrefix(got, text) }
		if fold {
			f = func(got string) bool { return len(got) >= len(text) && strings.EqualFold(got[:len(text)], text) }
		}
	case "suffix":
		f = func(got string) bool { return strings.HasSuffix(got, text) }
		if fold {
			f = func(got string) bool {
				return len(got) >= len(text) && strings.EqualFold(got[len(got)-len(text):], text)
			}
		}
	case "equals-ignore-case":
		f = func(got string) bool { return strings.EqualFold(got, text) }
	case "wildcard":
		parts, err := split(at, text)
		if err != nil {
			return nil, err
		}
		f = func(got string) bool { return wild(parts, got) }
	default:
		return nil, invalid("Unrecognized match type %s%s", kind, where(at))
	}
	return func(got any) bool { s, ok := got.(string); return ok && f(s) }, nil
}

// split returns what is between the asterisks of a wildcard. \* and \\ are an asterisk and a
// backslash.
func split(at, text string) ([]string, error) {
	parts := []string{""}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '*' && i > 0 && text[i-1] == '*' && parts[len(parts)-1] == "" && len(parts) > 1:
			return nil, invalid("Consecutive wildcard characters%s", where(at))
		case text[i] == '*':
			parts = append(parts, "")
			continue
		case text[i] == '\\':
			if i+1 == len(text) || text[i+1] != '*' && text[i+1] != '\\' {
				return nil, invalid("Invalid escape character%s", where(at))
			}
			i++
		}
		parts[len(parts)-1] += text[i : i+1]
	}
	return parts, nil
}

// wild reports whether s is parts with anything between them.
func wild(parts []string, s string) bool {
	if len(parts) == 1 {
		return s == parts[0]
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[last])
}

// numericRange reads as in ["<", 10] and [">", 0, "<=", 5].
func numericRange(at string, v any) (test, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid("Value of numeric must be an array%s", where(at))
	}
	if len(list)%2 != 0 || len(list) > 4 {
		return nil, invalid("numeric takes one or two comparisons, each an operator and a number%s", where(at))
	}
	var all []func(float64) bool
	for i := 0; i < len(list); i += 2 {
		n, err := number(at, list[i+1])
		if err != nil {
			return nil, err
		}
		var f func(float64) bool
		switch list[i] {
		case "=":
			f = func(got float64) bool { return got == n }
		case "<":
			f = func(got float64) bool { return got < n }
		case "<=":
			f = func(got float64) bool { return got <= n }
		case ">":
			f = func(got float64) bool { return got > n }
		case ">=":
			f = func(got float64) bool { return got >= n }
		default:
			return nil, invalid("Unrecognized numeric range operator: %v%s", list[i], where(at))
		}
		all = append(all, f)
	}
	return func(got any) bool {
		n, ok := numeric(got)
		return ok && !slices.ContainsFunc(all, func(f func(float64) bool) bool { return !f(n) })
	}, nil
}

// anythingBut returns the test that a value is there and passes none of those that v says.
func anythingBut(at string, v any) (test, error) {
	var not []test
	add := func(t test, err error) error { not = append(not, t); return err }
	var err error
	switch v := v.(type) {
	case map[string]any:
		err = anythingBesides(at, v, add)
	case []any:
		if len(v) == 0 {
			return nil, invalid("Empty arrays are not allowed%s", where(at))
		}
		for _, each := range v {
			if err == nil {
				err = add(literal(at, each))
			}
		}
	default:
		err = add(literal(at, v))
	}
	if err != nil {
		return nil, err
	}
	return func(got any) bool {
		return got != any(absent{}) && !slices.ContainsFunc(not, func(t test) bool { return t(got) })
	}, nil
}

// anythingBesides reads as in {"prefix": "a"} and {"suffix": ["a", "b"]}.
func anythingBesides(at string, object map[string]any, add func(test, error) error) error {
	if len(object) != 1 {
		return invalid("Only one key allowed in match expression%s", where(at))
	}
	for kind, v := range object {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		if len(list) == 0 {
			return invalid("Empty arrays are not allowed%s", where(at))
		}
		for _, each := range list {
			if err := add(textual(at, kind, each)); err != nil {
				return err
			}
		}
	}
	return nil
}

// inside reads a range of IP addresses.
func inside(at string, v any) (test, error) {
	text, _ := v.(string)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, invalid("Malformed CIDR, one '/' required%s", where(at))
	}
	return func(got any) bool {
		s, ok := got.(string)
		if !ok {
			return false
		}
		a, err := netip.ParseAddr(s)
		return err == nil && p.Contains(a)
	}, nil
}
