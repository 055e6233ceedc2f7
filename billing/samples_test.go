package billing

import (
	"context"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"berth/task"
)

func TestPack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var in []task.Sample
		for range rapid.IntRange(0, 20).Draw(rt, "samples") {
			var v [fields]uint64
			for i := range v {
				v[i] = rapid.Uint64().Draw(rt, "value") &^ rapid.SampledFrom([]uint64{0, 4095}).Draw(rt, "page")
			}
			v[0] %= 1 << 45 // a time that has a year
			in = append(in, sampleOf(v))
		}
		out, err := Unpack(Pack(in))
		if err != nil || len(in)+len(out) > 0 && !reflect.DeepEqual(in, out) {
			rt.Fatalf("%v came back as %v, %v", in, out, err)
		}
	})
}

// Ensure what was packed before there was a field for storage is read as it was.
func TestUnpackFirstForm(t *testing.T) {
	got, err := Unpack([]byte{1, 1 << 0, 0, 0xd0, 0x0f, 0, 2, 6})
	if err != nil {
		t.Fatal(err)
	}
	want := []task.Sample{{At: time.UnixMilli(1000).UTC()}, {At: time.UnixMilli(1000).UTC(), Counters: task.Counters{PIDs: 3}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := Unpack([]byte{1, 0}); err == nil {
		t.Error("half a mask is one")
	}
}

// FuzzUnpack feeds it what is not packed samples: it must say so or make some.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Add(Pack(busy(5)))
	f.Add(packColumns(busy(5)))
	f.Add(packColumns(idle(30)))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, err := Unpack(data)
		if err != nil {
			return
		}
		if len(samples) > max(len(data), columnSamples) {
			t.Fatalf("%d samples in %d bytes", len(samples), len(data))
		}
	})
}

// busy is n samples of a throttled task that reads, writes and talks, with the
// noise that counters have.
func busy(n int) []task.Sample {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	var c task.Counters
	var all []task.Sample
	for range n {
		c.CPUNanos += 250_000_000 + r.Uint64N(4_000)*1000
		c.ThrottledNanos += 700_000_000 + r.Uint64N(8_000)*1000
		c.Periods += 10
		c.ThrottledPeriods += 9 + r.Uint64N(2)
		c.MemoryBytes = 100<<20 + 4096*r.Uint64N(64)
		c.WorkingSetBytes = c.MemoryBytes - 20<<20
		c.MemoryPeakBytes = 101 << 20
		c.PIDs = 3
		if r.IntN(4) == 0 {
			c.WriteBytes += 4096 * r.Uint64N(100)
			c.WriteOps += r.Uint64N(50)
		}
		if r.IntN(4) == 0 {
			c.RxBytes += r.Uint64N(2000)
			c.TxBytes += r.Uint64N(2000)
		}
		at = at.Add(time.Second + time.Duration(r.IntN(3)-1)*time.Millisecond)
		all = append(all, task.Sample{At: at, Counters: c})
	}
	return all
}

type constGauge struct{ c task.Counters }

func (g *constGauge) Read() (task.Counters, error) {
	g.c.CPUNanos += 250_000_000
	return g.c, nil
}
func (g *constGauge) Close() error { return nil }

// BenchmarkSample is one second of 1,000 tasks: a reading of each, into its
// series. What the kernel takes to answer is not in it.
func BenchmarkSample(b *testing.B) {
	const tasks = 1000
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	var boot time.Duration
	m := NewMeter(Config{Log: zap.NewNop(), Clock: func() task.Instant { return task.Instant{Wall: at, Boot: boot, BootID: "b"} }})
	type one struct {
		t task.Task
		g *constGauge
		s *series
	}
	var all []one
	for range tasks {
		id := task.NewID()
		all = append(all, one{task.Task{ID: id, PullStartedAt: at, Clock: task.Instant{Wall: at, BootID: "b"}}, new(constGauge), &series{id: id}})
	}
	b.ReportAllocs()
	for b.Loop() {
		boot += time.Second
		for _, o := range all {
			if err := m.observe(o.t, o.g, o.s); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/tasks, "ns/sample")
}

// BenchmarkFlush is what five seconds of 1,000 tasks cost to hand over, without
// the disk.
func BenchmarkFlush(b *testing.B) {
	const tasks = 1000
	samples := busy(chunkSamples)
	var mts []*metered
	for range tasks {
		s := &series{id: task.NewID()}
		for _, x := range samples[:chunkSamples/2] {
			s.add(x.At, x.Counters)
		}
		mts = append(mts, &metered{series: s})
	}
	m := NewMeter(Config{Log: zap.NewNop(), Ledger: nowhere{}})
	b.ReportAllocs()
	for b.Loop() {
		for _, mt := range mts {
			mt.series.dirty = true
		}
		if err := m.store(context.Background(), mts...); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere takes usage and forgets it.
type nowhere struct{ Ledger }

func (nowhere) PutUsage(context.Context, []Chunk, []RollUp) error { return nil }

func BenchmarkPack(b *testing.B) {
	for name, samples := range map[string][]task.Sample{"busy": busy(chunkSamples), "idle": idle(chunkSamples)} {
		b.Run(name, func(b *testing.B) {
			var n int
			for b.Loop() {
				n = len(Pack(samples))
			}
			b.ReportMetric(float64(n)/float64(len(samples)), "bytes/sample")
		})
	}
}

// idle is n samples of a task that waits.
func idle(n int) []task.Sample {
	all := busy(n)
	for i := range all {
		all[i].Counters = all[0].Counters
		all[i].CPUNanos += uint64(i) * 30_000
	}
	return all
}
