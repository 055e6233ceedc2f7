package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// tape reads one container's records in order, from segment to segment. At the
// end it can be asked again and goes on where it was.
type tape struct {
	dir   string
	at    position // of the first byte of buf; all before it was returned
	file  *os.File // segment at.segment, nil before the first
	buf   []byte   // read and not returned yet; the front of space
	space []byte

	// sealed is set once a later segment was seen: nothing more is appended to
	// this one, and the next end of file is its last.
	sealed  bool
	dropped int // segments that were removed before they were read
}

func (t *tape) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

// next returns the next record and the position after it. It is not ok at the
// end. The record is valid until the next call.
func (t *tape) next() (r record, after position, ok bool, err error) {
	if t.file == nil {
		if ok, err := t.advance(); !ok {
			return r, t.at, false, err
		}
	}
	for {
		if line, rest, whole := bytes.Cut(t.buf, []byte{'\n'}); whole {
			t.buf = rest
			t.at.offset += int64(len(line)) + 1
			if r, ok = parse(line); ok {
				return r, t.at, true, nil
			}
			continue // a torn or foreign line
		}
		if len(t.buf) > maxRecord {
			t.at.offset += int64(len(t.buf))
			t.buf = t.buf[:0]
		}
		more, err := t.fill()
		if err != nil {
			return r, t.at, false, err
		}
		if more {
			continue
		}
		// What has no newline yet is read again: the writer may take it back.
		t.buf = t.buf[:0]
		if ok, err := t.advance(); !ok {
			return r, t.at, false, err
		}
	}
}

// fill reads more of the segment and reports whether there was more.
func (t *tape) fill() (bool, error) {
	if t.space == nil {
		t.space = make([]byte, 4*maxRecord)
	}
	have := copy(t.space, t.buf)
	n, err := t.file.ReadAt(t.space[have:], t.at.offset+int64(have))
	t.buf = t.space[:have+n]
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("read log: %w", err)
	}
	return n > 0, nil
}

// restart goes back to the beginning of the segment.
func (t *tape) restart() {
	t.at.offset, t.buf = 0, nil
}

// advance moves to the next segment if this one is at its end for good. Ok means
// that reading may go on, there or here.
func (t *tape) advance() (ok bool, err error) {
	to, err := t.later()
	if err != nil || to == 0 {
		return false, err
	}
	if t.file != nil && !t.sealed {
		t.sealed = true // What came between our last read and the new segment is still here.
		return true, nil
	}
	f, err := os.Open(segmentPath(t.dir, to))
	if errors.Is(err, fs.ErrNotExist) {
		return t.advance() // rotated away this moment
	}
	if err != nil {
		return false, fmt.Errorf("open log segment: %w", err)
	}
	want := t.at.segment // where a cursor says to go on
	if t.file != nil {
		want++
	}
	if want > 0 && to > want {
		t.dropped += to - want
	}
	if to != want || t.file != nil {
		t.at = position{segment: to}
	} else if info, err := f.Stat(); err == nil {
		t.at.offset = min(t.at.offset, info.Size()) // A loss of power may have taken the end.
	}
	t.close()
	t.file, t.buf, t.sealed = f, nil, false
	return true, nil
}

// later returns the number of the segment to read next, 0 if there is none.
func (t *tape) later() (int, error) {
	if t.file != nil {
		if _, err := os.Stat(segmentPath(t.dir, t.at.segment+1)); err == nil {
			return t.at.segment + 1, nil
		}
		var now syscall.Stat_t
		if err := syscall.Fstat(int(t.file.Fd()), &now); err == nil && now.Nlink > 0 {
			return 0, nil // The oldest go first, so while ours is there no later one can be gone.
		}
	}
	all, err := segments(t.dir)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	for _, n := range all {
		if t.file == nil && n >= t.at.segment || n > t.at.segment {
			return n, nil
		}
	}
	if t.file != nil {
		return 0, nil
	}
	// The position is of a log that was longer: a loss of power took its end.
	t.at = position{}
	return all[len(all)-1], nil
}
