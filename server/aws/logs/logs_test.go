package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"go.uber.org/zap"

	"berth/access"
	api "berth/server/aws/logs"

	"berth/logs"
	"berth/logs/cloudwatch"
	"berth/server/aws/wire"
	"berth/store/storetest"
)

// server answers for CloudWatch Logs at that moment.
func server(t *testing.T, now time.Time) *httptest.Server {
	t.Helper()
	clock := func() time.Time { return now }
	k := cloudwatch.New(cloudwatch.Config{
		Book: storetest.Open(t, t.TempDir()), Output: logs.Dir(t.TempDir()), Log: zap.NewNop(), Now: clock,
	})
	s := httptest.NewServer(wire.New(wire.Config{
		Services:     []wire.Service{api.New(api.Config{Keeper: k, Log: zap.NewNop()})},
		Authenticate: wire.Anybody("000000000000", "us-east-1"), Access: access.Open{},
		Log: zap.NewNop(), Now: clock, NewRequestID: func() string { return "request-1" },
	}))
	t.Cleanup(s.Close)
	return s
}

// open sends a request and returns its answer, which goes on until ctx ends.
func open(ctx context.Context, t *testing.T, s *httptest.Server, operation, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "POST", s.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "Logs_20140328."+operation)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func call(t *testing.T, s *httptest.Server, operation, body string) string {
	t.Helper()
	answer := open(t.Context(), t, s, operation, body)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(answer.StatusCode, " ", string(b))
}

// Ensure operations answer as CloudWatch Logs does, one after another on the same groups.
func TestOperations(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := server(t, now)
	ms := now.UnixMilli()
	const arn = "arn:aws:logs:us-east-1:000000000000:log-group:app"
	long := strings.Repeat("x", 513)
	for _, c := range []struct{ operation, body, want string }{
		{"CreateLogGroup", `{"logGroupName":"app","tags":{"team":"a"}}`, `200 {}`},
		{"CreateLogGroup", `{"logGroupName":"app"}`, `400 {"__type":"ResourceAlreadyExistsException","message":"The specified log group already exists"}`},
		{"CreateLogGroup", `{"logGroupName":"a b"}`, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"}`},
		{"CreateLogGroup", `{"logGroupName":"` + long + `"}`, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value '` + long[:200] + `' at 'logGroupName' failed to satisfy constraint: Member must have length less than or equal to 512"}`},
		{"CreateLogGroup", `{}`, `400 {"__type":"InvalidParameterException","message":"1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: Member must not be null"}`},
		{"PutRetentionPolicy", `{"logGroupName":"app","retentionInDays":7}`, `200 {}`},
		{"PutRetentionPolicy", `{"logGroupName":"none","retentionInDays":7}`, `400 {"__type":"ResourceNotFoundException","message":"The specified log group does not exist."}`},
		{"DescribeLogGroups", `{"logGroupNamePrefix":"a"}`, fmt.Sprintf(`200 {"logGroups":[{"logGroupName":"app","creationTime":%d,"retentionInDays":7,"metricFilterCount":0,"arn":"%s:*","storedBytes":0,"logGroupClass":"STANDARD","logGroupArn":"%s","deletionProtectionEnabled":false}]}`, ms, arn, arn)},
		{"DescribeLogGroups", `{"logGroupNamePrefix":"b"}`, `200 {"logGroups":[]}`},
		{"ListLogGroups", `{"logGroupNamePattern":"^xyz|app"}`, `200 {"logGroups":[{"logGroupName":"app","logGroupClass":"STANDARD","logGroupArn":"` + arn + `"}]}`},
		{"ListTagsForResource", `{"resourceArn":"` + arn + `"}`, `200 {"tags":{"team":"a"}}`},
		{"TagResource", `{"resourceArn":"` + arn + `:*","tags":{"env":"b"}}`, `200 {}`},
		{"UntagLogGroup", `{"logGroupName":"app","tags":["team"]}`, `200 {}`},
		{"ListTagsLogGroup", `{"logGroupName":"app"}`, `200 {"tags":{"env":"b"}}`},
		{"ListTagsForResource", `{"resourceArn":"arn:aws:logs:eu-west-1:000000000000:log-group:app"}`, `400 {"__type":"ResourceNotFoundException","message":"The specified log group does not exist."}`},
		{"CreateLogStream", `{"logGroupName":"app","logStreamName":"s"}`, `200 {}`},
		{"CreateLogStream", `{"logGroupName":"app","logStreamName":"s"}`, `400 {"__type":"ResourceAlreadyExistsException","message":"The specified log stream already exists"}`},
		{"CreateLogStream", `{"logGroupName":"none","logStreamName":"s"}`, `400 {"__type":"ResourceNotFoundException","message":"The specified log group does not exist."}`},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"app","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"one"},{"timestamp":%d,"message":"two"},{"timestamp":%d,"message":"far"}]}`, ms, ms+1, ms+10_000_000),
			`200 {"nextSequenceToken":"49039859573028104563278941563278904561237890456123789045","rejectedLogEventsInfo":{"tooNewLogEventStartIndex":2}}`},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"app","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"b"},{"timestamp":%d,"message":"a"}]}`, ms+1, ms),
			`400 {"__type":"InvalidParameterException","message":"Log events in a single PutLogEvents request must be in chronological order."}`},
		{"PutLogEvents", fmt.Sprintf(`{"logGroupName":"app","logStreamName":"none","logEvents":[{"timestamp":%d,"message":"b"}]}`, ms), `400 {"__type":"ResourceNotFoundException","message":"The specified log stream does not exist."}`},
		{"GetLogEvents", `{"logGroupName":"app","logStreamName":"s","limit":1}`,
			fmt.Sprintf(`200 {"events":[{"timestamp":%d,"message":"two","ingestionTime":%d}],"nextForwardToken":"f/%028d%028d","nextBackwardToken":"b/%028d%028d"}`, ms+1, ms, ms+1, 2, ms+1, 1)},
		{"GetLogEvents", fmt.Sprintf(`{"logGroupName":"app","logStreamName":"s","nextToken":"b/%028d%028d"}`, ms+1, 1),
			fmt.Sprintf(`200 {"events":[{"timestamp":%d,"message":"one","ingestionTime":%d}],"nextForwardToken":"f/%028d%028d","nextBackwardToken":"b/%028d%028d"}`, ms, ms, ms, 1, ms, 0)},
		{"GetLogEvents", fmt.Sprintf(`{"logGroupIdentifier":"%s","logStreamName":"s","startFromHead":true,"endTime":%d}`, arn, ms+1), // endTime is not part of it
			fmt.Sprintf(`200 {"events":[{"timestamp":%d,"message":"one","ingestionTime":%d}],"nextForwardToken":"f/%028d%028d","nextBackwardToken":"b/%028d%028d"}`, ms, ms, ms, 1, ms, 0)},
		{"GetLogEvents", `{"logGroupName":"app","logStreamName":"s","nextToken":"f/12"}`, `400 {"__type":"InvalidParameterException","message":"The specified nextToken is invalid."}`},
		{"FilterLogEvents", fmt.Sprintf(`{"logGroupName":"app","filterPattern":"two","endTime":%d}`, ms+1), // endTime is part of it
			fmt.Sprintf(`200 {"events":[{"logStreamName":"s","timestamp":%d,"message":"two","ingestionTime":%d,"eventId":"%013d%010d%013d%020d"}],"searchedLogStreams":[]}`, ms+1, ms, ms+1, 1, ms+1, 1)},
		{"FilterLogEvents", `{"logGroupName":"app","filterPattern":"{ $.a"}`, `400 {"__type":"InvalidParameterException","message":"Invalid filter pattern: an operator expected at character 6"}`},
		{"DescribeLogStreams", `{"logGroupName":"app","orderBy":"LastEventTime","descending":true}`,
			fmt.Sprintf(`200 {"logStreams":[{"logStreamName":"s","creationTime":%d,"firstEventTimestamp":%d,"lastEventTimestamp":%d,"lastIngestionTime":%d,"uploadSequenceToken":"49039859573028104563278941563278904561237890456123789045","arn":"%s:log-stream:s","storedBytes":0}]}`, ms, ms, ms+1, ms, arn)},
		{"DescribeLogStreams", `{"logGroupName":"app","orderBy":"LastEventTime","logStreamNamePrefix":"s"}`, `400 {"__type":"InvalidParameterException","message":"Cannot order by LastEventTime with a logStreamNamePrefix."}`},
		{"StartLiveTail", `{"logGroupIdentifiers":["arn:aws:logs:us-east-1:000000000000:log-group:none"]}`, `400 {"__type":"ResourceNotFoundException","message":"The specified log group does not exist."}`},
		{"StartQuery", `{"logGroupName":"app","startTime":1,"endTime":2,"queryString":"fields @message"}`, `400 {"__type":"InvalidParameterException","message":"Berth does not have the operation StartQuery of CloudWatch Logs"}`},
		{"DescribeMetricFilters", `{"logGroupName":"app"}`, `200 {"metricFilters":[]}`},
		{"Nonsense", `{}`, `400 {"__type":"UnknownOperationException"}`},
		{"DeleteLogStream", `{"logGroupName":"app","logStreamName":"s"}`, `200 {}`},
		{"DeleteLogStream", `{"logGroupName":"app","logStreamName":"s"}`, `400 {"__type":"ResourceNotFoundException","message":"The specified log stream does not exist."}`},
		{"PutLogGroupDeletionProtection", `{"logGroupIdentifier":"app","deletionProtectionEnabled":true}`, `200 {}`},
		{"DeleteLogGroup", `{"logGroupName":"app"}`, `400 {"__type":"ValidationException","message":"The log group is protected from deletion; turn deletion protection off first."}`},
		{"PutLogGroupDeletionProtection", `{"logGroupIdentifier":"app","deletionProtectionEnabled":false}`, `200 {}`},
		{"DeleteLogGroup", `{"logGroupName":"app"}`, `200 {}`},
		{"DescribeLogGroups", `{}`, `200 {"logGroups":[]}`},
	} {
		if got := call(t, s, c.operation, c.body); got != c.want {
			t.Errorf("%s %.200s:\n got %s\nwant %s", c.operation, c.body, got, c.want)
		}
	}
}

// Ensure lists come in pages that are together the whole once.
func TestPagesOfLists(t *testing.T) {
	s := server(t, time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	for i := range 7 {
		call(t, s, "CreateLogGroup", fmt.Sprintf(`{"logGroupName":"g%d"}`, i))
		call(t, s, "CreateLogStream", fmt.Sprintf(`{"logGroupName":"g0","logStreamName":"s%d"}`, i))
	}
	for _, c := range []struct{ operation, more, list, name, want string }{
		{"DescribeLogGroups", "", "logGroups", "logGroupName", "g0 g1 g2 g3 g4 g5 g6"},
		{"ListLogGroups", "", "logGroups", "logGroupName", "g0 g1 g2 g3 g4 g5 g6"},
		{"DescribeLogStreams", `,"logGroupName":"g0"`, "logStreams", "logStreamName", "s0 s1 s2 s3 s4 s5 s6"},
		{"DescribeLogStreams", `,"logGroupName":"g0","descending":true`, "logStreams", "logStreamName", "s6 s5 s4 s3 s2 s1 s0"},
		{"DescribeLogStreams", `,"logGroupName":"g0","orderBy":"LastEventTime"`, "logStreams", "logStreamName", "s0 s1 s2 s3 s4 s5 s6"},
	} {
		var all []string
		for token, pages := "", 1; ; pages++ {
			body := `{"limit":3` + c.more
			if token != "" {
				body += `,"nextToken":"` + token + `"`
			}
			var page map[string]json.RawMessage
			var items []map[string]any
			got, _ := strings.CutPrefix(call(t, s, c.operation, body+"}"), "200 ")
			if err := errors.Join(json.Unmarshal([]byte(got), &page), json.Unmarshal(page[c.list], &items)); err != nil {
				t.Fatal(got, err)
			}
			for _, item := range items {
				all = append(all, item[c.name].(string))
			}
			if page["nextToken"] == nil || pages > 3 {
				break
			}
			if err := json.Unmarshal(page["nextToken"], &token); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(all, " "); got != c.want {
			t.Errorf("%s%s: %s, want %s", c.operation, c.more, got, c.want)
		}
	}
}

// Ensure a live tail is an event stream that a decoder of AWS's reads, and shows what is put
// while it goes on.
func TestLiveTail(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := server(t, now)
	call(t, s, "CreateLogGroup", `{"logGroupName":"app"}`)
	call(t, s, "CreateLogStream", `{"logGroupName":"app","logStreamName":"s"}`)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	answer := open(ctx, t, s, "StartLiveTail", `{"logGroupIdentifiers":["arn:aws:logs:us-east-1:000000000000:log-group:app"],"logEventFilterPattern":"-no"}`)
	defer answer.Body.Close()
	decoder := eventstream.NewDecoder()
	next := func() (string, string) {
		m, err := decoder.Decode(answer.Body, nil)
		if err != nil {
			t.Fatal(err)
		}
		return m.Headers.Get(":event-type").String(), string(bytes.TrimSpace(m.Payload))
	}
	for _, want := range []string{"initial-response {}", `sessionStart {"requestId":"request-1","sessionId":"request-1","logGroupIdentifiers":["arn:aws:logs:us-east-1:000000000000:log-group:app"],"logEventFilterPattern":"-no"}`} {
		if kind, body := next(); kind+" "+body != want {
			t.Errorf("got %s %s, want %s", kind, body, want)
		}
	}
	call(t, s, "PutLogEvents", fmt.Sprintf(`{"logGroupName":"app","logStreamName":"s","logEvents":[{"timestamp":%d,"message":"yes"},{"timestamp":%d,"message":"no"}]}`, now.UnixMilli(), now.UnixMilli()))
	want := fmt.Sprintf(`{"sessionMetadata":{"sampled":false},"sessionResults":[{"logStreamName":"s","logGroupIdentifier":"000000000000:app","timestamp":%d,"message":"yes","ingestionTime":%d}]}`, now.UnixMilli(), now.UnixMilli())
	for range 5 {
		kind, body := next()
		if kind != "sessionUpdate" {
			t.Fatal(kind, body)
		}
		if body == want {
			return
		}
		if !strings.Contains(body, `"sessionResults":[]`) {
			t.Fatalf("got %s, want %s", body, want)
		}
	}
	t.Error("the event did not come")
}
