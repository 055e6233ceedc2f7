package logs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"berth/fault"
)

// Cursor says how far a reader has come in every container of a task. It is
// opaque, printable ASCII without spaces, commas excepted, and stays valid for as
// long as the log exists; it can serve as an SSE event ID. The zero value is the
// beginning.
type Cursor string

// position is a place between two records: a segment and an offset in it. The
// zero value is before the oldest segment.
type position struct {
	segment int
	offset  int64
}

func (p position) before(q position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

// cursor spells positions by container, as in "app:2:4096,proxy:1:0".
func cursor(at map[string]position) Cursor {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(at)) {
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = append(b, name...)
		b = strconv.AppendInt(append(b, ':'), int64(at[name].segment), 10)
		b = strconv.AppendInt(append(b, ':'), at[name].offset, 10)
	}
	return Cursor(b)
}

// positions is the inverse of cursor. What is not a cursor is the caller's fault.
func (c Cursor) positions() (map[string]position, error) {
	at := make(map[string]position)
	if c == "" {
		return at, nil
	}
	for part := range strings.SplitSeq(string(c), ",") {
		f := strings.Split(part, ":")
		if len(f) != 3 || !plain(f[0]) {
			return nil, fault.New(fault.Invalid, "%q is not a cursor of a log", string(c))
		}
		segment, err1 := strconv.Atoi(f[1])
		offset, err2 := strconv.ParseInt(f[2], 10, 64)
		if err1 != nil || err2 != nil || segment < 0 || offset < 0 {
			return nil, fault.New(fault.Invalid, "%q is not a cursor of a log", string(c))
		}
		at[f[0]] = position{segment, offset}
	}
	return at, nil
}

// plain reports whether name can name a container (ECS API,
// ContainerDefinition.name), and so be a directory and part of a cursor.
func plain(name string) bool {
	return name != "" && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// missed is what a reader is told when entries are gone that it had not read.
func missed(segments int) string {
	if segments == 1 {
		return "1 log segment was rotated away before it was read"
	}
	return fmt.Sprintf("%d log segments were rotated away before they were read", segments)
}
