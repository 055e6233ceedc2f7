package eventbridge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/fault"
)

// sample is an event with members of every kind.
func sample(t *testing.T) Event {
	t.Helper()
	var ev Event
	if err := json.Unmarshal([]byte(`{"version":"0","id":"1","detail-type":"ECS Task State Change","source":"aws.ecs","account":"111122223333",
		"time":"2026-11-29T01:02:03Z","region":"eu-west-1","resources":["arn:aws:ecs:eu-west-1:111122223333:task/default/a"],
		"detail":{"lastStatus":"STOPPED","version":5,"enableExecuteCommand":false,"stoppedReason":null,"group":"service:web","empty":[],
			"privateIp":"10.0.0.139","load":0.5,
			"containers":[{"name":"app","exitCode":137,"lastStatus":"STOPPED"},{"name":"side","exitCode":0,"lastStatus":"STOPPED"}]}}`), &ev); err != nil {
		t.Fatal(err)
	}
	return ev
}

// Ensure each kind of comparison selects what EventBridge's user guide says.
func TestMatches(t *testing.T) {
	ev := sample(t)
	for text, want := range map[string]bool{
		``:                                 true,
		`{"source":["aws.ecs"]}`:           true,
		`{"source":["aws.ec2"]}`:           false,
		`{"source":["aws.ec2","aws.ecs"]}`: true,
		`{"source":["aws.ecs"],"detail-type":["ECS Service Action"]}`:         false,
		`{"detail":{"lastStatus":["STOPPED"],"version":[5]}}`:                 true,
		`{"detail":{"version":[5.0]}}`:                                        true,
		`{"detail":{"version":[50e-1]}}`:                                      true,
		`{"detail":{"version":["5"]}}`:                                        false,
		`{"detail":{"enableExecuteCommand":[false]}}`:                         true,
		`{"detail":{"enableExecuteCommand":["false"]}}`:                       false,
		`{"detail":{"stoppedReason":[null]}}`:                                 true,
		`{"detail":{"startedBy":[null]}}`:                                     false,
		`{"detail":{"group":[{"prefix":"service:"}]}}`:                        true,
		`{"detail":{"group":[{"prefix":"SERVICE:"}]}}`:                        false,
		`{"detail":{"group":[{"prefix":{"equals-ignore-case":"SERVICE:"}}]}}`: true,
		`{"detail":{"group":[{"suffix":":web"}]}}`:                            true,
		`{"detail":{"group":[{"suffix":{"equals-ignore-case":":WEB"}}]}}`:     true,
		`{"detail":{"group":[{"equals-ignore-case":"SerVICE:web"}]}}`:         true,
		`{"detail":{"group":[{"wildcard":"serv*:w*b"}]}}`:                     true,
		`{"detail":{"group":[{"wildcard":"serv*:w*x"}]}}`:                     false,
		`{"detail":{"group":[{"wildcard":"service\\*web"}]}}`:                 false,
		`{"detail":{"group":[{"anything-but":"service:web"}]}}`:               false,
		`{"detail":{"group":[{"anything-but":["a","b"]}]}}`:                   true,
		`{"detail":{"group":[{"anything-but":{"prefix":"family:"}}]}}`:        true,
		`{"detail":{"group":[{"anything-but":{"suffix":["x","web"]}}]}}`:      false,
		`{"detail":{"group":[{"anything-but":{"wildcard":"*:web"}}]}}`:        false,
		`{"detail":{"startedBy":[{"anything-but":"x"}]}}`:                     false,
		`{"detail":{"version":[{"anything-but":[4,6]}]}}`:                     true,
		`{"detail":{"version":[{"numeric":[">",4,"<=",5]}]}}`:                 true,
		`{"detail":{"version":[{"numeric":["<",5]}]}}`:                        false,
		`{"detail":{"load":[{"numeric":["=",0.5]}]}}`:                         true,
		`{"detail":{"group":[{"numeric":["=",0]}]}}`:                          false,
		`{"detail":{"startedBy":[{"exists":false}]}}`:                         true,
		`{"detail":{"group":[{"exists":false}]}}`:                             false,
		`{"detail":{"group":[{"exists":true}]}}`:                              true,
		`{"detail":{"empty":[{"exists":false}]}}`:                             true,
		`{"detail":{"containers":[{"exists":true}]}}`:                         false, // It is no leaf.
		`{"detail":{"nothing":{"at":{"all":[{"exists":false}]}}}}`:            true,
		`{"detail":{"nothing":{"at":{"all":[{"exists":true}]}}}}`:             false,
		`{"detail":{"privateIp":[{"cidr":"10.0.0.0/24"}]}}`:                   true,
		`{"detail":{"privateIp":[{"cidr":"10.0.1.0/24"}]}}`:                   false,
		`{"resources":[{"suffix":"/a"}]}`:                                     true,
		`{"detail":{"containers":{"name":["app"],"exitCode":[137]}}}`:         true,
		`{"detail":{"containers":{"name":["side"],"exitCode":[137]}}}`:        false, // of two elements
		`{"detail":{"containers":{"exitCode":[{"anything-but":0}]}}}`:         true,
		`{"detail":{"$or":[{"version":[4]},{"lastStatus":["STOPPED"]}]}}`:     true,
		`{"detail":{"$or":[{"version":[4]},{"lastStatus":["RUNNING"]}]}}`:     false,
		`{"$or":[{"source":["x"]},{"detail":{"version":[5]}}]}`:               true,
	} {
		p, err := ParsePattern(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := p.Matches(ev); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// Ensure a pattern that cannot be used is refused with what is wrong with it.
func TestPatternRefused(t *testing.T) {
	for text, says := range map[string]string{
		`[]`:                                          "Filter is not an object",
		`{"a":`:                                       "is not JSON",
		`{"a":["b"]} x`:                               "something follows it",
		`{"a":"b"}`:                                   `"a" must be an object or an array`,
		`{}`:                                          "Empty objects are not allowed",
		`{"a":{}}`:                                    `Empty objects are not allowed at "a"`,
		`{"a":{"b":[]}}`:                              `Empty arrays are not allowed at "a.b"`,
		`{"a":[["b"]]}`:                               "must be an array of values",
		`{"a":[{"like":"b"}]}`:                        "Unrecognized match type like",
		`{"a":[{"prefix":1}]}`:                        "prefix match pattern must be a string",
		`{"a":[{"exists":"yes"}]}`:                    "exists match pattern must be either true or false",
		`{"a":[{"prefix":"b","suffix":"c"}]}`:         "Only one key allowed",
		`{"a":[{"numeric":["<"]}]}`:                   "numeric takes one or two comparisons",
		`{"a":[{"numeric":["!",1]}]}`:                 "Unrecognized numeric range operator: !",
		`{"a":[{"numeric":["<","1"]}]}`:               "must be a number",
		`{"a":[6e9]}`:                                 "between -5.0E9 and 5.0E9",
		`{"a":[{"wildcard":"a**b"}]}`:                 "Consecutive wildcard",
		`{"a":[{"wildcard":"a\\b"}]}`:                 "Invalid escape",
		`{"a":[{"cidr":"10.0.0.0"}]}`:                 "Malformed CIDR",
		`{"a":[{"anything-but":[]}]}`:                 "Empty arrays",
		`{"a":[{"anything-but":{"exists":true}}]}`:    "exists match pattern must be a string",
		`{"$or":[{"a":["b"]}]}`:                       "at least two",
		`{"a":["` + strings.Repeat("x", 4096) + `"]}`: "at most 4096",
	} {
		_, err := ParsePattern(text)
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), says) {
			t.Errorf("%.80s: %v, want %s", text, err, says)
		}
	}
}

// value draws a JSON value without members.
func value() *rapid.Generator[any] {
	return rapid.OneOf(
		rapid.Map(rapid.StringMatching(`[ab*\\]{0,3}`), func(s string) any { return s }),
		rapid.Map(rapid.IntRange(-3, 3), func(n int) any { return n }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Just[any](nil))
}

func holds(t *rapid.T, tests, detail any) bool {
	t.Helper()
	text, err := json.Marshal(map[string]any{"detail": tests})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePattern(string(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	body, err := json.Marshal(detail)
	if err != nil {
		t.Fatal(err)
	}
	return p.Matches(Event{Detail: body})
}

// Ensure comparisons keep the laws that hold whatever the values are.
func TestPatternLaws(t *testing.T) {
	type m = map[string]any
	rapid.Check(t, func(t *rapid.T) {
		event := m{}
		for _, name := range []string{"x", "y"} {
			if rapid.Bool().Draw(t, "has "+name) {
				event[name] = value().Draw(t, name)
			}
		}
		a, b := value().Draw(t, "a"), value().Draw(t, "b")
		x := func(tests ...any) bool { return holds(t, m{"x": tests}, event) }
		there := x(m{"exists": true})
		if _, has := event["x"]; has != there || x(m{"exists": false}) == there {
			t.Errorf("x is there: %v, and exists says %v", has, there)
		}
		if is := there && fmt.Sprintf("%T%v", event["x"], event["x"]) == fmt.Sprintf("%T%v", a, a); x(a) != is {
			t.Errorf("%v is %v: %v", event["x"], a, !is)
		}
		if x(m{"anything-but": []any{a, b}}) != (there && !x(a) && !x(b)) {
			t.Error("anything-but is not the rest")
		}
		if x(a, b) != (x(a) || x(b)) {
			t.Error("a list is not one of its tests")
		}
		if holds(t, m{"x": []any{a}, "y": []any{b}}, event) != (x(a) && holds(t, m{"y": []any{b}}, event)) {
			t.Error("two fields are not both")
		}
		if holds(t, m{"$or": []any{m{"x": []any{a}}, m{"y": []any{b}}}}, event) != (x(a) || holds(t, m{"y": []any{b}}, event)) {
			t.Error("$or is not or")
		}
		if list := (m{"x": []any{a, b}}); holds(t, m{"x": []any{a}}, list) != true || holds(t, m{"x": []any{event["x"]}}, list) != (holds(t, m{"x": []any{event["x"]}}, m{"x": a}) || holds(t, m{"x": []any{event["x"]}}, m{"x": b})) {
			t.Error("an array is not one of its elements")
		}
		if s, ok := event["x"].(string); ok {
			n := rapid.IntRange(0, len(s)).Draw(t, "cut")
			escape := strings.NewReplacer(`\`, `\\`, `*`, `\*`).Replace
			if !x(m{"prefix": s[:n]}) || !x(m{"suffix": s[n:]}) || !x(m{"wildcard": escape(s[:n]) + "*" + escape(s[n:])}) || !x(m{"wildcard": escape(s)}) || x(m{"prefix": s + "x"}) {
				t.Errorf("%q is not what it begins and ends with", s)
			}
		}
		if n, ok := event["x"].(int); ok {
			lo, hi := rapid.IntRange(-3, 3).Draw(t, "lo"), rapid.IntRange(-3, 3).Draw(t, "hi")
			if x(m{"numeric": []any{">=", lo, "<", hi}}) != (n >= lo && n < hi) {
				t.Errorf("%d is not from %d to %d", n, lo, hi)
			}
		}
	})
}
