package billing

import (
	"context"
	"iter"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// Journal is where a Meter learns what happens to tasks.
type Journal interface {
	// Follow yields every event after seq, in order, and then waits for more
	// until ctx ends.
	Follow(ctx context.Context, seq task.Seq) iter.Seq2[task.Event, error]

	// Unfinished returns the tasks that have not stopped.
	Unfinished(ctx context.Context) ([]task.Task, task.Seq, error)

	// Task returns a task. One that does not exist is fault.NotFound.
	Task(ctx context.Context, id task.ID) (task.Task, error)

	// Beat notes durably that the server lives.
	Beat(ctx context.Context, now task.Instant) error
}

// Probe opens the counters of tasks.
type Probe interface {
	// Open opens a task's counters. If it has none now, that is fault.NotFound.
	Open(ctx context.Context, id task.ID) (Gauge, error)
}

// Gauge reads the counters of one task, from one goroutine at a time.
type Gauge interface {
	Read() (task.Counters, error)
	Close() error
}

// Config is what NewMeter needs. All fields are required.
type Config struct {
	Journal Journal
	Ledger  Ledger
	Probe   Probe
	Prices  Prices
	Clock   func() task.Instant
	Log     *zap.Logger
}

// flushPeriod is how often what was metered is made durable. It is the longest
// time that a power cut can take out of a bill or a series.
const flushPeriod = 5 * time.Second

// Meter watches tasks and writes down what they use and what they cost.
//
// It only adds up: what a task costs follows from its time stamps, so a meter
// that was away misses samples and no money. Each task is sampled by a goroutine
// of its own; one whose counters are slow to read delays nobody else.
type Meter struct {
	Config

	mu    sync.Mutex
	tasks map[task.ID]*metered

	// The rest belongs to Run.
	seen     task.Seq // the newest event that was handled or is stuck
	noted    task.Seq // the position that the ledger knows
	stuck    map[task.ID]stuck
	samplers sync.WaitGroup
	pulse    pulse
}

// metered is a task whose charge runs.
type metered struct {
	series  *series
	subject Subject            // of task; changed under the Meter's mutex
	stop    context.CancelFunc // its sampler
	begun   time.Time          // when sampling began, on the task's time line
	task    task.Task          // belongs to Run, as do cursors
	cursors []Cursor           // nil: to be read from the ledger
}

// stuck is a task of which events could not be handled yet: the newest, which
// says everything, and where the first is in the journal.
type stuck struct {
	event task.Event
	since task.Seq
}

// NewMeter returns a Meter. Nothing is metered until Run.
func NewMeter(c Config) *Meter {
	return &Meter{Config: c, tasks: make(map[task.ID]*metered), stuck: make(map[task.ID]stuck)}
}

// Run meters until ctx ends; then it makes durable what it has and returns nil.
// It begins where the last Run, of this process or an earlier one, stood. An
// error is only returned if it cannot begin. Of two Runs on one ledger each
// second is still charged once.
func (m *Meter) Run(ctx context.Context) error {
	seq, err := m.Ledger.Position(ctx)
	if err != nil {
		return err
	}
	open, _, err := m.Journal.Unfinished(ctx)
	if err != nil {
		return err
	}
	m.seen, m.noted = seq, seq
	defer m.close(ctx)
	m.samplers.Go(func() { m.pulse.run(ctx) })
	for _, t := range open {
		m.take(ctx, task.Event{Seq: seq, Task: t})
	}
	m.flush(ctx)

	events := make(chan task.Event)
	following := make(chan struct{})
	go func() {
		defer close(following)
		m.follow(ctx, seq, events)
	}()
	defer func() { <-following }()
	tick := time.NewTicker(flushPeriod)
	defer tick.Stop()
	for {
		select {
		case ev := <-events:
			m.take(ctx, ev)
		case <-tick.C:
			m.flush(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// follow sends what the journal tells after seq until ctx ends.
func (m *Meter) follow(ctx context.Context, seq task.Seq, events chan<- task.Event) {
	for ctx.Err() == nil {
		for ev, err := range m.Journal.Follow(ctx, seq) {
			if err != nil {
				m.Log.Error("journal not read", zap.Error(err))
				break
			}
			select {
			case events <- ev:
				seq = ev.Seq
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// take handles an event. One that cannot be handled now is tried again at each
// flush, and the position in the journal stays before it meanwhile, so that a
// restart does not lose it; events of other tasks pass it.
func (m *Meter) take(ctx context.Context, ev task.Event) {
	m.seen = max(m.seen, ev.Seq)
	err := m.handle(ctx, ev.Task)
	if fault.KindOf(err) == fault.Conflict { // Somebody moved a cursor: look where it is.
		err = m.handle(ctx, ev.Task)
	}
	if err == nil {
		delete(m.stuck, ev.Task.ID)
		return
	}
	if ctx.Err() == nil {
		m.Log.Error("charge not posted, will be tried again", zap.String("task", string(ev.Task.ID)), zap.Uint64("event", uint64(ev.Seq)), zap.Error(err))
	}
	s, again := m.stuck[ev.Task.ID]
	if !again {
		s.since = ev.Seq
	}
	s.event = ev
	m.stuck[ev.Task.ID] = s
}

// position returns up to where every event was handled, leaving out the one
// that is being handled.
func (m *Meter) position() task.Seq {
	seq := m.seen
	for _, s := range m.stuck {
		seq = min(seq, max(s.since, 1)-1)
	}
	return max(seq, m.noted)
}

// handle does what the state of t calls for. It can be repeated.
func (m *Meter) handle(ctx context.Context, t task.Task) error {
	if t.PullStartedAt.IsZero() {
		return nil
	}
	mt, err := m.open(ctx, t)
	if err != nil || mt == nil {
		return err
	}
	if !t.ExecutionStoppedAt.IsZero() {
		mt.stop()
		mt.series.end(t.ExecutionStoppedAt, t.Usage)
	}
	if t.StoppedAt.IsZero() {
		return nil
	}
	mt.stop()
	mt.series.close(t.StoppedAt)
	// The samples first: a task whose charge is closed is not looked at again.
	if err := m.store(ctx, mt); err != nil {
		return err
	}
	if err := m.post(ctx, mt, func(c Cursor, terms Terms) (Cursor, []Entry, error) {
		var past []Entry
		if c.NeedsPast(t.StoppedAt) {
			var err error
			if past, err = m.Ledger.Entries(ctx, t.ID); err != nil {
				return c, nil, err
			}
		}
		c, entries := c.Close(t.StoppedAt, terms, past)
		return c, entries, nil
	}); err != nil {
		return err
	}
	m.forget(t.ID)
	return nil
}

// open returns t as a metered task, whose charge it begins if nobody has yet;
// nil if the charge has ended.
func (m *Meter) open(ctx context.Context, t task.Task) (*metered, error) {
	mt := m.find(t.ID)
	if mt != nil && mt.cursors != nil {
		if t.Version > mt.task.Version {
			m.mu.Lock()
			mt.task, mt.subject = t, SubjectOf(t)
			m.mu.Unlock()
		}
		return mt, nil
	}
	cursors, err := m.Ledger.Cursors(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if Closed(cursors) {
		m.forget(t.ID)
		return nil, nil
	}
	if len(cursors) == 0 {
		cursors = Open(t, m.Prices)
		var moves []Move
		for _, c := range cursors {
			moves = append(moves, Move{New: c})
		}
		if err := m.Ledger.Post(ctx, m.noted, moves); err != nil {
			return nil, err
		}
	}
	if mt != nil {
		mt.cursors = cursors
		return mt, nil
	}
	mt = &metered{task: t, subject: SubjectOf(t), cursors: cursors, series: &series{id: t.ID}, stop: func() {}, begun: t.Time(m.Clock())}
	if err := m.resume(ctx, t, mt.series); err != nil {
		return nil, err
	}
	if t.ExecutionStoppedAt.IsZero() {
		var life context.Context
		life, mt.stop = context.WithCancel(ctx)
		m.samplers.Go(func() { m.sample(life, t, mt.series) })
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[t.ID] = mt
	return mt, nil
}

// Closed reports whether the whole charge that cursors are of is closed.
func Closed(cs []Cursor) bool {
	for _, c := range cs {
		if !c.Closed {
			return false
		}
	}
	return len(cs) > 0
}

// post moves the cursors of mt that f moves.
func (m *Meter) post(ctx context.Context, mt *metered, f func(Cursor, Terms) (Cursor, []Entry, error)) error {
	terms, err := m.terms(ctx, mt)
	if err != nil {
		return err
	}
	var moves []Move
	next := make([]Cursor, len(mt.cursors))
	for i, c := range mt.cursors {
		var entries []Entry
		if next[i], entries, err = f(c, terms); err != nil {
			return err
		}
		if next[i] != c {
			moves = append(moves, Move{Old: c, New: next[i], Entries: entries})
		}
	}
	if len(moves) == 0 {
		return nil
	}
	if err := m.Ledger.Post(ctx, m.noted, moves); err != nil {
		mt.cursors = nil // Whether it took effect is not known.
		return err
	}
	mt.cursors = next
	return nil
}

func (m *Meter) find(id task.ID) *metered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tasks[id]
}

func (m *Meter) all() []*metered {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*metered
	for _, mt := range m.tasks {
		all = append(all, mt)
	}
	return all
}

func (m *Meter) forget(id task.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mt := m.tasks[id]; mt != nil {
		mt.stop()
		delete(m.tasks, id)
	}
}
