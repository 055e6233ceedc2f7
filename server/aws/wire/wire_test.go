package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/server/aws/wire"
)

type boat struct {
	Name  string    `json:"name" xml:"name" required:"true" min:"2" max:"8" pattern:"[a-z]+"`
	Kind  *string   `json:"kind,omitempty" enum:"SAIL,MOTOR"`
	Crew  int       `json:"crew,omitempty" max:"3"`
	Sails []sail    `json:"sails,omitempty" max:"2"`
	Since wire.Time `json:"since,omitzero"`
}

type sail struct {
	Area int `json:"area" required:"true"`
}

type pier struct {
	Boats []boat  `json:"boats" xml:"boatSet>item"`
	Owner string  `json:"owner" xml:"owner"`
	Next  *string `json:"nextToken,omitempty" xml:"nextToken,omitempty"`
}

type filter struct {
	IDs     []string `json:"Id"`
	Filters []struct {
		Name   string   `json:"Name"`
		Values []string `json:"Value"`
	} `json:"Filter"`
	DryRun *bool `json:"DryRun"`
}

var moor = func(_ context.Context, c wire.Call, in *boat) (*pier, error) {
	switch in.Name {
	case "ghost":
		return nil, fault.New(fault.NotFound, "no such boat")
	case "twin":
		return nil, &wire.Error{Code: "ConflictException", Message: "two", Members: map[string]any{"resourceIds": []string{"a"}}}
	case "rock":
		panic("rock")
	}
	return &pier{Boats: []boat{*in}, Owner: c.Identity.Account + " " + c.Identity.Region}, nil
}

// denier lets nobody moor the Titanic.
type denier struct{}

func (denier) Authorize(_ context.Context, who access.Identity, a access.Action) error {
	if a.Name == "harbour:Moor" && a.Resource == "boat/titanic" {
		return fault.New(fault.Denied, "User: %s is not authorized to perform: %s", who.ARN, a.Name)
	}
	return nil
}

func front(t *testing.T) (http.Handler, *[]wire.Done) {
	var done []wire.Done
	list := func(_ context.Context, _ wire.Call, in *filter) (*pier, error) {
		p := &pier{Owner: strings.Join(in.IDs, "+")}
		for _, f := range in.Filters {
			p.Boats = append(p.Boats, boat{Name: f.Name + "=" + strings.Join(f.Values, "|")})
		}
		return p, nil
	}
	return wire.New(wire.Config{
		Services: []wire.Service{
			{
				Name: "harbour", Target: "Harbour_2026.v1", Version: "1.1", Invalid: "InvalidParameterException",
				Code: func(err error) (string, int) {
					if fault.KindOf(err) == fault.NotFound {
						return "BoatNotFoundException", 0
					}
					return "", 0
				},
				Operations: []wire.Operation{wire.Op("Moor", moor, wire.Resources(func(_ wire.Call, in *boat) []string { return []string{"boat/" + in.Name} }))},
			},
			{Name: "tide", Protocol: wire.Query, Version: "2011-06-15", Invalid: "ValidationError", Operations: []wire.Operation{wire.Op("DescribeTide", list)}},
			{Name: "sea", Protocol: wire.EC2, Version: "2016-11-15", Invalid: "InvalidParameterValue", Operations: []wire.Operation{wire.Op("DescribeSea", list)}},
		},
		Authenticate: wire.Anybody("000000000000", "us-east-1"), Access: denier{},
		Done: func(_ context.Context, d wire.Done) { done = append(done, d) },
		Log:  zap.NewNop(), Now: time.Now, NewRequestID: func() string { return "request-1" },
	}), &done
}

func send(t *testing.T, h http.Handler, header map[string]string, body string) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
		if k == "Host" {
			r.Host = v
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b), w.Header()
}

// Ensure JSON requests are read strictly, and answered in the words of the protocol.
func TestJSON(t *testing.T) {
	h, done := front(t)
	for _, c := range []struct{ name, body, want string }{
		{"all", `{"name":"gull","kind":"SAIL","crew":3,"sails":[{"area":9}],"since":1767225600.5}`,
			`200 {"boats":[{"name":"gull","kind":"SAIL","crew":3,"sails":[{"area":9}],"since":1767225600.5}],"owner":"000000000000 us-east-1"}`},
		{"null is absent", `{"name":"gull","kind":null}`, `200 {"boats":[{"name":"gull"}],"owner":"000000000000 us-east-1"}`},
		{"missing", ``, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"}`},
		{"short", `{"name":"a"}`, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value 'a' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2"}`},
		{"pattern", `{"name":"GULL"}`, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value 'GULL' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+"}`},
		{"two", `{"name":"gull","kind":"OAR","crew":4}`, `400 {"__type":"InvalidParameterException","message":"2 validation errors detected: Value 'OAR' at 'kind' failed to satisfy constraint: Member must satisfy enum value set: [SAIL, MOTOR]; Value '4' at 'crew' failed to satisfy constraint: Member must have value less than or equal to 3"}`},
		{"within", `{"name":"gull","sails":[{"area":1},{}]}`, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value null at 'sails.2.member.area' failed to satisfy constraint: Member must not be null"}`},
		{"type", `{"name":7}`, `400 {"__type":"SerializationException","message":"name: must be a string, not a number"}`},
		{"unknown member", `{"name":"gull","colour":"red"}`, `400 {"__type":"InvalidParameterException","message":"colour: unknown field"}`},
		{"not JSON", `{`, `400 {"__type":"SerializationException","message":"not JSON at line 1, column 2: unexpected EOF"}`},
		{"fault", `{"name":"ghost"}`, `400 {"__type":"BoatNotFoundException","message":"no such boat"}`},
		{"exact", `{"name":"twin"}`, `400 {"__type":"ConflictException","message":"two","resourceIds":["a"]}`},
		{"denied", `{"name":"titanic"}`, `400 {"__type":"AccessDeniedException","message":"User: arn:aws:iam::000000000000:root is not authorized to perform: harbour:Moor"}`},
		{"panic", `{"name":"rock"}`, `500 {"__type":"InternalFailure","message":"internal error"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			*done = nil
			status, body, header := send(t, h, map[string]string{"X-Amz-Target": "Harbour_2026.v1.Moor", "Content-Type": "application/x-amz-json-1.1"}, c.body)
			want, rest, _ := strings.Cut(c.want, " ")
			if got := http.StatusText(status); got != http.StatusText(atoi(want)) || !same(body, rest) {
				t.Errorf("got %d %s\nwant %s", status, body, c.want)
			}
			if header.Get("x-amzn-RequestId") != "request-1" || header.Get("Content-Type") != "application/x-amz-json-1.1" {
				t.Errorf("headers: %v", header)
			}
			if len(*done) != 1 || ((*done)[0].Err == nil) != (status == 200) || (*done)[0].Operation.Reads {
				t.Errorf("done: %+v", *done)
			}
		})
	}
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

// same compares JSON, whose members have no order.
func same(x, y string) bool {
	var a, b any
	if json.Unmarshal([]byte(x), &a) != nil || json.Unmarshal([]byte(y), &b) != nil {
		return false
	}
	p, _ := json.Marshal(a)
	q, _ := json.Marshal(b)
	return string(p) == string(q)
}

// Ensure the caller's account and region are those of the signature.
func TestAnybody(t *testing.T) {
	h, _ := front(t)
	_, body, _ := send(t, h, map[string]string{"X-Amz-Target": "Harbour_2026.v1.Moor",
		"Authorization": "AWS4-HMAC-SHA256 Credential=123456789012/20261129/eu-west-2/harbour/aws4_request, SignedHeaders=host, Signature=00"}, `{"name":"gull"}`)
	if !strings.Contains(body, `"123456789012 eu-west-2"`) {
		t.Error(body)
	}
}

// Ensure requests that nobody answers, and those of web pages, are refused.
func TestRefused(t *testing.T) {
	h, _ := front(t)
	for _, c := range []struct {
		header map[string]string
		code   string
		status int
	}{
		{map[string]string{"X-Amz-Target": "Harbour_2026.v1.Sink"}, "UnknownOperationException", 400},
		{map[string]string{"X-Amz-Target": "Airport.Land"}, "UnknownOperationException", 400},
		{map[string]string{}, "MissingAction", 400},
		{map[string]string{"X-Amz-Target": "Harbour_2026.v1.Moor", "Origin": "https://example.com"}, "AccessDeniedException", 403},
		{map[string]string{"X-Amz-Target": "Harbour_2026.v1.Moor", "Host": "evil.example"}, "MisdirectedRequest", 421},
	} {
		status, body, _ := send(t, h, c.header, `{"name":"gull"}`)
		var e struct {
			Type string `json:"__type"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Type != c.code || status != c.status {
			t.Errorf("%v: %d %s, want %s", c.header, status, body, c.code)
		}
	}
}

// Ensure forms are read, lists in both spellings, and answered in XML.
func TestXML(t *testing.T) {
	h, _ := front(t)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
	for _, c := range []struct{ body, want string }{
		{"Action=DescribeTide&Version=2011-06-15&Id.member.1=a&Id.member.2=b",
			`<DescribeTideResponse xmlns="https://tide.amazonaws.com/doc/2011-06-15/"><DescribeTideResult><boatSet></boatSet><owner>a+b</owner></DescribeTideResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></DescribeTideResponse>`},
		{"Action=DescribeSea&Version=2016-11-15&Id.1=a&Filter.1.Name=n&Filter.1.Value.1=x&Filter.1.Value.2=y&DryRun=true",
			`<DescribeSeaResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>request-1</requestId><boatSet><item><name>n=x|y</name>`},
		{"Action=DescribeSea&Version=2016-11-15&DryRun=perhaps", `<Response><Errors><Error><Code>InvalidParameterValue</Code><Message>DryRun must be true or false, not &#34;perhaps&#34;</Message></Error></Errors><RequestID>request-1</RequestID></Response>`},
		{"Action=DescribeSea&Version=2016-11-15&Colour=red", `<Code>UnknownParameter</Code>`},
		{"Action=Sail&Version=1999-01-01", `<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchVersion</Code>`},
		{"Action=Sail&Version=2011-06-15", `<ErrorResponse xmlns="https://tide.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>InvalidAction</Code>`},
	} {
		_, body, _ := send(t, h, form, c.body)
		if !strings.Contains(body, c.want) {
			t.Errorf("%s: got %s\nwant %s", c.body, body, c.want)
		}
	}
}

// Ensure an error says what a user may see and nothing of its cause.
func TestCauseStays(t *testing.T) {
	err := fault.Wrap(fault.Internal, errors.New("secret"), "x")
	if got := wire.Message(err); got != "internal error" {
		t.Error(got)
	}
	if got := wire.Message(fault.At("count", "must be from 1 to 10")); got != "count must be from 1 to 10" {
		t.Error(got)
	}
	if got := wire.Message(fault.At("taskDefinition", "TaskDefinition is inactive")); got != "TaskDefinition is inactive" {
		t.Error(got)
	}
}
