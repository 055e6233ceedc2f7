package ecs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/cluster"
	"berth/fault"
	"berth/isolation/isolationtest"
	"berth/runner"
	"berth/server/aws/ecs"
	"berth/server/aws/wire"
	"berth/store"
	"berth/store/storetest"
	"berth/task"
)

// host is ECS on the real runner and the real store, with containers that are only played.
type host struct {
	t      *testing.T
	store  *store.Store
	runner *runner.Runner
	front  *wire.Front
	config ecs.Config

	account, region string
	deny            func(access.Action) bool
	asked           []access.Action
}

// on runs f with a fresh host of 4 vCPU and 8 GiB, on which time is fake.
func on(t *testing.T, f func(t *testing.T, h *host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir, err := os.MkdirTemp("", "berth-ecs-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		h := &host{t: t, account: "111122223333", region: "eu-central-1"}
		h.store = storetest.OpenUnclosed(t, dir)
		epoch := time.Now()
		size := task.Size{CPU: 4096, Memory: 8192}
		h.runner, err = runner.New(t.Context(), runner.Config{
			Store: h.store, Images: puller{}, Secrets: plain{}, Runtime: new(isolationtest.Fake), Capacity: size, Largest: size,
			SpotNotice: 2 * time.Minute, Arch: "X86_64", Log: zap.NewNop(), NewID: task.NewID,
			Now: func() task.Instant { return task.Instant{Wall: time.Now(), Boot: time.Since(epoch), BootID: "boot"} },
		})
		if err != nil {
			t.Fatal(err)
		}
		h.config = ecs.Config{
			Definitions: definitions{h.store}, Tasks: h.runner, Journal: journal{h.store}, Clusters: clusters{h.store}, Settings: h.store, Now: time.Now,
		}
		h.serve()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- h.runner.Run(ctx) }()
		f(t, h)
		cancel()
		if err := errors.Join(<-done, h.store.Close()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// serve makes the front anew, after a change of h.config.
func (h *host) serve() {
	n := 0
	h.front = wire.New(wire.Config{
		Services: []wire.Service{ecs.New(h.config)}, Access: h, Log: zap.NewNop(), Now: time.Now,
		Authenticate: wire.Anybody(h.account, h.region),
		NewRequestID: func() string { n++; return fmt.Sprint("request-", n) },
	})
}

// Authorize lets everything pass that h.deny does not.
func (h *host) Authorize(_ context.Context, who access.Identity, a access.Action) error {
	h.asked = append(h.asked, a)
	if h.deny != nil && h.deny(a) {
		return fault.New(fault.Denied, "User: %s is not authorized to perform: %s on resource: %s", who.ARN, a.Name, a.Resource)
	}
	return nil
}

// send sends a request and returns the answer as it came.
func (h *host) send(op, body string) (status int, answer string) {
	h.t.Helper()
	r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+op)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+h.account+"/20261129/"+h.region+"/ecs/aws4_request, SignedHeaders=host, Signature=00")
	w := httptest.NewRecorder()
	h.front.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if strings.Contains(string(b), ":null") {
		h.t.Errorf("%s has a null in its answer: %s", op, b)
	}
	return w.Code, string(b)
}

// object is a JSON object.
type object = map[string]any

// do sends a request that must succeed.
func (h *host) do(op, body string) object {
	h.t.Helper()
	status, answer := h.send(op, body)
	var o object
	if err := json.Unmarshal([]byte(answer), &o); err != nil || status != 200 {
		h.t.Fatalf("%s %s: %d %s", op, body, status, answer)
	}
	return o
}

// refuse sends a request that must fail with that code and a message with that text in it.
func (h *host) refuse(op, body, code, text string) {
	h.t.Helper()
	status, answer := h.send(op, body)
	var e struct{ Type, Message string }
	var raw map[string]any
	if err := json.Unmarshal([]byte(answer), &raw); err != nil {
		h.t.Fatal(err)
	}
	e.Type, _ = raw["__type"].(string)
	e.Message, _ = raw["message"].(string)
	if status != 400 || e.Type != code || !strings.Contains(e.Message, text) {
		h.t.Errorf("%s %s:\n got %d %s: %s\nwant 400 %s: %s", op, body, status, e.Type, e.Message, code, text)
	}
}

// register registers the definition of one container with that command and returns its ARN.
func (h *host) register(family, command string, more ...string) string {
	h.t.Helper()
	words, _ := json.Marshal(strings.Fields(command))
	body := fmt.Sprintf(`{"family":%q,"networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512",`+
		`"containerDefinitions":[{"name":"main","image":"demo","command":%s}]%s}`, family, words, strings.Join(more, ""))
	return h.do("RegisterTaskDefinition", body)["taskDefinition"].(object)["taskDefinitionArn"].(string)
}

// network is what every run has to have.
const network = `"networkConfiguration":{"awsvpcConfiguration":{"subnets":["subnet-1"]}}`

// run runs a definition and returns the ARNs of the tasks.
func (h *host) run(body string) (arns []string) {
	h.t.Helper()
	for _, t := range list(h.do("RunTask", `{`+network+`,`+body+`}`), "tasks") {
		arns = append(arns, t.(object)["taskArn"].(string))
	}
	return arns
}

// settle lets some time pass in which tasks do what they do.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// list returns the list that is a member of o.
func list(o object, member string) []any {
	l, _ := o[member].([]any)
	return l
}

// same reports how JSON differs from what is wanted, where members may come in any order.
func same(t *testing.T, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	if !reflect.DeepEqual(got, w) {
		b, _ := json.MarshalIndent(got, "", "  ")
		v, _ := json.MarshalIndent(w, "", "  ")
		t.Errorf("got %s\nwant %s", b, v)
	}
}

type puller struct{}

func (puller) Pull(_ context.Context, name string) (string, error) {
	return name + "@sha256:" + strings.Repeat("0", 64), nil
}

// plain has no secrets.
type plain struct{}

func (plain) Resolve(context.Context, task.ContainerPlan) ([]string, error) { return nil, nil }

// The types below fit the store to package ecs, as the program does.

type definitions struct{ *store.Store }

func (d definitions) Definitions(ctx context.Context, f ecs.DefinitionFilter) ([]task.Definition, string, error) {
	return d.Store.Definitions(ctx, store.DefinitionFilter{
		Account: f.In.Account, Region: f.In.Region, Family: f.Family, FamilyPrefix: f.FamilyPrefix, Status: f.Status, Newest: f.Descending,
	}, store.Page{Limit: f.Limit, Token: f.Token})
}

func (d definitions) Families(ctx context.Context, in task.Realm, prefix, status string, limit int, token string) ([]string, string, error) {
	return d.DefinitionFamilies(ctx, in, prefix, status, store.Page{Limit: limit, Token: token})
}

type journal struct{ *store.Store }

func (j journal) Tasks(ctx context.Context, f ecs.TaskFilter) ([]task.Task, string, error) {
	return j.Store.Tasks(ctx, store.Filter{
		Account: f.In.Account, Region: f.In.Region, Cluster: f.In.Cluster, IDs: f.IDs, DesiredStatus: f.Desired,
		Family: f.Family, Group: f.Group, StartedBy: f.StartedBy,
	}, store.Page{Limit: f.Limit, Token: f.Token})
}

type clusters struct{ *store.Store }

func (c clusters) Clusters(ctx context.Context, in task.Realm, limit int, token string) ([]cluster.Cluster, string, error) {
	return c.Store.Clusters(ctx, in, store.Page{Limit: limit, Token: token})
}

func (c clusters) Load(ctx context.Context, in task.Realm) (l ecs.Load, err error) {
	counts, err := c.CountIn(ctx, in)
	l.Running = counts[task.Running]
	l.Pending = counts[task.Provisioning] + counts[task.Pending] + counts[task.Activating]
	if err == nil {
		l.Active, l.Leaving, err = c.CountServices(ctx, in)
	}
	return l, err
}

// refuser refuses every run with err.
type refuser struct {
	Runner ecs.Tasks
	err    error
}

func (r *refuser) Submit(context.Context, task.Run) ([]task.Task, error) { return nil, r.err }

func (r *refuser) Stop(ctx context.Context, id task.ID, reason string) (task.Task, error) {
	return r.Runner.Stop(ctx, id, reason)
}
