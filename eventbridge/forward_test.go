package eventbridge

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/notice"
	"berth/task"
)

var here = task.Realm{Region: "eu-west-1", Account: "111122223333", Cluster: "default"}

// past is a Journal and Services in memory.
type past struct {
	mu       sync.Mutex
	tasks    []task.Event
	services []ServiceEvent
	grown    chan struct{}
}

func newPast() *past { return &past{grown: make(chan struct{})} }

func (p *past) grow() { close(p.grown); p.grown = make(chan struct{}) }

// run adds an event of a task in a realm that has that status.
func (p *past) run(in task.Realm, n int, status task.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := task.ID(fmt.Sprintf("%032x", n))
	version := int64(1)
	for _, ev := range p.tasks {
		if ev.Task.ID == id {
			version++
		}
	}
	p.tasks = append(p.tasks, task.Event{Seq: task.Seq(len(p.tasks) + 1), At: time.Now(), Task: task.Task{
		ARN: in.TaskARN(id), ID: id, ClusterARN: in.ClusterARN(), LastStatus: status, DesiredStatus: task.Running, Version: version,
	}})
	p.grow()
}

func (p *past) act(name, deployment string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.services) + 1
	p.services = append(p.services, ServiceEvent{
		Seq: int64(n), ID: fmt.Sprint("e", n), Realm: here, Service: "arn:aws:ecs:eu-west-1:111122223333:service/default/web", At: time.Now(),
		Name: name, Level: "INFO", Deployment: deployment, Reason: "because",
	})
	p.grow()
}

func (p *past) LastSeq(context.Context) (task.Seq, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return task.Seq(len(p.tasks)), nil
}

func (p *past) LastServiceEvent(context.Context) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(len(p.services)), nil
}

// tail yields what read returns behind a position, and waits for more.
func tail[T any](ctx context.Context, p *past, from int, read func() []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for at := from; ; {
			p.mu.Lock()
			more, grown := slices.Clone(read()[min(at, len(read())):]), p.grown
			p.mu.Unlock()
			for _, v := range more {
				if ctx.Err() != nil || !yield(v, nil) {
					return
				}
				at++
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (p *past) Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error] {
	return tail(ctx, p, int(seq), func() []task.Event { return p.tasks })
}

func (p *past) FollowServiceEvents(ctx context.Context, seq int64) iter.Seq2[ServiceEvent, error] {
	return tail(ctx, p, int(seq), func() []ServiceEvent { return p.services })
}

// memBook is a Book in memory, whose writes fail now and then.
type memBook struct {
	mu      sync.Mutex
	rules   map[string]Rule // by ID
	changed chan struct{}
	fails   func() bool
}

func newBook(rules ...Rule) *memBook {
	b := &memBook{rules: make(map[string]Rule), changed: make(chan struct{}), fails: func() bool { return false }}
	for _, r := range rules {
		b.rules[r.ID] = r
	}
	return b
}

func (b *memBook) EventRules(context.Context) ([]Rule, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.rules)), nil
}

func (b *memBook) RulesChanged() <-chan struct{} { b.mu.Lock(); defer b.mu.Unlock(); return b.changed }

func (b *memBook) NoteProgress(_ context.Context, id string, p Progress) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails() {
		return errors.New("disk full")
	}
	r, ok := b.rules[id]
	if !ok {
		return nil
	}
	p.At.Task, p.At.Service = max(p.At.Task, r.At.Task), max(p.At.Service, r.At.Service)
	r.Progress = p
	b.rules[id] = r
	return nil
}

func (b *memBook) rule(id string) Rule { b.mu.Lock(); defer b.mu.Unlock(); return b.rules[id] }

func (b *memBook) edit(f func(rules map[string]Rule)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.rules)
	close(b.changed)
	b.changed = make(chan struct{})
}

// start runs a forwarder until the returned function is called.
func start(t *testing.T, p *past, b *memBook, post func(notice.Letter) error) (end func()) {
	f := NewForwarder(Config{
		Feed: Feed{p, p}, Book: b, Log: zap.NewNop(), Now: time.Now, Jitter: func() float64 { return 0 },
		Post: func(ctx context.Context, l notice.Letter) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return post(l)
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func ids(t *testing.T, p *past, pattern string) (tasks, services []string) {
	t.Helper()
	want, err := ParsePattern(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.tasks {
		ev, err := OfTask(e)
		if err != nil {
			t.Fatal(err)
		}
		if e.Task.Realm().Account == here.Account && want.Matches(ev) {
			tasks = append(tasks, ev.ID)
		}
	}
	for _, e := range p.services {
		if ev, told, err := OfService(e); err != nil {
			t.Fatal(err)
		} else if told && want.Matches(ev) {
			services = append(services, ev.ID)
		}
	}
	return tasks, services
}

// Ensure that whatever fails, and whenever the server is killed, each event that a rule
// selects is delivered, in order, and none of another account; and that what is delivered
// twice is what was being delivered when it was killed or could not be written down.
func TestForwardThroughCrashes(t *testing.T) {
	const pattern = `{"detail":{"$or":[{"lastStatus":["STOPPED"]},{"eventName":[{"exists":true}]}]}}`
	for seed := range 40 {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				drawn := 0
				luck := func(one int) bool { // once in so many times
					h := fnv.New32a()
					fmt.Fprint(h, seed, drawn)
					drawn++
					return int(h.Sum32())%one == 0
				}
				p := newPast()
				b := newBook(Rule{Realm: here, Name: "r", ID: "r", Pattern: pattern, Webhook: "https://example.com"})
				b.fails = func() bool { return luck(5) }
				var got []string
				var mu sync.Mutex
				post := func(l notice.Letter) error {
					mu.Lock()
					defer mu.Unlock()
					if luck(4) {
						return errors.New("answered 500")
					}
					got = append(got, l.ID)
					if luck(6) {
						return errors.New("arrived, and nobody knows")
					}
					return nil
				}
				end := start(t, p, b, post)
				other := here
				other.Account = "999999999999"
				for i := range 60 {
					p.run(here, i, task.Running)
					p.run(here, i, task.Stopped)
					p.run(other, 1000+i, task.Stopped)
					if i%3 == 0 {
						p.act("SERVICE_STEADY_STATE", "")
						p.act("", "") // nobody is told
					}
					time.Sleep(7 * time.Second)
					if luck(8) {
						end()
						end = start(t, p, b, post)
					}
				}
				time.Sleep(20 * time.Hour)
				end()
				wantTasks, wantServices := ids(t, p, pattern)
				first := func(want []string) (order []string) { // of those, as they came first
					for _, id := range got {
						if slices.Contains(want, id) && !slices.Contains(order, id) {
							order = append(order, id)
						}
					}
					return order
				}
				if !slices.Equal(first(wantTasks), wantTasks) || !slices.Equal(first(wantServices), wantServices) {
					t.Errorf("delivered are %d of %d and %d of %d, or not in order", len(first(wantTasks)), len(wantTasks), len(first(wantServices)), len(wantServices))
				}
				for i, id := range got {
					if !slices.Contains(wantTasks, id) && !slices.Contains(wantServices, id) {
						t.Errorf("%s was not asked for", id)
					}
					for j := range i { // Between two deliveries of one event there is none of another of its kind.
						if got[j] == id && slices.ContainsFunc(got[j:i], func(o string) bool { return o != id && slices.Contains(wantTasks, o) == slices.Contains(wantTasks, id) }) {
							t.Errorf("event %d was delivered again after a later one", i)
						}
					}
				}
			})
		})
	}
}

// Ensure an event that nobody takes is given up after a day, with what was said, and the
// next one is tried; and that a rule that is set anew or removed stops.
func TestForwardGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, down, posts := newPast(), true, 0
		b := newBook(Rule{Realm: here, Name: "r", ID: "r", Webhook: "https://example.com"})
		defer start(t, p, b, func(notice.Letter) error {
			if posts++; down {
				return errors.New("answered 503 Service Unavailable")
			}
			return nil
		})()
		p.run(here, 1, task.Running)
		time.Sleep(23 * time.Hour)
		if r := b.rule("r"); r.Failure == "" || r.GivenUp != 0 || r.At.Task != 0 {
			t.Errorf("after 23 hours: %+v", r.Progress)
		}
		p.run(here, 2, task.Running)
		time.Sleep(6 * time.Hour)
		if r := b.rule("r"); r.GivenUp != 1 || r.At.Task != 1 || posts > 30 {
			t.Errorf("after 29 hours and %d posts: %+v", posts, r.Progress)
		}
		down = false
		time.Sleep(5 * time.Hour)
		if r := b.rule("r"); r.Delivered != 1 || r.At.Task != 2 || r.Failure != "" {
			t.Errorf("when it is back: %+v", r.Progress)
		}
		b.edit(func(rules map[string]Rule) { delete(rules, "r") })
		time.Sleep(time.Second)
		p.run(here, 3, task.Running)
		before := posts
		time.Sleep(time.Hour)
		if posts != before {
			t.Error("a rule that was removed posts")
		}
		b.edit(func(rules map[string]Rule) {
			rules["s"] = Rule{Realm: here, Name: "s", ID: "s", Webhook: "https://example.com"}
		})
		time.Sleep(time.Minute)
		if r := b.rule("s"); r.Delivered != 3 {
			t.Errorf("a rule from the beginning of all: %+v", r.Progress)
		}
	})
}
