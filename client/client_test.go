package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/tuning"
	"berth/client"
	"berth/fault"
	"berth/server/api"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

const hello = `{"family":"hello","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512",
	"containerDefinitions":[{"name":"main","image":"berth/demo:latest"}]}`

const first = "00000000000000000000000000000001"

// serve serves a Fake and returns it with a client of it.
func serve(t *testing.T) (*resttest.Fake, *client.Client) {
	f := resttest.New()
	srv := httptest.NewServer(handler(t.Context(), f))
	t.Cleanup(srv.Close)
	return f, dial(srv)
}

func handler(ctx context.Context, f *resttest.Fake) http.Handler {
	c := f.Config()
	c.Log = zap.NewNop()
	return rest.New(ctx, c)
}

func dial(srv *httptest.Server) *client.Client {
	return client.New(srv.URL, client.WithHTTPClient(srv.Client()), client.WithPause(func(int) time.Duration { return time.Millisecond }))
}

func run(t *testing.T, c *client.Client) task.Task {
	t.Helper()
	ts, err := c.Run(t.Context(), api.RunRequest{TaskDefinition: []byte(hello)})
	if err != nil {
		t.Fatal(err)
	}
	return ts[0]
}

// Ensure every call arrives and its answer comes back.
func TestCalls(t *testing.T) {
	f, c := serve(t)
	ctx := t.Context()
	d, err := c.Register(ctx, []byte(hello))
	if err != nil || d.Revision != 1 {
		t.Fatalf("Register = %v, %v", d, err)
	}
	for _, name := range []string{"hello", "hello:1", d.ARN} {
		if got, err := c.Definition(ctx, name); err != nil || got.ARN != d.ARN {
			t.Errorf("Definition(%s) = %v, %v", name, got.ARN, err)
		}
	}
	if got, err := c.TagDefinition(ctx, "hello:1", []task.Tag{{Key: "a", Value: "b"}}); err != nil || len(got.Tags) != 1 {
		t.Errorf("TagDefinition = %v, %v", got.Tags, err)
	}
	if got, err := c.TagDefinition(ctx, "hello:1", nil); err != nil || len(got.Tags) != 0 {
		t.Errorf("TagDefinition with none = %v, %v", got.Tags, err)
	}
	sent := run(t, c)
	if p, err := c.Preview(ctx, api.RunRequest{TaskDefinition: []byte(`"hello"`)}); err != nil || p.Quote == nil {
		t.Errorf("Preview = %v, %v", p, err)
	}
	for _, id := range []string{string(sent.ID), sent.ARN} {
		if got, err := c.Task(ctx, id); err != nil || got.ID != sent.ID {
			t.Errorf("Task(%s) = %v, %v", id, got.ID, err)
		}
		if _, err := c.Bill(ctx, id); err != nil {
			t.Errorf("Bill(%s): %v", id, err)
		}
		if _, err := c.Usage(ctx, id, billing.UsageQuery{Resolution: time.Minute, From: resttest.Epoch}); err != nil {
			t.Errorf("Usage(%s): %v", id, err)
		}
	}
	groups := 0
	for g, err := range c.GroupUsage(ctx, billing.GroupQuery{By: []string{"family", "tag:team"}}) {
		if err != nil || g.Key["family"] != "a-family" || g.Key["tag:team"] != "a-team" {
			t.Errorf("GroupUsage = %v, %v", g, err)
		}
		groups++
	}
	if groups != 1 {
		t.Errorf("%d groups", groups)
	}
	tunes(t, c)
	if got, err := c.Stop(ctx, string(sent.ID), "why not"); err != nil || got.StoppedReason != "why not" {
		t.Errorf("Stop = %v, %v", got.StoppedReason, err)
	}
	if got, err := c.Import(ctx, "a/b:1", strings.NewReader("tar")); err != nil || got[0].Name != "a/b:1" {
		t.Errorf("Import = %v, %v", got, err)
	}
	f.SetImages(task.Image{Name: "x/y", InUse: true}, task.Image{Name: "z"})
	if got, err := c.Images(ctx); err != nil || len(got) != 2 {
		t.Errorf("Images = %v, %v", got, err)
	}
	if err := c.RemoveImage(ctx, "x/y", false); fault.KindOf(err) != fault.Conflict {
		t.Errorf("RemoveImage: %v", err)
	}
	if err := c.RemoveImage(ctx, "x/y", true); err != nil {
		t.Errorf("RemoveImage by force: %v", err)
	}
	if got, err := c.CollectImages(ctx); err != nil || len(got.Removed) != 1 {
		t.Errorf("CollectImages = %v, %v", got, err)
	}
	if got, err := c.Capacity(ctx); err != nil || got.Total.CPU != 4096 {
		t.Errorf("Capacity = %v, %v", got, err)
	}
	if h, err := c.Health(ctx); err != nil || h.Status != "ok" {
		t.Errorf("Health = %v, %v", h, err)
	}
	f.NotReady = []string{"not yet"}
	if h, err := c.Health(ctx); err != nil || h.Status != "unavailable" || !slices.Equal(h.Reasons, []string{"not yet"}) {
		t.Errorf("Health = %v, %v", h, err)
	}
	if got, err := c.Deregister(ctx, "hello:1"); err != nil || got.Status != task.Inactive {
		t.Errorf("Deregister = %v, %v", got.Status, err)
	}
}

// tunes makes every call about tunings. Tasks stay where they are.
func tunes(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, more := t.Context(), billing.Money(1e9)
	made, err := c.Tune(ctx, tuning.Request{TaskDefinition: "hello", Sizes: []tuning.Size{{CPU: 256, Memory: 512}}})
	if err != nil || made.Status != tuning.Waiting {
		t.Fatalf("Tune = %v, %v", made.Status, err)
	}
	id := string(made.ID)
	if got, err := c.WaitTuning(ctx, id, made.Version, time.Hour); err != nil || got.Version <= made.Version {
		t.Errorf("WaitTuning = %v, %v", got.Version, err)
	}
	if got, err := c.ResumeTuning(ctx, id, &more); err != nil || got.MaxCost != more {
		t.Errorf("ResumeTuning = %v, %v", got.MaxCost, err)
	}
	if page, err := c.Tunings(ctx, ""); err != nil || len(page.Tunings) != 1 || page.Tunings[0].ID != made.ID {
		t.Errorf("Tunings = %v, %v", page, err)
	}
	if got, err := c.CancelTuning(ctx, id); err != nil || got.Ending != tuning.Cancelled {
		t.Errorf("CancelTuning = %v, %v", got.Status, err)
	}
	if got, err := c.Tuning(ctx, id); err != nil || got.Status != tuning.Stopping {
		t.Errorf("Tuning = %v, %v", got.Status, err)
	}
	if err := c.RemoveTuning(ctx, id); fault.KindOf(err) != fault.Conflict {
		t.Errorf("RemoveTuning: %v", err)
	}
}

// Ensure lists are read to their end, page after page.
func TestPages(t *testing.T) {
	_, c := serve(t)
	ten := 10
	for range 11 {
		if _, err := c.Run(t.Context(), api.RunRequest{TaskDefinition: []byte(hello), Count: &ten}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, err := range c.Tasks(t.Context(), client.TaskQuery{Family: "hello"}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 110 {
		t.Errorf("%d tasks, want 110", n)
	}
	for d, err := range c.Definitions(t.Context(), client.DefinitionQuery{FamilyPrefix: "he", Descending: true}) {
		if err != nil || d.Family != "hello" {
			t.Errorf("%v, %v", d.Family, err)
		}
	}
}

// Ensure a fault comes back as it was.
func TestFaults(t *testing.T) {
	f, c := serve(t)
	ctx := t.Context()
	eleven := 11
	_, err := c.Run(ctx, api.RunRequest{TaskDefinition: []byte(hello), Count: &eleven})
	if fault.KindOf(err) != fault.Invalid || fault.FieldOf(err) != "count" {
		t.Errorf("absurd count: %v", err)
	}
	if _, err := c.Task(ctx, first); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unknown task: %v", err)
	}
	for k := fault.Invalid; k <= fault.Throttled; k++ {
		f.Broken = &fault.Error{Kind: k, Field: "a.b", Msg: "no " + k.String()}
		_, err := c.Capacity(ctx)
		if fault.KindOf(err) != k || fault.FieldOf(err) != "a.b" || fault.Message(err) != "no "+k.String() {
			t.Errorf("%s came back as %v", k, err)
		}
	}
	f.Broken = errors.New("secret")
	if _, err := c.Capacity(ctx); fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "request-") {
		t.Errorf("internal: %v", err)
	}
	f.Broken = errors.Join(fault.At("a", "1"), fault.At("b", "2"))
	if _, err := c.Capacity(ctx); err.Error() != "a: 1\nb: 2" {
		t.Errorf("two: %v", err)
	}
}

// Ensure it is told what is not a server of ours.
func TestNoServer(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	c := dial(other)
	if _, err := c.Task(t.Context(), first); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "is not Berth") {
		t.Errorf("another server: %v", err)
	}
	if _, err := c.Health(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("health of another server: %v", err)
	}
	other.Close()
	if _, err := c.Task(t.Context(), first); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("no server: %v", err)
	}
	if _, err := client.New("::::").Health(t.Context()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no address: %v", err)
	}
}

// breaking is a connection to the API that breaks after every few bytes of a
// stream.
type breaking struct {
	http.RoundTripper
	after  int64
	breaks atomic.Int64
}

func (b *breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), api.SSE) {
		resp.Body = &broken{LimitedReader: io.LimitedReader{R: resp.Body, N: b.after}, Closer: resp.Body, n: &b.breaks}
	}
	return resp, err
}

type broken struct {
	io.LimitedReader
	io.Closer
	n *atomic.Int64
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.LimitedReader.Read(p)
	if err == io.EOF && b.N <= 0 {
		b.n.Add(1)
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Ensure a stream over a connection that keeps breaking, at whatever place,
// misses nothing and repeats nothing.
func TestResume(t *testing.T) {
	f := resttest.New()
	srv := httptest.NewServer(handler(t.Context(), f))
	defer srv.Close()
	sent := run(t, dial(srv))
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("line ", i))
		f.Write(sent.ID, "main", "stdout", want[i])
	}
	f.Advance(sent.ID, func(t task.Task, now task.Instant) task.Transition {
		return task.GaveUp(t, now.Wall, task.FailedToStart, "no", nil)
	})
	for after := int64(400); after < 800; after += 13 { // an event has about 200
		b := &breaking{RoundTripper: srv.Client().Transport, after: after}
		c := client.New(srv.URL, client.WithHTTPClient(&http.Client{Transport: b}),
			client.WithPause(func(int) time.Duration { return 0 }))
		var got []string
		for line, err := range c.Logs(t.Context(), string(sent.ID), client.LogQuery{Follow: true}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, line.Text)
		}
		if !slices.Equal(got, want) || b.breaks.Load() == 0 {
			t.Errorf("after every %d bytes, %d breaks: got %d lines: %q", after, b.breaks.Load(), len(got), got)
		}
	}
}

// Ensure a stream survives the end of the server and goes on with the next one.
func TestServerRestart(t *testing.T) {
	f := resttest.New()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var current atomic.Pointer[http.Handler]
	use := func(h http.Handler) { current.Store(&h) }
	use(handler(ctx, f))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*current.Load()).ServeHTTP(w, r) }))
	defer srv.Close()
	c := dial(srv)
	sent := run(t, c)

	var seen []task.Status
	for now, err := range c.Watch(t.Context(), string(sent.ID)) {
		if err != nil {
			t.Fatal(err)
		}
		switch seen = append(seen, now.LastStatus); now.LastStatus {
		case task.Provisioning:
			use(handler(t.Context(), f))
			stop()
			f.Advance(sent.ID, func(t task.Task, now task.Instant) task.Transition {
				return task.GaveUp(t, now.Wall, task.FailedToStart, "no", nil)
			})
		case task.Deprovisioning:
			f.Advance(sent.ID, func(t task.Task, now task.Instant) task.Transition { return task.Removed(now.Wall) })
		}
	}
	if want := []task.Status{task.Provisioning, task.Deprovisioning, task.Stopped}; !slices.Equal(seen, want) {
		t.Errorf("saw %v, want %v", seen, want)
	}
}

// Ensure streams end when they shall: by their reader, by ctx, by a fault that
// will not go away.
func TestStreamsEnd(t *testing.T) {
	f, c := serve(t)
	sent := run(t, c)
	n := 0
	for ev, err := range c.EventsAfter(t.Context(), 0) {
		if n++; err != nil || ev.Task.ID != sent.ID {
			t.Errorf("%v, %v", ev, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range c.Watch(ctx, string(sent.ID)) {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("after cancel: %v", err)
		}
		n++
		cancel()
	}
	for _, err := range c.Logs(t.Context(), first[:31]+"9", client.LogQuery{Follow: true}) {
		if n++; fault.KindOf(err) != fault.NotFound {
			t.Errorf("logs of the unknown: %v", err)
		}
	}
	var last task.PullProgress
	for p, err := range c.Pull(t.Context(), "busybox") {
		if err != nil {
			t.Error(err)
		}
		last = p
	}
	if last.Status != "DONE" {
		t.Errorf("pull ended with %+v", last)
	}
	var failed error
	for _, err := range c.Pull(t.Context(), "missing") {
		failed = err
	}
	if fault.KindOf(failed) != fault.NotFound {
		t.Errorf("pull of the missing: %v", failed)
	}
	f.SetPulls(last)
	for pulls, err := range c.Pulls(t.Context()) {
		if n++; err != nil || len(pulls) != 1 {
			t.Errorf("%v, %v", pulls, err)
		}
		break
	}
	if n != 5 {
		t.Errorf("%d items and errors, want 5", n)
	}
}
