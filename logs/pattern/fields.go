package pattern

import (
	"strings"
	"unicode"
)

// field is one place of a space-delimited pattern.
type field struct {
	rest bool // ...: any number of fields
	is   func(string) bool
}

// parseFields parses [a, b=x, …], a condition on messages of fields between white space.
func parseFields(text string) (Pattern, error) {
	s := &scanner{text: text, at: 1}
	var all []field
	rest := -1
	for {
		f, err := s.field()
		if err != nil {
			return Pattern{}, err
		}
		if f.rest {
			if rest >= 0 {
				return Pattern{}, invalid("it can have ... only once")
			}
			rest = len(all)
		}
		all = append(all, f)
		if s.take(",") {
			continue
		}
		if !s.take("]") {
			return Pattern{}, s.wrong("a comma or ]")
		}
		if s.space(); !s.end() {
			return Pattern{}, s.wrong("the end")
		}
		break
	}
	return Pattern{func(m string) bool {
		have := split(m)
		if rest < 0 {
			return len(have) == len(all) && each(all, have)
		}
		after := len(all) - rest - 1
		return len(have) >= rest+after && each(all[:rest], have) && each(all[rest+1:], have[len(have)-after:])
	}}, nil
}

// each reports whether the first of have are what fields want.
func each(fields []field, have []string) bool {
	for i, f := range fields {
		if f.is != nil && !f.is(have[i]) {
			return false
		}
	}
	return true
}

// field reads a name, or conditions on it: status = 4* || status = 5*.
func (s *scanner) field() (field, error) {
	if s.take("...") {
		return field{rest: true}, nil
	}
	is, err := s.eitherField()
	return field{is: is}, err
}

func (s *scanner) eitherField() (func(string) bool, error) {
	left, err := s.bothFields()
	for err == nil && s.take("||") {
		a := left
		var b func(string) bool
		if b, err = s.bothFields(); err == nil && (a == nil || b == nil) {
			return nil, s.wrong("a condition on each side of ||")
		}
		left = func(v string) bool { return a(v) || b(v) }
	}
	return left, err
}

func (s *scanner) bothFields() (func(string) bool, error) {
	left, err := s.oneField()
	for err == nil && s.take("&&") {
		a := left
		var b func(string) bool
		if b, err = s.oneField(); err == nil && (a == nil || b == nil) {
			return nil, s.wrong("a condition on each side of &&")
		}
		left = func(v string) bool { return a(v) && b(v) }
	}
	return left, err
}

// oneField reads a name and what it is compared with; nil if only a name, or nothing, is
// there.
func (s *scanner) oneField() (func(string) bool, error) {
	s.space()
	s.while(func(r rune) bool { return !odd(r) || r == '-' || r == '.' })
	op := s.operator()
	if op == "" {
		return nil, nil
	}
	s.space()
	v, err := s.value(func(r rune) bool { return !unicode.IsSpace(r) && !strings.ContainsRune(`,]&|"%`, r) })
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
	return func(have string) bool { return compare(have, false) }, nil
}

// split splits a message at white space. What is within "…" or […] is one field, without
// them.
func split(message string) []string {
	var all []string
	for {
		message = strings.TrimLeftFunc(message, unicode.IsSpace)
		if message == "" {
			return all
		}
		closing := map[byte]byte{'"': '"', '[': ']'}[message[0]]
		if i := strings.IndexByte(message[1:], closing); closing != 0 && i >= 0 {
			all, message = append(all, message[1:1+i]), message[2+i:]
			continue
		}
		i := strings.IndexFunc(message, unicode.IsSpace)
		if i < 0 {
			return append(all, message)
		}
		all, message = append(all, message[:i]), message[i:]
	}
}
