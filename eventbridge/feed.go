package eventbridge

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"

	"berth/fault"
	"berth/task"
)

// Journal says what happened to tasks.
type Journal interface {
	// LastSeq returns the position of the newest event, 0 if there is none.
	LastSeq(ctx context.Context) (task.Seq, error)

	// Follow yields every event after seq, in order, and then waits for more until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]
}

// Services says what happened to services.
type Services interface {
	// LastServiceEvent returns the position of the newest event, 0 if there is none.
	LastServiceEvent(ctx context.Context) (int64, error)

	// FollowServiceEvents yields every event after seq, in order, and then waits for more
	// until ctx ends.
	FollowServiceEvents(ctx context.Context, seq int64) iter.Seq2[ServiceEvent, error]
}

// Position is how far somebody has read: up to which event of tasks, and of services.
type Position struct {
	Task    task.Seq
	Service int64
}

// String returns p as ParsePosition reads it: 12-3.
func (p Position) String() string {
	return strconv.FormatUint(uint64(p.Task), 10) + "-" + strconv.FormatInt(p.Service, 10)
}

// ParsePosition reads a position. One number alone is that of tasks, with all that happened
// to services before it passed over from their beginning: 0 is the beginning of all.
func ParsePosition(text string) (Position, error) {
	tasks, services, both := strings.Cut(text, "-")
	n, err := strconv.ParseUint(tasks, 10, 63)
	if err != nil {
		return Position{}, fault.New(fault.Invalid, "%q is not a position, as in 12-3", text)
	}
	p := Position{Task: task.Seq(n)}
	if both {
		if p.Service, err = strconv.ParseInt(services, 10, 64); err != nil || p.Service < 0 {
			return Position{}, fault.New(fault.Invalid, "%q is not a position, as in 12-3", text)
		}
	}
	return p, nil
}

// Item is an event, and the position of whoever has read up to it.
type Item struct {
	Position
	Event
	None bool // there is no event at this position, only a position
}

// Feed is everything that happens to tasks and services.
type Feed struct {
	Journal  Journal
	Services Services // nil: there are none
}

// Last returns the position of who has read all.
func (f Feed) Last(ctx context.Context) (p Position, err error) {
	if p.Task, err = f.Journal.LastSeq(ctx); err != nil || f.Services == nil {
		return p, err
	}
	p.Service, err = f.Services.LastServiceEvent(ctx)
	return p, err
}

// news is an event of one of the two, and where it was there.
type news struct {
	task    task.Seq // 0: it is the other's
	service int64
	event   Event
	none    bool
	err     error
}

// Follow yields what happened after from, and then what happens, until ctx ends. What
// happened to tasks comes in its order, and what happened to services in its; between the
// two there is none, but each comes as soon as it is known. What ECS does not tell
// EventBridge comes as an Item that is None.
func (f Feed) Follow(ctx context.Context, from Position) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var both sync.WaitGroup
		defer both.Wait()
		defer cancel()
		all := make(chan news)
		send := func(n news) bool {
			select {
			case all <- n:
				return n.err == nil
			case <-ctx.Done():
				return false
			}
		}
		both.Go(func() {
			for ev, err := range f.Journal.Follow(ctx, from.Task) {
				n := news{task: ev.Seq, err: err}
				if err == nil {
					n.event, n.err = OfTask(ev)
				}
				if !send(n) {
					return
				}
			}
		})
		if f.Services != nil {
			both.Go(func() {
				for s, err := range f.Services.FollowServiceEvents(ctx, from.Service) {
					n := news{service: s.Seq, err: err}
					if err == nil {
						var told bool
						n.event, told, n.err = OfService(s)
						n.none = !told
					}
					if !send(n) {
						return
					}
				}
			})
		}
		at := from
		for {
			select {
			case <-ctx.Done():
				return
			case n := <-all:
				if n.err != nil {
					yield(Item{Position: at}, fmt.Errorf("follow events: %w", n.err))
					return
				}
				at.Task, at.Service = max(at.Task, n.task), max(at.Service, n.service)
				if !yield(Item{at, n.event, n.none}, nil) {
					return
				}
			}
		}
	}
}
