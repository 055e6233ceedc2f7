package rest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/fault"
	"berth/logs"
	"berth/server/api"
	"berth/task"
)

type logsIn struct {
	taskIn
	Container string `query:"container" doc:"Only this one"`
	Stream    string `query:"stream" enum:"stdout,stderr,berth" doc:"Only this one; berth says which lines are missing"`
	Tail      *int   `query:"tail" minimum:"0" doc:"Only the last so many"`
	Since     moment `query:"since" doc:"RFC 3339, or how long ago, as in 10m"`
	Until     moment `query:"until" doc:"RFC 3339, or how long ago, as in 10m"`
	Follow    bool   `query:"follow" doc:"Go on until the task has stopped"`
	After     string `query:"after" doc:"Cursor of the last line seen"`
	LastID    string `header:"Last-Event-ID" doc:"As after; for browsers"`
}

// logs streams lines. A reader that comes back says how far it got and misses
// nothing.
func (s *server) logs(ctx context.Context, in *logsIn, out *stream[api.LogLine]) error {
	t, err := s.own(ctx, in.ID.ID)
	if err != nil {
		return err
	}
	if in.Container != "" && t.Container(in.Container) == nil {
		return fault.New(fault.NotFound, "task %s has no container %q", t.ID, in.Container)
	}
	q := logs.Query{Since: in.Since.at(s.Now()), Until: in.Until.at(s.Now()), After: logs.Cursor(in.LastID)}
	if in.Container != "" {
		q.Containers = []string{in.Container}
	}
	if in.Stream != "" {
		q.Streams = []string{in.Stream}
	}
	if in.Tail != nil && in.LastID == "" { // A browser that comes back asks for the same tail, and wants what it missed.
		q.Tail = tail(*in.Tail)
	}
	if q.After == "" {
		q.After = logs.Cursor(in.After)
	}
	if in.Follow {
		var watcher sync.WaitGroup
		defer watcher.Wait()
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		var ended atomic.Bool
		watcher.Go(func() { s.awaitEnd(ctx, t.ID, &ended) })
		q.Follow, q.Ended = true, ended.Load
		if err := out.begin(); err != nil {
			return err
		}
	}
	for entry, err := range s.Logs.Read(ctx, t.ID, q) {
		if err != nil {
			return err
		}
		if err := out.send(string(entry.Cursor), "line", logLine(entry), plainLine(len(t.Containers) > 1)); err != nil {
			return err
		}
	}
	return out.begin() // an empty answer is an answer
}

// tail translates: none of the old lines is 0 to users, and a negative number to
// package logs, where 0 is no limit.
func tail(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// awaitEnd sets ended once no container of the task will start any more.
func (s *server) awaitEnd(ctx context.Context, id task.ID, ended *atomic.Bool) {
	head, err := s.Journal.LastSeq(ctx) // before Task, so that nothing falls between them
	if err != nil {
		return // The reader goes on until it is told to stop.
	}
	t, err := s.Journal.Task(ctx, id)
	if err != nil {
		return
	}
	if over(t) {
		ended.Store(true)
		return
	}
	for ev, err := range s.Journal.Follow(ctx, head) {
		if err != nil {
			return
		}
		if ev.Task.ID == id && over(ev.Task) {
			ended.Store(true)
			return
		}
	}
}

func over(t task.Task) bool {
	return t.LastStatus == task.Deprovisioning || t.LastStatus == task.Stopped
}

func logLine(e logs.Entry) api.LogLine {
	return api.LogLine{
		Cursor: string(e.Cursor), At: e.Time, Container: e.Container, Stream: e.Stream,
		Text: strings.ToValidUTF8(e.Message, "\uFFFD"), Partial: e.Partial,
	}
}

func plainLine(several bool) func(api.LogLine) string {
	return func(l api.LogLine) string {
		if several {
			return l.Container + " | " + l.Text
		}
		return l.Text
	}
}

// moment is a time in a query: RFC 3339, or a duration before now.
type moment struct {
	time time.Time
	ago  time.Duration
	set  bool
}

func (m *moment) UnmarshalText(text []byte) error {
	if d, err := time.ParseDuration(string(text)); err == nil && d >= 0 {
		*m = moment{ago: d, set: true}
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return fault.New(fault.Invalid, "%q is neither a time like 2026-01-02T15:04:05Z nor a duration like 10m", text)
	}
	*m = moment{time: t, set: true}
	return nil
}

// at returns the time that m means now; the zero time if m was not given.
func (m moment) at(now time.Time) time.Time {
	if !m.set || !m.time.IsZero() {
		return m.time
	}
	return now.Add(-m.ago)
}
