package access

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/fault"
)

// operator is a condition operator of IAM with its set prefix and IfExists (IAM user guide,
// "IAM JSON policy elements: Condition operators").
type operator struct {
	set      string // ForAllValues, ForAnyValue, or empty
	name     string // without Not
	negated  bool
	ifExists bool
}

// compares says of each operator how a value of a request is compared with one of a policy.
var compares = map[string]func(have, want string, fill func(string) []token) bool{
	"StringEquals": func(have, want string, fill func(string) []token) bool { return is(fill(want), have) },
	"StringEqualsIgnoreCase": func(have, want string, fill func(string) []token) bool {
		return is(lower(fill(want)), strings.ToLower(have))
	},
	"StringLike":               func(have, want string, fill func(string) []token) bool { return matches(fill(want), have) },
	"ArnEquals":                arnLike,
	"ArnLike":                  arnLike,
	"NumericEquals":            number(func(c int) bool { return c == 0 }),
	"NumericLessThan":          number(func(c int) bool { return c < 0 }),
	"NumericLessThanEquals":    number(func(c int) bool { return c <= 0 }),
	"NumericGreaterThan":       number(func(c int) bool { return c > 0 }),
	"NumericGreaterThanEquals": number(func(c int) bool { return c >= 0 }),
	"DateEquals":               date(func(c int) bool { return c == 0 }),
	"DateLessThan":             date(func(c int) bool { return c < 0 }),
	"DateLessThanEquals":       date(func(c int) bool { return c <= 0 }),
	"DateGreaterThan":          date(func(c int) bool { return c > 0 }),
	"DateGreaterThanEquals":    date(func(c int) bool { return c >= 0 }),
	"Bool":                     func(have, want string, _ func(string) []token) bool { return strings.EqualFold(have, want) },
	"IpAddress":                within,
	"Null":                     nil, // looks at whether there are values, not at them
}

// negations are the operators that hold if another does not.
var negations = map[string]string{
	"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase", "StringNotLike": "StringLike",
	"ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike", "NumericNotEquals": "NumericEquals", "DateNotEquals": "DateEquals",
	"NotIpAddress": "IpAddress",
}

func parseOperator(text string) (o operator, err error) {
	name := text
	if set, rest, ok := strings.Cut(name, ":"); ok {
		if set != "ForAllValues" && set != "ForAnyValue" {
			return o, fault.New(fault.Invalid, "%q is no set operator: it can be ForAllValues or ForAnyValue", set)
		}
		o.set, name = set, rest
	}
	if rest, ok := strings.CutSuffix(name, "IfExists"); ok {
		o.ifExists, name = true, rest
	}
	if positive, ok := negations[name]; ok {
		o.negated, name = true, positive
	}
	if _, ok := compares[name]; !ok || name == "Null" && (o.ifExists || o.set != "") {
		return o, fault.New(fault.Invalid, "%q is no condition operator that Berth knows", text)
	}
	o.name = name
	return o, nil
}

// valid reports why a value of a policy makes no sense for the operator.
func (o operator) valid(v string) error {
	ok := true
	switch {
	case strings.HasPrefix(o.name, "Numeric"):
		_, err := strconv.ParseFloat(v, 64)
		ok = err == nil
	case strings.HasPrefix(o.name, "Date"):
		_, ok = moment(v)
	case o.name == "Bool" || o.name == "Null":
		ok = strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
	case o.name == "IpAddress":
		_, ok = prefix(v)
	}
	if !ok {
		return fault.New(fault.Invalid, "%q is no value for %s", v, o.name)
	}
	return nil
}

// holds reports whether the values that a request has for a key are as a policy wants them.
func (o operator) holds(have []string, want Words, fill func(string) []token) bool {
	if o.name == "Null" {
		for _, w := range want {
			if strings.EqualFold(w, "true") == (len(have) == 0) {
				return true
			}
		}
		return false
	}
	compare := compares[o.name]
	one := func(h string) bool {
		equal := slices.ContainsFunc(want, func(w string) bool { return compare(h, w, fill) })
		return equal != o.negated
	}
	switch {
	case len(have) == 0 && o.set == "ForAnyValue":
		return o.ifExists
	case len(have) == 0:
		return o.ifExists || o.negated || o.set == "ForAllValues"
	case o.set == "ForAllValues" || o.set == "" && o.negated:
		return !slices.ContainsFunc(have, func(h string) bool { return !one(h) })
	}
	return slices.ContainsFunc(have, one)
}

// is reports whether text is that of a pattern, its wildcards taken as they are written.
func is(pattern []token, text string) bool {
	if len(pattern) != len(text) {
		return false
	}
	for i, t := range pattern {
		if t.c != text[i] || t == nothing {
			return false
		}
	}
	return true
}

// arnLike compares the six parts of ARNs, each with wildcards of its own; the last part
// may have colons.
func arnLike(have, want string, fill func(string) []token) bool {
	h, w := strings.SplitN(have, ":", 6), strings.SplitN(want, ":", 6)
	if len(h) != 6 || len(w) != 6 {
		return false
	}
	for i := range w {
		if !matches(fill(w[i]), h[i]) {
			return false
		}
	}
	return true
}

func number(ok func(int) bool) func(have, want string, _ func(string) []token) bool {
	return func(have, want string, _ func(string) []token) bool {
		h, err1 := strconv.ParseFloat(have, 64)
		w, err2 := strconv.ParseFloat(want, 64)
		if err1 != nil || err2 != nil {
			return false
		}
		switch {
		case h < w:
			return ok(-1)
		case h > w:
			return ok(1)
		}
		return h == w && ok(0)
	}
}

func date(ok func(int) bool) func(have, want string, _ func(string) []token) bool {
	return func(have, want string, _ func(string) []token) bool {
		h, ok1 := moment(have)
		w, ok2 := moment(want)
		return ok1 && ok2 && ok(h.Compare(w))
	}
}

// moment reads a time of ISO 8601, or seconds since 1970.
func moment(text string) (time.Time, bool) {
	if s, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(s, 0), true
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func within(have, want string, _ func(string) []token) bool {
	addr, err := netip.ParseAddr(have)
	p, ok := prefix(want)
	return err == nil && ok && p.Contains(addr.Unmap())
}

func prefix(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(text)
	return netip.PrefixFrom(a, a.BitLen()), err == nil
}

func lower(pattern []token) []token {
	for i, t := range pattern {
		if 'A' <= t.c && t.c <= 'Z' {
			pattern[i].c += 'a' - 'A'
		}
	}
	return pattern
}
