package pattern

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// condition is something that a decoded JSON value fulfils or not.
type condition func(root any) bool

// parseJSON parses { … }, a condition on messages that are one JSON object.
func parseJSON(text string) (Pattern, error) {
	s := &scanner{text: text, at: 1}
	is, err := s.either()
	if err != nil {
		return Pattern{}, err
	}
	if !s.take("}") {
		return Pattern{}, s.wrong("&&, || or }")
	}
	if s.space(); !s.end() {
		return Pattern{}, s.wrong("the end")
	}
	return Pattern{func(m string) bool {
		if !strings.HasPrefix(strings.TrimSpace(m), "{") {
			return false
		}
		var root any
		return json.Unmarshal([]byte(m), &root) == nil && is(root)
	}}, nil
}

// either reads conditions of which one is enough. && binds closer than ||.
func (s *scanner) either() (condition, error) {
	left, err := s.both()
	for err == nil && s.take("||") {
		a := left
		var b condition
		b, err = s.both()
		left = func(v any) bool { return a(v) || b(v) }
	}
	return left, err
}

func (s *scanner) both() (condition, error) {
	left, err := s.one()
	for err == nil && s.take("&&") {
		a := left
		var b condition
		b, err = s.one()
		left = func(v any) bool { return a(v) && b(v) }
	}
	return left, err
}

func (s *scanner) one() (condition, error) {
	if s.take("(") {
		if s.depth++; s.depth > maxDepth {
			return nil, invalid("it nests deeper than %d", maxDepth)
		}
		is, err := s.either()
		if err == nil && !s.take(")") {
			err = s.wrong(")")
		}
		s.depth--
		return is, err
	}
	path, err := s.selector()
	if err != nil {
		return nil, err
	}
	test, err := s.test()
	if err != nil {
		return nil, err
	}
	return func(root any) bool { return find(root, path, test) }, nil
}

// step is one part of a selector: a name, or an index.
type step struct {
	name  string
	index int // of an array; -1 is any; used if name is empty and key is not set
	key   bool
}

// selector reads $.name.name[0].name and $["name"].
func (s *scanner) selector() ([]step, error) {
	if !s.take("$") {
		return nil, s.wrong("a selector, as in $.name,")
	}
	var path []step
	for {
		switch {
		case s.peek() == '.':
			s.at++
			name := s.while(func(r rune) bool { return !odd(r) || r == '-' || r == '@' || r == ':' || r == '/' })
			if name == "" && s.peek() == '*' {
				s.at++
				path = append(path, step{index: -1})
				continue
			}
			if name == "" {
				return nil, s.wrong("a name")
			}
			path = append(path, step{name: name, key: true})
		case s.peek() == '[':
			s.at++
			next, err := s.index()
			if err != nil {
				return nil, err
			}
			path = append(path, next)
		case len(path) == 0:
			return nil, s.wrong(".")
		default:
			return path, nil
		}
	}
}

// index reads what is between [ and ].
func (s *scanner) index() (step, error) {
	next := step{}
	s.space()
	switch c := s.peek(); {
	case c == '*':
		s.at++
		next.index = -1
	case c == '"':
		v, err := s.value(nil)
		if err != nil {
			return next, err
		}
		next = step{name: v.text, key: true}
	case c == '\'':
		s.at++
		next = step{name: s.while(func(r rune) bool { return r != '\'' }), key: true}
		if !s.take("'") {
			return next, s.wrong("'")
		}
	default:
		n, err := strconv.Atoi(s.while(unicode.IsDigit))
		if err != nil {
			return next, s.wrong("an index")
		}
		next.index = n
	}
	if !s.take("]") {
		return next, s.wrong("]")
	}
	return next, nil
}

// tester decides about the value that a selector finds; there is false if it finds none.
type tester func(v any, there bool) bool

// find applies test to what path leads to. With [*] one of many is enough.
func find(v any, path []step, test tester) bool {
	for i, p := range path {
		if p.key {
			object, _ := v.(map[string]any)
			next, ok := object[p.name]
			if !ok {
				return test(nil, false)
			}
			v = next
			continue
		}
		if p.index >= 0 {
			array, _ := v.([]any)
			if p.index >= len(array) {
				return test(nil, false)
			}
			v = array[p.index]
			continue
		}
		var all []any
		switch v := v.(type) {
		case []any:
			all = v
		case map[string]any:
			for _, each := range v {
				all = append(all, each)
			}
		}
		for _, each := range all {
			if find(each, path[i+1:], test) {
				return true
			}
		}
		return len(all) == 0 && test(nil, false)
	}
	return test(v, true)
}

// test reads an operator and what follows it.
func (s *scanner) test() (tester, error) {
	switch {
	case s.word("IS"):
		for word, want := range map[string]any{"TRUE": true, "FALSE": false, "NULL": nil} {
			if s.word(word) {
				return func(v any, there bool) bool { return there && v == want || there && v == nil && want == nil }, nil
			}
		}
		return nil, s.wrong("TRUE, FALSE or NULL")
	case s.word("NOT"):
		if !s.word("EXISTS") {
			return nil, s.wrong("EXISTS")
		}
		return func(_ any, there bool) bool { return !there }, nil
	case s.word("EXISTS"):
		return func(_ any, there bool) bool { return there }, nil
	}
	op := s.operator()
	if op == "" {
		return nil, s.wrong("an operator")
	}
	s.space()
	v, err := s.value(func(r rune) bool { return !unicode.IsSpace(r) && !strings.ContainsRune(`()&|{}"%=<>!`, r) })
	if err != nil {
		return nil, err
	}
	if v.text == "" && !v.quoted && v.re == nil {
		return nil, s.wrong("a value")
	}
	compare, err := v.compare(op)
	if err != nil {
		return nil, err
	}
	return func(have any, there bool) bool {
		if !there {
			return false
		}
		switch have := have.(type) {
		case string:
			return compare(have, false)
		case float64:
			return compare(strconv.FormatFloat(have, 'g', -1, 64), true)
		case bool:
			return compare(strconv.FormatBool(have), false)
		}
		return false // null, objects and arrays are compared with nothing
	}, nil
}

// compare returns how a text, which may stand for a number, compares with v.
func (v value) compare(op string) (func(have string, number bool) bool, error) {
	if v.re != nil {
		if op != "=" && op != "!=" {
			return nil, invalid("a regular expression goes with = or !=, not %s", op)
		}
		return func(have string, _ bool) bool { return v.re.MatchString(have) == (op == "=") }, nil
	}
	want, err := strconv.ParseFloat(v.text, 64)
	numeric := err == nil && !v.quoted
	if op != "=" && op != "!=" && !numeric {
		return nil, invalid("%s goes with a number, not %q", op, v.text)
	}
	return func(have string, number bool) bool {
		if numeric {
			if n, err := strconv.ParseFloat(have, 64); err == nil {
				return ordered(op, n, want)
			}
		}
		switch op {
		case "=":
			return !(number && v.quoted) && glob(v.text, have)
		case "!=":
			return number && v.quoted || !glob(v.text, have)
		}
		return false
	}, nil
}

func ordered(op string, a, b float64) bool {
	switch op {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}
