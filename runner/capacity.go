package runner

import (
	"context"
	"slices"
	"sync"

	"berth/task"
)

// capacity admits tasks to the host in the order in which they came. A task
// waits behind every earlier one, also behind one that is too large to fit now:
// otherwise a large task could wait for ever.
type capacity struct {
	total task.Size

	mu       sync.Mutex
	reserved task.Size
	held     map[task.ID]task.Size
	queue    []claim // oldest first
}

// claim is a task that waits.
type claim struct {
	id       task.ID
	size     task.Size
	admitted chan struct{} // closed when the task may go on
}

func newCapacity(total task.Size) *capacity {
	return &capacity{total: total, held: make(map[task.ID]task.Size)}
}

// enter lets a task in that this process sees for the first time: at the end of
// the queue if it has not been admitted yet, else straight away, since what it
// holds is a fact.
func (c *capacity) enter(t task.Task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.LastStatus != task.Provisioning {
		c.hold(t.ID, t.Size())
		return
	}
	c.queue = append(c.queue, claim{t.ID, t.Size(), make(chan struct{})})
	c.admit()
}

// wait returns when the task has been admitted, or with ctx's error.
func (c *capacity) wait(ctx context.Context, id task.ID) error {
	c.mu.Lock()
	i := slices.IndexFunc(c.queue, func(q claim) bool { return q.id == id })
	if i < 0 {
		c.mu.Unlock()
		return ctx.Err() // It holds its share already.
	}
	admitted := c.queue[i].admitted
	c.mu.Unlock()
	select {
	case <-admitted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives back what the task holds, or its place in the queue. Leaving twice
// is leaving once.
func (c *capacity) leave(id task.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.DeleteFunc(c.queue, func(q claim) bool { return q.id == id })
	if size, ok := c.held[id]; ok {
		delete(c.held, id)
		c.reserved.CPU -= size.CPU
		c.reserved.Memory -= size.Memory
	}
	c.admit()
}

func (c *capacity) load() (total, reserved task.Size, waiting int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total, c.reserved, len(c.queue)
}

// admit lets in from the head of the queue what fits. The caller holds mu.
func (c *capacity) admit() {
	n := 0
	for _, q := range c.queue {
		if c.reserved.CPU+q.size.CPU > c.total.CPU || c.reserved.Memory+q.size.Memory > c.total.Memory {
			break
		}
		c.hold(q.id, q.size)
		close(q.admitted)
		n++
	}
	c.queue = slices.Delete(c.queue, 0, n)
}

// hold reserves size for the task, once. The caller holds mu.
func (c *capacity) hold(id task.ID, size task.Size) {
	if _, ok := c.held[id]; ok {
		return
	}
	c.held[id] = size
	c.reserved.CPU += size.CPU
	c.reserved.Memory += size.Memory
}

// forecast returns how many of count tasks of that size would be admitted at once if
// they came now, and why not more.
func (c *capacity) forecast(size task.Size, count int) task.Forecast {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := task.Forecast{Ahead: len(c.queue), Total: c.total, Reserved: c.reserved}
	if free := f.Free(); f.Ahead == 0 && size.CPU > 0 && size.Memory > 0 {
		f.StartNow = min(count, free.CPU/size.CPU, free.Memory/size.Memory)
	}
	return f
}
