package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"berth/fault"
	"berth/strictjson"
)

// Policy says what somebody may do: an identity-based policy of IAM (IAM user guide, "IAM
// JSON policy element reference").
type Policy struct {
	Version    string      `json:"Version,omitempty"` // 2012-10-17, or 2008-10-17, in which there are no variables
	ID         string      `json:"Id,omitempty"`
	Statements []Statement `json:"Statement"`
}

// Statement is one statement of a Policy.
type Statement struct {
	SID         string                      `json:"Sid,omitempty"`
	Effect      string                      `json:"Effect"` // Allow or Deny
	Action      Words                       `json:"Action,omitempty"`
	NotAction   Words                       `json:"NotAction,omitempty"`
	Resource    Words                       `json:"Resource,omitempty"`
	NotResource Words                       `json:"NotResource,omitempty"`
	Condition   map[string]map[string]Words `json:"Condition,omitempty"` // operator → key → values
}

// Words is one text or a list of them.
type Words []string

// UnmarshalJSON is part of json.Unmarshaler. Numbers and booleans are taken as they are
// written.
func (w *Words) UnmarshalJSON(b []byte) error {
	var list []any
	if err := json.Unmarshal(b, &list); err != nil {
		list = make([]any, 1)
		if err := json.Unmarshal(b, &list[0]); err != nil {
			return err
		}
	}
	*w = Words{}
	for _, v := range list {
		switch v.(type) {
		case string, bool, float64:
			*w = append(*w, fmt.Sprint(v))
		default:
			return errors.New("it must be a text or a list of texts")
		}
	}
	return nil
}

// maxPolicy is the most characters of a policy (IAM quotas, managed policies).
const maxPolicy = 6144

// Policies that every account has, by the names that IAM gives them.
var managed = map[string]string{
	"AdministratorAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
	"ReadOnlyAccess": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["*:Describe*","*:List*","*:Get*","*:Filter*","logs:StartLiveTail",
		"logs:TestMetricFilter"],"Resource":"*"}]}`,
}

// ParsePolicy reads a policy. What cannot be one is fault.Invalid with the path of what is
// wrong. The name of a managed policy, or its ARN, stands for that.
func ParsePolicy(text []byte) (Policy, error) {
	if doc, ok := managed[strings.TrimPrefix(strings.Trim(string(text), `"`), "arn:aws:iam::aws:policy/")]; ok {
		text = []byte(doc)
	}
	if len(text) > maxPolicy {
		return Policy{}, fault.New(fault.Invalid, "a policy has at most %d characters", maxPolicy)
	}
	var loose struct {
		Version   string          `json:"Version"`
		ID        string          `json:"Id"`
		Statement json.RawMessage `json:"Statement"`
	}
	if err := strictjson.Unmarshal(text, &loose); err != nil {
		return Policy{}, err
	}
	p := Policy{Version: loose.Version, ID: loose.ID}
	var err error
	if strings.HasPrefix(string(loose.Statement), "{") {
		p.Statements = make([]Statement, 1)
		err = strictjson.Unmarshal(loose.Statement, &p.Statements[0])
	} else if len(loose.Statement) > 0 {
		err = strictjson.Unmarshal(loose.Statement, &p.Statements)
	}
	if err != nil {
		return p, under("Statement", err)
	}
	return p, p.validate()
}

// under puts field before the path of the input at fault.
func under(field string, err error) error {
	var e *fault.Error
	if !errors.As(err, &e) {
		return err
	}
	inner := *e
	if inner.Field != "" && inner.Field[0] != '[' {
		field += "."
	}
	inner.Field = field + inner.Field
	return &inner
}

func (p Policy) validate() error {
	if p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return fault.At("Version", "must be 2012-10-17 or 2008-10-17, not %q", p.Version)
	}
	if len(p.Statements) == 0 {
		return fault.At("Statement", "it is missing; a policy has one or more")
	}
	for i, s := range p.Statements {
		at := fmt.Sprintf("Statement[%d].", i)
		switch {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return fault.At(at+"Effect", "must be Allow or Deny, not %q", s.Effect)
		case (len(s.Action) == 0) == (len(s.NotAction) == 0):
			return fault.At(at+"Action", "a statement has Action or NotAction, and not both")
		case (len(s.Resource) == 0) == (len(s.NotResource) == 0):
			return fault.At(at+"Resource", "a statement has Resource or NotResource, and not both")
		}
		for _, a := range append(s.Action, s.NotAction...) {
			if service, name, ok := strings.Cut(a, ":"); a != "*" && (!ok || service == "" || name == "") {
				return fault.At(at+"Action", "%q is no action: write service:Operation, with * and ? as you like", a)
			}
		}
		for operator, keys := range s.Condition {
			o, err := parseOperator(operator)
			if err != nil {
				return fault.At(at+"Condition."+operator, "%s", fault.Message(err))
			}
			for key, values := range keys {
				for _, v := range values {
					if err := o.valid(v); err != nil {
						return fault.At(at+"Condition."+operator+"."+key, "%s", fault.Message(err))
					}
				}
			}
		}
	}
	return nil
}

// verdict is what policies say of an action.
type verdict uint8

const (
	silent  verdict = iota // nothing: it is denied
	allowed                // allowed, and nothing denies it
	denied                 // explicitly denied
)

// judge returns what policies say of an action: one Deny counts more than all Allows (IAM
// user guide, "Policy evaluation logic").
func judge(policies []Policy, a Action, facts facts) verdict {
	v := silent
	for _, p := range policies {
		for _, s := range p.Statements {
			if !s.covers(p.Version, a, facts) {
				continue
			}
			if s.Effect == "Deny" {
				return denied
			}
			v = allowed
		}
	}
	return v
}

// covers reports whether s is about the action.
func (s Statement) covers(version string, a Action, f facts) bool {
	fill := f.fill
	if version != "2012-10-17" {
		fill = literal
	}
	action := func(patterns Words) bool {
		for _, p := range patterns {
			if matches(literal(strings.ToLower(p)), strings.ToLower(a.Name)) {
				return true
			}
		}
		return false
	}
	resource := func(patterns Words) bool {
		for _, p := range patterns {
			if matches(fill(p), a.Resource) {
				return true
			}
		}
		return false
	}
	if len(s.Action) > 0 && !action(s.Action) || len(s.NotAction) > 0 && action(s.NotAction) {
		return false
	}
	if len(s.Resource) > 0 && !resource(s.Resource) || len(s.NotResource) > 0 && resource(s.NotResource) {
		return false
	}
	for operator, keys := range s.Condition {
		o, err := parseOperator(operator)
		if err != nil { // ParsePolicy takes none; what nobody understands must not allow, and must deny.
			return s.Effect == "Deny"
		}
		for key, values := range keys {
			if !o.holds(f.values(key), values, fill) {
				return false
			}
		}
	}
	return true
}
