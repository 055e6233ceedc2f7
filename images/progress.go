package images

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/fault"
	"berth/task"
)

// The states of a pull.
const (
	resolving   = "RESOLVING"
	downloading = "DOWNLOADING"
	unpacking   = "UNPACKING"
	done        = "DONE"
	failed      = "FAILED"
)

const (
	watchEvery = 100 * time.Millisecond
	maxLanded  = 64 // how many pulls that ended a watcher can still learn of
)

// progress is how far one flight has come.
type progress struct {
	mu    sync.Mutex
	now   task.PullProgress
	ended bool
	keys  []string // how containerd calls the download of each layer
}

func (p *progress) begin(n name, at time.Time) {
	p.now = task.PullProgress{Image: n.String(), Digest: n.digest.String(), Status: resolving, Layers: []task.LayerProgress{}, StartedAt: at}
}

func (p *progress) started() time.Time { return p.now.StartedAt }

func (p *progress) resolved(desc ocispec.Descriptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.Digest, p.now.Status = desc.Digest.String(), downloading
}

// expect adds the blobs of an image.
func (p *progress) expect(ctx context.Context, blobs []ocispec.Descriptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range blobs {
		if p.find(b.Digest) < 0 {
			p.now.Layers = append(p.now.Layers, task.LayerProgress{Digest: b.Digest.String(), TotalBytes: b.Size})
			p.keys = append(p.keys, remotes.MakeRefKey(ctx, b))
		}
	}
}

// arrived notes that a blob is here.
func (p *progress) arrived(b ocispec.Descriptor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.find(b.Digest); i >= 0 {
		p.now.Layers[i].DoneBytes = p.now.Layers[i].TotalBytes
	}
}

func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if err != nil {
		p.now.Status, p.now.Reason = failed, fault.Message(err)
		if errors.Is(err, context.Canceled) {
			p.now.Reason = "no task wants it any more"
		}
		return
	}
	p.now.Status = done
	for i := range p.now.Layers {
		p.now.Layers[i].DoneBytes = p.now.Layers[i].TotalBytes
	}
}

func (p *progress) find(d digest.Digest) int {
	return slices.IndexFunc(p.now.Layers, func(l task.LayerProgress) bool { return l.Digest == d.String() })
}

// read returns the progress, with how much of each layer has come by arrived.
func (p *progress) read(ingested map[string]int64) task.PullProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now
	now.Layers = slices.Clone(p.now.Layers)
	waiting := len(now.Layers) == 0
	for i := range now.Layers {
		l := &now.Layers[i]
		l.DoneBytes = max(l.DoneBytes, min(ingested[p.keys[i]], l.TotalBytes))
		p.now.Layers[i].DoneBytes = l.DoneBytes
		waiting = waiting || l.DoneBytes < l.TotalBytes
		now.DoneBytes += l.DoneBytes
		now.TotalBytes += l.TotalBytes
	}
	if now.Status == downloading && !waiting {
		now.Status = unpacking
	}
	return now
}

// Progress returns how far the pulls have come that are under way.
func (s *Store) Progress(ctx context.Context) []task.PullProgress {
	var all []task.PullProgress
	for _, f := range s.pulls(ctx, nil) {
		if !f.ended {
			all = append(all, f.PullProgress)
		}
	}
	return all
}

// Watch yields how far pulls have come, each when it has changed, ten times a
// second at most, until ctx ends. It begins with those under way. The last that
// is said of a pull is DONE or FAILED.
func (s *Store) Watch(ctx context.Context) iter.Seq[task.PullProgress] {
	return func(yield func(task.PullProgress) bool) {
		told := make(map[uint64]task.PullProgress)
		s.mu.Lock()
		for _, f := range s.landed {
			told[f.number] = f.read(nil) // ended before anybody watched
		}
		s.mu.Unlock()
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			for _, f := range s.pulls(ctx, told) {
				if last, ok := told[f.number]; ok && same(last, f.PullProgress) {
					continue
				}
				if !yield(f.PullProgress) {
					return
				}
				told[f.number] = f.PullProgress
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
}

// pulled is the progress of one flight.
type pulled struct {
	task.PullProgress
	number uint64
	ended  bool
}

// pulls returns the flights, oldest first, without those of which told knows the
// end.
func (s *Store) pulls(ctx context.Context, told map[uint64]task.PullProgress) []pulled {
	s.mu.Lock()
	var all []*flight
	for _, f := range s.flights {
		all = append(all, f)
	}
	busy := len(all) > 0
	all = append(all, s.landed...)
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *flight) int { return int(a.number) - int(b.number) })

	var ingested map[string]int64
	if busy {
		// If containerd does not answer, what is known stays.
		if statuses, err := s.Client.ContentStore().ListStatuses(ctx); err == nil {
			ingested = make(map[string]int64, len(statuses))
			for _, st := range statuses {
				ingested[st.Ref] = st.Offset
			}
		}
	}
	var out []pulled
	for _, f := range all {
		if last := told[f.number].Status; last == done || last == failed {
			continue
		}
		now := f.read(ingested)
		out = append(out, pulled{now, f.number, now.Status == done || now.Status == failed})
	}
	return out
}

func same(a, b task.PullProgress) bool {
	return a.Status == b.Status && a.Digest == b.Digest && a.DoneBytes == b.DoneBytes && a.TotalBytes == b.TotalBytes &&
		slices.Equal(a.Layers, b.Layers)
}
