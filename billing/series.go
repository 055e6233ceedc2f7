package billing

import (
	"slices"
	"sync"
	"time"

	"berth/task"
)

const (
	samplePeriod = time.Second
	// A sample nearer than this to the one before it would make two in a second.
	sampleGap = samplePeriod / 2
	// A chunk is begun afresh after two minutes: long enough that its first
	// sample, which is written in full, costs little, and short enough to be
	// rewritten whole at each flush.
	chunkSamples = 120
	// What the ledger does not take for so many chunks, four hours, is dropped.
	pendingChunks = 120
	// The same for minutes, after a day.
	pendingRolls = 24 * 60
)

// series is the samples of one task that may not be stored yet. Its methods are
// safe for concurrent use.
type series struct {
	id task.ID

	mu    sync.Mutex
	last  task.Sample // of all; a zero time if there is none
	ended bool        // no sample comes any more

	now    packer    // the chunk that grows
	from   time.Time // of its first sample
	n      int
	undo   state // now's state and length before the last sample
	length int
	dirty  bool    // now has samples that are not stored
	full   []Chunk // finished and not stored

	roller roller // has the samples before the last, which may yet be replaced
	rolls  []Roll // minutes that are over and not stored
	closed bool   // no minute comes any more
	marks  []mark // of the last minute
}

// add appends a sample, unless it comes too soon after the one before it.
func (s *series) add(at time.Time, c task.Counters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = at.Truncate(time.Millisecond).UTC()
	if s.ended || !s.last.At.IsZero() && at.Sub(s.last.At) < sampleGap {
		return
	}
	s.append(task.Sample{At: at, Counters: c})
}

// end appends the final reading of the counters; after it comes nothing. If the
// last sample is of the same second, the final one takes its place. Ending again
// changes nothing.
func (s *series) end(at time.Time, final *task.Counters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if final == nil {
		return
	}
	// A kernel without memory.peak (before 5.19) has us remember it, and the final
	// reading is of one who was not there before.
	reading := *final
	reading.MemoryPeakBytes = max(reading.MemoryPeakBytes, s.last.Counters.MemoryPeakBytes)
	final = &reading
	at = at.Truncate(time.Millisecond).UTC()
	if at.Sub(s.last.At) < sampleGap && !s.last.At.IsZero() {
		if s.last.Counters == *final {
			return
		}
		if s.n > 0 { // else it was stored before a restart and stays
			s.now.state, s.now.data = s.undo, s.now.data[:s.length]
			s.n--
		}
		if !at.After(s.last.At) {
			at = s.last.At.Add(time.Millisecond)
		}
	}
	s.append(task.Sample{At: at, Counters: *final})
}

// reached returns when the last sample was taken.
func (s *series) reached() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.At
}

func (s *series) append(sample task.Sample) {
	if s.n == chunkSamples {
		if s.dirty {
			s.full = append(s.full, s.finished())
		}
		if extra := len(s.full) - pendingChunks; extra > 0 {
			s.full = s.full[extra:]
		}
		s.now, s.n, s.from = packer{data: make([]byte, 0, cap(s.now.data))}, 0, time.Time{}
	}
	if s.from.IsZero() {
		s.from = sample.At
	}
	s.roll()
	s.undo, s.length = s.now.state, len(s.now.data)
	s.now.add(sample)
	s.n++
	s.last, s.dirty = sample, true
	s.note(sample)
}

// chunk returns the chunk that grows, as it is.
func (s *series) chunk() Chunk {
	return Chunk{Task: s.id, From: s.from, To: s.last.At, Samples: s.n, Data: s.now.data}
}

// finished returns the chunk that has grown, packed for good.
func (s *series) finished() Chunk {
	c := s.chunk()
	samples, err := Unpack(c.Data)
	if err != nil || len(samples) != c.Samples { // It cannot be; and as it is, nothing is lost.
		return c
	}
	c.Data = PackFinished(samples)
	return c
}

// resume says how far the minutes were made before.
func (s *series) resume(done RollUp) {
	s.roller, s.closed = newRoller(done.Upto), done.Closed
}

// roll takes the last sample into its minute.
func (s *series) roll() {
	if s.closed || s.last.At.IsZero() {
		return
	}
	if s.roller.upto.At.IsZero() { // It was not told where the charge begins.
		s.roller = newRoller(s.last)
	}
	s.rolls = append(s.rolls, s.roller.add(s.last)...)
	if extra := len(s.rolls) - pendingRolls; extra > 0 {
		s.rolls = s.rolls[extra:]
	}
}

// close ends the last minute with the charge. Closing again changes nothing.
func (s *series) close(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roll()
	if !s.closed {
		s.closed = true
		s.rolls = append(s.rolls, s.roller.close(at)...)
	}
}

// pendingRollUp returns the minutes that are not stored; false if there are none.
func (s *series) pendingRollUp(of Subject) (RollUp, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return RollUp{Subject: of, Upto: s.roller.edge, Closed: s.closed, Rolls: slices.Clone(s.rolls)}, len(s.rolls) > 0
}

// storedRolls notes that what pendingRollUp returned is in the ledger.
func (s *series) storedRolls(up RollUp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := up.Rolls[len(up.Rolls)-1].At
	s.rolls = slices.DeleteFunc(s.rolls, func(r Roll) bool { return !r.At.After(last) })
}

// pending returns what is not stored, oldest first. The last chunk may share
// its bytes with the series, which only appends to them.
func (s *series) pending() []Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	chunks := append([]Chunk(nil), s.full...)
	if s.dirty {
		c := s.chunk()
		if s.ended {
			c = s.finished()
		}
		c.Data = append([]byte(nil), c.Data...)
		chunks = append(chunks, c)
	}
	return chunks
}

// stored notes that chunks, which pending returned, are in the ledger.
func (s *series) stored(chunks []Chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range chunks {
		if len(s.full) > 0 && s.full[0].From.Equal(c.From) && s.full[0].Samples == c.Samples {
			s.full = s.full[1:]
		}
		if s.from.Equal(c.From) && s.n == c.Samples && s.last.At.Equal(c.To) {
			s.dirty = false
		}
	}
}
