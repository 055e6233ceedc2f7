package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// flushAt is how many bytes of records are gathered before they are written. It
// bounds what a chunk of many short lines costs in memory.
const flushAt = 128 << 10

// maxRetired is how many full segments may wait for Sync before rotation waits
// for the disk.
const maxRetired = 4

// WriterConfig is what NewWriter needs. All fields are required.
type WriterConfig struct {
	Dir      string // of one container; made if it is not there
	MaxSize  int64  // bytes; a segment is full before it would grow larger
	MaxFiles int    // segments that are kept, at least 1
	Now      func() time.Time
}

// Writer appends what one container prints to its segments. It never fails and
// never waits for space: what cannot be written is counted, and the count is
// written as a Note as soon as there is room again. Methods are safe for
// concurrent use.
type Writer struct {
	WriterConfig
	lock *os.File // the directory; held for the life of the Writer

	mu      sync.Mutex
	file    *os.File // the last segment
	number  int      // of file
	size    int64    // of file
	last    time.Time
	buf     []byte // whole records that are not written yet
	pending map[string][]byte
	lost    int64 // entries that could not be written
	why     error // the last reason
	dirty   bool
	retired []*os.File // full segments that were not synced yet

	syncing sync.Mutex // one Sync at a time
}

// NewWriter opens the log of one container and repairs its end if an earlier
// writer died in the middle of an entry. There can be one Writer per directory:
// NewWriter waits for the one before to close or to die.
func NewWriter(c WriterConfig) (*Writer, error) {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	dir, err := os.Open(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open log directory: %w", err)
	}
	w := &Writer{WriterConfig: c, lock: dir, pending: make(map[string][]byte)}
	if err := w.resume(); err != nil {
		dir.Close()
		return nil, fmt.Errorf("open log: %w", err)
	}
	return w, nil
}

// resume takes the lock and opens the last segment, or the first.
func (w *Writer) resume() error {
	for {
		err := syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
	}
	if err := os.Remove(filepath.Join(w.Dir, endMark)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	have, err := segments(w.Dir)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		return w.open(1)
	}
	if err := w.open(have[len(have)-1]); err != nil {
		return err
	}
	if w.size, err = mend(w.file); err != nil {
		return fmt.Errorf("mend %s: %w", w.file.Name(), err)
	}
	if r, ok := lastRecord(w.file, w.size); ok {
		w.last = r.time
	}
	return nil
}

// open makes segment n the one that is written to.
func (w *Writer) open(n int) error {
	f, err := os.OpenFile(segmentPath(w.Dir, n), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	w.file, w.number, w.size = f, n, 0
	return nil
}

// Write records a chunk that was just read from a stream. It writes every line
// that the chunk completes, with the time of now, in one piece if they fit into
// 128 KiB. The rest of the chunk waits for its newline.
func (w *Writer) Write(stream string, chunk []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp := w.stamp()
	for len(chunk) > 0 {
		line, rest, whole := bytes.Cut(chunk, []byte{'\n'})
		w.take(stamp, stream, line, whole)
		chunk = rest
		if len(w.buf) >= flushAt {
			w.flush(stamp)
		}
	}
	w.flush(stamp)
}

// take adds the next piece of a line, and its end if whole, to buf.
func (w *Writer) take(stamp []byte, stream string, piece []byte, whole bool) {
	begun := w.pending[stream]
	for len(begun)+len(piece) > maxMessage {
		n := maxMessage - len(begun)
		w.buf = appendRecord(w.buf, stamp, stream, true, begun, piece[:n])
		begun, piece = begun[:0], piece[n:]
	}
	if whole {
		w.buf = appendRecord(w.buf, stamp, stream, false, begun, piece)
		begun = begun[:0]
	} else {
		begun = append(begun, piece...)
	}
	w.pending[stream] = begun
}

// stamp returns the time of now, or that of the last entry if the clock was set
// back: readers search by time.
func (w *Writer) stamp() []byte {
	if now := w.Now(); now.After(w.last) {
		w.last = now
	}
	return appendStamp(make([]byte, 0, stampLen), w.last)
}

// flush writes buf, after the news of what was lost before. Without room for the
// news there is none for what follows it: the news must stand where the gap is.
func (w *Writer) flush(stamp []byte) {
	if w.confess(stamp) {
		w.lost += entries(w.buf) - w.append(w.buf)
	} else {
		w.lost += entries(w.buf)
	}
	w.buf = w.buf[:0]
}

// confess writes down how many entries were lost, if any were. It reports whether
// that is known now.
func (w *Writer) confess(stamp []byte) bool {
	if w.lost == 0 {
		return true
	}
	note := fmt.Appendf(nil, "%d log entries were lost here: %v", w.lost, w.why)
	if w.append(appendRecord(nil, stamp, Note, false, note)) == 0 {
		return false
	}
	w.lost = 0
	return true
}

// append writes records and returns how many of them are in the log now. A torn
// one is taken back.
func (w *Writer) append(records []byte) (written int64) {
	if len(records) == 0 {
		return 0
	}
	if w.size > 0 && w.size+int64(len(records)) > w.MaxSize {
		if err := w.rotate(); err != nil {
			w.why = err
			return 0
		}
	}
	n, err := w.file.WriteAt(records, w.size)
	if err != nil {
		w.why = err
		n = bytes.LastIndexByte(records[:n], '\n') + 1
		// If this fails the next write covers the torn record, and mend the last.
		_ = w.file.Truncate(w.size + int64(n))
	}
	w.size += int64(n)
	w.dirty = w.dirty || n > 0
	return entries(records[:n])
}

// rotate begins the next segment. The oldest go first, which makes room on a
// full disk.
func (w *Writer) rotate() error {
	have, err := segments(w.Dir)
	if err != nil {
		return err
	}
	for len(have) >= w.MaxFiles && len(have) > 0 && have[0] < w.number {
		if err := os.Remove(segmentPath(w.Dir, have[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove oldest log segment: %w", err)
		}
		have = have[1:]
	}
	full := w.file
	if err := w.open(w.number + 1); err != nil {
		return fmt.Errorf("begin log segment: %w", err)
	}
	if w.MaxFiles == 1 {
		_ = os.Remove(full.Name())
	}
	if w.retired = append(w.retired, full); len(w.retired) > maxRetired {
		w.settle(w.retired...)
		w.retired = nil
	}
	return nil
}

// Sync makes what was written survive a loss of power. It costs nothing if
// nothing was written since the last time, and does not hold up Write.
func (w *Writer) Sync() {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.mu.Lock()
	retired, file, dirty := w.retired, w.file, w.dirty
	w.retired, w.dirty = nil, false
	w.mu.Unlock()
	w.settle(retired...)
	if dirty {
		// The file may be retired and closed meanwhile, after it was synced.
		_ = fdatasync(file)
	}
}

// settle syncs and closes segments that are full. A failed sync cannot be
// repeated or mended: the entries are readable now, and may be gone after a loss
// of power.
func (w *Writer) settle(full ...*os.File) {
	for _, f := range full {
		_ = fdatasync(f)
		f.Close()
	}
}

func fdatasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = syscall.Fdatasync(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// Close writes what waits for a newline as partial entries, syncs, and marks the
// log as complete. It returns an error if entries were lost and there was no
// room to say so.
func (w *Writer) Close() error {
	w.mu.Lock()
	stamp := w.stamp()
	for _, stream := range []string{Stdout, Stderr} {
		if begun := w.pending[stream]; len(begun) > 0 {
			w.buf = appendRecord(w.buf, stamp, stream, true, begun)
		}
	}
	w.flush(stamp)
	w.confess(stamp)
	lost, why := w.lost, w.why
	w.mu.Unlock()

	w.Sync()
	err := os.WriteFile(filepath.Join(w.Dir, endMark), nil, 0o640)
	w.file.Close()
	w.lock.Close()
	if lost > 0 {
		return fmt.Errorf("%d log entries were lost: %w", lost, why)
	}
	if err != nil {
		return fmt.Errorf("mark log as complete: %w", err)
	}
	return nil
}
