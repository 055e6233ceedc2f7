// Package pattern decides which log events a filter pattern of CloudWatch Logs matches
// (CloudWatch Logs user guide, "Filter pattern syntax for metric filters, subscription
// filters, filter log events, and Live Tail"):
//
//	ERROR "not found" -DEBUG     terms: all of these, none of those
//	?ERROR ?WARN                 one of these
//	%4\d\d%                      a regular expression
//	{ $.level = "error" && $.ms > 500 || $.user IS NULL }
//	[ip, user, status=4*, ...]   fields between white space, "…" and […] being one each
//
// A Pattern knows nothing but the text of an event. Parsing is total: whatever it is given
// it accepts or refuses in time linear in the text, and patterns hold no backtracking.
package pattern

import (
	"regexp"
	"strings"

	"berth/fault"
)

// maxLength is the longest pattern, in bytes (CloudWatch Logs API, FilterPattern).
const maxLength = 1024

// maxDepth is how deep parentheses may nest.
const maxDepth = 32

// Pattern is a parsed filter pattern. The zero Pattern matches everything.
type Pattern struct{ match func(string) bool }

// Match reports whether the pattern matches an event's message.
func (p Pattern) Match(message string) bool { return p.match == nil || p.match(message) }

// Parse parses a filter pattern. An empty one matches everything; one that is none is
// fault.Invalid, with the place and what is wrong there.
func Parse(text string) (Pattern, error) {
	if len(text) > maxLength {
		return Pattern{}, invalid("it has more than %d characters", maxLength)
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return Pattern{}, nil
	case text[0] == '{':
		return parseJSON(text)
	case text[0] == '[':
		return parseFields(text)
	}
	return parseTerms(text)
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, "Invalid filter pattern: "+format, args...)
}

// expression compiles what stands between two %. RE2 has all that filter patterns may use
// (alternation, classes, repetition, anchors), and is linear.
func expression(text string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "Invalid filter pattern: %%%s%% is not a regular expression", text)
	}
	return re, nil
}

// glob reports whether s is what a pattern with * for anything describes.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}
