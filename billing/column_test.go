package billing

import (
	"math/bits"
	"os"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"berth/task"
)

// Ensure whatever is packed by columns comes back, noise and growth alike.
func TestPackColumns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(rt, "samples")
		var columns [fields][]uint64
		for i := range columns {
			columns[i] = drawColumn(rt, n, uint64(grains[i]))
		}
		in := make([]task.Sample, n)
		for k := range in {
			var v [fields]uint64
			for i := range v {
				v[i] = columns[i][k]
			}
			v[0] %= 1 << 45 // a time that has a year
			in[k] = sampleOf(v)
		}
		data := packColumns(in)
		out, err := Unpack(data)
		if err != nil || !reflect.DeepEqual(in, out) {
			rt.Fatalf("%v came back as %v, %v", in, out, err)
		}
		if cut := rapid.IntRange(0, len(data)-1).Draw(rt, "cut"); cut > 0 { // It is refused, or it is not the same.
			if out, err := Unpack(data[:cut]); err == nil && reflect.DeepEqual(in, out) && data[cut] != 0 {
				rt.Fatalf("%d of %d bytes are enough", cut, len(data))
			}
		}
		// More bytes change the last numbers, or are too many.
		if out, err := Unpack(append(data, 1, 1, 1, 1, 1)); err == nil && reflect.DeepEqual(in, out) {
			rt.Fatal("bytes too many were not noticed")
		}
	})
}

// drawColumn draws values of the kinds that counters have.
func drawColumn(rt *rapid.T, n int, grain uint64) []uint64 {
	column := make([]uint64, n)
	column[0] = rapid.Uint64().Draw(rt, "first")
	kind := rapid.IntRange(0, 5).Draw(rt, "kind")
	width := rapid.SampledFrom([]uint64{1, 3, 100, 1 << 20, 1 << 40}).Draw(rt, "noise")
	base := rapid.Uint64().Draw(rt, "growth") >> rapid.IntRange(0, 63).Draw(rt, "shift")
	for i := 1; i < n; i++ {
		noise := rapid.Uint64Max(width).Draw(rt, "value")
		switch kind {
		case 0: // nothing
			column[0], column[i] = 0, 0
		case 1: // stays
			column[i] = column[0]
		case 2: // anything
			column[i] = rapid.Uint64().Draw(rt, "any")
		case 3: // around something
			column[i] = column[0] + grain*noise
		case 4: // grows
			column[i] = column[i-1] + base + grain*noise
		case 5: // bursts
			column[i] = column[i-1] + noise&^(noise%4-1)
		}
	}
	return column
}

// Ensure the coder returns what it was given, for numbers of all lengths and long
// runs, which are where carries go far.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []uint64
		for range rapid.IntRange(0, 30).Draw(rt, "runs") {
			v := rapid.SampledFrom([]uint64{0, 1, 1<<63 - 1, 1<<64 - 1, rapid.Uint64().Draw(rt, "any")}).Draw(rt, "v")
			for range rapid.IntRange(1, 200).Draw(rt, "times") {
				all = append(all, v)
			}
		}
		w, to := newWriter(nil), new(numbers)
		for _, v := range all {
			to.write(w, v)
		}
		r, from := newReader(w.end()), new(numbers)
		for i, v := range all {
			if got, ok := from.read(r); !ok || got != v || r.over > shed {
				rt.Fatalf("number %d of %d is %d and came back as %d (%t, %d bytes over)", i, len(all), v, got, ok, r.over)
			}
		}
		if len(r.data) > 0 {
			rt.Fatalf("%d bytes are left", len(r.data))
		}
	})
}

// Ensure a length that no number has is refused.
func TestNumbersRefused(t *testing.T) {
	w := newWriter(nil)
	var n numbers
	node := uint64(1)
	for i := 6; i >= 0; i-- {
		bit := uint64(65) >> i & 1
		w.bit(&n.length[0][node], bit)
		node = node<<1 | bit
	}
	if v, ok := new(numbers).read(newReader(w.end())); ok {
		t.Errorf("a number of 65 bits is %d, %d bits", v, bits.Len64(v))
	}
}

// recorded returns four minutes of a real task, by name: web answers some 20 requests a
// second and keeps what they leave; db writes, syncs and reads records of a file; batch
// compresses files at its limit of a quarter of a CPU. They were recorded with
// GET /tasks/{id}/usage on a host with cgroup v1, two cores and other work, each second.
func recorded(t testing.TB, name string) []task.Sample {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".samples")
	if err != nil {
		t.Fatal(err)
	}
	samples, err := Unpack(data)
	if err != nil || len(samples) != 2*chunkSamples {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	return samples
}

// Ensure a sample of a busy task takes at most ten bytes.
func TestRecorded(t *testing.T) {
	for _, name := range []string{"web", "db", "batch"} {
		all := recorded(t, name)
		for _, chunk := range [][]task.Sample{all[:chunkSamples], all[chunkSamples:]} {
			data := packColumns(chunk)
			got, err := Unpack(data)
			if err != nil || !reflect.DeepEqual(got, chunk) {
				t.Errorf("%s came back as %v, %v", name, got, err)
			}
			each := float64(len(data)) / chunkSamples
			t.Logf("%s: %.2f bytes a sample, %.2f as it grows", name, each, float64(len(Pack(chunk)))/chunkSamples)
			if each > 10 {
				t.Errorf("a sample of %s takes %.2f bytes", name, each)
			}
		}
	}
}

func BenchmarkPackColumns(b *testing.B) {
	for name, samples := range map[string][]task.Sample{
		"busy": busy(chunkSamples), "idle": idle(chunkSamples), "web": recorded(b, "web")[chunkSamples:],
		"db": recorded(b, "db")[chunkSamples:], "batch": recorded(b, "batch")[chunkSamples:],
	} {
		b.Run(name, func(b *testing.B) {
			var data []byte
			for b.Loop() {
				data = packColumns(samples)
			}
			b.ReportMetric(float64(len(data))/float64(len(samples)), "bytes/sample")
		})
		b.Run(name+"/unpack", func(b *testing.B) {
			data := packColumns(samples)
			for b.Loop() {
				if _, err := Unpack(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
