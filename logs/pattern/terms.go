package pattern

import (
	"strings"
	"unicode"
)

// term is one condition on the whole message.
type term struct {
	has  func(string) bool
	sign byte // 0, '-' or '?'
}

// parseTerms parses a pattern for text that has no structure.
func parseTerms(text string) (Pattern, error) {
	s := &scanner{text: text}
	var all, none, some []func(string) bool
	for s.space(); !s.end(); s.space() {
		t, err := s.term()
		if err != nil {
			return Pattern{}, err
		}
		switch t.sign {
		case '-':
			none = append(none, t.has)
		case '?':
			some = append(some, t.has)
		default:
			all = append(all, t.has)
		}
	}
	// Beside others, optional terms say nothing (user guide, "Match terms with optional").
	if len(all)+len(none) > 0 {
		some = nil
	}
	return Pattern{func(m string) bool {
		for _, has := range all {
			if !has(m) {
				return false
			}
		}
		for _, has := range none {
			if has(m) {
				return false
			}
		}
		for _, has := range some {
			if has(m) {
				return true
			}
		}
		return len(some) == 0
	}}, nil
}

func (s *scanner) term() (t term, err error) {
	if c := s.peek(); c == '-' || c == '?' {
		t.sign = c
		s.at++
	}
	v, err := s.value(func(r rune) bool { return !unicode.IsSpace(r) })
	switch {
	case err != nil:
		return t, err
	case v.re != nil:
		t.has = v.re.MatchString
		return t, nil
	case v.text == "" && !v.quoted:
		return t, s.wrong("a term")
	case !v.quoted && strings.ContainsFunc(v.text, odd):
		return t, invalid("Invalid character(s) in term '%s'", v.text)
	}
	t.has = func(m string) bool { return strings.Contains(m, v.text) }
	return t, nil
}

// odd reports whether r can stand in a term only within quotes.
func odd(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' }
