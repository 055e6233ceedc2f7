package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

// LogQuery selects lines. Zero values select all.
type LogQuery struct {
	Container string
	Stream    string // stdout or stderr
	Tail      *int   // only the last so many
	Since     string // RFC 3339, or how long ago, as in 10m
	Until     string
	Follow    bool // go on until the task has stopped
}

// Logs yields what a task's containers wrote.
func (c *Client) Logs(ctx context.Context, id string, q LogQuery) iter.Seq2[api.LogLine, error] {
	query := values("container", q.Container, "stream", q.Stream, "since", q.Since, "until", q.Until)
	if q.Tail != nil {
		query.Set("tail", strconv.Itoa(*q.Tail))
	}
	if q.Follow {
		query.Set("follow", "true")
	}
	return follow[api.LogLine](c, ctx, request{method: "GET", path: taskPath(id, "/logs"), query: query}, q.Follow)
}

// Events yields what happens to tasks from now on.
func (c *Client) Events(ctx context.Context) iter.Seq2[task.Event, error] {
	return follow[task.Event](c, ctx, request{method: "GET", path: "/events"}, true)
}

// EventsAfter yields everything that happened to tasks after seq, and then what
// happens.
func (c *Client) EventsAfter(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	query := values("after", strconv.FormatUint(uint64(seq), 10))
	return follow[task.Event](c, ctx, request{method: "GET", path: "/events", query: query}, true)
}

// Watch yields the task as it is now and then after every change, until it has
// stopped.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[task.Task, error] {
	return func(yield func(task.Task, error) bool) {
		events := follow[task.Event](c, ctx, request{method: "GET", path: "/events", query: values("task", id)}, true)
		for ev, err := range events {
			if !yield(ev.Task, err) || err != nil || ev.Task.LastStatus.Final() {
				return
			}
		}
	}
}

// Pull pulls an image and yields how far it has come until it is there.
func (c *Client) Pull(ctx context.Context, image string) iter.Seq2[task.PullProgress, error] {
	return follow[task.PullProgress](c, ctx, request{method: "POST", path: "/images/pull", body: api.PullRequest{Image: image}}, false)
}

// Pulls yields all pulls that go on, now and after every change, until ctx ends.
func (c *Client) Pulls(ctx context.Context) iter.Seq2[[]task.PullProgress, error] {
	return func(yield func([]task.PullProgress, error) bool) {
		for list, err := range follow[api.PullList](c, ctx, request{method: "GET", path: "/images/pulls"}, true) {
			if !yield(list.Pulls, err) || err != nil {
				return
			}
		}
	}
}

// follow yields the items of a stream of server-sent events. If resume is set
// and the stream breaks off, it comes back to where it was. The server ends a
// stream that is complete; what broke off is told from that by the error of the
// connection, or by a last event that says so.
func follow[T any](c *Client, ctx context.Context, r request, resume bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		f := follower[T]{c: c, r: r}
		for attempt := 1; ; attempt++ {
			before := f.items
			more, err := f.read(ctx, yield)
			if f.items != before {
				attempt = 1
			}
			switch {
			case !more:
				return
			case ctx.Err() != nil:
				yield(zero, ctx.Err())
				return
			case err == nil:
				return // complete
			case !resume || !passing(err) || !f.connected || attempt > attemptsMax:
				yield(zero, err)
				return
			}
			if wait(ctx, c.pause(attempt)) != nil {
				yield(zero, ctx.Err())
				return
			}
		}
	}
}

// attemptsMax is how often in a row a stream tries to resume: by default for more
// than a minute, in which a server restarts easily.
const attemptsMax = 20

// passing reports whether err may be gone the next time.
func passing(err error) bool {
	return fault.KindOf(err) == fault.Unavailable
}

// errBroke says that a stream ended before it was complete.
func errBroke(cause error) error {
	return fault.Wrap(fault.Unavailable, cause, "the connection broke off")
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follower remembers where a stream is.
type follower[T any] struct {
	c    *Client
	r    request
	last string // ID of the last item seen

	connected bool // at least once: else there is nothing to resume
	items     int  // seen
}

// read yields items until the stream ends. more is false if nobody wants them.
func (f *follower[T]) read(ctx context.Context, yield func(T, error) bool) (more bool, err error) {
	r := f.r
	if f.last != "" {
		r.header = map[string][]string{api.LastEventID: {f.last}}
		r.query = without(r.query, "after", "tail") // what they select lies behind
	}
	resp, err := f.c.send(ctx, r, api.SSE)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), api.SSE) {
		return true, foreign(resp.Request.URL.String(), resp.Status)
	}
	f.connected = true
	events := bufio.NewReader(resp.Body)
	for {
		ev, err := readEvent(events)
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return true, errBroke(err)
		case ev.name == "problem":
			return true, told(ev.data)
		}
		var item T
		if err := json.Unmarshal(ev.data, &item); err != nil {
			return true, fmt.Errorf("%s: decode event: %w", f.r.path, err)
		}
		if ev.id != "" {
			f.last = ev.id
		}
		f.items++
		if !yield(item, nil) {
			return false, nil
		}
	}
}

// told returns the fault that a stream ended with.
func told(data []byte) error {
	var e struct {
		Error api.Fault `json:"error"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("decode problem: %w", err)
	}
	return asFault(e.Error)
}

func without(query url.Values, names ...string) url.Values {
	rest := make(url.Values, len(query))
	for name, v := range query {
		rest[name] = v
	}
	for _, name := range names {
		rest.Del(name)
	}
	return rest
}

// event is one server-sent event.
type event struct {
	id, name string
	data     []byte
}

// lineMax is the longest line of a stream: a whole task fits many times.
const lineMax = 8 << 20

// readEvent reads one event as the HTML standard says (section 9.2.6), as far as
// our server uses it. A stream that ends within an event has broken off.
func readEvent(r *bufio.Reader) (event, error) {
	var ev event
	begun := false
	for {
		line, err := readLine(r)
		if err == io.EOF && (begun || line != "") {
			return event{}, io.ErrUnexpectedEOF
		}
		if err != nil {
			return event{}, err
		}
		if line == "" {
			if ev.data != nil {
				return ev, nil
			}
			ev, begun = event{}, false // a comment, or only a retry
			continue
		}
		begun = true
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			ev.id = value
		case "event":
			ev.name = value
		case "data":
			if ev.data != nil {
				ev.data = append(ev.data, '\n')
			}
			ev.data = append(ev.data, value...)
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, prefix, err := r.ReadLine()
		line = append(line, part...)
		switch {
		case err != nil:
			return string(line), err
		case !prefix:
			return string(line), nil
		case len(line) > lineMax:
			return "", fmt.Errorf("a line of the stream is longer than %d bytes", lineMax)
		}
	}
}
