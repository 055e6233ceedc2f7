package pattern

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scanner reads a pattern from left to right.
type scanner struct {
	text  string
	at    int
	depth int
}

func (s *scanner) end() bool { return s.at >= len(s.text) }

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.end() {
		return 0
	}
	return s.text[s.at]
}

func (s *scanner) space() {
	rest := strings.TrimLeftFunc(s.text[s.at:], unicode.IsSpace)
	s.at = len(s.text) - len(rest)
}

// take reads token, after white space, and reports whether it was there.
func (s *scanner) take(token string) bool {
	s.space()
	if !strings.HasPrefix(s.text[s.at:], token) {
		return false
	}
	s.at += len(token)
	return true
}

// word reads a keyword in any case.
func (s *scanner) word(w string) bool {
	s.space()
	rest := s.text[s.at:]
	if len(rest) < len(w) || !strings.EqualFold(rest[:len(w)], w) {
		return false
	}
	if r, _ := utf8.DecodeRuneInString(rest[len(w):]); len(rest) > len(w) && !odd(r) {
		return false
	}
	s.at += len(w)
	return true
}

func (s *scanner) wrong(want string) error {
	return invalid("%s expected at character %d", want, utf8.RuneCountInString(s.text[:s.at])+1)
}

// while reads as long as ok.
func (s *scanner) while(ok func(rune) bool) string {
	from := s.at
	for !s.end() {
		r, n := utf8.DecodeRuneInString(s.text[s.at:])
		if !ok(r) {
			break
		}
		s.at += n
	}
	return s.text[from:s.at]
}

// value is what something is compared with.
type value struct {
	text   string
	quoted bool
	re     *regexp.Regexp // of %…%; the others are zero then
}

// value reads "…" with \" and \\, %…%, or a bare word.
func (s *scanner) value(bare func(rune) bool) (v value, err error) {
	switch s.peek() {
	case '"':
		v.quoted = true
		var b strings.Builder
		for s.at++; s.peek() != '"'; s.at++ {
			if s.peek() == '\\' && s.at+1 < len(s.text) && (s.text[s.at+1] == '"' || s.text[s.at+1] == '\\') {
				s.at++
			}
			if s.end() {
				return v, s.wrong(`"`)
			}
			b.WriteByte(s.peek())
		}
		s.at++
		v.text = b.String()
		return v, nil
	case '%':
		length := strings.IndexByte(s.text[s.at+1:], '%')
		if length < 0 {
			s.at = len(s.text)
			return v, s.wrong("%")
		}
		text := s.text[s.at+1 : s.at+1+length]
		s.at += length + 2
		v.re, err = expression(text)
		return v, err
	}
	v.text = s.while(bare)
	return v, nil
}

// operators, longest first.
var operators = []string{"!=", "<=", ">=", "=", "<", ">"}

func (s *scanner) operator() string {
	for _, op := range operators {
		if s.take(op) {
			return op
		}
	}
	return ""
}
