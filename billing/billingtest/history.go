package billingtest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/billing"
	"berth/fault"
	"berth/task"
)

// past is a billing.History in memory. It shares the mutex of Mem.
type past struct {
	chunks map[task.ID][]billing.Chunk
	rolled map[task.ID]billing.RollUp // Rolls: all minutes
	kept   map[time.Duration]time.Time
}

func (m *Mem) PutUsage(_ context.Context, chunks []billing.Chunk, rolls []billing.RollUp) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chunks == nil {
		m.chunks, m.rolled, m.kept = make(map[task.ID][]billing.Chunk), make(map[task.ID]billing.RollUp), make(map[time.Duration]time.Time)
	}
	for _, c := range chunks {
		c.Data = slices.Clone(c.Data)
		cs := m.chunks[c.Task]
		i, found := slices.BinarySearchFunc(cs, c, func(a, b billing.Chunk) int { return a.From.Compare(b.From) })
		if found {
			cs[i] = c
		} else {
			m.chunks[c.Task] = slices.Insert(cs, i, c)
		}
	}
	for _, up := range rolls {
		have := m.rolled[up.Task]
		if have.Closed || !up.Upto.At.After(have.Upto.At) {
			continue
		}
		all := slices.Clone(have.Rolls)
		for _, r := range up.Rolls {
			if !r.At.Before(have.Upto.At) {
				all = append(all, r)
			}
		}
		up.Rolls = all
		m.rolled[up.Task] = up
	}
	return nil
}

func (m *Mem) Usage(_ context.Context, id task.ID, from, to time.Time) ([]billing.Chunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var cs []billing.Chunk
	for _, c := range m.chunks[id] {
		if (from.IsZero() || !c.To.Before(from)) && (to.IsZero() || !c.From.After(to)) {
			cs = append(cs, c)
		}
	}
	return cs, nil
}

func (m *Mem) LastUsage(_ context.Context, id task.ID) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cs := m.chunks[id]; len(cs) > 0 {
		return cs[len(cs)-1].To, nil
	}
	return time.Time{}, nil
}

func (m *Mem) RolledUp(_ context.Context, id task.ID) (billing.RollUp, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	up, ok := m.rolled[id]
	if !ok {
		return up, fault.New(fault.NotFound, "nothing is rolled up of task %s", id)
	}
	up.Rolls = nil
	return up, nil
}

func (m *Mem) Rolls(_ context.Context, id task.ID, step time.Duration, from, to time.Time, limit int) ([]billing.Roll, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rolls := m.within(id, step, from, to)
	if limit > 0 && len(rolls) > limit {
		rolls = rolls[:limit]
	}
	return rolls, nil
}

// within returns the rolls of a task that begin in [from, to) and are kept.
func (m *Mem) within(id task.ID, step time.Duration, from, to time.Time) []billing.Roll {
	return slices.DeleteFunc(billing.Fold(m.rolled[id].Rolls, step), func(r billing.Roll) bool {
		return r.At.Before(from) || !to.IsZero() && !r.At.Before(to) || r.At.Add(step).Before(m.kept[step])
	})
}

func (m *Mem) RollSum(_ context.Context, id task.ID, step time.Duration, from, to time.Time) (billing.Roll, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := Sum(m.within(id, step, from, to))
	sum.MemoryBytes, sum.WorkingSetBytes, sum.PIDs, sum.StorageBytes = 0, 0, 0, 0
	return sum, nil
}

// Sum adds up rolls, the obvious way.
func Sum(rolls []billing.Roll) (sum billing.Roll) {
	for _, r := range rolls {
		r.At = time.Time{}
		if all := billing.Fold([]billing.Roll{sum, r}, billing.Hour); len(all) == 1 {
			sum = all[0]
		}
	}
	sum.At = time.Time{}
	return sum
}

func (m *Mem) UsageBy(_ context.Context, q billing.GroupQuery) ([]billing.GroupSum, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums, tasks := make(map[string]*billing.GroupSum), make(map[string]map[task.ID]bool)
	for id, up := range m.rolled {
		if q.Family != "" && up.Family != q.Family {
			continue
		}
		for _, r := range m.within(id, q.Step, q.From, q.To) {
			key := []string{}
			for _, by := range q.By {
				key = append(key, keyOf(by, up.Subject, r))
			}
			name := strings.Join(key, "\x00")
			if sums[name] == nil {
				sums[name], tasks[name] = &billing.GroupSum{Key: key}, make(map[task.ID]bool)
			}
			tasks[name][id] = true
			add(sums[name], up.Subject, r)
		}
	}
	var all []billing.GroupSum
	for name, s := range sums {
		if s.Tasks = int64(len(tasks[name])); q.After == nil || slices.Compare(s.Key, q.After) > 0 {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b billing.GroupSum) int { return slices.Compare(a.Key, b.Key) })
	return all[:min(len(all), q.Limit)], nil
}

func keyOf(by string, s billing.Subject, r billing.Roll) string {
	switch by {
	case "task":
		return string(s.Task)
	case "family":
		return s.Family
	case "definition":
		return s.Family + ":" + strconv.Itoa(s.Revision)
	case "day":
		return r.At.Format(time.DateOnly)
	}
	for _, t := range s.Tags {
		if t.Key == strings.TrimPrefix(by, "tag:") {
			return t.Value
		}
	}
	return ""
}

func add(g *billing.GroupSum, s billing.Subject, r billing.Roll) {
	millis := float64(r.Covered / time.Millisecond)
	g.Millis += millis
	g.ReservedCPU += millis * float64(s.Size.CPU)
	g.ReservedMemory += millis * float64(s.Size.Memory)
	g.ReservedStorage += millis * float64(s.Storage)
	g.CPUNanos += float64(r.CPUNanos)
	g.ThrottledNanos += float64(r.ThrottledNanos)
	g.MemoryByteMillis += float64(r.MemoryByteMillis)
	g.StorageByteMillis += float64(r.StorageByteMillis)
	g.ReadBytes += r.ReadBytes
	g.WriteBytes += r.WriteBytes
	g.RxBytes += r.RxBytes
	g.TxBytes += r.TxBytes
	g.OOMKills += r.OOMKills
	g.WorkingSetPeak = max(g.WorkingSetPeak, r.WorkingSetPeak)
	g.StoragePeak = max(g.StoragePeak, r.StoragePeak)
}

func (m *Mem) Forget(_ context.Context, step time.Duration, before time.Time, _ int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before.Before(m.kept[step]) {
		return 0, nil
	}
	n := 0
	for id, cs := range m.chunks {
		if step == billing.Second {
			kept := slices.DeleteFunc(slices.Clone(cs), func(c billing.Chunk) bool { return c.To.Before(before) })
			n += len(cs) - len(kept)
			m.chunks[id] = kept
		}
	}
	for id := range m.rolled {
		if step != billing.Second {
			n += len(m.within(id, step, time.Time{}, before.Add(-step)))
		}
	}
	if m.kept == nil {
		m.kept = make(map[time.Duration]time.Time)
	}
	m.kept[step] = before
	return n, nil
}

func (m *Mem) Kept(_ context.Context, step time.Duration) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[step], nil
}
