package billing

import (
	"context"
	"hash/crc32"
	"sync"
	"time"

	"berth/task"
)

// batches is how many times in a second tasks are sampled. Those of one batch are
// sampled one right after the other, which takes half of the time that it takes when
// a CPU wakes up for each of them; and a batch of a thousand tasks in all is over in
// a few milliseconds, so that it is in nobody's way.
const batches = 2

// pulse says when a task is to be sampled. It is safe for concurrent use; the zero
// value is ready.
type pulse struct {
	mu    sync.Mutex
	beats [batches]chan struct{}
	ended bool
}

// next returns a channel that is closed at the next beat of the task's batch, or when
// the pulse has ended.
func (p *pulse) next(id task.ID) <-chan struct{} {
	batch := crc32.ChecksumIEEE([]byte(id)) % batches
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.beats[batch] == nil {
		p.beats[batch] = make(chan struct{})
		if p.ended {
			close(p.beats[batch])
		}
	}
	return p.beats[batch]
}

// run beats, each batch once a second in turn, until ctx ends.
func (p *pulse) run(ctx context.Context) {
	tick := time.NewTicker(samplePeriod / batches)
	defer tick.Stop()
	defer p.end()
	for batch := 0; ; batch = (batch + 1) % batches {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		p.beat(batch)
		p.mu.Unlock()
	}
}

func (p *pulse) beat(batch int) {
	if beat := p.beats[batch]; beat != nil {
		close(beat)
		p.beats[batch] = nil
	}
}

// end lets nobody wait any more.
func (p *pulse) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for batch := range p.beats {
		p.beat(batch)
	}
}
