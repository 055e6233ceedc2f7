package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"berth/task"
)

// Place is a point between two records of one container's log, before the first or after
// the last. The zero Place is the beginning. Places of one log are ordered as its records
// are, and stay valid when segments are rotated away.
type Place struct {
	Segment int
	Offset  int64
}

// Line is one record of a container's log and where it is.
type Line struct {
	Time    time.Time
	Stream  string
	Message []byte // valid until the next one is read
	At      Place  // before it
	After   Place
}

// Lines is the log of one container, for readers that go to places in it rather than
// follow it.
type Lines struct{ dir string }

// Lines returns the log of a container, which need not exist yet.
func (d Dir) Lines(id task.ID, container string) Lines { return Lines{d.Container(id, container)} }

// Forward calls f for the records from a place on, until f returns false or there are no
// more now.
func (l Lines) Forward(from Place, f func(Line) bool) error {
	t := tape{dir: l.dir, at: position{from.Segment, from.Offset}}
	defer t.close()
	for {
		r, after, ok, err := t.next()
		if err != nil || !ok {
			return err
		}
		size := int64(len(r.message)+len(r.stream)+stampLen) + int64(len(" ")+len(" F ")+len("\n"))
		line := Line{r.time, r.stream, r.message, Place{after.segment, after.offset - size}, Place{after.segment, after.offset}}
		if !f(line) {
			return nil
		}
	}
}

// Backward calls f for the records before a place, last first, until f returns false or
// there are no more.
func (l Lines) Backward(before Place, f func(Line) bool) error {
	all, err := segments(l.dir)
	if err != nil {
		return err
	}
	more := true
	for _, n := range slices.Backward(all) {
		ceiling := int64(-1)
		switch {
		case n > before.Segment:
			continue
		case n == before.Segment:
			ceiling = before.Offset
		}
		_, err := backward(segmentPath(l.dir, n), 0, ceiling, func(offset int64, r record) bool {
			size := int64(len(r.message)+len(r.stream)+stampLen) + int64(len(" ")+len(" F ")+len("\n"))
			more = f(Line{r.time, r.stream, r.message, Place{n, offset}, Place{n, offset + size}})
			return more
		})
		if errors.Is(err, fs.ErrNotExist) {
			return nil // rotated away this moment, and all before it
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// End returns the place after all records that are there now.
func (l Lines) End() (Place, error) {
	p, err := end(l.dir)
	return Place{p.segment, p.offset}, err
}

// Seek returns the place before the first record that is not before t.
func (l Lines) Seek(t time.Time) (Place, error) {
	from, err := seek(l.dir, t)
	if err != nil {
		return Place{}, err
	}
	at := Place{from.segment, from.offset}
	err = l.Forward(at, func(line Line) bool {
		if line.Time.Before(t) {
			at = line.After
			return true
		}
		at = line.At
		return false
	})
	return at, err
}

// Extent is what a log spans.
type Extent struct {
	First, Last time.Time // of its records; zero if there are none
	Bytes       int64     // of its files
	Complete    bool      // its container's output has ended
}

// Extent returns what the log spans now. One that is not there spans nothing.
func (l Lines) Extent() (Extent, error) {
	all, err := segments(l.dir)
	if err != nil {
		return Extent{}, err
	}
	var e Extent
	if _, err := os.Stat(filepath.Join(l.dir, endMark)); err == nil {
		e.Complete = true
	}
	for _, n := range all {
		if info, err := os.Stat(segmentPath(l.dir, n)); err == nil {
			e.Bytes += info.Size()
		}
	}
	if err := l.Forward(Place{}, func(line Line) bool { e.First = line.Time; return false }); err != nil || e.First.IsZero() {
		return e, err
	}
	last, err := l.End()
	if err != nil {
		return e, err
	}
	err = l.Backward(last, func(line Line) bool { e.Last = line.Time; return false })
	return e, err
}

// Expire removes the segments in which everything is older than before. The one that is
// written to stays until its container has ended. It reports whether anything was removed.
func (l Lines) Expire(before time.Time) (removed bool, err error) {
	all, err := segments(l.dir)
	if err != nil {
		return false, err
	}
	_, open := os.Stat(filepath.Join(l.dir, endMark))
	for i, n := range all {
		if i == len(all)-1 && open != nil {
			break
		}
		old := true
		_, err := backward(segmentPath(l.dir, n), 0, -1, func(_ int64, r record) bool {
			old = r.time.Before(before)
			return false
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !old {
			return removed, err
		}
		if err := os.Remove(segmentPath(l.dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("remove log segment: %w", err)
		}
		removed = true
	}
	return removed, nil
}
