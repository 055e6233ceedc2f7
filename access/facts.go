package access

import (
	"strconv"
	"strings"
	"time"
)

// facts are what conditions ask about, by keys in lower case.
type facts map[string][]string

// factsOf gathers the keys of an action: those that AWS has for every request, and the
// action's own (IAM user guide, "AWS global condition context keys").
func factsOf(who Identity, a Action, now time.Time) facts {
	f := facts{
		"aws:currenttime":      {now.UTC().Format(time.RFC3339)},
		"aws:epochtime":        {strconv.FormatInt(now.Unix(), 10)},
		"aws:principalarn":     {who.ARN},
		"aws:principalaccount": {who.Account},
		"aws:userid":           {who.UserID},
		"aws:requestedregion":  {who.Region},
		"aws:securetransport":  {strconv.FormatBool(who.Secure)},
	}
	if who.Source != "" {
		f["aws:sourceip"] = []string{who.Source}
	}
	if name := who.UserName(); name != "" {
		f["aws:username"] = []string{name}
	}
	for key, values := range a.Context {
		f[strings.ToLower(key)] = values
	}
	return f
}

// values returns those of a key; none if the request has none.
func (f facts) values(key string) []string { return f[strings.ToLower(key)] }

// fill reads a pattern with policy variables, ${aws:username} and ${aws:username, 'else'}:
// what they stand for has no wildcards in it. One that has no value, or several, makes the
// pattern match nothing (IAM user guide, "IAM policy elements: Variables and tags").
func (f facts) fill(pattern string) []token {
	var tokens []token
	for {
		before, rest, ok := strings.Cut(pattern, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return append(tokens, literal(pattern)...)
		}
		tokens = append(tokens, literal(before)...)
		name, fallback, hasFallback := strings.Cut(name, ",")
		switch values := f.values(strings.TrimSpace(name)); {
		case name == "*" || name == "?" || name == "$":
			tokens = append(tokens, exactly(name)...)
		case len(values) == 1:
			tokens = append(tokens, exactly(values[0])...)
		case hasFallback:
			tokens = append(tokens, exactly(strings.Trim(strings.TrimSpace(fallback), "'"))...)
		default:
			return []token{nothing}
		}
		pattern = after
	}
}
