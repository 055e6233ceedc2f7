package cloudwatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/logs"
	"berth/task"
)

// Open makes the streams of the containers of t, a task of d, that log with awslogs:
// prefix/container/task. It is called before the containers are made, and can be repeated.
// If a group is not there that nothing asks to make, the error says so as Fargate does.
func (k *Keeper) Open(ctx context.Context, d task.Definition, t task.Task) error {
	for _, c := range d.ContainerDefinitions {
		l := c.LogConfiguration
		if l == nil || l.LogDriver != "awslogs" {
			continue
		}
		if err := k.open(ctx, t, c.Name, l.Options); err != nil {
			return fmt.Errorf("open log of container %s: %w", c.Name, err)
		}
	}
	return nil
}

func (k *Keeper) open(ctx context.Context, t task.Task, container string, options map[string]string) error {
	in := t.Realm()
	in.Region = options["awslogs-region"]
	name := options["awslogs-group"]
	g, err := k.Book.LogGroup(ctx, in, name)
	if fault.KindOf(err) == fault.NotFound && (k.MakeGroups || options["awslogs-create-group"] == "true") {
		err = k.Create(ctx, Group{Account: in.Account, Region: in.Region, Name: name})
		if err == nil || fault.KindOf(err) == fault.Conflict { // Somebody else made it.
			g, err = k.Book.LogGroup(ctx, in, name)
		}
	}
	if err == nil {
		err = k.Book.CreateLogStream(ctx, Stream{
			Group: g.ID, Name: StreamName(options["awslogs-stream-prefix"], container, t.ID), CreatedAt: k.now(), Task: t.ID, Container: container,
		})
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		return fault.Wrap(fault.NotFound, err, "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "+
			"failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1")
	case fault.Invalid:
		return fault.Wrap(fault.Invalid, err, "ResourceInitializationError: failed to validate logger args: InvalidParameterException: %s : exit status 1", fault.Message(err))
	case fault.Conflict: // Done already.
		return nil
	}
	return err
}

// StreamName is the name of a container's stream (ECS developer guide, "awslogs-stream-prefix").
func StreamName(prefix, container string, id task.ID) string {
	return fmt.Sprintf("%s/%s/%s", prefix, container, id)
}

// extent returns what the output of a container spans.
func (k *Keeper) extent(o output) (logs.Extent, error) {
	k.mu.Lock()
	e, known := k.extents[o]
	k.mu.Unlock()
	if known {
		return e, nil
	}
	e, err := k.Output.Lines(o.task, o.container).Extent()
	if err == nil && e.Complete {
		// A container that starts anew continues its log, but only while its task runs, in which
		// the mark of completeness is seldom there for long.
		k.mu.Lock()
		if len(k.extents) >= maxExtents {
			clear(k.extents)
		}
		k.extents[o] = e
		k.mu.Unlock()
	}
	return e, err
}

// maxExtents bounds what is remembered of complete logs: some 100 bytes each.
const maxExtents = 20_000

// forget makes that what a container's output spans is looked up again.
func (k *Keeper) forget(o output) {
	k.mu.Lock()
	delete(k.extents, o)
	k.mu.Unlock()
}

// fill sets what is known of a stream only by looking at its files.
func (k *Keeper) fill(g Group, s Stream) (Stream, error) {
	if s.Task != "" {
		e, err := k.extent(output{s.Task, s.Container})
		if err != nil {
			return s, err
		}
		s.First, s.Last, s.Ingested, s.Bytes = e.First, e.Last, e.Last, e.Bytes
	}
	cut := g.cutoff(k.Now())
	if s.Last.Before(cut) {
		s.First, s.Last = time.Time{}, time.Time{}
	} else if !s.First.IsZero() && s.First.Before(cut) {
		s.First = cut
	}
	return s, nil
}

// StoredBytes returns how many bytes a group keeps: of files and of the Book.
func (k *Keeper) StoredBytes(ctx context.Context, g Group) (int64, error) {
	sum := g.Stored
	for q := (StreamQuery{OfTasks: true, Limit: 1000}); ; {
		some, err := k.Book.LogStreams(ctx, g.ID, q)
		if err != nil {
			return 0, err
		}
		for _, s := range some {
			e, err := k.extent(output{s.Task, s.Container})
			if err != nil {
				return 0, err
			}
			sum += e.Bytes
		}
		if len(some) < q.Limit {
			return sum, nil
		}
		q.After = some[len(some)-1].Name
	}
}

// Streams returns the streams of a group by name, filled in.
func (k *Keeper) Streams(ctx context.Context, g Group, q StreamQuery) ([]Stream, error) {
	all, err := k.Book.LogStreams(ctx, g.ID, q)
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		if all[i], err = k.fill(g, s); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Latest returns the streams of a group in the order of their last events. It looks at
// every stream of the group.
func (k *Keeper) Latest(ctx context.Context, g Group, descending bool) ([]Stream, error) {
	var all []Stream
	for q := (StreamQuery{Limit: 1000}); ; q.After = all[len(all)-1].Name {
		some, err := k.Streams(ctx, g, q)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < q.Limit {
			break
		}
	}
	slices.SortStableFunc(all, func(a, b Stream) int {
		if descending {
			a, b = b, a
		}
		return a.Last.Compare(b.Last)
	})
	return all, nil
}

// sweepEvery is how often Run sweeps.
const sweepEvery = 10 * time.Minute

// Run sweeps now and then until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := k.Sweep(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("old log events not deleted", zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sweepBatch is how many events are deleted in one transaction, so that others can write
// in between.
const sweepBatch = 2000

// Sweep deletes what retentions and deletions leave to delete.
func (k *Keeper) Sweep(ctx context.Context) error {
	for n := sweepBatch; n == sweepBatch; {
		var err error
		if n, err = k.Book.PruneLogStreams(ctx, sweepBatch); err != nil {
			return err
		}
	}
	all, err := k.Book.AllLogGroups(ctx)
	if err != nil {
		return err
	}
	for _, g := range all {
		cut := g.cutoff(k.Now())
		for n := sweepBatch; n == sweepBatch; {
			if n, err = k.Book.PruneLogEvents(ctx, g.ID, cut, sweepBatch); err != nil {
				return err
			}
		}
		for q := (StreamQuery{OfTasks: true, Limit: 1000}); ; {
			some, err := k.Book.LogStreams(ctx, g.ID, q)
			if err != nil {
				return err
			}
			for _, s := range some {
				removed, err := k.Output.Lines(s.Task, s.Container).Expire(cut)
				if removed {
					k.forget(output{s.Task, s.Container})
				}
				if err != nil {
					k.Log.Warn("old log not deleted", zap.String("task", string(s.Task)), zap.Error(err))
				}
			}
			if len(some) < q.Limit {
				break
			}
			q.After = some[len(some)-1].Name
		}
	}
	return nil
}
