//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// cloudWatch calls CloudWatch Logs. An answer other than 200 ends the test.
func (s *server) cloudWatch(op, body string, out any) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", "http://"+s.addr+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Logs_20140328."+op)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		s.t.Fatalf("%s: %d %s, %v", op, answer.StatusCode, b, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		s.t.Fatalf("%s: %v in %s", op, err, b)
	}
}

// awslogs is a definition whose containers print lines to a log group.
func awslogs(group, more string) string {
	return fmt.Sprintf(`{"family":"logger","requiresCompatibilities":["FARGATE"],"networkMode":"awsvpc","cpu":"256","memory":"512",
		"executionRoleArn":"arn:aws:iam::000000000000:role/logger","containerDefinitions":[
		{"name":"main","image":"berth/demo:latest","command":["hello","-for","8s"],
		 "logConfiguration":{"logDriver":"awslogs","options":{"awslogs-group":"%s","awslogs-region":"us-east-1","awslogs-stream-prefix":"ecs"%s}}}]}`, group, more)
}

// streamed is a page of GetLogEvents.
type streamed struct {
	Events  []struct{ Message string }
	Forward string `json:"nextForwardToken"`
}

// Ensure what a container prints is in its log stream, whole and once, across the death of
// the server, and that it is what Berth's own log has.
func TestAWSLogs(t *testing.T) {
	s := start(t)
	id := s.submit(awslogs("/ecs/logger", "")).id()
	s.until(id, "RUNNING", time.Minute)
	stream := fmt.Sprintf(`"logGroupName":"/ecs/logger","logStreamName":"ecs/main/%s"`, id)
	var got []string
	token := ""
	page := func() int {
		body := `{` + stream + `,"limit":3,"startFromHead":true`
		if token != "" {
			body += `,"nextToken":"` + token + `"`
		}
		var p streamed
		s.cloudWatch("GetLogEvents", body+"}", &p)
		for _, e := range p.Events {
			got = append(got, e.Message)
		}
		token = p.Forward
		return len(p.Events)
	}
	s.eventually(time.Minute, "the first lines", func() error {
		if page(); len(got) < 4 {
			return fmt.Errorf("%d lines", len(got))
		}
		return nil
	})
	s.kill()
	s.run()
	s.until(id, "STOPPED", time.Minute)
	for page() > 0 {
	}
	var want []string
	for _, e := range s.logs(id) {
		want = append(want, e.Message)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the stream has\n%q, the log\n%q", got, want)
	}
	var found struct {
		Events []struct{ LogStreamName, Message, EventID string }
	}
	s.cloudWatch("FilterLogEvents", `{"logGroupName":"/ecs/logger","filterPattern":"\"hello from\""}`, &found)
	if len(found.Events) != 1 || found.Events[0].LogStreamName != "ecs/main/"+id {
		t.Errorf("a filter finds %+v", found)
	}
}

// Ensure a task whose log group is not there fails as on Fargate, on a server that is told to
// be as strict, and not if it asks for the group.
func TestAWSLogsGroupMissing(t *testing.T) {
	s := start(t, "--awslogs-create-groups=false")
	got := s.until(s.submit(awslogs("none", "")).id(), "STOPPED", time.Minute)
	const want = "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: " +
		"ResourceNotFoundException: The specified log group does not exist. : exit status 1"
	if got.StopCode != "TaskFailedToStart" || got.StoppedReason != want {
		t.Errorf("stopped with %s: %s\nwant %s", got.StopCode, got.StoppedReason, want)
	}
	s.until(s.submit(awslogs("asked", `,"awslogs-create-group":"true"`)).id(), "RUNNING", time.Minute)
}
