package billing

import (
	"context"
	"time"

	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// sample reads a task's counters every second until ctx ends.
func (m *Meter) sample(ctx context.Context, t task.Task, s *series) {
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	var g Gauge
	defer func() { m.release(t.ID, g) }()
	warned := false
	for ctx.Err() == nil {
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
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
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

// store writes what mts have sampled.
func (m *Meter) store(ctx context.Context, mts ...*metered) error {
	var all []Chunk
	pending := make([][]Chunk, len(mts))
	for i, mt := range mts {
		pending[i] = mt.series.pending()
		all = append(all, pending[i]...)
	}
	if len(all) == 0 {
		return nil
	}
	if err := m.Ledger.PutUsage(ctx, all); err != nil {
		return err
	}
	for i, mt := range mts {
		mt.series.stored(pending[i])
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
	hour := mt.task.Time(now).Truncate(time.Hour)
	return m.post(ctx, mt, func(c Cursor) (Cursor, []Entry) { return c.Advance(hour) })
}

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
