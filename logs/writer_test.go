package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// clock returns a Now that moves on by step with every reading.
func clock(step time.Duration) func() time.Time {
	now := noon
	return func() time.Time { now = now.Add(step); return now }
}

func open(t testing.TB, dir string, maxSize int64, maxFiles int) *Writer {
	t.Helper()
	w, err := NewWriter(WriterConfig{Dir: dir, MaxSize: maxSize, MaxFiles: maxFiles, Now: clock(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func closeWriter(t testing.TB, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// content returns all that is in the segments of dir.
func content(t testing.TB, dir string) string {
	t.Helper()
	all, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, n := range all {
		text, err := os.ReadFile(segmentPath(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	return b.String()
}

func TestWriterFormat(t *testing.T) {
	long := strings.Repeat("x", maxMessage)
	for _, c := range []struct {
		name   string
		chunks []string // stdout, but "2:" means stderr
		want   []string // stream, tag, message
	}{
		{"lines", []string{"a\nb\n"}, []string{"stdout F a", "stdout F b"}},
		{"empty line", []string{"\n\n"}, []string{"stdout F ", "stdout F "}},
		{"in pieces", []string{"a", "b", "c\nd\n"}, []string{"stdout F abc", "stdout F d"}},
		{"no newline at the end", []string{"a\nb"}, []string{"stdout F a", "stdout P b"}},
		{"streams in pieces", []string{"a", "2:x", "b\n", "2:y\n"}, []string{"stdout F ab", "stderr F xy"}},
		{"bytes as they are", []string{"\xff\x00\r\x1b[0m\n"}, []string{"stdout F \xff\x00\r\x1b[0m"}},
		{"longest", []string{long + "\n"}, []string{"stdout F " + long}},
		{"longest in pieces", []string{long, "\n"}, []string{"stdout F " + long}},
		{"too long", []string{long + "yz\n"}, []string{"stdout P " + long, "stdout F yz"}},
		{"too long in pieces", []string{long, "y", "z\n"}, []string{"stdout P " + long, "stdout F yz"}},
		{"much too long", []string{long + long, long + "\n"}, []string{"stdout P " + long, "stdout P " + long, "stdout F " + long}},
		{"nothing", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w := open(t, dir, 1<<20, 2)
			for _, chunk := range c.chunks {
				if rest, ok := strings.CutPrefix(chunk, "2:"); ok {
					w.Write(Stderr, []byte(rest))
				} else {
					w.Write(Stdout, []byte(chunk))
				}
			}
			closeWriter(t, w)
			var got []string
			for line := range strings.Lines(content(t, dir)) {
				got = append(got, strings.TrimSuffix(line[stampLen+1:], "\n"))
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
				t.Errorf("got  %.200q\nwant %.200q", got, c.want)
			}
			if _, err := os.Stat(filepath.Join(dir, endMark)); err != nil {
				t.Errorf("the log is not marked as complete: %v", err)
			}
		})
	}
}

func TestWriterRotates(t *testing.T) {
	for _, keep := range []int{1, 2, 5} {
		dir := t.TempDir()
		w := open(t, dir, 1000, keep)
		for i := range 200 {
			w.Write(Stdout, fmt.Appendf(nil, "%040d\n", i))
		}
		w.Sync()
		closeWriter(t, w)
		all, err := segments(dir)
		if err != nil || len(all) != keep {
			t.Fatalf("keep %d: segments %v, %v", keep, all, err)
		}
		for _, n := range all {
			if info, err := os.Stat(segmentPath(dir, n)); err != nil || info.Size() > 1000 {
				t.Errorf("segment %d: %v bytes, %v", n, info.Size(), err)
			}
		}
		if got := content(t, dir); !strings.HasSuffix(got, fmt.Sprintf("%040d\n", 199)) {
			t.Errorf("the last line is missing: %q", got[max(0, len(got)-100):])
		}
	}
}

// A writer that died in the middle of an entry is followed by one that mends it.
func TestWriterMends(t *testing.T) {
	const whole = "2026-11-23T09:00:00.000000000Z stdout F whole\n"
	for _, c := range []struct{ torn, want string }{
		{"", whole},
		{"2026-11-2", whole},
		{"2026-11-23T09:00:01.000000000Z stdout F", whole},
		{"2026-11-23T09:00:01.000000000Z stdout F ", whole + "2026-11-23T09:00:01.000000000Z stdout P \n"},
		{"2026-11-23T09:00:01.000000000Z stderr F hal", whole + "2026-11-23T09:00:01.000000000Z stderr P hal\n"},
		{strings.Repeat("\x00", 5*maxRecord), whole},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(segmentPath(dir, 3), []byte(whole+c.torn), 0o600); err != nil {
			t.Fatal(err)
		}
		w := open(t, dir, 1<<20, 3)
		if got := content(t, dir); got != c.want {
			t.Errorf("torn %.60q: got %.200q, want %q", c.torn, got, c.want)
		}
		w.Write(Stdout, []byte("more\n"))
		closeWriter(t, w)
		if got := content(t, dir); !strings.HasPrefix(got, c.want) || !strings.HasSuffix(got, "Z stdout F more\n") {
			t.Errorf("torn %.60q: then got %.200q", c.torn, got)
		}
	}
}

// Time never runs backwards in a log, so that it can be searched by time.
func TestWriterClockSetBack(t *testing.T) {
	dir := t.TempDir()
	now := noon
	w, err := NewWriter(WriterConfig{Dir: dir, MaxSize: 1 << 20, MaxFiles: 2, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	w.Write(Stdout, []byte("a\n"))
	now = now.Add(-time.Hour)
	w.Write(Stdout, []byte("b\n"))
	closeWriter(t, w)
	w, err = NewWriter(w.WriterConfig)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(Stdout, []byte("c\n"))
	closeWriter(t, w)
	if got := content(t, dir); strings.Count(got, "2026-11-23T12:00:00.000000000Z") != 3 {
		t.Errorf("got %q", got)
	}
}

func TestWriterIsAlone(t *testing.T) {
	dir := t.TempDir()
	if alive(dir) {
		t.Error("alive before there was a writer")
	}
	w := open(t, dir, 1<<20, 2)
	if !alive(dir) {
		t.Error("a writer has the log open and is not alive")
	}
	closeWriter(t, w)
	if alive(dir) {
		t.Error("alive after the writer closed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("2026-11-23T09:00:00.123456789Z stdout F message"))
	f.Add([]byte("2026-02-30T09:00:00.123456789Z stderr P "))
	f.Add([]byte("2026-11-23T09:00:00.123456789Z berth F \xff"))
	f.Add([]byte("2026-11-23T24:61:61.000000000Z stdout X m"))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, ok := parse(line)
		if !ok {
			return
		}
		stamp := appendStamp(nil, r.time)
		if got := appendRecord(nil, stamp, r.stream, r.partial, r.message); string(got) != string(line)+"\n" {
			t.Errorf("%q was read as %q", line, got)
		}
		want, err := time.Parse(time.RFC3339Nano, string(line[:stampLen]))
		if err != nil || !want.Equal(r.time) {
			t.Errorf("%q was read as %v, want %v (%v)", line[:stampLen], r.time, want, err)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	chunk := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 640)) // what a pipe holds
	w, err := NewWriter(WriterConfig{Dir: b.TempDir(), MaxSize: 16 << 20, MaxFiles: 4, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		w.Write(Stdout, chunk)
	}
	b.ReportMetric(float64(b.N)*640/b.Elapsed().Seconds(), "lines/s")
	closeWriter(b, w)
}

// What cannot be written is counted, and told where it is missing.
func TestWriterCountsLosses(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, 1<<20, 2)
	w.Write(Stdout, []byte("a\n"))
	good := w.file
	broken, err := os.Open(good.Name()) // cannot be written to
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	w.file = broken
	w.Write(Stdout, []byte("b\nc\n"))
	w.Write(Stderr, []byte("d\nhalf"))
	w.file = good
	w.Write(Stdout, []byte("e\n"))
	closeWriter(t, w)
	var got []string
	for line := range strings.Lines(content(t, dir)) {
		got = append(got, strings.TrimSuffix(line[stampLen+1:], "\n"))
	}
	if len(got) != 4 || got[0] != "stdout F a" || !strings.HasPrefix(got[1], "berth F 3 log entries were lost here: ") ||
		got[2] != "stdout F e" || got[3] != "stderr P half" {
		t.Errorf("got %q", got)
	}
}
