package logs

import (
	"bytes"
	"time"
)

// The streams that an entry can come from.
const (
	Stdout = "stdout"
	Stderr = "stderr"
	Note   = "berth" // not the container's: says that entries are missing, and how many
)

// maxMessage is the longest message of one entry, in bytes. Longer lines are
// split. It is the limit of containerd's CRI logger and of Docker's.
const maxMessage = 16 << 10

// stampLen is the length of a time stamp: RFC 3339 in UTC with nine decimals.
const stampLen = len("2026-11-23T09:00:00.123456789Z")

// maxRecord is more than any record has.
const maxRecord = maxMessage + 128

// record is one parsed line of a segment. The message is part of the line.
type record struct {
	time    time.Time
	stream  string
	partial bool
	message []byte
}

// appendStamp appends t as records spell it.
func appendStamp(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
}

// appendRecord appends one record, whole with its newline.
func appendRecord(b, stamp []byte, stream string, partial bool, message ...[]byte) []byte {
	b = append(b, stamp...)
	b = append(b, ' ')
	b = append(b, stream...)
	if partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	for _, m := range message {
		b = append(b, m...)
	}
	return append(b, '\n')
}

// parse reads a line without its newline. It accepts exactly what appendRecord
// writes; anything else, such as the torn end of a segment, is not ok.
func parse(line []byte) (r record, ok bool) {
	if len(line) < stampLen+1 || line[stampLen] != ' ' {
		return r, false
	}
	if r.time, ok = parseStamp(line[:stampLen]); !ok {
		return r, false
	}
	rest := line[stampLen+1:]
	for _, s := range [...]string{Stdout, Stderr, Note} {
		if len(rest) >= len(s)+3 && string(rest[:len(s)]) == s && rest[len(s)] == ' ' && rest[len(s)+2] == ' ' {
			r.stream, r.partial, r.message = s, rest[len(s)+1] == 'P', rest[len(s)+3:]
			return r, r.partial || rest[len(s)+1] == 'F'
		}
	}
	return r, false
}

// parseStamp is time.Parse for the one layout there is, ten times as fast.
func parseStamp(b []byte) (time.Time, bool) {
	const layout = "0000-00-00T00:00:00.000000000Z"
	if len(b) != len(layout) {
		return time.Time{}, false
	}
	var n [7]int // year, month, day, hour, minute, second, nanosecond
	field := 0
	for i, c := range b {
		switch digit := c >= '0' && c <= '9'; {
		case layout[i] == '0' && digit:
			n[field] = n[field]*10 + int(c-'0')
		case layout[i] != '0' && layout[i] == c:
			field++
		default:
			return time.Time{}, false
		}
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6], time.UTC)
	// Date turns the 31st of June into the 1st of July; a stamp says what it means.
	ok := t.Day() == n[2] && int(t.Month()) == n[1] && n[3] < 24 && n[4] < 60 && n[5] < 60
	return t, ok
}

// entries counts the records in b, which ends with one.
func entries(b []byte) int64 { return int64(bytes.Count(b, []byte{'\n'})) }
