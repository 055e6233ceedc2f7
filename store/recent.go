package store

import (
	"fmt"
	"sync"

	"berth/task"
)

// recentMost is how many of the newest events followers need not read from the
// database. Some hundred tasks can change at once without anybody falling behind.
const recentMost = 1024

// told is an event in memory. Its task is decoded by the first follower who comes
// to it, and belongs to all of them: nobody may change it.
type told struct {
	seq  task.Seq
	at   int64
	task func() (task.Task, error)
}

func newTold(seq task.Seq, at int64, body string) told {
	return told{seq, at, sync.OnceValues(func() (task.Task, error) { return decode(body) })}
}

func (t told) event() (task.Event, error) {
	tk, err := t.task()
	if err != nil {
		return task.Event{}, fmt.Errorf("event %d: %w", t.seq, err)
	}
	return task.Event{Seq: t.seq, At: timeOf(t.at), Task: tk}, nil
}

// recent has the newest events, without a gap, as they are in the database. It
// spares every follower a query and a decoding for each event: a task makes eight,
// and the runner, the meter and whoever watches all follow.
type recent struct {
	mu     sync.Mutex
	events []told // never written over, so that who has a part of it can keep it
}

// add appends what a commit made durable.
func (r *recent) add(events []told) {
	if len(events) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.events); n > 0 && r.events[n-1].seq+1 != events[0].seq {
		r.events = nil
	}
	r.events = append(r.events, events...)
	if n := len(r.events); n > 2*recentMost {
		r.events = append([]told(nil), r.events[n-recentMost:]...)
	}
}

// forget makes followers ask the database again: it may have lost events, or have
// some that are not known to be there.
func (r *recent) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// after returns the events after seq. ok is false if only the database can tell.
func (r *recent) after(seq task.Seq) (events []told, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 || seq+1 < r.events[0].seq {
		return nil, false
	}
	skip := min(int(seq+1-r.events[0].seq), len(r.events))
	return r.events[skip:len(r.events):len(r.events)], true
}
