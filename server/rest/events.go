package rest

import (
	"context"
	"math"
	"strconv"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

type eventsIn struct {
	Task   *taskID `query:"task" doc:"Only this one; the stream begins with the task as it is and ends when it has stopped"`
	After  string  `query:"after" doc:"Begin after this event; 0 is the beginning of all. If left out: now"`
	LastID string  `header:"Last-Event-ID" doc:"As after; for browsers"`
}

// events streams the journal. A reader that comes back says how far it got and
// misses nothing.
func (s *server) events(ctx context.Context, in *eventsIn, out *stream[task.Event]) error {
	seq, given, err := in.position()
	if err != nil {
		return err
	}
	head, err := s.Journal.LastSeq(ctx) // before Task, so that nothing falls between them
	if err != nil {
		return err
	}
	if !given || seq > head { // A reader may be ahead of a journal that lost its tail.
		seq = head
	}
	end := task.Seq(math.MaxInt64) // where the journal says nothing more of the task
	if in.Task != nil {
		t, err := s.own(ctx, in.Task.ID)
		if err != nil {
			return err
		}
		if t.LastStatus.Final() {
			if end, err = s.Journal.LastSeq(ctx); err != nil {
				return err
			}
		}
		if !given {
			if err := out.send(id(head), "task", task.Event{Seq: head, At: s.Now(), Task: t}, nil); err != nil {
				return err
			}
			if t.LastStatus.Final() {
				return nil
			}
		}
	}
	if err := out.begin(); err != nil {
		return err
	}
	if seq >= end {
		return nil // A browser that has read the end comes back all the same.
	}
	for ev, err := range s.Journal.Follow(ctx, seq) {
		if err != nil {
			return err
		}
		if in.Task == nil && sees(ctx, ev.Task) || in.Task != nil && ev.Task.ID == in.Task.ID {
			if err := out.send(id(ev.Seq), "task", ev, nil); err != nil {
				return err
			}
			if in.Task != nil && ev.Task.LastStatus.Final() {
				return nil
			}
		}
		if ev.Seq >= end {
			return nil
		}
	}
	return nil
}

func (in *eventsIn) position() (seq task.Seq, given bool, err error) {
	text, field := in.LastID, api.LastEventID
	if text == "" {
		text, field = in.After, "after"
	}
	if text == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, false, fault.At(field, "%q is not the number of an event", text)
	}
	return task.Seq(n), true, nil
}

func id(seq task.Seq) string { return strconv.FormatUint(uint64(seq), 10) }
