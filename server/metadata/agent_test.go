package metadata

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"

	"berth/fault"
	"berth/roles"
	"berth/task"
)

// These tests are of what the agent's API offers, and of credentials.

func agent(path string) string { return "/api/" + task.RuntimeID(mine, "app") + path }

// protections is a Protection of one service's tasks.
type protections map[task.ID]time.Duration

func (p protections) until(t task.Task) ProtectedUntil {
	if p[t.ID] == 0 {
		return ProtectedUntil{}
	}
	return ProtectedUntil(began.Add(p[t.ID]))
}

func (p protections) Protected(_ context.Context, t task.Task) (ProtectedUntil, error) {
	return p.until(t), nil
}

func (p protections) Protect(_ context.Context, t task.Task, enabled bool, lasts time.Duration) (ProtectedUntil, error) {
	delete(p, t.ID)
	if enabled {
		p[t.ID] = lasts
	}
	return p.until(t), nil
}

func TestProtection(t *testing.T) {
	const state = "/task-protection/v1/state"
	arn := realm.TaskARN(mine)
	service := protections{}
	ofService := newEndpoint(newHost(), func(c *Config) { c.Protection = service })
	alone := newEndpoint(newHost())
	for _, tt := range []struct {
		h                        http.Handler
		from, method, path, body string
		code                     int
		says                     string
	}{
		{alone, here, "GET", agent(state), "", 200, `{"failure":{"Arn":"` + arn + `","Detail":null,"Reason":"TASK_NOT_VALID"}}`},
		{alone, here, "PUT", agent(state), `{"ProtectionEnabled":true}`, 200, `{"failure":{"Arn":"` + arn + `","Detail":null,"Reason":"TASK_NOT_VALID"}}`},
		{ofService, here, "GET", agent(state), "", 200, `{"protection":{"ExpirationDate":null,"ProtectionEnabled":false,"TaskArn":"` + arn + `"}}`},
		{ofService, here, "PUT", agent(state), `{"ProtectionEnabled":true}`, 200, `{"protection":{"ExpirationDate":"2026-05-04T05:02:01.5Z","ProtectionEnabled":true,"TaskArn":"` + arn + `"}}`},
		{ofService, here, "PUT", agent(state), `{"ProtectionEnabled":true,"ExpiresInMinutes":60}`, 200, `"ExpirationDate":"2026-05-04T04:02:01.5Z"`},
		{ofService, here, "GET", agent(state), "", 200, `"ExpirationDate":"2026-05-04T04:02:01.5Z"`},
		{ofService, here, "PUT", agent(state), `{"ProtectionEnabled":true,"ExpiresInMinutes":2881}`, 400, `{"error":{"Arn":"` + arn + `","Code":"InvalidParameterException"`},
		{ofService, here, "PUT", agent(state), `{"ProtectionEnabled":true,"ExpiresInMinutes":0}`, 400, `"InvalidParameterException"`},
		{ofService, here, "PUT", agent(state), `{}`, 400, "Invalid request: does not contain 'ProtectionEnabled' field"},
		{ofService, here, "PUT", agent(state), `{"Protect":true}`, 400, `{"error":{"Code":"InvalidParameterException","Message":"UpdateTaskProtection: failed to decode request"}}`},
		{ofService, here, "PUT", agent(state), ``, 400, "failed to decode request"},
		{ofService, here, "GET", agent(state), "", 200, `"ExpirationDate":"2026-05-04T04:02:01.5Z"`}, // Nothing changed.
		{ofService, here, "PUT", agent(state), `{"ProtectionEnabled":false}`, 200, `"ProtectionEnabled":false`},
		{ofService, there, "GET", agent(state), "", 404, `{"error":{"Code":"ResourceNotFoundException","Message":"Failed to find a task for the request"}}`},
		{ofService, there, "PUT", agent(state), `{"ProtectionEnabled":true}`, 404, `"ResourceNotFoundException"`},
		{ofService, there, "GET", "/api/" + task.RuntimeID(theirs, "main") + state, "", 403, `"Code":"AccessDeniedException"`},
	} {
		code, text := ask(tt.h, tt.from, tt.method, tt.path, tt.body)
		if code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.body, code, text, tt.code, tt.says)
		}
	}
}

func TestFaults(t *testing.T) {
	const (
		blackhole = "/fault/v1/network-blackhole-port/"
		latency   = "/fault/v1/network-latency/"
		loss      = "/fault/v1/network-packet-loss/"
		port      = `{"Port":1234,"Protocol":"tcp","TrafficType":"egress"}`
		percent   = `{"LossPercent":6,"Sources":["192.0.2.1","2001:db8::/32"]}`
		late      = `{"DelayMilliseconds":123,"JitterMilliseconds":4,"Sources":["192.0.2.0/24"],"SourcesToFilter":["192.0.2.7"]}`
	)
	host := newHost()
	var made []task.NetworkFault
	host.startFault = func(f task.NetworkFault) error { made = append(made, f); return nil }
	h := newEndpoint(host)
	for _, tt := range []struct {
		path, body string
		code       int
		says       string
	}{
		{blackhole + "status", port, 200, `{"Status":"not-running"}`},
		{blackhole + "start", port, 200, `{"Status":"running"}`},
		{blackhole + "start", port, 200, `{"Status":"running"}`},
		{blackhole + "status", port, 200, `{"Status":"running"}`},
		{blackhole + "status", strings.Replace(port, "egress", "ingress", 1), 200, `{"Status":"not-running"}`},
		{blackhole + "status", strings.Replace(port, "1234", "1235", 1), 200, `{"Status":"not-running"}`},
		{blackhole + "stop", port, 200, `{"Status":"stopped"}`},
		{blackhole + "stop", port, 200, `{"Status":"stopped"}`},
		{blackhole + "status", port, 200, `{"Status":"not-running"}`},
		{blackhole + "start", "", 400, `{"Error":"required request body is missing"}`},
		{blackhole + "stop", `{}`, 400, `{"Error":"required parameter Port is missing"}`},
		{blackhole + "start", `{"Port":1}`, 400, `{"Error":"required parameter Protocol is missing"}`},
		{blackhole + "start", `{"Port":1,"Protocol":"tcp"}`, 400, `{"Error":"required parameter TrafficType is missing"}`},
		{blackhole + "start", `{"Port":1,"Protocol":"icmp","TrafficType":"egress"}`, 400, `{"Error":"invalid value icmp for parameter Protocol"}`},
		{blackhole + "start", `{"Port":1,"Protocol":"udp","TrafficType":"both"}`, 400, `{"Error":"invalid value both for parameter TrafficType"}`},
		{blackhole + "start", `{"Port":65536,"Protocol":"tcp","TrafficType":"egress"}`, 400, "NetworkBlackholePortRequest.Port of type uint16"},

		{loss + "status", "", 200, `{"Status":"not-running"}`},
		{loss + "start", percent, 200, `{"Status":"running"}`},
		{loss + "start", percent, 409, `{"Error":"There is already one network packet loss fault running"}`},
		{latency + "start", late, 409, `{"Error":"There is already one network packet loss fault running"}`},
		{latency + "status", "", 200, `{"Status":"not-running"}`},
		{latency + "stop", "", 200, `{"Status":"stopped"}`},
		{loss + "status", "", 200, `{"Status":"running"}`},
		{loss + "stop", "", 200, `{"Status":"stopped"}`},
		{loss + "start", `{"LossPercent":0,"Sources":["192.0.2.1"]}`, 400, `{"Error":"invalid value 0 for parameter LossPercent"}`},
		{loss + "start", `{"LossPercent":101,"Sources":["192.0.2.1"]}`, 400, `{"Error":"invalid value 101 for parameter LossPercent"}`},
		{loss + "start", `{"LossPercent":1}`, 400, `{"Error":"required parameter Sources is missing"}`},
		{loss + "start", `{"LossPercent":1,"Sources":["amazon.com"]}`, 400, `{"Error":"invalid value amazon.com for parameter Sources"}`},
		{loss + "start", `{"LossPercent":1,"Sources":["192.0.2.1"],"SourcesToFilter":[null]}`, 400, `{"Error":"invalid value  for parameter SourcesToFilter"}`},

		{latency + "start", late, 200, `{"Status":"running"}`},
		{loss + "start", percent, 409, `{"Error":"There is already one network latency fault running"}`},
		{latency + "stop", "", 200, `{"Status":"stopped"}`},
		{latency + "start", `{"DelayMilliseconds":1}`, 400, `{"Error":"required parameter JitterMilliseconds is missing"}`},
		{latency + "start", `{"DelayMilliseconds":18446744073709551615,"JitterMilliseconds":0,"Sources":["192.0.2.1"]}`, 400, `for parameter DelayMilliseconds"}`},
	} {
		code, text := ask(h, here, "POST", agent(tt.path), tt.body)
		if code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.path, tt.body, code, text, tt.code, tt.says)
		}
	}
	if len(made) != 3 {
		t.Fatalf("made %+v", made)
	}
	for _, f := range made { // The endpoint itself stays within reach.
		if last := f.Except[len(f.Except)-1]; last != metadataAddress {
			t.Errorf("%+v", f)
		}
	}
	if f := made[2]; f.Delay != 123*time.Millisecond || f.Jitter != 4*time.Millisecond || f.Sources[0].String() != "192.0.2.0/24" || f.Except[0].String() != "192.0.2.7/32" {
		t.Errorf("%+v", f)
	}

	if code, text := ask(h, there, "POST", agent(blackhole+"start"), port); code != 404 || !strings.Contains(text, `{"Error":"unable`) {
		t.Errorf("another task: %d %s", code, text)
	}
	off := "/api/" + task.RuntimeID(theirs, "main") + blackhole + "start"
	if code, text := ask(h, there, "POST", off, port); code != 400 || text != `{"Error":"enableFaultInjection is not enabled for task: `+realm.TaskARN(theirs)+`"}` {
		t.Errorf("a task that did not ask for it: %d %s", code, text)
	}
	for err, want := range map[error]string{
		fault.New(fault.Unavailable, "no netem"): "no netem", errors.New("at line 7"): "internal error",
	} {
		host.startFault = func(task.NetworkFault) error { return err }
		if code, text := ask(h, here, "POST", agent(latency+"start"), late); code != 500 || text != `{"Error":"`+want+`"}` {
			t.Errorf("%v: %d %s", err, code, text)
		}
	}
}

// Ensure the AWS SDK for Go gets the credentials of a task's role, and understands why
// it gets none.
func TestCredentialsForSDK(t *testing.T) {
	host := newHost()
	own := host.tasks[mine]
	own.Attachments[0].Details[1].Value = "127.0.0.1"
	host.tasks[mine] = own
	names := Names{Secret: []byte("secret")}
	path := "/v2/credentials/" + names.credentials(mine)
	server := func(r Roles) string {
		s := httptest.NewServer(newEndpoint(host, func(c *Config) { c.Roles = r }))
		t.Cleanup(s.Close)
		return s.URL
	}
	want := roles.Fixed{AccessKeyID: "AK", SecretAccessKey: "SK", Token: "T", Expiration: began.Add(time.Hour).Truncate(time.Second)}
	got, err := endpointcreds.New(server(want) + path).Retrieve(t.Context())
	if err != nil || got.AccessKeyID != "AK" || got.SecretAccessKey != "SK" || got.SessionToken != "T" || !got.CanExpire || !got.Expires.Equal(want.Expiration) {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = endpointcreds.New(server(nil) + path).Retrieve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "NoCredentialsAssociated") || !strings.Contains(err.Error(), "--task-credentials") {
		t.Errorf("without credentials: %v", err)
	}
}

// Ensure the variables of a container do not change with the life of the server, and
// tell of credentials only who has a role.
func TestEnvironment(t *testing.T) {
	h := newHost()
	own := []string{"AWS_REGION=mine", "ECS_AGENT_URI=mine"}
	tell := func(id task.ID, container string) []string {
		n := Names{Secret: []byte("secret")}
		of := h.tasks[id]
		return n.Environment(h.definitions[of.DefinitionARN], of, container, own)
	}
	got := strings.Join(tell(mine, "app"), "\n")
	id := task.RuntimeID(mine, "app")
	want := `AWS_DEFAULT_REGION=eu-west-1
AWS_REGION=eu-west-1
AWS_REGION=mine
ECS_AGENT_URI=mine
AWS_EXECUTION_ENV=AWS_ECS_FARGATE
ECS_CONTAINER_METADATA_URI=http://169.254.170.2/v3/` + id + `
ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2/v4/` + id + `
ECS_AGENT_URI=http://169.254.170.2/api/` + id + `
AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/85fcc059-a31a-5530-a47f-f4bbb09cea6f`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(tell(theirs, "main"), "\n"); strings.Contains(got, "CREDENTIALS") {
		t.Errorf("without a role: %s", got)
	}
}
