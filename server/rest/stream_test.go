package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/fault"
	"berth/server/api"
	"berth/server/rest/resttest"
	"berth/task"
)

// live runs the task until it is RUNNING, and stop ends it.
func live(f *resttest.Fake, id task.ID) {
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition {
		return task.Provisioned(t, now, task.Network{IPv4: "10.0.0.2"}, "eni-1")
	})
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Pulled(now.Wall, nil) })
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition {
		return task.Started(now.Wall, map[string]task.Outcome{"main": {RuntimeID: "r", StartedAt: now.Wall}})
	})
}

func stop(f *resttest.Fake, id task.ID, code int) {
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition {
		return task.Quit(now.Wall, task.EssentialExited, task.ReasonEssentialExited,
			map[string]task.Outcome{"main": {Exit: &task.Exit{Code: code, At: now.Wall}}})
	})
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Deactivated(now.Wall) })
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Ended(now.Wall, nil, nil) })
	f.Advance(id, func(t task.Task, now task.Instant) task.Transition { return task.Removed(now.Wall) })
}

// fields returns the values of one field of server-sent events.
func fields(body, name string) []string {
	var all []string
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			all = append(all, strings.TrimSpace(v))
		}
	}
	return all
}

func (w *world) stream(path string, header ...string) *httptest.ResponseRecorder {
	r := request("GET", api.Base+path, "")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.serve(r)
}

// Ensure a reader of events that comes back misses nothing and gets nothing
// twice.
func TestEventsResume(t *testing.T) {
	w := newWorld(t)
	w.run(t, `{"taskDefinition":`+hello+`}`)
	live(w.Fake, first)
	stop(w.Fake, first, 0)

	for _, header := range [][]string{{api.LastEventID, "3"}, {}} {
		path := "/events?task=" + first
		if len(header) == 0 {
			path += "&after=3"
		}
		rec := w.stream(path, header...)
		if got := strings.Join(fields(rec.Body.String(), "id"), " "); got != "4 5 6 7 8" {
			t.Errorf("saw %s: %s", got, rec.Body)
		}
		if got := rec.Header().Get("Content-Type"); got != api.SSE {
			t.Errorf("Content-Type %s", got)
		}
	}
	rec := w.stream("/events?task=" + first)
	if got := strings.Join(fields(rec.Body.String(), "id"), " "); got != "8" {
		t.Errorf("the stream of a stopped task has %s", got)
	}
	// A browser that read the end comes back, and must not wait for more.
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []string{"8", "9", "99"} {
			over := make(chan string)
			go func() { over <- w.stream("/events?task="+first, api.LastEventID, at).Body.String() }()
			synctest.Wait()
			select {
			case got := <-over:
				if len(fields(got, "id")) > 0 {
					t.Errorf("after %s comes %q", at, got)
				}
			default:
				t.Fatalf("the stream after %s does not end", at)
			}
		}
	})
	var ev task.Event
	if err := json.Unmarshal([]byte(fields(rec.Body.String(), "data")[0]), &ev); err != nil || ev.Task.LastStatus != task.Stopped {
		t.Errorf("event %+v, %v", ev, err)
	}
}

// Ensure a stream says that it lives, follows what happens, and ends cleanly
// with the server, in a way that makes the client come back.
func TestEventsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stopServer := context.WithCancel(t.Context())
		w := worldOf(ctx, resttest.New())
		rec := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.api.ServeHTTP(rec, request("GET", api.Base+"/events", ""))
		}()
		synctest.Wait()
		time.Sleep(31 * time.Second)
		w.run(t, `{"taskDefinition":`+hello+`}`)
		synctest.Wait()
		stopServer()
		<-done
		body := rec.Body.String()
		if n := strings.Count(body, "\n:\n"); n != 2 {
			t.Errorf("%d heartbeats in 31 s, want 2: %q", n, body)
		}
		if got := strings.Join(fields(body, "event"), " "); got != "task problem" {
			t.Errorf("events: %s", got)
		}
		if !strings.Contains(body, "the server is stopping") || rec.Code != 200 {
			t.Errorf("%d %s", rec.Code, body)
		}
	})
}

// Ensure logs come in each of the three formats, selected and resumed.
func TestLogs(t *testing.T) {
	w := newWorld(t)
	w.run(t, `{"taskDefinition":`+hello+`}`)
	live(w.Fake, first)
	for _, line := range []string{"one", "two", "three \xff"} {
		w.Write(first, "main", "stdout", line)
	}
	w.Write(first, "main", "stderr", "oops")
	stop(w.Fake, first, 0)
	path := "/tasks/" + first + "/logs"

	text := w.stream(path, "Accept", "text/plain")
	if got := text.Body.String(); got != "one\ntwo\nthree \uFFFD\noops\n" {
		t.Errorf("text: %q", got)
	}
	lines := w.stream(path + "?stream=stderr")
	if got := decode[api.LogLine](t, lines); got.Text != "oops" || got.Stream != "stderr" || got.Container != "main" || got.At.IsZero() {
		t.Errorf("NDJSON: %+v", got)
	}
	sse := w.stream(path+"?follow=true", "Accept", api.SSE, api.LastEventID, "main:1:2")
	if got := strings.Join(fields(sse.Body.String(), "id"), " "); got != "main:1:3 main:1:4" {
		t.Errorf("resumed with %s", got)
	}
	sse = w.stream(path+"?tail=0&follow=true", "Accept", api.SSE, api.LastEventID, "main:1:2")
	if got := strings.Join(fields(sse.Body.String(), "id"), " "); got != "main:1:3 main:1:4" {
		t.Errorf("a browser that asked for a tail resumed with %s", got)
	}
	if got := w.stream(path+"?tail=1", "Accept", "text/plain").Body.String(); got != "oops\n" {
		t.Errorf("tail: %q", got)
	}
	if rec := w.stream(path + "?container=other"); rec.Code != 404 {
		t.Errorf("logs of a container that is none: %d", rec.Code)
	}
	if rec := w.stream(path + "?after=bad"); rec.Code != 400 {
		t.Errorf("a cursor that is none: %d", rec.Code)
	}
	rec := w.stream(path+"?follow=true&after=bad", "Accept", api.SSE)
	if rec.Code != 200 || strings.Join(fields(rec.Body.String(), "event"), " ") != "problem" {
		t.Errorf("a failure within a stream: %d %s", rec.Code, rec.Body)
	}
}

// Ensure following ends when the task has, with every line, each at once.
func TestLogsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run(t, `{"taskDefinition":`+hello+`}`)
		live(w.Fake, first)
		rec := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := request("GET", api.Base+"/tasks/"+first+"/logs?follow", "")
			r.Header.Set("Accept", "text/plain")
			w.api.ServeHTTP(rec, r)
		}()
		synctest.Wait()
		w.Write(first, "main", "stdout", "early")
		synctest.Wait()
		if !rec.Flushed || rec.Body.String() != "early\n" {
			t.Errorf("not on the wire at once: %q", rec.Body)
		}
		stop(w.Fake, first, 0)
		<-done
		if rec.Body.String() != "early\n" {
			t.Errorf("%q", rec.Body)
		}
	})
}

// Ensure a pull tells how far it is, and why it failed.
func TestPull(t *testing.T) {
	w := newWorld(t)
	rec := w.call("POST", "/images/pull", `{"image":"busybox"}`)
	if n := strings.Count(rec.Body.String(), "\n"); rec.Code != 200 || n != 3 {
		t.Errorf("%d with %d lines: %s", rec.Code, n, rec.Body)
	}
	rec = w.call("POST", "/images/pull", `{"image":"missing"}`)
	if !strings.Contains(rec.Body.String(), `{"error":{"type":"urn:berth:fault:not-found"`) {
		t.Errorf("%s", rec.Body)
	}
}

// Ensure all of this also holds on a real connection: a reader that goes away
// ends its stream, and a slow body is not waited for for ever.
func TestConnection(t *testing.T) {
	w := newWorld(t)
	w.run(t, `{"taskDefinition":`+hello+`}`)
	srv := httptest.NewServer(w.api)
	defer srv.Close() // blocks until every handler has returned
	resp, err := http.Get(srv.URL + api.Base + "/events")
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "retry: 1000\n" {
		t.Errorf("%q, %v", line, err)
	}
	resp.Body.Close()

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST "+api.Base+"/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half")
	conn.(*net.TCPConn).CloseWrite()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != 400 {
		t.Errorf("a body that broke off: %v, %v", answer, err)
	}
}

// Ensure a kind that has no status would be noticed.
func TestStatuses(t *testing.T) {
	for k := fault.Internal; k <= fault.Throttled; k++ {
		w := newWorld(t)
		w.Broken = fault.New(k, "x")
		rec := w.call("GET", "/capacity", "")
		p := decode[api.Fault](t, rec)
		if rec.Code < 400 || fault.ParseKind(strings.ReplaceAll(strings.TrimPrefix(p.Type, api.FaultType), "-", " ")) != k {
			t.Errorf("%s: %d %s", k, rec.Code, rec.Body)
		}
	}
}
