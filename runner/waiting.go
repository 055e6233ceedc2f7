package runner

import (
	"context"
	"time"

	"go.uber.org/zap"

	"berth/task"
)

// tellAfter is how long containers may wait for others before it is told what they wait
// for. Most do not wait that long, and what became of all is written down once.
const tellAfter = time.Second

// tell writes down what becomes of containers, and their health, while others wait for
// them, until ctx ends. Whoever looks sees then why the task does not run.
func (s *starter) tell(ctx context.Context) {
	sleep(ctx, tellAfter)
	known := s.t
	for ctx.Err() == nil {
		news, changed, health := s.news(known)
		if len(news) > 0 {
			next, err := s.r.Store.Advance(ctx, s.t.ID, task.Waiting(s.t.Time(s.r.Now()), news))
			if err != nil {
				if ctx.Err() == nil {
					s.r.Log.Warn("what a task waits for is not written down", zap.String("task", string(s.t.ID)), zap.Error(err))
				}
				sleep(ctx, tellAfter)
				continue
			}
			known = next
		}
		select {
		case <-changed:
		case <-health:
		case <-ctx.Done():
		}
	}
}

// noteEnd waits for the end of a container that is not essential, as long as others start,
// and notes it.
func (s *starter) noteEnd(ctx context.Context, p task.ContainerPlan) {
	exit, err := s.r.Runtime.Wait(ctx, s.t.ID, p.Name)
	s.mu.Lock()
	started := s.outcomes[p.Name].StartedAt
	s.mu.Unlock()
	if err != nil || p.Restarts(started, exit) { // It is started anew once the task runs.
		return
	}
	s.ended(p.Name, exit)
}

// news returns what became of containers and is not known yet, and channels one of which is
// closed when there is more.
func (s *starter) news(known task.Task) (news map[string]task.Outcome, changed, health <-chan struct{}) {
	_, health = s.health.health("", 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	news = make(map[string]task.Outcome)
	for name, o := range s.outcomes {
		c := known.Container(name)
		is, _ := s.health.health(name, 0)
		if is != "" && is != c.Health {
			o.Health = is
		}
		if c.StartedAt.IsZero() || o.Exit != nil && c.LastStatus != task.Stopped || o.Health != "" {
			news[name] = o
		}
	}
	return news, s.changed, health
}
