package autoscaling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/scaling"
	"berth/server/aws/autoscaling"
	"berth/server/aws/wire"
	"berth/store"
	"berth/store/storetest"
)

var update = flag.Bool("update", false, "write the golden file")

// services has a service web in the cluster default and no other.
type services struct{}

func (services) Desired(_ context.Context, r scaling.Resource) (int, error) {
	if r.ID() != "service/default/web" {
		return 0, fault.New(fault.NotFound, "Service not found.")
	}
	return 1, nil
}

// world is the service over a real store.
type world struct {
	*testing.T
	store *store.Store
	front *wire.Front
}

func newWorld(t *testing.T) *world {
	st := storetest.Open(t, t.TempDir())
	n := 0
	now := func() time.Time { return time.Date(2026, 11, 29, 12, 0, n, 0, time.UTC) }
	service := autoscaling.New(autoscaling.Config{Book: st, Services: services{}, Now: now,
		NewID: func() string { n++; return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }})
	return &world{t, st, wire.New(wire.Config{
		Services: []wire.Service{service}, Authenticate: wire.Anybody("000000000000", "us-east-1"), Access: access.Open{},
		Log: zap.NewNop(), Now: now, NewRequestID: func() string { return "request" },
	})}
}

// call makes a request as an account, "" for the server's, and returns status and body.
func (w *world) call(account, operation, body string) (int, string) {
	r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AnyScaleFrontendService."+operation)
	if account != "" {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+account+"/20261129/us-east-1/application-autoscaling/aws4_request, SignedHeaders=host, Signature=0")
	}
	rec := httptest.NewRecorder()
	w.front.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

const web = `"ServiceNamespace":"ecs","ResourceId":"service/default/web","ScalableDimension":"ecs:service:DesiredCount"`

// Ensure a session of calls is answered as AWS answers it.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	var got bytes.Buffer
	say := func(operation, body string) string {
		t.Helper()
		status, answer := w.call("", operation, body)
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, []byte(answer), "", "  "); err != nil {
			t.Fatalf("%s: %s: %v", operation, answer, err)
		}
		fmt.Fprintf(&got, "%s %s\n%d %s\n\n", operation, body, status, pretty.String())
		return answer
	}
	policy := `"PolicyName":"cpu",` + web
	say("RegisterScalableTarget", `{`+web+`,"MinCapacity":1}`)
	say("RegisterScalableTarget", `{`+web+`,"MinCapacity":3,"MaxCapacity":2}`)
	say("RegisterScalableTarget", `{`+strings.Replace(web, "web", "db", 1)+`,"MinCapacity":1,"MaxCapacity":2}`)
	say("RegisterScalableTarget", `{`+strings.Replace(web, `"ecs"`, `"dynamodb"`, 1)+`,"MinCapacity":1,"MaxCapacity":2}`)
	say("RegisterScalableTarget", `{`+web+`,"MinCapacity":1,"MaxCapacity":4,"Tags":{"team":"a"}}`)
	say("RegisterScalableTarget", `{`+web+`,"MaxCapacity":6,"SuspendedState":{"DynamicScalingInSuspended":true}}`)
	say("DescribeScalableTargets", `{"ServiceNamespace":"ecs"}`)
	say("DescribeScalableTargets", `{"ServiceNamespace":"ecs","ResourceIds":["service/default/db"]}`)
	say("PutScalingPolicy", `{`+policy+`,"PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"TargetValue":60.5,"PredefinedMetricSpecification":{"PredefinedMetricType":"ECSServiceAverageCPUUtilization"},"ScaleOutCooldown":60}}`)
	say("PutScalingPolicy", `{`+policy+`,"PolicyType":"StepScaling","StepScalingPolicyConfiguration":{"AdjustmentType":"ChangeInCapacity"}}`)
	say("PutScalingPolicy", `{`+policy+`,"PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"TargetValue":60,"PredefinedMetricSpecification":{"PredefinedMetricType":"ALBRequestCountPerTarget"}}}`)
	say("PutScalingPolicy", `{`+policy+`,"PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"TargetValue":0,"PredefinedMetricSpecification":{"PredefinedMetricType":"ECSServiceAverageCPUUtilization"}}}`)
	say("PutScalingPolicy", `{`+policy+`,"PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"PredefinedMetricSpecification":{"PredefinedMetricType":"ECSServiceAverageCPUUtilization"}}}`)
	say("DescribeScalingPolicies", `{"ServiceNamespace":"ecs","ResourceId":"service/default/web"}`)
	r, _ := scaling.ParseResource(storetest.Realm, "service/default/web")
	if err := w.store.NoteScaling(t.Context(), scaling.Activity{ID: "a", Resource: r, From: 1, To: 2, Cause: "minimum capacity was set to 2",
		Start: time.Now().Truncate(time.Hour).Add(-time.Hour), End: time.Now().Truncate(time.Hour).Add(-time.Hour), Status: scaling.Successful, Message: "Successfully set desired count to 2. Change successfully fulfilled by ecs."}, scaling.State{}); err != nil {
		t.Fatal(err)
	}
	if status, body := w.call("", "DescribeScalingActivities", `{"ServiceNamespace":"ecs"}`); status != 200 || !strings.Contains(body, `"Description":"Setting desired count to 2."`) || !strings.Contains(body, `"StatusCode":"Successful"`) {
		t.Errorf("%d %s", status, body)
	}
	const arn = `"ResourceARN":"arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/00000000000040008000000000000002"`
	say("TagResource", `{`+arn+`,"Tags":{"stage":"prod"}}`)
	say("UntagResource", `{`+arn+`,"TagKeys":["team"]}`)
	say("ListTagsForResource", `{`+arn+`}`)
	say("ListTagsForResource", `{"ResourceARN":"arn:aws:application-autoscaling:us-east-1:000000000000:scalable-target/x"}`)
	say("DescribeScheduledActions", `{"ServiceNamespace":"ecs"}`)
	say("PutScheduledAction", `{"ScheduledActionName":"night",`+web+`,"Schedule":"rate(1 day)"}`)
	say("DeleteScalingPolicy", `{`+policy+`}`)
	say("DeleteScalingPolicy", `{`+policy+`}`)
	say("DeregisterScalableTarget", `{`+web+`}`)
	say("DeregisterScalableTarget", `{`+web+`}`)
	say("DescribeScalableTargets", `{"ServiceNamespace":"ecs","NextToken":"x"}`)

	path := filepath.Join("testdata", "calls.txt")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("the answers are\n%s", got.String())
	}
}

// Ensure an account does not see what another one has, and lists come in pages that have
// everything once.
func TestApartAndPaged(t *testing.T) {
	w := newWorld(t)
	if status, body := w.call("", "RegisterScalableTarget", `{`+web+`,"MinCapacity":1,"MaxCapacity":4}`); status != 200 {
		t.Fatal(body)
	}
	if _, body := w.call("999999999999", "DescribeScalableTargets", `{"ServiceNamespace":"ecs"}`); !strings.Contains(body, `"ScalableTargets":[]`) {
		t.Errorf("another account sees %s", body)
	}
	if status, body := w.call("999999999999", "DeregisterScalableTarget", `{`+web+`}`); status != 400 || !strings.Contains(body, "ObjectNotFoundException") {
		t.Errorf("another account removes it: %s", body)
	}
	for i := range 7 {
		if status, body := w.call("", "PutScalingPolicy", fmt.Sprintf(`{"PolicyName":"p%d",`, i)+web+`,"PolicyType":"TargetTrackingScaling","TargetTrackingScalingPolicyConfiguration":{"TargetValue":60,"PredefinedMetricSpecification":{"PredefinedMetricType":"ECSServiceAverageMemoryUtilization"}}}`); status != 200 {
			t.Fatal(body)
		}
	}
	var names []string
	for token := ""; ; {
		_, body := w.call("", "DescribeScalingPolicies", `{"ServiceNamespace":"ecs","MaxResults":3,"NextToken":"`+token+`"}`)
		var page struct {
			ScalingPolicies []struct{ PolicyName string }
			NextToken       string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.ScalingPolicies) == 0 || len(page.ScalingPolicies) > 3 {
			t.Fatalf("%s: %v", body, err)
		}
		for _, p := range page.ScalingPolicies {
			names = append(names, p.PolicyName)
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "p0 p1 p2 p3 p4 p5 p6" {
		t.Errorf("the pages have %s", got)
	}
}
