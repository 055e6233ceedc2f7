package metadata

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/roles"
	"berth/task"
)

var update = flag.Bool("update", false, "write the answers that come into testdata")

var (
	realm = task.Realm{Region: "eu-west-1", Account: "123456789012", Cluster: "default"}
	began = time.Date(2026, 5, 4, 3, 2, 1, 500e6, time.UTC)
)

const (
	mine   task.ID = "0123456789abcdef0123456789abcdef"
	theirs task.ID = "fedcba9876543210fedcba9876543210"
	here           = "100.64.0.2:4711"
	there          = "100.64.0.3:4711"
)

// host is a Host and what is written down of tasks.
type fakeHost struct {
	tasks       map[task.ID]task.Task
	definitions map[string]task.Definition
	stats       map[string]task.ContainerStats // by container
	life        map[string]string              // of containers: PULLED, CREATED or, if it does not say, RUNNING
	restarts    int                            // of every container
	faults      map[string]bool                // by kind and way
	startFault  func(task.NetworkFault) error
}

func (h *fakeHost) Task(_ context.Context, id task.ID) (task.Task, error) { return h.tasks[id], nil }

func (h *fakeHost) Definition(_ context.Context, _ task.Realm, ref string) (task.Definition, error) {
	return h.definitions[ref], nil
}

func (h *fakeHost) Holder(addr netip.Addr) (task.ID, bool) {
	for id, t := range h.tasks {
		if t.IPv4() == addr.String() {
			return id, true
		}
	}
	return "", false
}

func (h *fakeHost) Life(_ task.ID, container string) (task.ContainerLife, error) {
	switch h.life[container] {
	case "PULLED":
		return task.ContainerLife{}, nil
	case "CREATED":
		return task.ContainerLife{Made: began.Add(2 * time.Second)}, nil
	}
	return task.ContainerLife{Made: began.Add(2 * time.Second), Started: began.Add(3*time.Second + time.Duration(h.restarts)*time.Minute), Restarts: h.restarts}, nil
}

func (h *fakeHost) Stats(_ context.Context, _ task.ID, container string) (task.ContainerStats, error) {
	s, ok := h.stats[container]
	if !ok {
		return s, fault.New(fault.NotFound, "it does not run")
	}
	return s, nil
}

func (h *fakeHost) StorageUsed(id task.ID) (uint64, bool) { return 261 << 20, id == mine }
func (h *fakeHost) Subnet() netip.Prefix                  { return netip.MustParsePrefix("100.64.0.0/20") }
func (h *fakeHost) Resolver(task.ID) (servers, search []string) {
	return []string{"10.0.0.53"}, []string{"example.org"}
}

func faultKey(f task.NetworkFault) string {
	if f.Kind != task.BlackholePort {
		return string(f.Kind)
	}
	way, _ := json.Marshal([]any{f.Kind, f.Port, f.Protocol, f.Ingress})
	return string(way)
}

func (h *fakeHost) Fault(_ context.Context, _ task.ID, f task.NetworkFault) (bool, error) {
	return h.faults[faultKey(f)], nil
}

func (h *fakeHost) StartFault(_ context.Context, _ task.ID, f task.NetworkFault) error {
	if h.startFault != nil {
		if err := h.startFault(f); err != nil {
			return err
		}
	}
	h.faults[faultKey(f)] = true
	return nil
}

func (h *fakeHost) StopFault(_ context.Context, _ task.ID, f task.NetworkFault) error {
	delete(h.faults, faultKey(f))
	return nil
}

func no(b bool) *bool { return &b }

// newHost has two tasks, of which one has two containers and all that there can be.
func newHost() *fakeHost {
	d := task.Definition{
		Family: "web", TaskRoleARN: "arn:aws:iam::123456789012:role/web", EnableFaultInjection: true,
		ContainerDefinitions: []task.ContainerDefinition{
			{
				Name: "app", Image: "nginx:1", CPU: 128, Memory: 256, DockerLabels: map[string]string{"team": "a"},
				PortMappings: []task.PortMapping{{ContainerPort: 80, Protocol: "tcp"}},
				HealthCheck:  &task.HealthCheck{Command: []string{"CMD", "true"}},
				LogConfiguration: &task.LogConfiguration{LogDriver: "awslogs", Options: map[string]string{
					"awslogs-group": "/ecs/web", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "ecs",
				}},
			},
			{Name: "init", Image: "busybox", Essential: no(false)},
		},
		Registration: task.Registration{ARN: realm.DefinitionARN("web", 3), Revision: 3},
	}
	code := 0
	interfaces := func(ip, mac string) []task.Attachment {
		return []task.Attachment{{Type: "ElasticNetworkInterface", Status: "ATTACHED", Details: []task.KeyValuePair{
			{Name: "macAddress", Value: mac}, {Name: "privateIPv4Address", Value: ip},
		}}}
	}
	t := task.Task{
		ID: mine, ARN: realm.TaskARN(mine), ClusterARN: realm.ClusterARN(), DefinitionARN: d.ARN,
		LastStatus: task.Running, DesiredStatus: task.Running, CPU: "512", Memory: "1024", LaunchType: "FARGATE",
		Tags: []task.Tag{{Key: "cost", Value: "low"}}, Ephemeral: &task.EphemeralStorage{SizeInGiB: 20},
		PullStartedAt: began, PullStoppedAt: began.Add(time.Second), StartedAt: began.Add(3 * time.Second),
		Attachments: interfaces("100.64.0.2", "0a:58:64:40:00:02"),
		Containers: []task.Container{
			{
				ARN: "arn:aws:ecs:eu-west-1:123456789012:container/default/x/app", Name: "app", Image: "nginx:1", ImageDigest: "sha256:11",
				LastStatus: task.Running, Health: "UNKNOWN", CPU: "128", Memory: "256", StartedAt: began.Add(3 * time.Second),
			},
			{
				ARN: "arn:aws:ecs:eu-west-1:123456789012:container/default/x/init", Name: "init", Image: "busybox", ImageDigest: "sha256:22",
				LastStatus: task.Stopped, Health: "UNKNOWN", CPU: "0", StartedAt: began.Add(2 * time.Second), ExitedAt: began.Add(3 * time.Second), ExitCode: &code,
			},
		},
	}
	other := task.Task{
		ID: theirs, ARN: realm.TaskARN(theirs), DefinitionARN: realm.DefinitionARN("plain", 1), LastStatus: task.Running,
		Attachments: interfaces("100.64.0.3", "0a:58:64:40:00:03"), Containers: []task.Container{{Name: "main"}},
	}
	return &fakeHost{
		tasks:       map[task.ID]task.Task{mine: t, theirs: other},
		definitions: map[string]task.Definition{d.ARN: d, other.DefinitionARN: {Family: "plain"}},
		faults:      make(map[string]bool),
		stats: map[string]task.ContainerStats{"app": {
			At: began.Add(4 * time.Second), CPUNanos: 5e8, UserNanos: 3e8, SystemNanos: 2e8, PerCPU: []uint64{4e8, 1e8}, Periods: 20, ThrottledPeriods: 3,
			ThrottledNanos: 7e7, HostCPUNanos: 9e12, HostCPUs: 2, MemoryBytes: 1 << 20, MemoryPeakBytes: 2 << 20, MemoryLimitBytes: 256 << 20, MemoryFailures: 1,
			Memory: map[string]uint64{"file": 4096, "anon": 8192}, PIDs: 3, PIDsLimit: 2048,
			Disks:   []task.DiskStats{{Major: 8, Minor: 1, ReadBytes: 4096, WriteBytes: 512, ReadOps: 2, WriteOps: 1}},
			Network: task.NetworkStats{RxBytes: 1000, RxPackets: 10, RxErrors: 1, RxDropped: 2, TxBytes: 2000, TxPackets: 20, TxErrors: 3, TxDropped: 4},
		}},
	}
}

// newEndpoint is the handler for what the tasks of h ask.
func newEndpoint(h *fakeHost, change ...func(*Config)) http.Handler {
	now := began
	c := Config{
		Tasks: h, Host: h, Snapshotter: "overlayfs", Names: Names{Secret: []byte("secret")},
		Clock: func() Clock {
			return Clock{Synchronized: true, Bound: 1500 * time.Microsecond, At: began}
		},
		Log: zap.NewNop(), Now: func() time.Time { now = now.Add(time.Second); return now },
	}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

// ask asks from an address and returns the status and the answer.
func ask(h http.Handler, from, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func app(path string) string { return "/v4/" + task.RuntimeID(mine, "app") + path }

// Ensure the answers have the agent's shapes, to the letter.
func TestShapes(t *testing.T) {
	for file, path := range map[string]string{
		"v4-container": app(""), "v4-task": app("/task"), "v4-tags": app("/taskWithTags"), "v4-stats": app("/stats"), "v4-task-stats": app("/task/stats"),
		"v3-container": strings.Replace(app(""), "v4", "v3", 1), "v3-task": strings.Replace(app("/task"), "v4", "v3", 1),
		"v3-stats": strings.Replace(app("/stats"), "v4", "v3", 1),
	} {
		t.Run(file, func(t *testing.T) {
			code, text := ask(newEndpoint(newHost()), here, "GET", path, "")
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, text)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, []byte(text+"\n"), "", "  "); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join("testdata", file+".json")
			if *update {
				if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

// Ensure nobody is told anything but a task of its own containers.
func TestWhoAsks(t *testing.T) {
	h := newEndpoint(newHost())
	for _, tt := range []struct {
		from, path string
		code       int
		says       string
	}{
		{here, app(""), 200, `"Name":"app"`},
		{here, app("/"), 200, `"Name":"app"`},
		{there, app(""), 404, `"V4 container metadata handler: unable to get container ID`},
		{there, app("/task"), 404, `"V4 task metadata handler: `},
		{there, app("/stats"), 404, `"V4 container stats handler: `},
		{there, "/v3/" + task.RuntimeID(mine, "app"), 404, `"V3 container metadata handler: `},
		{"100.64.0.9:1", app(""), 404, "unable"},
		{"nonsense", app(""), 404, "unable"},
		{here, "/v4/" + string(mine), 404, "unable"},
		{here, "/v4/" + task.RuntimeID(mine, "nobody"), 404, "unable"},
		{here, "/v4/" + task.RuntimeID(theirs, "main"), 404, "unable"},
		{there, "/v4/" + task.RuntimeID(theirs, "main"), 200, `"Name":"main"`},
		{here, "/v4/" + task.RuntimeID(mine, "init") + "/stats", 404, "has no stats"},
		{here, "/v2/metadata", 200, `"TaskARN":"` + realm.TaskARN(mine)},
		{there, "/v2/metadata", 200, `"TaskARN":"` + realm.TaskARN(theirs)},
		{here, "/v2/metadataWithTags", 200, `"TaskTags":{"cost":"low"}`},
		{here, "/v2/metadata/" + task.RuntimeID(mine, "init"), 200, `"Name":"init"`},
		{there, "/v2/metadata/" + task.RuntimeID(mine, "init"), 404, "V2 container metadata handler: "},
		{here, "/v2/stats", 200, `"` + task.RuntimeID(mine, "init") + `":null`},
		{here, "/v2/stats/" + task.RuntimeID(mine, "app"), 200, `"name":"app"`},
		{"100.64.0.9:1", "/v2/metadata", 404, "V2 task metadata handler: "},
		{here, "/", 404, "404 page not found"},
		{here, "/v4/", 404, "404 page not found"},
	} {
		code, text := ask(h, tt.from, "GET", tt.path, "")
		if code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("%s from %s: %d %s, want %d %s", tt.path, tt.from, code, text, tt.code, tt.says)
		}
	}
}

// Ensure a task's own state shows before it is written down that all of it runs.
func TestWhileStarting(t *testing.T) {
	h := newHost()
	starting := h.tasks[mine]
	starting.LastStatus = task.Activating
	for i := range starting.Containers {
		c := &starting.Containers[i]
		c.LastStatus, c.StartedAt, c.ExitedAt, c.ExitCode = task.Pending, time.Time{}, time.Time{}, nil
	}
	h.tasks[mine] = starting
	for _, tt := range []struct {
		life              map[string]string // of containers; RUNNING unless it says so
		task, first, last string
	}{
		{map[string]string{"init": "PULLED", "app": "PULLED"}, "NONE", "PULLED", "PULLED"},
		{map[string]string{"init": "PULLED"}, "NONE", "RUNNING", "PULLED"},
		{map[string]string{"init": "CREATED"}, "CREATED", "RUNNING", "CREATED"},
		{nil, "RUNNING", "RUNNING", "RUNNING"},
	} {
		h.life = tt.life
		_, text := ask(newEndpoint(h), here, "GET", app("/task"), "")
		var got struct {
			KnownStatus string
			Containers  []struct {
				KnownStatus          string
				CreatedAt, StartedAt *time.Time
			}
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		first, last := got.Containers[0], got.Containers[1]
		if got.KnownStatus != tt.task || first.KnownStatus != tt.first || last.KnownStatus != tt.last ||
			(last.CreatedAt == nil) != (tt.last == "PULLED") || (last.StartedAt != nil) != (tt.last == "RUNNING") {
			t.Errorf("%v: %s", tt.life, text)
		}
	}
}

// Ensure a container's health says since when it is so and how the check ended that made it
// UNHEALTHY, in the agent's words and with its omissions, also while the task starts.
func TestContainerHealth(t *testing.T) {
	h := newHost()
	since := time.Date(2026, 5, 4, 5, 2, 31, 0, time.FixedZone("", 2*60*60))
	for _, tt := range []struct {
		status string
		since  time.Time
		code   int
		want   string
	}{
		{task.Unknown, time.Time{}, 0, `{"status":"UNKNOWN"}`},
		{task.Healthy, since, 0, `{"status":"HEALTHY","statusSince":"2026-05-04T03:02:31Z"}`},
		{task.Unhealthy, since, 7, `{"status":"UNHEALTHY","statusSince":"2026-05-04T03:02:31Z","exitCode":7}`},
		{task.Unhealthy, since, task.NoExitCode, `{"status":"UNHEALTHY","statusSince":"2026-05-04T03:02:31Z","exitCode":-1}`},
	} {
		now := h.tasks[mine]
		now.LastStatus = task.Activating
		c := &now.Containers[0]
		c.Health, c.HealthSince, c.HealthExitCode = tt.status, tt.since, tt.code
		h.tasks[mine] = now
		for _, path := range []string{app(""), "/v3/" + task.RuntimeID(mine, "app"), "/v2/metadata/" + task.RuntimeID(mine, "app")} {
			if _, text := ask(newEndpoint(h), here, "GET", path, ""); !strings.Contains(text, `"Health":`+tt.want) {
				t.Errorf("%s: %s, want %s", path, text, tt.want)
			}
		}
	}
	if _, text := ask(newEndpoint(h), here, "GET", "/v4/"+task.RuntimeID(mine, "init"), ""); strings.Contains(text, "Health") {
		t.Errorf("without a check: %s", text)
	}
}

// Ensure a container that was started anew says so, and its stats begin anew.
func TestRestarted(t *testing.T) {
	h := newHost()
	d := h.definitions[realm.DefinitionARN("web", 3)]
	yes := true
	d.ContainerDefinitions[0].RestartPolicy = &task.RestartPolicy{Enabled: &yes}
	e := newEndpoint(h)
	if _, text := ask(e, here, "GET", app("/task"), ""); strings.Count(text, `"RestartCount":0`) != 1 {
		t.Errorf("at first: %s", text)
	}
	ask(e, here, "GET", app("/stats"), "")
	again := func(status task.Status, count int, started time.Time) {
		t.Helper()
		now := h.tasks[mine]
		now.Containers[0].LastStatus, now.Containers[0].RestartCount, now.Containers[0].StartedAt = status, count, started
		h.tasks[mine] = now
	}
	h.restarts = 1
	again(task.Pending, 2, time.Time{}) // It has ended, and the next run has not begun.
	if _, text := ask(e, here, "GET", app(""), ""); !strings.Contains(text, `"KnownStatus":"CREATED"`) || !strings.Contains(text, `"RestartCount":2`) {
		t.Errorf("between two runs: %s", text)
	}
	h.restarts = 2
	again(task.Running, 2, began.Add(2*time.Minute+3*time.Second))
	s := h.stats["app"]
	s.At, s.CPUNanos = began.Add(3*time.Minute), 1e6 // less than before
	h.stats["app"] = s
	if _, text := ask(e, here, "GET", app(""), ""); !strings.Contains(text, `"RestartCount":2`) || !strings.Contains(text, `"StartedAt":"2026-05-04T03:04:04.5Z"`) {
		t.Errorf("after two restarts: %s", text)
	}
	if _, text := ask(e, here, "GET", app("/stats"), ""); !strings.Contains(text, `"preread":"2026-05-04T03:04:04.5Z"`) || !strings.Contains(text, `"precpu_stats":{"cpu_usage":{"total_usage":0,`) {
		t.Errorf("after two restarts: %s", text)
	}
}

// Ensure the rates are of the time between two questions, and of a second at least.
func TestWindows(t *testing.T) {
	h := newHost()
	e := newEndpoint(h)
	look := func() (read, pre time.Time, rx float64) {
		t.Helper()
		_, text := ask(e, here, "GET", app("/stats"), "")
		var got struct {
			Read, PreRead time.Time
			Rates         struct {
				Rx float64 `json:"rx_bytes_per_sec"`
			} `json:"network_rate_stats"`
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return got.Read, got.PreRead, got.Rates.Rx
	}
	at := func(d time.Duration, rx uint64) {
		s := h.stats["app"]
		s.At, s.Network.RxBytes = began.Add(4*time.Second+d), rx
		h.stats["app"] = s
	}
	first := began.Add(4 * time.Second)
	for _, tt := range []struct {
		after     time.Duration
		rx        uint64
		read, pre time.Time
		rate      float64
	}{
		{0, 1000, first, began.Add(2 * time.Second), 500}, // since it was made
		{900 * time.Millisecond, 9000, first, began.Add(2 * time.Second), 500},
		{5 * time.Second, 6000, first.Add(5 * time.Second), first, 1000},
		{20 * time.Second, 21000, first.Add(20 * time.Second), first.Add(5 * time.Second), 1000},
	} {
		at(tt.after, tt.rx)
		if read, pre, rate := look(); !read.Equal(tt.read) || !pre.Equal(tt.pre) || rate != tt.rate {
			t.Errorf("after %v: read %v, before %v, %v bytes a second; want %v, %v, %v", tt.after, read, pre, rate, tt.read, tt.pre, tt.rate)
		}
	}
}

// Ensure a task that asks without end is slowed down, and no other.
func TestPace(t *testing.T) {
	e := newEndpoint(newHost(), func(c *Config) { c.Now = func() time.Time { return began } })
	for i := range burst {
		if code, text := ask(e, here, "GET", app(""), ""); code != http.StatusOK {
			t.Fatalf("question %d: %d %s", i, code, text)
		}
	}
	if code, _ := ask(e, here, "GET", app(""), ""); code != http.StatusTooManyRequests {
		t.Errorf("one too many: %d", code)
	}
	if code, _ := ask(e, there, "GET", "/v4/"+task.RuntimeID(theirs, "main"), ""); code != http.StatusOK {
		t.Errorf("another task: %d", code)
	}
}

// Ensure no peer has more than its share of connections.
func TestLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Limit(inner)
	defer l.Close()
	accepted := make(chan net.Conn, 2*maxConnections)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range maxConnections {
		dial()
	}
	last := dial()
	if err := last.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("one too many is not closed: %v", err)
	}
	(<-accepted).Close()
	dial()
	for range maxConnections { // all but the one that was closed, and the new one
		c := <-accepted
		defer c.Close()
	}
}

// Ensure credentials go to the task whose role they are of, under its own path.
func TestCredentials(t *testing.T) {
	names := Names{Secret: []byte("secret")}
	path := "/v2/credentials/" + names.credentials(mine)
	want := roles.Credentials{AccessKeyID: "AK", SecretAccessKey: "SK", Token: "T", Expiration: began.Add(time.Hour)}
	with := func(r Roles) func(*Config) { return func(c *Config) { c.Roles = r } }
	refuses := rolesFunc(func() (roles.Credentials, error) {
		return roles.Credentials{}, fault.New(fault.Invalid, "no such role")
	})
	breaks := rolesFunc(func() (roles.Credentials, error) { return roles.Credentials{}, io.ErrUnexpectedEOF })
	for _, tt := range []struct {
		from, path string
		roles      Roles
		code       int
		says       string
	}{
		{here, path, roles.Fixed(want), 200, `{"RoleArn":"arn:aws:iam::123456789012:role/web","AccessKeyId":"AK","SecretAccessKey":"SK","Token":"T","Expiration":"2026-05-04T04:02:01Z"}`},
		{there, path, roles.Fixed(want), 400, `{"code":"InvalidIdInRequest","message":"CredentialsV2Request: Credentials not found","HTTPErrorCode":400}`},
		{there, "/v2/credentials/" + names.credentials(theirs), roles.Fixed(want), 400, `"InvalidIdInRequest"`}, // It has no role.
		{here, path + "0", roles.Fixed(want), 400, `"InvalidIdInRequest"`},
		{"100.64.0.9:1", path, roles.Fixed(want), 400, `"InvalidIdInRequest"`},
		{here, "/v2/credentials/", roles.Fixed(want), 400, `{"code":"NoIdInRequest","message":"CredentialsV2Request: No Credential ID in the request","HTTPErrorCode":400}`},
		{here, path, nil, 400, `"NoCredentialsAssociated"`},
		{here, path, refuses, 400, "no such role"},
		{here, path, breaks, 503, `"CredentialsUninitialized"`},
	} {
		code, text := ask(newEndpoint(newHost(), with(tt.roles)), tt.from, "GET", tt.path, "")
		if code != tt.code || !strings.Contains(text, tt.says) {
			t.Errorf("%s from %s: %d %s, want %d %s", tt.path, tt.from, code, text, tt.code, tt.says)
		}
	}
}

// Ensure the server's credentials are for the tasks of its account, if it has one of its own.
func TestCredentialsOfAccounts(t *testing.T) {
	path := "/v2/credentials/" + (Names{Secret: []byte("secret")}).credentials(mine)
	for account, want := range map[string]int{"": 200, "123456789012": 200, "999999999999": 400} {
		e := newEndpoint(newHost(), func(c *Config) { c.Roles, c.Account = roles.Fixed{AccessKeyID: "AK", SecretAccessKey: "SK"}, account })
		if code, text := ask(e, here, "GET", path, ""); code != want || want == 400 && !strings.Contains(text, "NoCredentialsAssociated") {
			t.Errorf("of %q: %d %s", account, code, text)
		}
	}
}

type rolesFunc func() (roles.Credentials, error)

func (f rolesFunc) Credentials(context.Context, string, string) (roles.Credentials, error) {
	return f()
}
