package userns

import (
	"hash/fnv"
	"sync"

	"berth/fault"
	"berth/task"
)

// Pool gives tasks their IDs. It is a copy of what the tasks' records say, which have to
// say it before it takes effect.
type Pool struct {
	mu   sync.Mutex
	held map[Range]task.ID
	next uint32 // number of the range that is tried first
}

// NewPool returns the pool of a server. Servers on one host begin at different places:
// they know nothing of one another, and two tasks with the same IDs are no further apart
// than containers with the host's IDs are.
func NewPool(instance string) *Pool {
	h := fnv.New32a()
	h.Write([]byte(instance))
	return &Pool{held: make(map[Range]task.ID), next: h.Sum32() % Ranges}
}

// Reserve gives the task IDs that are its own until Release. If there are none left, the
// error is fault.Exhausted.
func (p *Pool) Reserve(id task.ID) (Range, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range Ranges {
		r := Range(first + p.next*Size)
		p.next = (p.next + 1) % Ranges
		if _, held := p.held[r]; !held {
			p.held[r] = id
			return r, nil
		}
	}
	return 0, fault.New(fault.Exhausted, "all %d ranges of user IDs are in use", Ranges)
}

// Hold notes that the task has these IDs, as its record says; 0: it has none.
func (p *Pool) Hold(r Range, id task.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r != 0 {
		p.held[r] = id
	}
}

// Release takes back the IDs of a task, if it has any.
func (p *Pool) Release(id task.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r, holder := range p.held {
		if holder == id {
			delete(p.held, r)
		}
	}
}
