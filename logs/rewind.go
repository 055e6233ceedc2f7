package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
	"time"
)

// rewind puts every source where reading has to begin, without reading what
// comes before. It notes these places in r.at, so that the cursor of the first
// entry covers all containers.
func (r *reader) rewind(ctx context.Context) error {
	if !r.q.Since.IsZero() {
		for _, s := range r.sources {
			from, err := seek(s.dir, r.q.Since)
			if err != nil {
				return err
			}
			if s.at.before(from) {
				s.at = from
				r.at[s.name] = from
			}
		}
	}
	if r.q.Tail == 0 {
		return nil
	}
	var last []mark
	for i, s := range r.sources {
		marks, end, err := r.tail(ctx, s)
		if err != nil {
			return err
		}
		s.at = end
		for _, m := range marks {
			m.source = i
			last = append(last, m)
		}
	}
	slices.SortStableFunc(last, func(a, b mark) int { return a.time.Compare(b.time) })
	last = last[max(0, len(last)-max(0, r.q.Tail)):]
	for _, m := range slices.Backward(last) {
		r.sources[m.source].at = m.position
	}
	for _, s := range r.sources {
		r.at[s.name] = s.at
	}
	return nil
}

// mark is where an entry begins.
type mark struct {
	position
	time   time.Time
	source int
}

// tail finds the last q.Tail entries of s that the query wants, oldest first, and
// the end of the log. It reads backwards from there.
func (r *reader) tail(ctx context.Context, s *source) (marks []mark, end position, err error) {
	all, err := segments(s.dir)
	if err != nil || len(all) == 0 {
		return nil, s.at, err
	}
	for _, n := range slices.Backward(all) {
		if n < s.at.segment {
			break
		}
		var floor int64
		if n == s.at.segment {
			floor = s.at.offset
		}
		size, err := backward(segmentPath(s.dir, n), floor, -1, func(offset int64, rec record) bool {
			if rec.time.Before(r.q.Since) || len(marks) >= r.q.Tail || ctx.Err() != nil {
				return false
			}
			if r.q.streams(rec.stream) && (r.q.Until.IsZero() || rec.time.Before(r.q.Until)) {
				marks = append(marks, mark{position: position{n, offset}, time: rec.time})
			}
			return true
		})
		if errors.Is(err, fs.ErrNotExist) {
			break // rotated away this moment, and all before it
		}
		if err != nil {
			return nil, s.at, err
		}
		if end == (position{}) {
			end = position{n, max(size, floor)}
		}
		if len(marks) >= r.q.Tail {
			break
		}
	}
	if end.before(s.at) {
		end = s.at
	}
	slices.Reverse(marks)
	return marks, end, nil
}

// backward calls f for the records of a segment that begin at floor or later and
// end at ceiling or before, last first, until f returns false. A negative ceiling
// is the end of the file. It returns where the last whole record ends.
func backward(path string, floor, ceiling int64, f func(offset int64, r record) bool) (size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	const chunk = 64 << 10
	var buf []byte // [from, …) of the file, ends with a newline once size is known
	from := info.Size()
	if ceiling >= 0 {
		from = min(from, ceiling)
	}
	size = -1
	for from > floor {
		step := min(chunk, from-floor)
		grown := make([]byte, step, int(step)+len(buf))
		if _, err := file.ReadAt(grown, from-step); err != nil && err != io.EOF {
			return 0, fmt.Errorf("read log backwards: %w", err)
		}
		from -= step
		buf = append(grown, buf...)
		if size < 0 {
			end := bytes.LastIndexByte(buf, '\n') + 1
			if end == 0 {
				buf = nil // a torn record so far
				continue
			}
			size, buf = from+int64(end), buf[:end]
		}
		for len(buf) > 0 {
			start := bytes.LastIndexByte(buf[:len(buf)-1], '\n') + 1
			if start == 0 && from > floor {
				break // It may begin further ahead.
			}
			rec, ok := parse(buf[start : len(buf)-1])
			if ok && !f(from+int64(start), rec) {
				return size, nil
			}
			buf = buf[:start]
		}
	}
	return max(size, floor), nil
}

// seek returns a position at or before the first entry that is not before t, and
// not more than a few hundred entries before it.
func seek(dir string, t time.Time) (position, error) {
	all, err := segments(dir)
	if err != nil || len(all) == 0 {
		return position{}, err
	}
	i := sort.Search(len(all), func(i int) bool { return !startsBefore(segmentPath(dir, all[i]), t) })
	if i == 0 {
		return position{segment: all[0]}, nil
	}
	offset, err := seekIn(segmentPath(dir, all[i-1]), t)
	if errors.Is(err, fs.ErrNotExist) {
		return seek(dir, t) // rotated away this moment
	}
	return position{all[i-1], offset}, err
}

// startsBefore reports whether a segment's first entry is before t.
func startsBefore(path string, t time.Time) bool {
	f, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) // It was the oldest and is gone.
	}
	defer f.Close()
	var b [stampLen]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return false // the last one, and still empty
	}
	first, ok := parseStamp(b[:])
	return ok && first.Before(t)
}

// seekIn bisects one segment.
func seekIn(path string, t time.Time) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 2*maxRecord)
	low, high := int64(0), info.Size() // The record at low is before t, or the first.
	for high-low > int64(len(buf)) {
		middle := low + (high-low)/2
		n, err := f.ReadAt(buf, middle)
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("search log: %w", err)
		}
		start := bytes.IndexByte(buf[:n], '\n') + 1
		if start == 0 || start+stampLen > n {
			high = middle
			continue
		}
		if at, ok := parseStamp(buf[start : start+stampLen]); ok && at.Before(t) {
			low = middle + int64(start)
		} else {
			high = middle
		}
	}
	return low, nil
}

// end returns the position after what is in a log now.
func end(dir string) (position, error) {
	all, err := segments(dir)
	if err != nil || len(all) == 0 {
		return position{}, err
	}
	last := all[len(all)-1]
	info, err := os.Stat(segmentPath(dir, last))
	if errors.Is(err, fs.ErrNotExist) {
		return end(dir) // rotated away this moment
	}
	if err != nil {
		return position{}, fmt.Errorf("find end of log: %w", err)
	}
	return position{last, info.Size()}, nil
}
