package cloudwatch

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"strings"
	"time"

	"berth/fault"
	"berth/task"
)

// Search says which events of a group to find.
type Search struct {
	Window
	Streams []string // their names; none: all that begin with Prefix
	Prefix  string
	Match   func(message string) bool
	Limit   int // events, 1 to 10,000
	After   *Found
}

// Found is an event of one of several streams.
type Found struct {
	Event
	Name string // of the stream
}

// compare orders what is found: by time, by stream, by place.
func (f Found) compare(g Found) int {
	return cmp.Or(f.Time.Compare(g.Time), strings.Compare(f.Name, g.Name), cmp.Compare(f.At[0], g.At[0]), cmp.Compare(f.At[1], g.At[1]))
}

// Limits of one page of a search. A page that had to look at more ends early and says
// where to go on, as CloudWatch's pages do.
const (
	maxLooked   = 100_000 // events
	searchBatch = 256     // events of one stream that are read ahead, at most
)

// Search returns events of a group in the order of their times, and whether there may be
// more. If so, last is where to go on: the last event that was looked at.
func (k *Keeper) Search(ctx context.Context, in task.Realm, group string, q Search) (found []Found, last *Found, err error) {
	g, err := k.Book.LogGroup(ctx, in, group)
	if err != nil {
		return nil, nil, err
	}
	if cut := g.cutoff(k.Now()); q.Since.Before(cut) {
		q.Since = cut
	}
	streams, err := k.chosen(ctx, g, q)
	if err != nil {
		return nil, nil, err
	}
	m := &merge{}
	for _, s := range streams {
		if t := (&thread{name: s.Name, source: k.source(s), q: &q}); !s.Last.Before(q.Since.Truncate(time.Millisecond)) && !s.Last.IsZero() {
			t.next = later(s.First, q.Since)
			if q.After != nil {
				t.next = later(t.next, q.After.Time)
			}
			m.threads = append(m.threads, t)
		}
	}
	heap.Init(m)
	bytes := 0
	for looked := 0; m.Len() > 0; {
		t := m.threads[0]
		if len(t.ahead) == 0 { // What it has next is at t.next or later; see what it is.
			if err := t.load(ctx); err != nil {
				return nil, nil, err
			}
			if len(t.ahead) == 0 {
				heap.Pop(m)
			} else {
				heap.Fix(m, 0)
			}
			continue
		}
		e := t.ahead[0]
		t.pop()
		heap.Fix(m, 0)
		if q.After != nil && e.compare(*q.After) <= 0 {
			continue
		}
		if q.Match == nil || q.Match(e.Message) {
			if bytes += len(e.Message) + overhead; len(found) > 0 && bytes > pageBytes {
				return found, last, nil
			}
			found = append(found, e)
		}
		last = &e
		if looked++; len(found) >= q.Limit || looked >= maxLooked {
			return found, last, nil
		}
	}
	return found, nil, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// maxChosen is how many streams can be named (CloudWatch Logs API, FilterLogEvents).
const maxChosen = 100

// chosen returns the streams that a search is about, filled in.
func (k *Keeper) chosen(ctx context.Context, g Group, q Search) ([]Stream, error) {
	if len(q.Streams) > maxChosen {
		return nil, fault.At("logStreamNames", "has at most %d names", maxChosen)
	}
	var all []Stream
	for _, name := range q.Streams {
		s, err := k.Book.LogStream(ctx, g.ID, name)
		if err != nil {
			return nil, err
		}
		if s, err = k.fill(g, s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(q.Streams) > 0 {
		return slices.CompactFunc(slices.SortedFunc(slices.Values(all), func(a, b Stream) int { return cmp.Compare(a.ID, b.ID) }),
			func(a, b Stream) bool { return a.ID == b.ID }), nil
	}
	for list := (StreamQuery{Prefix: q.Prefix, Limit: 1000}); ; list.After = all[len(all)-1].Name {
		some, err := k.Streams(ctx, g, list)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < list.Limit {
			return all, nil
		}
	}
}

// thread is one stream of a search, read bit by bit.
type thread struct {
	name   string
	source source
	q      *Search
	next   time.Time // of its next event, or before that
	at     Place
	begun  bool
	ahead  []Found
}

// load reads some events ahead; none if there are no more in the window.
func (t *thread) load(ctx context.Context) error {
	if !t.begun {
		t.begun = true
		var err error
		if t.at, err = t.source.seek(ctx, t.next.Truncate(time.Millisecond)); err != nil {
			return err
		}
	}
	bytes := 0
	err := t.source.forward(ctx, t.at, func(e Event) bool {
		if !t.q.Until.IsZero() && !e.Time.Before(t.q.Until) {
			return false
		}
		t.at = e.After
		if e.Time.Before(t.q.Since.Truncate(time.Millisecond)) {
			return true
		}
		t.ahead = append(t.ahead, Found{e, t.name})
		bytes += len(e.Message)
		return len(t.ahead) < searchBatch && bytes < pageBytes/4
	})
	if len(t.ahead) > 0 {
		t.next = t.ahead[0].Time
	}
	return err
}

func (t *thread) pop() {
	if t.ahead = t.ahead[1:]; len(t.ahead) > 0 {
		t.next = t.ahead[0].Time
	}
}

// merge is a heap of threads: first the one whose next event is first, among those of the
// same time one of which the event is not known yet.
type merge struct{ threads []*thread }

func (m *merge) Len() int { return len(m.threads) }
func (m *merge) Less(i, j int) bool {
	a, b := m.threads[i], m.threads[j]
	if c := a.next.Compare(b.next); c != 0 {
		return c < 0
	}
	if known := len(a.ahead) > 0; known != (len(b.ahead) > 0) {
		return !known
	}
	return a.name < b.name
}
func (m *merge) Swap(i, j int) { m.threads[i], m.threads[j] = m.threads[j], m.threads[i] }
func (m *merge) Push(x any)    { m.threads = append(m.threads, x.(*thread)) }
func (m *merge) Pop() any {
	t := m.threads[len(m.threads)-1]
	m.threads = m.threads[:len(m.threads)-1]
	return t
}
