package pattern_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/fault"
	"berth/logs/pattern"
)

// Ensure patterns match what CloudWatch's documentation says they match.
func TestMatch(t *testing.T) {
	const bag = `{"level":"error","ms":512.5,"ok":false,"user":null,"req":{"ip":"10.0.0.1","tags":["a","b"]},"items":[{"id":1},{"id":7}],"a-b":"x"}`
	const access = `127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`
	for _, c := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"ERROR", "[ERROR] it broke", true},
		{"ERROR", "error", false},
		{"ERROR ARGUMENTS", "ERROR: bad ARGUMENTS", true},
		{"ERROR ARGUMENTS", "ERROR", false},
		{`"INTERNAL SERVER ERROR"`, "500 INTERNAL SERVER ERROR", true},
		{`"INTERNAL SERVER ERROR"`, "INTERNAL ERROR", false},
		{"?ERROR ?WARN", "WARN: x", true},
		{"?ERROR ?WARN", "INFO: x", false},
		{"?ERROR ?WARN REQUEST", "REQUEST", true}, // optional terms beside others say nothing
		{"ERROR -ARGUMENTS", "ERROR ARGUMENTS", false},
		{"ERROR -ARGUMENTS", "ERROR", true},
		{"-DEBUG", "INFO", true},
		{`"a \"b\" c"`, `x a "b" c`, true},
		{`%4\d\d%`, "status 404", true},
		{`%4\d\d%`, "status 500", false},
		{`{ $.level = "error" }`, bag, true},
		{`{ $.level = error }`, bag, true},
		{`{ $.level = "err*" }`, bag, true},
		{`{ $.level != "error" }`, bag, false},
		{`{ $.nothing != "error" }`, bag, false},
		{`{ $.ms > 500 && $.ms <= 512.5 }`, bag, true},
		{`{ $.ms = 5.125e2 }`, bag, true},
		{`{ $.ms > 500 && $.level = warn || $.ok IS FALSE }`, bag, true},
		{`{ $.ms > 500 && ($.level = warn || $.ok IS TRUE) }`, bag, false},
		{`{ $.user IS NULL }`, bag, true},
		{`{ $.level IS NULL }`, bag, false},
		{`{ $.nothing NOT EXISTS }`, bag, true},
		{`{ $.user NOT EXISTS }`, bag, false},
		{`{ $.req.ip = 10.0.* }`, bag, true},
		{`{ $.req.tags[1] = "b" }`, bag, true},
		{`{ $.req.tags[2] = "b" }`, bag, false},
		{`{ $.items[*].id = 7 }`, bag, true},
		{`{ $["a-b"] = x }`, bag, true},
		{`{ $.level = %^err% }`, bag, true},
		{`{ $.level = "error" }`, "plain text", false},
		{"[ip, id, user, time, request, status=404, bytes]", access, true},
		{"[ip, id, user, time, request, status=4*, bytes>1000]", access, true},
		{"[ip, id, user, time, request, status=4* && status!=404, bytes]", access, false},
		{"[..., status=404 || status=410, bytes]", access, true},
		{"[ip=127.*, ...]", access, true},
		{"[ip, ..., bytes<1000]", access, false},
		{"[a, b]", access, false},
		{`[ip, id, user, time, request="GET *", ...]`, access, true},
		{`[..., status=%40[34]%, bytes]`, access, true},
	} {
		p, err := pattern.Parse(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
		} else if got := p.Match(c.message); got != c.want {
			t.Errorf("%s matches %s: %t, want %t", c.pattern, c.message, got, c.want)
		}
	}
}

// Ensure what is no pattern is refused as the user's mistake.
func TestRefused(t *testing.T) {
	for _, text := range []string{
		"foo.bar", `"open`, "%(%", "%open", "-", "{", "{}", "{ $.a }", "{ $.a = }", "{ $.a > x }", "{ a = 1 }", "{ $.a = 1", "{ $.a = 1 } x",
		"{ ($.a = 1 }", "{ $.a IS 1 }", "{ $.a NOT }", "{ $.a[x] = 1 }", "[a", "[a=]", "[..., ...]", "[a] x", "[a=1 || b]", "[a > x]",
		strings.Repeat("a", 1025), "{ " + strings.Repeat("(", 40) + "$.a = 1",
	} {
		if _, err := pattern.Parse(text); fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(fault.Message(err), "Invalid") {
			t.Errorf("%.60s: %v, want a refusal", text, err)
		}
	}
}

// node is a condition that knows what it is true of, and how patterns write it.
type node interface {
	write() string
	holds(v map[string]any) bool
}

type (
	both struct{ a, b node }
	one  struct{ a, b node }
	leaf struct {
		key, op string
		value   any
	}
)

func (n both) write() string               { return "(" + n.a.write() + " && " + n.b.write() + ")" }
func (n both) holds(v map[string]any) bool { return n.a.holds(v) && n.b.holds(v) }
func (n one) write() string                { return "(" + n.a.write() + "||" + n.b.write() + ")" }
func (n one) holds(v map[string]any) bool  { return n.a.holds(v) || n.b.holds(v) }

func (n leaf) write() string {
	switch v := n.value.(type) {
	case string:
		return fmt.Sprintf("$.%s %s %q", n.key, n.op, v)
	case int:
		return fmt.Sprintf("$.%s%s%d", n.key, n.op, v)
	}
	return fmt.Sprintf("$.%s %s", n.key, n.op)
}

func (n leaf) holds(v map[string]any) bool {
	have, there := v[n.key]
	switch n.op {
	case "IS NULL":
		return there && have == nil
	case "NOT EXISTS":
		return !there
	}
	switch want := n.value.(type) {
	case string:
		text, ok := have.(string)
		if _, number := have.(int); number {
			return n.op == "!="
		}
		if !ok {
			return false
		}
		re := regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(want), `\*`, ".*") + "$")
		return re.MatchString(text) == (n.op == "=")
	case int:
		if have, ok := have.(int); ok {
			return map[string]bool{"=": have == want, "!=": have != want, "<": have < want, "<=": have <= want, ">": have > want, ">=": have >= want}[n.op]
		}
		_, text := have.(string)
		return text && n.op == "!="
	}
	return false
}

func nodes(depth int) *rapid.Generator[node] {
	key := rapid.SampledFrom([]string{"a", "b", "c"})
	leaves := rapid.Custom(func(t *rapid.T) node {
		n := leaf{key: key.Draw(t, "key")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			n.op, n.value = rapid.SampledFrom([]string{"=", "!="}).Draw(t, "op"), rapid.StringMatching(`[xy*]{0,4}`).Draw(t, "text")
		case 1:
			n.op, n.value = rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "op"), rapid.IntRange(-3, 3).Draw(t, "number")
		default:
			n.op = rapid.SampledFrom([]string{"IS NULL", "NOT EXISTS"}).Draw(t, "op")
		}
		return n
	})
	if depth == 0 {
		return leaves
	}
	return rapid.OneOf(leaves,
		rapid.Custom(func(t *rapid.T) node { return both{nodes(depth-1).Draw(t, "a"), nodes(depth-1).Draw(t, "b")} }),
		rapid.Custom(func(t *rapid.T) node { return one{nodes(depth-1).Draw(t, "a"), nodes(depth-1).Draw(t, "b")} }))
}

// Ensure conditions on JSON hold exactly of what an oracle says they hold of.
func TestJSONOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := nodes(3).Draw(t, "condition")
		object := map[string]any{}
		for _, key := range []string{"a", "b", "c"} {
			switch rapid.IntRange(0, 3).Draw(t, "is") {
			case 0:
				object[key] = rapid.StringMatching(`[xy]{0,4}`).Draw(t, "text")
			case 1:
				object[key] = rapid.IntRange(-3, 3).Draw(t, "number")
			case 2:
				object[key] = nil
			}
		}
		message, _ := json.Marshal(object)
		text := "{ " + n.write() + " }"
		p, err := pattern.Parse(text)
		if err != nil && len(text) > 1024 {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got, want := p.Match(string(message)), n.holds(object); got != want {
			t.Fatalf("%s matches %s: %t, want %t", text, message, got, want)
		}
	})
}

// Ensure terms match exactly what an oracle says they match.
func TestTermsOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[-?]?[ab]{1,2}`), 1, 5).Draw(t, "terms")
		message := rapid.StringMatching(`[ab ]{0,8}`).Draw(t, "message")
		want, some, optional, strict := true, false, false, false
		for _, w := range words {
			has := strings.Contains(message, strings.TrimLeft(w, "-?"))
			switch w[0] {
			case '-':
				want, strict = want && !has, true
			case '?':
				some, optional = some || has, true
			default:
				want, strict = want && has, true
			}
		}
		if optional && !strict {
			want = some
		}
		p, err := pattern.Parse(strings.Join(words, " "))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(message); got != want {
			t.Fatalf("%v matches %q: %t, want %t", words, message, got, want)
		}
	})
}

// Ensure no text makes the parser or a match panic, and every refusal is the user's.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{ $.a[*].b = "x*" && ($.c > 1 || $.d IS NULL) }`, `[a, b=4* || b=%5\d%, ...]`, `ERROR -"a b" ?%x+%`, `{$.`, `["`} {
		f.Add(seed, `{"a":[{"b":"xy"}],"c":2}`)
	}
	f.Fuzz(func(t *testing.T, text, message string) {
		p, err := pattern.Parse(text)
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatalf("%q: %v", text, err)
		}
		p.Match(message)
	})
}
