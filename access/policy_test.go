package access

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/fault"
)

var (
	now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ann = Identity{Account: "123456789012", Region: "eu-west-2", ARN: "arn:aws:iam::123456789012:user/ann", UserID: "AIDAANN", Source: "10.1.2.3"}
)

const cluster = "arn:aws:ecs:eu-west-2:123456789012:cluster/prod"

// Ensure statements allow and deny as IAM's documentation says.
func TestJudge(t *testing.T) {
	act := func(name, resource string, context ...string) Action {
		a := Action{Name: name, Resource: resource, Context: map[string][]string{}}
		for i := 0; i < len(context); i += 2 {
			a.Context[context[i]] = append(a.Context[context[i]], context[i+1])
		}
		return a
	}
	allow := func(rest string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + rest + `}]}`
	}
	condition := func(c string) string { return allow(`"Action":"*","Resource":"*","Condition":` + c) }
	list := act("ecs:ListTasks", cluster)
	for _, c := range []struct {
		policy string
		a      Action
		want   verdict
	}{
		{allow(`"Action":"ecs:ListTasks","Resource":"*"`), list, allowed},
		{allow(`"Action":"ecs:listtasks","Resource":"*"`), list, allowed},
		{allow(`"Action":["ecs:Describe*","ecs:List?asks"],"Resource":"*"`), list, allowed},
		{allow(`"Action":"ecs:List","Resource":"*"`), list, silent},
		{allow(`"NotAction":"ecs:RunTask","Resource":"*"`), list, allowed},
		{allow(`"NotAction":"ecs:List*","Resource":"*"`), list, silent},
		{allow(`"Action":"*","Resource":"arn:aws:ecs:*:123456789012:cluster/pro?"`), list, allowed},
		{allow(`"Action":"*","Resource":"arn:aws:ecs:*:123456789012:cluster/PROD"`), list, silent},
		{allow(`"Action":"*","NotResource":"arn:aws:ecs:*:*:cluster/prod"`), list, silent},
		{allow(`"Action":"*","Resource":"arn:aws:ecs:*:*:cluster/${aws:username}"`), act("a:b", "arn:aws:ecs:r:1:cluster/ann"), allowed},
		{allow(`"Action":"*","Resource":"arn:aws:ecs:*:*:cluster/${aws:nobody}"`), act("a:b", "arn:aws:ecs:r:1:cluster/"), silent},
		{allow(`"Action":"*","Resource":"x${aws:nobody, 'y'}"`), act("a:b", "xy"), allowed},
		{allow(`"Action":"*","Resource":"a${*}"`), act("a:b", "abc"), silent},
		{`{"Statement":{"Effect":"Allow","Action":"*","Resource":"${aws:username}"}}`, act("a:b", "ann"), silent},
		{`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"ecs:List*","Resource":"*"}]}`, list, denied},
		{`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ecs:Run*","Resource":"*"}]}`, list, silent},
		{condition(`{"StringEquals":{"aws:ResourceTag/team":["a","b"]}}`), act("x:y", "*", "aws:ResourceTag/team", "b"), allowed},
		{condition(`{"StringEquals":{"aws:ResourceTag/Team":"a"}}`), act("x:y", "*", "aws:resourcetag/team", "a"), allowed},
		{condition(`{"StringEquals":{"aws:ResourceTag/team":"a"}}`), list, silent},
		{condition(`{"StringEqualsIfExists":{"aws:ResourceTag/team":"a"}}`), list, allowed},
		{condition(`{"StringNotEquals":{"aws:ResourceTag/team":["a","b"]}}`), act("x:y", "*", "aws:ResourceTag/team", "b"), silent},
		{condition(`{"StringNotEquals":{"aws:ResourceTag/team":["a","b"]}}`), list, allowed},
		{condition(`{"StringLike":{"aws:username":"a*"},"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}}`), list, allowed},
		{condition(`{"StringLike":{"aws:username":"a*"},"IpAddress":{"aws:SourceIp":"10.2.0.0/16"}}`), list, silent},
		{condition(`{"NotIpAddress":{"aws:SourceIp":["10.2.0.0/16","192.168.0.1"]}}`), list, allowed},
		{condition(`{"ArnLike":{"ecs:cluster":"arn:aws:ecs:*:*:cluster/p*"}}`), act("ecs:RunTask", "*", "ecs:cluster", cluster), allowed},
		{condition(`{"ArnLike":{"ecs:cluster":"arn:*:cluster/p*"}}`), act("ecs:RunTask", "*", "ecs:cluster", cluster), silent},
		{condition(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b"]}}`), act("x:y", "*", "aws:TagKeys", "a", "aws:TagKeys", "b"), allowed},
		{condition(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`), act("x:y", "*", "aws:TagKeys", "a", "aws:TagKeys", "b"), silent},
		{condition(`{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`), list, allowed},
		{condition(`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a"]}}`), act("x:y", "*", "aws:TagKeys", "a", "aws:TagKeys", "b"), allowed},
		{condition(`{"ForAnyValue:StringEquals":{"aws:TagKeys":["a"]}}`), list, silent},
		{condition(`{"Null":{"aws:RequestTag/team":"true"}}`), list, allowed},
		{condition(`{"Null":{"aws:RequestTag/team":false}}`), list, silent},
		{condition(`{"Bool":{"aws:SecureTransport":"false"}}`), list, allowed},
		{condition(`{"DateLessThan":{"aws:CurrentTime":"2026-11-29T12:00:01Z"}}`), list, allowed},
		{condition(`{"DateGreaterThan":{"aws:CurrentTime":"2026-11-29T12:00:01Z"}}`), list, silent},
		{condition(`{"NumericLessThanEquals":{"ecs:task-cpu":1024}}`), act("x:y", "*", "ecs:task-cpu", "1024"), allowed},
		{condition(`{"NumericGreaterThan":{"ecs:task-cpu":1024}}`), act("x:y", "*", "ecs:task-cpu", "x"), silent},
	} {
		p, err := ParsePolicy([]byte(c.policy))
		if err != nil {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		if got := judge([]Policy{p}, c.a, factsOf(ann, c.a, now)); got != c.want {
			t.Errorf("%s on %+v: %d, want %d", c.policy, c.a, got, c.want)
		}
	}
}

// Ensure what is no policy is refused with its path.
func TestParsePolicy(t *testing.T) {
	for _, c := range []struct{ text, field string }{
		{`{"Statement":[]}`, "Statement"},
		{`{"Version":"2020-01-01","Statement":[]}`, "Version"},
		{`{"Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`, "Statement[0].Effect"},
		{`{"Statement":[{"Effect":"Allow","Resource":"*"}]}`, "Statement[0].Action"},
		{`{"Statement":[{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}]}`, "Statement[0].Action"},
		{`{"Statement":[{"Effect":"Allow","Action":"RunTask","Resource":"*"}]}`, "Statement[0].Action"},
		{`{"Statement":[{"Effect":"Allow","Action":"*"}]}`, "Statement[0].Resource"},
		{`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}]}`, "Statement[0].Principal"},
		{`{"Statement":{"Effect":"Allow","Action":{},"Resource":"*"}}`, "Statement.Action"},
		{`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Sounds":{"a":"b"}}}]}`, "Statement[0].Condition.Sounds"},
		{`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"ten"}}}]}`, "Statement[0].Condition.IpAddress.aws:SourceIp"},
		{`[]`, ""},
		{strings.Repeat(" ", maxPolicy) + `{}`, ""},
	} {
		if _, err := ParsePolicy([]byte(c.text)); fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != c.field {
			t.Errorf("%.60s: field %q, %v; want %q", c.text, fault.FieldOf(err), err, c.field)
		}
	}
	for name := range managed {
		if _, err := ParsePolicy([]byte("arn:aws:iam::aws:policy/" + name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Ensure patterns match what the same regular expression matches.
func TestMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?]{0,10}`).Draw(t, "pattern")
		text := rapid.StringMatching(`[ab]{0,12}`).Draw(t, "text")
		oracle := regexp.MustCompile("^" + strings.NewReplacer("*", ".*", "?", ".").Replace(pattern) + "$")
		if got := matches(literal(pattern), text); got != oracle.MatchString(text) {
			t.Fatalf("%v", got)
		}
	})
}

// Ensure a pattern made to be slow is not.
func TestMatchesInTime(t *testing.T) {
	if matches(literal(strings.Repeat("a*", 1000)+"b"), strings.Repeat("a", 5000)) {
		t.Error("it matches")
	}
}

// Ensure that more policies never take a denial away, and more Allows only add.
func TestMonotone(t *testing.T) {
	statement := rapid.Custom(func(t *rapid.T) Statement {
		return Statement{
			Effect:   rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect"),
			Action:   rapid.SliceOfN(rapid.SampledFrom([]string{"*", "ecs:*", "ecs:Run*", "logs:Get*"}), 1, 2).Draw(t, "action"),
			Resource: rapid.SliceOfN(rapid.SampledFrom([]string{"*", "arn:a", "arn:*"}), 1, 2).Draw(t, "resource"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(statement, 0, 6).Draw(t, "statements")
		a := Action{Name: rapid.SampledFrom([]string{"ecs:RunTask", "logs:GetLogEvents", "sts:X"}).Draw(t, "name"), Resource: rapid.SampledFrom([]string{"arn:a", "arn:b", "*"}).Draw(t, "on")}
		// The oracle: any Deny that covers it, else any Allow.
		want := silent
		for _, s := range all {
			switch covers := s.covers("2012-10-17", a, factsOf(ann, a, now)); {
			case covers && s.Effect == "Deny":
				want = denied
			case covers && want == silent:
				want = allowed
			}
		}
		if got := judge([]Policy{{Version: "2012-10-17", Statements: all}}, a, factsOf(ann, a, now)); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	})
}
