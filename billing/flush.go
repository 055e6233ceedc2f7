package billing

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// sample reads a task's counters every second until ctx ends; it may return up to a
// second after that, for to wait for two things at once costs a tenth of a reading.
func (m *Meter) sample(ctx context.Context, t task.Task, s *series) {
	var g Gauge
	defer func() { m.release(t.ID, g) }()
	warned := false
	for ctx.Err() == nil {
		next := m.pulse.next(t.ID)
		var err error
		if g == nil {
			g, err = m.Probe.Open(ctx, t.ID)
		}
		if err == nil {
			if err = m.observe(t, g, s); err != nil {
				m.release(t.ID, g)
				g = nil // It is opened afresh.
			}
		} else {
			g = nil
		}
		if err != nil && !warned && ctx.Err() == nil && fault.KindOf(err) != fault.NotFound {
			m.Log.Warn("counters not read, will be tried again", zap.String("task", string(t.ID)), zap.Error(err))
			warned = true
		}
		<-next
	}
}

// observe takes one sample.
func (m *Meter) observe(t task.Task, g Gauge, s *series) error {
	c, err := g.Read()
	if err != nil {
		return err
	}
	s.add(t.Time(m.Clock()), c)
	return nil
}

func (m *Meter) release(id task.ID, g Gauge) {
	if g == nil {
		return
	}
	if err := g.Close(); err != nil {
		m.Log.Warn("gauge not closed", zap.String("task", string(id)), zap.Error(err))
	}
}

// lastSample returns the last sample of a task in the ledger.
func (m *Meter) lastSample(ctx context.Context, id task.ID) (task.Sample, error) {
	at, err := m.Ledger.LastUsage(ctx, id)
	if err != nil || at.IsZero() {
		return task.Sample{}, err
	}
	chunks, err := m.Ledger.Usage(ctx, id, at, time.Time{})
	if err != nil {
		return task.Sample{}, err
	}
	samples, err := unpackAll(chunks)
	if err != nil || len(samples) == 0 {
		return task.Sample{At: at}, err
	}
	return samples[len(samples)-1], nil
}

// terms returns what charges of mt follow from: prices, its samples in the ledger,
// and what is closed.
func (m *Meter) terms(ctx context.Context, mt *metered) (Terms, error) {
	closed, err := m.Ledger.Closed(ctx)
	if err != nil {
		return Terms{}, err
	}
	start, from := mt.task.PullStartedAt, time.Time{}
	for _, c := range mt.cursors {
		if from.IsZero() || c.Measured.Before(from) {
			start, from = c.From, c.Measured
		}
	}
	samples, err := m.samplesFrom(ctx, mt.task.ID, start, from)
	return Terms{
		Prices: m.Prices, Closed: closed, Now: m.Clock().Wall,
		Used: func(k SKU, from, to time.Time) (int64, time.Time) { return Used(k, start, samples, from, to) },
	}, err
}

// samplesFrom returns the samples of a task in the ledger from a time on, and the
// one before that.
func (m *Meter) samplesFrom(ctx context.Context, id task.ID, start, from time.Time) ([]task.Sample, error) {
	near := from.Add(-samplesBack)
	chunks, err := m.Ledger.Usage(ctx, id, near, time.Time{})
	if err == nil && from.After(start) && near.After(start) && (len(chunks) == 0 || chunks[0].From.After(from)) {
		chunks, err = m.Ledger.Usage(ctx, id, time.Time{}, time.Time{}) // There is a gap, and the one before it is needed.
	}
	if err != nil {
		return nil, err
	}
	return unpackAll(chunks)
}

// samplesBack is how far before a time the sample before it is usually found.
const samplesBack = time.Minute

// resume lets a task's series go on where the ledger stands: after its last sample,
// and in the minute that was not over.
func (m *Meter) resume(ctx context.Context, t task.Task, s *series) error {
	last, err := m.lastSample(ctx, t.ID)
	if err != nil {
		return err
	}
	done, err := m.Ledger.RolledUp(ctx, t.ID)
	if fault.KindOf(err) == fault.NotFound {
		done.Upto, err = task.Sample{At: t.PullStartedAt}, nil
	}
	if err != nil {
		return err
	}
	s.resume(done)
	chunks, err := m.Ledger.Usage(ctx, t.ID, done.Upto.At, time.Time{})
	if err != nil {
		return err
	}
	for _, c := range chunks {
		samples, err := Unpack(c.Data)
		if err != nil {
			return err
		}
		for _, sample := range samples {
			s.roll()
			s.last = sample
		}
	}
	s.last = last
	return nil
}

// store writes what mts have sampled.
func (m *Meter) store(ctx context.Context, mts ...*metered) error {
	var all []Chunk
	pending := make([][]Chunk, len(mts))
	for i, mt := range mts {
		pending[i] = mt.series.pending()
		all = append(all, pending[i]...)
	}
	var rolls []RollUp
	rolled := make(map[*series]RollUp)
	for _, mt := range mts {
		if up, some := mt.series.pendingRollUp(mt.subject); some {
			rolled[mt.series] = up
			rolls = append(rolls, up)
		}
	}
	if len(all)+len(rolls) == 0 {
		return nil
	}
	if err := m.Ledger.PutUsage(ctx, all, rolls); err != nil {
		return err
	}
	for i, mt := range mts {
		mt.series.stored(pending[i])
	}
	for s, up := range rolled {
		s.storedRolls(up)
	}
	return nil
}

// flush makes durable what has been metered. The beat comes first: after a power
// cut a task is taken to have ended at the last beat, and the ledger must not
// have charged for longer.
func (m *Meter) flush(ctx context.Context) {
	now := m.Clock()
	report := func(what string, err error) bool {
		if err != nil && ctx.Err() == nil {
			m.Log.Error(what, zap.Error(err))
		}
		return err == nil
	}
	mts := m.all()
	report("usage not stored", m.store(ctx, mts...))
	if report("heartbeat not stored", m.Journal.Beat(ctx, now)) {
		for _, mt := range mts {
			report("hour not posted", m.postHour(ctx, mt, now))
		}
	}
	for _, s := range m.stuck {
		m.take(ctx, s.event)
	}
	if seq := m.position(); seq > m.noted && report("position not stored", m.Ledger.Post(ctx, seq, nil)) {
		m.noted = seq
	}
}

// postHour posts up to the last full hour of the clock.
func (m *Meter) postHour(ctx context.Context, mt *metered, now task.Instant) error {
	// A task of an earlier life of the host has ended, and the runner will say when.
	if !mt.task.StoppedAt.IsZero() || !mt.task.Clock.SameBoot(now) {
		return nil
	}
	mt, err := m.open(ctx, mt.task)
	if err != nil || mt == nil {
		return err
	}
	at := mt.task.Time(now)
	hour := at.Truncate(time.Hour)
	if !slices.ContainsFunc(mt.cursors, func(c Cursor) bool { return c.To.Before(hour) }) {
		return nil
	}
	if at.Sub(later(hour, mt.begun)) < samplePatience && mt.series.reached().Before(hour) {
		return nil
	}
	return m.post(ctx, mt, func(c Cursor, t Terms) (Cursor, []Entry, error) {
		c, entries := c.Advance(hour, t)
		return c, entries, nil
	})
}

// samplePatience is how long the entry of an hour waits for the sample that says
// what was used until the end of it.
const samplePatience = 30 * time.Second

// closing is how long a Meter that ends waits for slow gauges and for the ledger.
const closing = 2 * time.Second

// close makes durable what is there when Run ends.
func (m *Meter) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	quiet := make(chan struct{})
	go func() {
		m.samplers.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	m.flush(flushing)
}
