package cloudwatch

import (
	"context"
	"slices"
	"strings"
	"time"

	"berth/task"
)

// Tail follows groups from now on.
type Tail struct {
	k      *Keeper
	in     task.Realm
	groups []string
	want   func(stream string) bool
	match  func(message string) bool
	at     map[int64]Place // by stream of output: up to where it was read
	puts   map[int64]int64 // by stream of PutLogEvents: the number of the next event
	begun  bool
}

// late is how much older than now an event can be that PutLogEvents brings and a tail
// still shows: events can come in any order.
const late = 2 * time.Minute

// Tail begins to follow the streams that want chooses of groups, and in them the events
// that match; nil chooses all. A group that is not there is fault.NotFound.
func (k *Keeper) Tail(ctx context.Context, in task.Realm, groups []string, want, match func(string) bool) (*Tail, error) {
	t := &Tail{k: k, in: in, groups: groups, want: want, match: match, at: map[int64]Place{}, puts: map[int64]int64{}}
	for _, name := range groups {
		if _, err := k.Book.LogGroup(ctx, in, name); err != nil {
			return nil, err
		}
	}
	if _, err := t.Next(ctx, 0); err != nil {
		return nil, err
	}
	t.begun = true
	return t, nil
}

// Line is an event that a tail shows.
type Line struct {
	Found
	Group string
}

// Next returns what has come since the last call, by time: at most limit events that the
// tail has not shown; more are dropped, as the API's sampling does, and sampled says so.
func (t *Tail) Next(ctx context.Context, limit int) (Sample, error) {
	var s Sample
	for _, name := range t.groups {
		g, err := t.k.Book.LogGroup(ctx, t.in, name)
		if err != nil {
			return s, err
		}
		for q := (StreamQuery{Limit: 1000}); ; {
			some, err := t.k.Book.LogStreams(ctx, g.ID, q)
			if err != nil {
				return s, err
			}
			for _, stream := range some {
				if t.want == nil || t.want(stream.Name) {
					if err := t.read(ctx, name, stream, limit, &s); err != nil {
						return s, err
					}
				}
			}
			if len(some) < q.Limit {
				break
			}
			q.After = some[len(some)-1].Name
		}
	}
	slices.SortStableFunc(s.Lines, func(a, b Line) int { return a.compare(b.Found) })
	return s, nil
}

// Sample is what came in one turn of a tail.
type Sample struct {
	Lines   []Line
	Sampled bool // there was more
}

func (t *Tail) read(ctx context.Context, group string, stream Stream, limit int, s *Sample) error {
	from := t.k.source(stream)
	at, known := t.at[stream.ID]
	next := t.puts[stream.ID]
	t.puts[stream.ID] = stream.Puts
	if stream.Task == "" {
		at, known = Place{t.k.now().Add(-late).UnixMilli(), 0}, stream.Puts == next
	}
	switch {
	case known && stream.Task == "":
		return nil
	case !known && !t.begun: // It was there before the tail.
		end, err := from.end(ctx)
		t.at[stream.ID] = end
		return err
	}
	dropped := false
	err := from.forward(ctx, at, func(e Event) bool {
		t.at[stream.ID] = e.After
		if stream.Task == "" && e.At[1] < next || t.match != nil && !t.match(e.Message) {
			return true
		}
		if len(s.Lines) >= limit {
			s.Sampled, dropped = true, true
			return false
		}
		s.Lines = append(s.Lines, Line{Found{e, stream.Name}, group})
		return true
	})
	if err == nil && dropped {
		t.at[stream.ID], err = from.end(ctx)
	}
	return err
}

// Begins returns a choice of streams: those named, those beginning with a prefix; nil, which is
// all, if there are neither.
func Begins(names, prefixes []string) func(string) bool {
	if len(names)+len(prefixes) == 0 {
		return nil
	}
	return func(stream string) bool {
		return slices.Contains(names, stream) || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(stream, p) })
	}
}
