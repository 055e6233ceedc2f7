package cloudwatch

import (
	"context"
	"time"

	"berth/fault"
	"berth/task"
)

// Limits of one PutLogEvents (CloudWatch Logs API, PutLogEvents).
const (
	maxBatchEvents = 10_000
	maxBatchBytes  = 1 << 20        // of messages, with overhead for each
	maxSpan        = 24 * time.Hour // between the first and the last event
	maxAge         = 14 * 24 * time.Hour
	maxAhead       = 2 * time.Hour
)

// Rejected says which events of a batch were not taken for their time: those before the
// index Old or Expired, and those from New on. -1 means none.
type Rejected struct{ Old, Expired, New int }

// None reports whether every event was taken.
func (r Rejected) None() bool { return r.Old < 0 && r.Expired < 0 && r.New < 0 }

// Put appends events, of which Time and Message are set, to a stream and returns when
// they are durable. They are in the order of their times. Events older than 14 days or than
// what the group keeps, and those more than two hours ahead, are left out and told. Putting
// the same events again keeps them twice, as CloudWatch does since 2023.
func (k *Keeper) Put(ctx context.Context, in task.Realm, group, stream string, es []Event) (Rejected, error) {
	r := Rejected{-1, -1, -1}
	g, err := k.Book.LogGroup(ctx, in, group)
	if err != nil {
		return r, err
	}
	s, err := k.Book.LogStream(ctx, g.ID, stream)
	if err != nil {
		return r, err
	}
	if s.Task != "" {
		return r, fault.At("logStreamName", "The log stream %.100q is the output of a task's container; nothing else can be put there", stream)
	}
	if err := fits(es); err != nil {
		return r, err
	}
	now := k.now()
	taken := make([]Event, 0, len(es))
	for i, e := range es {
		e.Ingested = now
		switch {
		case e.Time.After(now.Add(maxAhead)):
			if r.New < 0 {
				r.New = i
			}
		case e.Time.Before(g.cutoff(now)):
			r.Expired = i + 1
		case e.Time.Before(now.Add(-maxAge)):
			r.Old = i + 1
		default:
			taken = append(taken, e)
		}
	}
	if len(taken) == 0 {
		return r, nil
	}
	return r, k.Book.PutLogEvents(ctx, s.ID, taken)
}

// fits checks a batch against the API's limits.
func fits(es []Event) error {
	if len(es) == 0 || len(es) > maxBatchEvents {
		return fault.At("logEvents", "A batch has 1 to %d events, not %d", maxBatchEvents, len(es))
	}
	size := 0
	for i, e := range es {
		if e.Message == "" {
			return fault.At("logEvents", "Log event message must not be empty, as that at index %d is.", i)
		}
		if i > 0 && e.Time.Before(es[i-1].Time) {
			return fault.At("logEvents", "Log events in a single PutLogEvents request must be in chronological order.")
		}
		size += len(e.Message) + overhead
	}
	if size > maxBatchBytes {
		return fault.At("logEvents", "Upload too large: %d bytes exceeds limit of %d", size, maxBatchBytes)
	}
	if es[len(es)-1].Time.Sub(es[0].Time) > maxSpan {
		return fault.At("logEvents", "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}
