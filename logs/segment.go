package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// endMark is the file that says that nothing more will be written.
const endMark = "end"

func segmentPath(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%06d.log", n))
}

// segments returns the numbers of the segments in dir, oldest first. A directory
// that is not there has none.
func segments(dir string) ([]int, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list log segments: %w", err)
	}
	var all []int
	for _, f := range files {
		digits, isLog := strings.CutSuffix(f.Name(), ".log")
		if n, err := strconv.Atoi(digits); isLog && err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// mend makes f end with a whole record. A writer that dies, or a host that loses
// power, in the middle of a write leaves the beginning of a record: what can be
// read of its message is kept as a partial entry, the rest is cut off. It returns
// the size of f.
func mend(f *os.File) (size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	for size = info.Size(); ; {
		tail, err := readTail(f, size)
		if err != nil {
			return 0, err
		}
		torn := tail[bytes.LastIndexByte(tail, '\n')+1:]
		if len(torn) == 0 {
			return size, nil
		}
		size -= int64(len(torn))
		if r, ok := parse(torn); ok {
			whole := appendRecord(nil, torn[:stampLen], r.stream, true, r.message)
			_, err := f.WriteAt(whole, size)
			return size + int64(len(whole)), err
		}
		if err := f.Truncate(size); err != nil {
			return 0, err
		}
	}
}

// lastRecord returns the last record of a mended file.
func lastRecord(f *os.File, size int64) (record, bool) {
	tail, err := readTail(f, size)
	if err != nil {
		return record{}, false
	}
	tail = bytes.TrimSuffix(tail, []byte{'\n'})
	return parse(tail[bytes.LastIndexByte(tail, '\n')+1:])
}

// readTail returns enough of the end of f to hold a whole record.
func readTail(f *os.File, size int64) ([]byte, error) {
	tail := make([]byte, min(size, 2*maxRecord))
	n, err := f.ReadAt(tail, size-int64(len(tail)))
	if err == io.EOF {
		err = nil
	}
	return tail[:n], err
}

// alive reports whether a Writer has dir open. The writer holds a lock on the
// directory, which the kernel drops when the writer dies.
func alive(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	return errors.Is(syscall.Flock(int(d.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
