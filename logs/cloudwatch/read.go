package cloudwatch

import (
	"context"
	"slices"
	"time"

	"berth/logs"
	"berth/task"
)

// pageBytes is how much one page of events holds (CloudWatch Logs API, GetLogEvents:
// "1 MB (up to 10,000 log events)"). An event counts overhead more than its message.
const (
	pageBytes = 1 << 20
	overhead  = 26
)

// source is a stream that is read.
type source interface {
	// forward calls f for the events from a place on until f returns false or there are no
	// more now; backward for those before it, last first.
	forward(ctx context.Context, from Place, f func(Event) bool) error
	backward(ctx context.Context, before Place, f func(Event) bool) error

	// seek returns the place before the first event that is not before t; end that after all.
	seek(ctx context.Context, t time.Time) (Place, error)
	end(ctx context.Context) (Place, error)
}

func (k *Keeper) source(s Stream) source {
	if s.Task != "" {
		return printed{s.ID, k.Output.Lines(s.Task, s.Container)}
	}
	return brought{s.ID, k.Book}
}

// printed is a stream of what a container printed.
type printed struct {
	id    int64
	lines logs.Lines
}

func (p printed) event(l logs.Line) Event {
	at := l.Time.Truncate(time.Millisecond)
	return Event{at, at, string(l.Message), Place{int64(l.At.Segment), l.At.Offset}, Place{int64(l.After.Segment), l.After.Offset}, p.id}
}

func place(p Place) logs.Place { return logs.Place{Segment: int(p[0]), Offset: p[1]} }

func (p printed) forward(ctx context.Context, from Place, f func(Event) bool) error {
	err := p.lines.Forward(place(from), func(l logs.Line) bool {
		// awslogs sends no empty lines: events cannot be empty.
		return ctx.Err() == nil && (len(l.Message) == 0 || f(p.event(l)))
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (p printed) backward(ctx context.Context, before Place, f func(Event) bool) error {
	err := p.lines.Backward(place(before), func(l logs.Line) bool {
		return ctx.Err() == nil && (len(l.Message) == 0 || f(p.event(l)))
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (p printed) seek(_ context.Context, t time.Time) (Place, error) {
	at, err := p.lines.Seek(t)
	return Place{int64(at.Segment), at.Offset}, err
}

func (p printed) end(context.Context) (Place, error) {
	at, err := p.lines.End()
	return Place{int64(at.Segment), at.Offset}, err
}

// brought is a stream of what PutLogEvents brought.
type brought struct {
	id   int64
	book Book
}

// readBatch is how many events are read from the Book at once, at first, and at most.
const (
	readBatch    = 64
	maxReadBatch = 4096
)

func (b brought) forward(ctx context.Context, from Place, f func(Event) bool) error {
	return b.read(ctx, from, false, f)
}

func (b brought) backward(ctx context.Context, before Place, f func(Event) bool) error {
	return b.read(ctx, before, true, f)
}

func (b brought) read(ctx context.Context, at Place, backward bool, f func(Event) bool) error {
	for n := readBatch; ; n = min(2*n, maxReadBatch) {
		some, err := b.book.LogEvents(ctx, b.id, at, backward, n)
		if err != nil {
			return err
		}
		for _, e := range some {
			if at = e.After; backward {
				at = e.At
			}
			if !f(e) {
				return nil
			}
		}
		if len(some) < n {
			return nil
		}
	}
}

func (b brought) seek(_ context.Context, t time.Time) (Place, error) {
	if t.UnixMilli() <= 0 {
		return Place{}, nil
	}
	return Place{t.UnixMilli(), 0}, nil
}

func (b brought) end(ctx context.Context) (Place, error) {
	last := Place{}
	some, err := b.book.LogEvents(ctx, b.id, Place{1 << 62, 0}, true, 1)
	if err == nil && len(some) > 0 {
		last = some[0].After
	}
	return last, err
}

// Window is a time to look at.
type Window struct {
	Since time.Time // not before; zero: from the beginning
	Until time.Time // before; zero: to the end
}

// Read says which events of a stream to read. Without From they are the first of the
// window, or its last if FromTail.
type Read struct {
	Window
	From     *Place // where the page before ended (began, if Backward)
	Backward bool   // those before From
	FromTail bool
	Limit    int // events, 1 to 10,000
}

// Page is some events of a stream, oldest first, and the places before and after them.
// Those are the same as long as there is nothing further on that side.
type Page struct {
	Events      []Event
	Start, Next Place
}

// Read returns a page of a stream's events.
func (k *Keeper) Read(ctx context.Context, in task.Realm, group, stream string, r Read) (Page, error) {
	g, err := k.Book.LogGroup(ctx, in, group)
	if err != nil {
		return Page{}, err
	}
	s, err := k.Book.LogStream(ctx, g.ID, stream)
	if err != nil {
		return Page{}, err
	}
	if cut := g.cutoff(k.Now()); r.Since.Before(cut) {
		r.Since = cut
	}
	return read(ctx, k.source(s), r)
}

func read(ctx context.Context, from source, r Read) (p Page, err error) {
	at, backward := Place{}, r.Backward
	switch {
	case r.From != nil:
		at = *r.From
	case r.FromTail && r.Until.IsZero():
		backward = true
		at, err = from.end(ctx)
	case r.FromTail:
		backward = true
		at, err = from.seek(ctx, r.Until)
	case !r.Since.IsZero():
		at, err = from.seek(ctx, r.Since)
	}
	if err != nil {
		return p, err
	}
	p.Start, p.Next = at, at
	bytes := 0
	take := func(e Event) bool {
		if bytes += len(e.Message) + overhead; len(p.Events) > 0 && bytes > pageBytes {
			return false
		}
		p.Events = append(p.Events, e)
		return len(p.Events) < r.Limit
	}
	if backward {
		if err = bound(ctx, from, r.Until, &at, false); err != nil {
			return p, err
		}
		err = from.backward(ctx, at, func(e Event) bool { return !e.Time.Before(r.Since) && take(e) })
		slices.Reverse(p.Events)
	} else {
		if err = bound(ctx, from, r.Since, &at, true); err != nil {
			return p, err
		}
		err = from.forward(ctx, at, func(e Event) bool { return (r.Until.IsZero() || e.Time.Before(r.Until)) && take(e) })
	}
	if len(p.Events) > 0 {
		p.Start, p.Next = p.Events[0].At, p.Events[len(p.Events)-1].After
	}
	return p, err
}

// bound moves a place to t, forward or backward, unless it is beyond t already, so that
// what lies in between need not be read. A zero t bounds nothing.
func bound(ctx context.Context, in source, t time.Time, at *Place, forward bool) error {
	if t.IsZero() {
		return nil
	}
	edge, err := in.seek(ctx, t)
	if err == nil && at.Before(edge) == forward {
		*at = edge
	}
	return err
}
