package rest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/server/api"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

// policed is a world whose callers may do what their policies say.
func policed(t *testing.T) *world {
	f := resttest.New()
	c := f.Config()
	c.Log, c.Access = zap.NewNop(), access.Guard{Policies: f, Now: time.Now}
	return &world{Fake: f, api: rest.New(t.Context(), c)}
}

var ann = access.Identity{Account: "111111111111", Region: "us-east-1", ARN: "arn:aws:iam::111111111111:user/ann", UserID: "AIDAANN"}

// Ensure users do what their policies say and nothing else, and that what is about the whole
// server is for admins.
func TestPolicies(t *testing.T) {
	w := policed(t)
	w.call("POST", "/users", `{"account":"111111111111","name":"ann"}`)
	put := func(policy string) {
		t.Helper()
		if rec := w.call("PUT", "/users/ann/policies/p?account=111111111111", policy); rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
	}
	as := func(who access.Identity, f func()) {
		before := w.Who
		w.Who = who
		defer func() { w.Who = before }()
		f()
	}
	check := func(method, path, body string, want int) {
		t.Helper()
		if rec := w.call(method, path, body); rec.Code != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, rec.Code, rec.Body, want)
		}
	}
	as(ann, func() {
		check("GET", "/tasks", "", 403)
		check("GET", "/whoami", "", 403)
	})
	put(`"ReadOnlyAccess"`)
	as(ann, func() {
		check("GET", "/tasks", "", 200)
		check("GET", "/costs", "", 200)
		check("GET", "/ledger/entries", "", 403) // of the server
		if rec := w.serve(request("GET", "/metrics", "")); rec.Code != 403 {
			t.Errorf("metrics of all accounts: %d", rec.Code)
		}
		check("POST", "/task-definitions", hello, 403)
		check("GET", "/users?account=000000000000", "", 403)
	})
	put(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecs:*","iam:Create*"],"Resource":"*"},
		{"Effect":"Deny","Action":"ecs:RunTask","Resource":"*","Condition":{"Null":{"aws:RequestTag/team":"true"}}}]}`)
	as(ann, func() {
		check("POST", "/task-definitions", hello, 201)
		check("POST", "/task-definitions", strings.Replace(hello, `{`, `{"taskRoleArn":"arn:aws:iam::111111111111:role/boss",`, 1), 403)
		check("POST", "/tasks", `{"taskDefinition":"hello","tags":[{"key":"team","value":"x"}],"overrides":{"taskRoleArn":"arn:aws:iam::111111111111:role/boss"}}`, 403)
		check("POST", "/tasks", `{"taskDefinition":"hello"}`, 403)
		check("POST", "/tasks", `{"taskDefinition":"hello","tags":[{"key":"team","value":"x"}]}`, 201)
		check("POST", "/users", `{"name":"root","admin":true}`, 403)
		check("POST", "/users", `{"name":"bob"}`, 201)
		check("POST", "/users/bob/keys?account=000000000000", `{}`, 403)
		check("POST", "/users/bob/keys", `{"kind":"ACCESS_KEY"}`, 201)
	})
	check("PUT", "/users/ann/policies/p?account=111111111111", `{"Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*","Principal":"*"}]}`, 400)
}

// Ensure the keys of the server's admins are not for the admins of their account: whoever
// could take them away could lock everybody out.
func TestKeysOfAdmins(t *testing.T) {
	w := policed(t)
	w.call("POST", "/users", `{"account":"111111111111","name":"ann"}`)
	w.call("POST", "/users", `{"account":"111111111111","name":"boss","admin":true}`)
	w.call("PUT", "/users/ann/policies/p?account=111111111111", `"AdministratorAccess"`)
	made := decode[api.NewKey](t, w.call("POST", "/users/boss/keys?account=111111111111", `{}`))
	own := decode[api.NewKey](t, w.call("POST", "/users/ann/keys?account=111111111111", `{}`))
	w.call("POST", "/users", `{"account":"222222222222","name":"eve"}`)
	foreign := decode[api.NewKey](t, w.call("POST", "/users/eve/keys?account=222222222222", `{}`))
	admin := w.Who
	for _, c := range []struct {
		who  access.Identity
		id   string
		want int
	}{{ann, made.ID, 403}, {ann, foreign.ID, 404}, {ann, own.ID, 204}, {admin, made.ID + "?account=111111111111", 204}} {
		w.Who = c.who
		if rec := w.call("PATCH", "/keys/"+c.id, `{"disabled":true}`); rec.Code != c.want {
			t.Errorf("%s disables %s: %d %s", c.who.ARN, c.id, rec.Code, rec.Body)
		}
		if rec := w.call("DELETE", "/keys/"+c.id, ""); rec.Code != c.want {
			t.Errorf("%s removes %s: %d %s", c.who.ARN, c.id, rec.Code, rec.Body)
		}
	}
}

// Ensure the tasks of another account do not exist for anybody but admins.
func TestOthersTasks(t *testing.T) {
	w := newWorld(t)
	w.call("POST", "/task-definitions", hello)
	made := decode[api.RunResponse](t, w.call("POST", "/tasks", `{"taskDefinition":"hello"}`)).Tasks[0]
	w.Who = access.Identity{Account: "222222222222", Region: "us-east-1", ARN: access.Root("222222222222")}
	for _, path := range []string{"", "/logs", "/usage", "/bill", "/isolation", "/estimate"} {
		if rec := w.call("GET", "/tasks/"+string(made.ID)+path, ""); rec.Code != 404 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	for _, path := range []string{"/stop", "/interrupt"} {
		if rec := w.call("POST", "/tasks/"+string(made.ID)+path, "{}"); rec.Code != 404 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if made, _ := w.Task(t.Context(), made.ID); made.DesiredStatus == task.Stopped {
		t.Error("it was stopped all the same")
	}
}

// Ensure what changes something is in the audit log with who, what and what came of it, and
// without what is confidential; and what changes nothing is not.
func TestAudited(t *testing.T) {
	w := newWorld(t)
	w.Who.ARN, w.Who.Source = "arn:aws:iam::000000000000:user/root", "10.0.0.9"
	w.call("POST", "/task-definitions", strings.Replace(hello, `"image"`, `"environment":[{"name":"PASSWORD","value":"hunter2"}],"image"`, 1))
	w.call("POST", "/tasks", `{"taskDefinition":"nothing"}`)
	w.call("POST", "/tasks?dryRun", `{"taskDefinition":"hello"}`)
	w.call("GET", "/tasks", "")
	all := w.Audited()
	if len(all) != 2 {
		t.Fatalf("%d records: %+v", len(all), all)
	}
	r := all[0]
	if r.Name != "RegisterTaskDefinition" || r.Source != "ecs.amazonaws.com" || r.Identity.Name != "root" || r.Address != "10.0.0.9" ||
		r.EventID == "" || r.ErrorCode != "" || !strings.Contains(string(r.Parameters), `"family":"hello"`) {
		t.Errorf("%+v", r)
	}
	if strings.Contains(string(r.Parameters), "hunter2") {
		t.Errorf("a password is in the audit log: %s", r.Parameters)
	}
	if r := all[1]; r.Name != "RunTask" || r.ErrorCode != "not found" {
		t.Errorf("%+v", r)
	}
	page := decode[api.AuditPage](t, w.call("GET", "/audit?limit=1", ""))
	if len(page.Records) != 1 || page.Records[0].Name != "RunTask" || page.Before == 0 {
		t.Errorf("%+v", page)
	}
}

// Ensure who cannot prove who they are gets 401 and is told how.
func TestUnauthenticated(t *testing.T) {
	f := resttest.New()
	c := f.Config()
	c.Log, c.Identify = zap.NewNop(), func(*http.Request) (access.Identity, error) {
		return access.Identity{}, fault.New(fault.Unauthenticated, "the token is not known")
	}
	w := &world{Fake: f, api: rest.New(t.Context(), c)}
	rec := w.call("GET", "/tasks", "")
	if rec.Code != 401 || rec.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	if rec := w.serve(request("GET", "/healthz", "")); rec.Code != 200 {
		t.Errorf("healthz: %d", rec.Code)
	}
}
