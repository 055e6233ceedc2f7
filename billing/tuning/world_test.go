package tuning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/billing"
	"berth/billing/estimate"
	"berth/billing/history"
	"berth/fault"
	"berth/task"
)

// world is a server in memory: tasks whose lives follow from the clock, their bills, and
// what is kept of tunings. It survives the death of the process.
type world struct {
	now     time.Time
	ids     int
	tasks   map[task.ID]*life
	tokens  map[string]task.ID
	kept    sync.Mutex // of what follows
	tunings map[ID]Tuning
	runs    map[ID][]Run

	// fate says how the task of a token will go.
	fate func(r task.Run) fate

	// luck is asked before and after each write and each submission: an error is the end
	// of the process there.
	luck func(at string) error

	refuse  error         // what Submit fails with
	largest task.Size     // that fits
	high    time.Duration // that a run is thought to take at most
	lag     time.Duration // between the end of a task and its final bill
}

// fate is how a task goes if nobody stops it.
type fate struct {
	queue, pull, run time.Duration
	code             int
	oom, noStart     bool
	dying            time.Duration // how long it takes to stop
}

// life is a task.
type life struct {
	task.Task
	fate
	asked time.Time // to stop
}

var errDied = errors.New("the process died")

var epoch = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func newWorld() *world {
	return &world{
		now: epoch, tasks: make(map[task.ID]*life), tokens: make(map[string]task.ID), tunings: make(map[ID]Tuning), runs: make(map[ID][]Run),
		fate:    func(task.Run) fate { return fate{run: time.Second} },
		luck:    func(string) error { return nil },
		high:    5 * time.Minute,
		largest: task.Size{CPU: 4096, Memory: 8192},
	}
}

// tuner is a new process.
func (w *world) tuner() *Tuner {
	return New(Config{
		Tasks: w, Journal: w, Meter: w, Book: w, Quote: w.quote, Price: w.price, Log: zap.NewNop(),
		Now: func() time.Time { return w.now }, NewID: func() ID { w.ids++; return ID(fmt.Sprintf("%032x", w.ids)) },
	})
}

func (w *world) price(_ context.Context, t task.Task, d time.Duration) (billing.Money, error) {
	return estimate.Total(billing.ShapeOf(t), billing.BuiltIn(), d)
}

func (w *world) quote(ctx context.Context, t task.Task) (history.Quote, error) {
	expected, _ := w.price(ctx, t, 2*time.Minute)
	high, err := w.price(ctx, t, w.high)
	return history.Quote{Expected: expected, High: high}, err
}

func (w *world) Preview(_ context.Context, r task.Run) (task.Definition, []task.Task, error) {
	d := task.Definition{Family: "job", CPU: "512", Memory: "1024", ContainerDefinitions: []task.ContainerDefinition{{Name: "main", Image: "x"}}}
	d.ARN = "arn:aws:ecs:us-east-1:000000000000:task-definition/job:7"
	if r.Definition == "gone" {
		return task.Definition{}, nil, fault.New(fault.NotFound, "no task definition gone")
	}
	if err := r.Validate(); err != nil {
		return d, nil, err
	}
	r.Realm = task.Realm{Region: "us-east-1", Account: "000000000000", Cluster: "default"}
	t, err := task.New(d, r, task.ID(fmt.Sprintf("%032x", len(w.tasks)+1)), task.Instant{Wall: w.now})
	if err != nil {
		return d, nil, err
	}
	if s := t.Size(); s.CPU > w.largest.CPU || s.Memory > w.largest.Memory {
		return d, nil, fault.New(fault.Exhausted, "RESOURCE:CPU: the host has %s", w.largest)
	}
	return d, []task.Task{t}, nil
}

func (w *world) Submit(ctx context.Context, r task.Run) ([]task.Task, error) {
	if err := w.luck("before submit"); err != nil {
		return nil, err
	}
	if id, ok := w.tokens[r.Token]; ok {
		return []task.Task{w.tasks[id].at(w.now)}, nil
	}
	if w.refuse != nil {
		return nil, w.refuse
	}
	_, ts, err := w.Preview(ctx, r)
	if err != nil {
		return nil, err
	}
	w.tokens[r.Token], w.tasks[ts[0].ID] = ts[0].ID, &life{Task: ts[0], fate: w.fate(r)}
	if err := w.luck("after submit"); err != nil {
		return nil, err
	}
	return ts, nil
}

func (w *world) Stop(_ context.Context, id task.ID, _ string) (task.Task, error) {
	l := w.tasks[id]
	if l.asked.IsZero() {
		l.asked = w.now
	}
	return l.at(w.now), nil
}

func (w *world) Task(_ context.Context, id task.ID) (task.Task, error) {
	l, ok := w.tasks[id]
	if !ok {
		return task.Task{}, fault.New(fault.NotFound, "no task %s", id)
	}
	return l.at(w.now), nil
}

func (w *world) StartedBy(_ context.Context, by string) (all []task.Task, err error) {
	for _, l := range w.tasks {
		if l.StartedBy == by {
			all = append(all, l.at(w.now))
		}
	}
	return all, nil
}

func (w *world) Bill(ctx context.Context, id task.ID) (billing.Bill, error) {
	t := w.tasks[id].at(w.now)
	b := billing.Bill{Status: billing.StatusOpen}
	switch {
	case t.LastStatus.Final() && !w.now.Before(t.StoppedAt.Add(w.lag)):
		b.Status = billing.StatusFinal
		if !t.PullStartedAt.IsZero() {
			d := t.StoppedAt.Sub(t.PullStartedAt)
			b.Total, _ = w.price(ctx, t, d)
			b.BilledSeconds = int64(billing.Billed(d) / time.Second)
		}
	case !t.PullStartedAt.IsZero(): // As long as it goes on, the minimum is not posted.
		d := w.now.Sub(t.PullStartedAt)
		least, _ := w.price(ctx, t, time.Minute)
		more, _ := w.price(ctx, t, time.Minute+d)
		b.Total = more - least
	}
	return b, nil
}

// at returns the task as it is at a time.
func (l *life) at(now time.Time) task.Task {
	t := l.Task.Clone()
	t.LastStatus, t.DesiredStatus = task.Provisioning, task.Running
	stopped := func(at time.Time) bool { return !l.asked.IsZero() && !at.Before(l.asked) }
	leave := func(by time.Time, code, reason string) task.Task {
		t.DesiredStatus, t.StopCode, t.StoppedReason, t.StoppingAt = task.Stopped, code, reason, by
		if t.LastStatus, t.ExecutionStoppedAt = task.Stopping, by; !now.Before(by.Add(l.dying)) {
			t.LastStatus, t.StoppedAt = task.Stopped, by.Add(l.dying)
			t.Usage = &task.Counters{Periods: 10, ThrottledPeriods: 5, MemoryPeakBytes: 1 << 20}
		}
		return t
	}
	pulling := t.CreatedAt.Add(l.queue)
	if stopped(pulling) {
		return leave(l.asked, task.UserInitiated, "stopped")
	}
	if now.Before(pulling) {
		return t
	}
	t.LastStatus, t.PullStartedAt = task.Pending, pulling
	started := pulling.Add(l.pull)
	if stopped(started) {
		return leave(l.asked, task.UserInitiated, "stopped")
	}
	if now.Before(started) {
		return t
	}
	if l.noStart {
		return leave(started, task.FailedToStart, "CannotPullContainerError")
	}
	t.LastStatus, t.PullStoppedAt, t.StartedAt = task.Running, started, started
	end := started.Add(l.run)
	if due := started.Add(time.Duration(t.Timeout) * time.Second); due.Before(end) && !stopped(due) && !now.Before(due) {
		return leave(due, task.UserInitiated, "timeout")
	}
	if stopped(end) {
		return leave(l.asked, task.UserInitiated, "stopped")
	}
	if now.Before(end) {
		return t
	}
	code := l.code
	if t.Containers[0].ExitCode = &code; l.oom {
		t.Containers[0].Reason = task.ReasonOutOfMemory
	}
	return leave(end, task.EssentialExited, task.ReasonEssentialExited)
}

func (w *world) PutTuning(_ context.Context, u Tuning, runs ...Run) error {
	if err := w.luck("before write"); err != nil {
		return err
	}
	w.kept.Lock()
	defer w.kept.Unlock()
	if u.Version != w.tunings[u.ID].Version+1 {
		return fault.New(fault.Conflict, "version %d after %d", u.Version, w.tunings[u.ID].Version)
	}
	u.Sizes = slices.Clone(u.Sizes)
	w.tunings[u.ID] = u
	have := slices.Clone(w.runs[u.ID])
	for _, r := range runs {
		i := slices.IndexFunc(have, func(o Run) bool { return o.Size == r.Size && o.N == r.N && o.Attempt == r.Attempt })
		if i < 0 {
			if have = append(have, r); u.Spent+held(have) > u.MaxCost {
				return fmt.Errorf("%s are spent, %s are held and %s are possible", u.Spent, held(have), u.MaxCost)
			}
			continue
		}
		if have[i].State == Ended {
			return fmt.Errorf("run %s/%d has ended", r.Size, r.N)
		}
		have[i] = r
	}
	w.runs[u.ID] = have
	return w.luck("after write")
}

func held(runs []Run) (sum billing.Money) {
	for _, r := range runs {
		sum += r.Held
	}
	return sum
}

func (w *world) Tuning(_ context.Context, id ID) (Tuning, []Run, error) {
	w.kept.Lock()
	defer w.kept.Unlock()
	u, ok := w.tunings[id]
	if !ok {
		return u, nil, fault.New(fault.NotFound, "no tuning %s", id)
	}
	u.Sizes = slices.Clone(u.Sizes)
	return u, slices.Clone(w.runs[id]), nil
}

func (w *world) Tunings(_ context.Context, limit int, before ID) ([]Tuning, error) {
	w.kept.Lock()
	defer w.kept.Unlock()
	all := []Tuning{}
	for i := w.ids; i > 0; i-- {
		id := ID(fmt.Sprintf("%032x", i))
		if u, ok := w.tunings[id]; ok && (before == "" || id < before) && len(all) < limit {
			all = append(all, u)
		}
	}
	return all, nil
}

func (w *world) Unended(ctx context.Context) ([]Tuning, error) {
	all, err := w.Tunings(ctx, w.ids, "")
	slices.Reverse(all)
	return slices.DeleteFunc(all, func(u Tuning) bool { return u.Status.Ended() }), err
}

func (w *world) RemoveTuning(_ context.Context, id ID) error {
	delete(w.tunings, id)
	delete(w.runs, id)
	return nil
}

// cost returns what all tasks of a tuning cost, by the final bills.
func (w *world) cost(id ID) (sum billing.Money) {
	for _, l := range w.tasks {
		if l.StartedBy == StartedBy(id) {
			b, err := w.Bill(context.Background(), l.ID)
			if err != nil {
				panic(err) // A bill that is missing would make a tuning look cheaper.
			}
			sum += b.Total
		}
	}
	return sum
}

// going counts the tasks that have not stopped.
func (w *world) going() (n int) {
	for _, l := range w.tasks {
		if !l.at(w.now).LastStatus.Final() {
			n++
		}
	}
	return n
}

// cpuOf returns the CPU units of a run.
func cpuOf(r task.Run) int { n, _ := strconv.Atoi(r.Overrides.CPU); return n }
