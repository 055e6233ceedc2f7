package containerd

import (
	"context"
	"sync"

	"berth/task"
)

// locks is one lock per task, for the calls that make and remove things. The
// zero value is ready.
type locks struct {
	mu   sync.Mutex
	held map[task.ID]*lock
}

type lock struct {
	turn chan struct{} // holds a token while the lock is free
	want int           // callers that hold it or wait for it
}

// lock waits until nobody else holds the task, or ctx ends. The caller calls
// unlock when done.
func (l *locks) lock(ctx context.Context, id task.ID) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[task.ID]*lock)
	}
	k := l.held[id]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		k.turn <- struct{}{}
		l.held[id] = k
	}
	k.want++
	l.mu.Unlock()

	select {
	case <-k.turn:
		return func() {
			k.turn <- struct{}{}
			l.leave(id, k)
		}, nil
	case <-ctx.Done():
		l.leave(id, k)
		return nil, ctx.Err()
	}
}

func (l *locks) leave(id task.ID, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.want--; k.want == 0 {
		delete(l.held, id)
	}
}
