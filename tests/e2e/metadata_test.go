//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// told is what one container printed, line by line.
func (s *server) told(id, container string) []string {
	s.t.Helper()
	var lines []string
	for _, e := range s.logs(id) {
		if e.Container == container {
			lines = append(lines, e.Message)
		}
	}
	return lines
}

// answers runs a task of one container that asks, and returns its answers.
func (s *server) answers(definition string) []string {
	s.t.Helper()
	t := s.submit(definition)
	s.until(t.id(), "STOPPED", time.Minute)
	return s.told(t.id(), "main")
}

// answer decodes an answer of status 200.
func answer[T any](t *testing.T, line string) (out T) {
	t.Helper()
	text, ok := strings.CutPrefix(line, "200 ")
	if !ok {
		t.Fatalf("answer: %s", line)
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return out
}

const (
	v3 = "$ECS_CONTAINER_METADATA_URI"
	v4 = "$ECS_CONTAINER_METADATA_URI_V4"
)

// Ensure a task is told what it is, by every path, in values that are true.
func TestMetadata(t *testing.T) {
	s := start(t)
	def := `{"family":"meta","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512",
		"containerDefinitions":[
			{"name":"main","image":"berth/demo:latest","memory":128,"command":["ask","-for","3s",` + quoted(v4, v4+"/task", v4+"/taskWithTags", v3, v3+"/task", v4+"/stats", v4+"/task/stats", v3+"/stats") + `],
			 "dependsOn":[{"containerName":"busy","condition":"START"}],"portMappings":[{"containerPort":80,"protocol":"tcp"}],"dockerLabels":{"team":"a"}},
			{"name":"busy","image":"berth/demo:latest","command":["spin","-for","1h"]}]}`
	var out struct{ Tasks []aTask }
	if code := s.call("POST", "/api/v1/tasks", `{"taskDefinition":`+def+`,"tags":[{"key":"cost","value":"low"}]}`, &out); code != 201 {
		t.Fatal(code)
	}
	id := out.Tasks[0].id()
	s.until(id, "STOPPED", time.Minute)
	lines := s.told(id, "main")
	if len(lines) < 16 {
		t.Fatalf("only %d answers: %q", len(lines), lines)
	}
	lines = lines[len(lines)-8:] // of the last round: everything runs

	type container struct {
		DockerID      string `json:"DockerId"`
		Name          string
		ImageID       string
		KnownStatus   string
		DesiredStatus string
		Labels        map[string]string
		Limits        struct{ CPU, Memory float64 }
		CreatedAt     time.Time
		StartedAt     time.Time
		ContainerARN  string
		Snapshotter   string
		Ports         []struct{ ContainerPort, HostPort int }
		Networks      []struct {
			IPv4Addresses            []string
			MACAddress               string
			IPv4SubnetCIDRBlock      string
			PrivateDNSName           string
			SubnetGatewayIpv4Address string
			DomainNameServers        []string
		}
	}
	type task struct {
		Cluster, TaskARN, Family, Revision, KnownStatus, AvailabilityZone, LaunchType string
		Limits                                                                        struct{ CPU, Memory float64 }
		PullStartedAt, PullStoppedAt                                                  time.Time
		Containers                                                                    []container
		TaskTags                                                                      map[string]string
		EphemeralStorageMetrics                                                       *struct{ Utilized, Reserved int64 }
		ClockDrift                                                                    struct{ ClockSynchronizationStatus string }
	}
	me := answer[container](t, lines[0])
	if me.Name != "main" || me.DockerID[:33] != id+"-" || me.KnownStatus != "RUNNING" || me.Limits.Memory != 128 || me.Labels["team"] != "a" ||
		me.Labels["com.amazonaws.ecs.task-arn"] != out.Tasks[0].TaskARN || !strings.HasPrefix(me.ImageID, "sha256:") || me.Snapshotter == "" ||
		me.CreatedAt.After(me.StartedAt) || len(me.Ports) != 1 || me.Ports[0].HostPort != 80 {
		t.Errorf("the container: %+v", me)
	}
	whole := answer[task](t, lines[1])
	stopped := s.task(id)
	if whole.TaskARN != stopped.TaskARN || whole.Family != "meta" || whole.Revision != "1" || whole.Limits.CPU != 0.25 || whole.Limits.Memory != 512 ||
		whole.LaunchType != "FARGATE" || whole.AvailabilityZone != "us-east-1a" || whole.KnownStatus != "RUNNING" || len(whole.Containers) != 2 ||
		!whole.PullStartedAt.Equal(stopped.PullStartedAt) || !whole.PullStoppedAt.Equal(stopped.PullStoppedAt) || whole.TaskTags != nil {
		t.Errorf("the task: %+v", whole)
	}
	if d := whole.EphemeralStorageMetrics; d != nil && (d.Reserved != 20<<10 || d.Utilized > 100) {
		t.Errorf("of a new disk of 20 GiB: %+v", d)
	}
	network := whole.Containers[0].Networks[0]
	ip := net.ParseIP(network.IPv4Addresses[0])
	_, subnet, err := net.ParseCIDR(network.IPv4SubnetCIDRBlock)
	gateway, _, gatewayErr := net.ParseCIDR(network.SubnetGatewayIpv4Address)
	if err != nil || gatewayErr != nil || !subnet.Contains(ip) || !subnet.Contains(gateway) || network.MACAddress == "" ||
		network.PrivateDNSName != "ip-"+strings.ReplaceAll(ip.String(), ".", "-")+".ec2.internal" {
		t.Errorf("the network: %+v", network)
	}
	if tags := answer[task](t, lines[2]).TaskTags; len(tags) != 1 || tags["cost"] != "low" {
		t.Errorf("tags: %v", tags)
	}
	if old := answer[container](t, lines[3]); old.DockerID != me.DockerID || old.Snapshotter != "" || old.Networks[0].MACAddress != "" {
		t.Errorf("the container in version 3: %+v", old)
	}
	if old := answer[task](t, lines[4]); old.TaskARN != whole.TaskARN || len(old.Containers) != 2 {
		t.Errorf("the task in version 3: %+v", old)
	}

	type cpu struct {
		Usage struct {
			Total uint64 `json:"total_usage"`
		} `json:"cpu_usage"`
		System uint64 `json:"system_cpu_usage"`
		Online uint64 `json:"online_cpus"`
	}
	type stats struct {
		ID      string    `json:"id"`
		Read    time.Time `json:"read"`
		PreRead time.Time `json:"preread"`
		CPU     cpu       `json:"cpu_stats"`
		Pre     cpu       `json:"precpu_stats"`
		Memory  struct {
			Usage, Limit uint64
			Stats        map[string]uint64
		} `json:"memory_stats"`
		PIDs     struct{ Current uint64 }                       `json:"pids_stats"`
		Networks map[string]struct{ Rx_Bytes, Tx_Bytes uint64 } `json:"networks"`
		Rates    *struct {
			Rx float64 `json:"rx_bytes_per_sec"`
		} `json:"network_rate_stats"`
	}
	mine := answer[stats](t, lines[5])
	if mine.ID != me.DockerID || mine.Memory.Limit != 128<<20 || mine.Memory.Usage == 0 || mine.PIDs.Current == 0 || mine.Networks["eth0"].Rx_Bytes == 0 ||
		mine.Rates == nil || mine.Rates.Rx <= 0 || mine.Memory.Stats["rss"] == 0 {
		t.Errorf("the container's stats: %s", lines[5])
	}
	all := answer[map[string]*stats](t, lines[6])
	for _, c := range whole.Containers {
		st := all[c.DockerID]
		if st == nil || !st.Read.After(st.PreRead) || st.CPU.System <= st.Pre.System {
			t.Fatalf("the stats of %s: %+v", c.Name, st)
		}
		used := float64(st.CPU.Usage.Total-st.Pre.Usage.Total) / float64(st.Read.Sub(st.PreRead))
		ofHost := float64(st.CPU.Usage.Total-st.Pre.Usage.Total) / float64(st.CPU.System-st.Pre.System) * float64(st.CPU.Online)
		if c.Name == "busy" && (used < 0.1 || used > 0.30 || ofHost < 0.05 || ofHost > 0.40) {
			t.Errorf("a task of 0.25 vCPU that spins uses %v vCPU; by the host's time %v", used, ofHost)
		}
	}
	if old := answer[stats](t, lines[7]); old.Rates != nil || old.ID != me.DockerID {
		t.Errorf("the stats in version 3: %s", lines[7])
	}
}

func quoted(words ...string) string {
	var all []string
	for _, w := range words {
		text, _ := json.Marshal(w)
		all = append(all, string(text))
	}
	return strings.Join(all, ",")
}

// Ensure containers have Fargate's variables, and a host's name that leads to them.
func TestPlatformEnvironment(t *testing.T) {
	s := start(t, "--region", "eu-west-1")
	role := strings.Replace(definition("env", "256", "512", `,"environment":[{"name":"AWS_REGION","value":"mine"},{"name":"ECS_AGENT_URI","value":"mine"}]`, "env"),
		`"networkMode"`, `"taskRoleArn":"arn:aws:iam::000000000000:role/r","networkMode"`, 1)
	env := s.answers(role)
	value := func(name string) string {
		for _, line := range env {
			if v, ok := strings.CutPrefix(line, name+"="); ok {
				return v
			}
		}
		return ""
	}
	id, _ := strings.CutPrefix(value("ECS_CONTAINER_METADATA_URI_V4"), "http://169.254.170.2/v4/")
	for name, want := range map[string]string{
		"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "mine",
		"ECS_CONTAINER_METADATA_URI": "http://169.254.170.2/v3/" + id, "ECS_AGENT_URI": "http://169.254.170.2/api/" + id,
	} {
		if value(name) != want {
			t.Errorf("%s=%s, want %s", name, value(name), want)
		}
	}
	if path := value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); len(path) != len("/v2/credentials/")+36 {
		t.Errorf("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=%s", path)
	}
	if host := value("HOSTNAME"); !strings.HasPrefix(host, "ip-100-") || !strings.HasSuffix(host, ".eu-west-1.compute.internal") {
		t.Errorf("HOSTNAME=%s", host)
	}
	plain := s.answers(definition("plain", "256", "512", "", "env"))
	if slices.ContainsFunc(plain, func(line string) bool { return strings.HasPrefix(line, "AWS_CONTAINER_CREDENTIALS") }) {
		t.Error("a task without a role is told where its credentials are")
	}
}

// Ensure a task learns nothing of another one, and reaches nothing else of the host.
func TestMetadataOfAnother(t *testing.T) {
	s := start(t)
	other := s.submit(definition("other", "256", "512", "", "ask", "-for", "1h", v4+"/task"))
	s.until(other.id(), "RUNNING", time.Minute)
	var path string
	s.eventually(10*time.Second, "it was told", func() error {
		for _, line := range s.told(other.id(), "main") {
			text, ok := strings.CutPrefix(line, "200 ")
			var whole struct{ Containers []struct{ DockerId string } }
			if ok && json.Unmarshal([]byte(text), &whole) == nil && len(whole.Containers) == 1 {
				path = whole.Containers[0].DockerId
				return nil
			}
		}
		return fmt.Errorf("%q", s.told(other.id(), "main"))
	})
	base := "http://169.254.170.2"
	lines := s.answers(definition("nosy", "256", "512", "", "ask",
		v4, base+"/v4/"+path, base+"/v4/"+path+"/task", base+"/v4/"+path+"/stats", base+"/v3/"+path+"/task", base+"/api/"+path+"/task-protection/v1/state",
		base+"/v2/credentials/", base+"/v2/credentials/"+path, base+"/v4", base+"/", base+"/latest/meta-data/", base+"/api/v1/tasks"))
	want := []string{"200", "404", "404", "404", "404", "404", "400", "400", "404", "404", "404", "404"}
	if len(lines) != len(want) {
		t.Fatalf("%d answers: %q", len(lines), lines)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]+" ") || i > 0 && strings.Contains(line, other.TaskARN) {
			t.Errorf("question %d: %s, want %s", i, line, want[i])
		}
	}
}

// Ensure a running task is answered by the next server, under the same paths.
func TestMetadataAfterRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(`{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret","Token":"token"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, "--task-credentials", file)
	task := s.submit(strings.Replace(definition("long", "256", "512", "", "ask", "-for", "1h", v4, "http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
		`"networkMode"`, `"taskRoleArn":"arn:aws:iam::000000000000:role/r","networkMode"`, 1))
	s.until(task.id(), "RUNNING", time.Minute)
	twice := func() {
		t.Helper()
		from := len(s.told(task.id(), "main"))
		s.eventually(20*time.Second, "it is answered", func() error {
			lines := s.told(task.id(), "main")[from:]
			var metadata, credentials bool
			for _, line := range lines {
				metadata = metadata || strings.HasPrefix(line, "200 ") && strings.Contains(line, `"Name":"main"`)
				credentials = credentials || strings.HasPrefix(line, `200 {"RoleArn":"arn:aws:iam::000000000000:role/r","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"secret","Token":"token","Expiration":"`)
			}
			if !metadata || !credentials {
				return fmt.Errorf("%q", lines)
			}
			return nil
		})
	}
	twice()
	s.kill()
	s.run()
	twice()
}

// Ensure a task that asked for faults makes them in its own network, and no other does.
func TestFaultInjection(t *testing.T) {
	s := start(t)
	const fault = "$ECS_AGENT_URI/fault/v1/"
	allowed := func(command ...string) string {
		return strings.Replace(definition("hurt", "256", "512", "", command...), `"networkMode"`, `"enableFaultInjection":true,"networkMode"`, 1)
	}
	port := []string{"ask", "-X", "POST", "-d", `{"Port":80,"Protocol":"tcp","TrafficType":"egress"}`, fault + "network-blackhole-port/status",
		fault + "network-blackhole-port/start", fault + "network-blackhole-port/status", fault + "network-blackhole-port/stop", fault + "network-blackhole-port/status"}
	loss := []string{"ask", "-X", "POST", "-d", `{"LossPercent":100,"Sources":["0.0.0.0/0"]}`, fault + "network-packet-loss/start",
		fault + "network-packet-loss/start", fault + "network-packet-loss/status", fault + "network-packet-loss/stop", fault + "network-packet-loss/status"}
	for _, tt := range []struct {
		command, want []string
	}{
		{port, []string{`200 {"Status":"not-running"}`, `200 {"Status":"running"}`, `200 {"Status":"running"}`, `200 {"Status":"stopped"}`, `200 {"Status":"not-running"}`}},
		{loss, []string{`200 {"Status":"running"}`, `409 {"Error":"There is already one network packet loss fault running"}`, `200 {"Status":"running"}`, `200 {"Status":"stopped"}`, `200 {"Status":"not-running"}`}},
	} {
		if got := s.answers(allowed(tt.command...)); !slices.Equal(got, tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	late := s.answers(allowed("ask", "-X", "POST", "-d", `{"DelayMilliseconds":10,"JitterMilliseconds":0,"Sources":["192.0.2.1"]}`, fault+"network-latency/start"))
	if len(late) != 1 || late[0] != `200 {"Status":"running"}` && !strings.HasPrefix(late[0], `500 {"Error":"this host's kernel cannot delay packets: it lacks netem`) {
		t.Errorf("latency: %q", late)
	}
	refused := s.answers(definition("whole", "256", "512", "", port...))
	if len(refused) != 5 || !strings.HasPrefix(refused[1], `400 {"Error":"enableFaultInjection is not enabled for task: arn:aws:ecs:`) {
		t.Errorf("a task that did not ask for faults: %q", refused)
	}
}

// Ensure a task gets the credentials that an STS gives for its role.
func TestCredentialsFromSTS(t *testing.T) {
	asked := make(chan string, 16)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		asked <- r.Form.Get("Action") + " " + r.Form.Get("RoleArn") + " " + r.Form.Get("RoleSessionName")
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
			<AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>T</SessionToken><Expiration>%s</Expiration>
			</Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer sts.Close()
	s := start(t, "--sts-endpoint", sts.URL)
	const role = "arn:aws:iam::000000000000:role/r"
	task := s.submit(strings.Replace(definition("role", "256", "512", "", "ask", "-for", "1s", "http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
		`"networkMode"`, `"taskRoleArn":"`+role+`","networkMode"`, 1))
	s.until(task.id(), "STOPPED", time.Minute)
	for _, line := range s.told(task.id(), "main") {
		if !strings.HasPrefix(line, `200 {"RoleArn":"`+role+`","AccessKeyId":"AK","SecretAccessKey":"SK","Token":"T","Expiration":"20`) {
			t.Errorf("the task was told %s", line)
		}
	}
	if got := <-asked; got != "AssumeRole "+role+" "+task.id() {
		t.Errorf("the STS was asked to %s", got)
	}
	if len(asked) > 0 {
		t.Errorf("and again to %s", <-asked)
	}
}
