package wire

import (
	"math"
	"strconv"
	"time"

	"berth/fault"
)

// Time is a moment as the JSON protocols have it: seconds since 1970, UTC, with
// milliseconds as a fraction. The zero Time is left out by omitzero.
type Time struct{ time.Time }

// At returns t as a Time.
func At(t time.Time) Time { return Time{t} }

// MarshalJSON is part of json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	ms := t.UnixMilli()
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', -1, 64), nil
}

// UnmarshalJSON is part of json.Unmarshaler. It takes numbers only.
func (t *Time) UnmarshalJSON(b []byte) error {
	s, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.Abs(s) > 1e11 {
		return fault.New(fault.Invalid, "must be seconds since 1970, not %.40s", b)
	}
	t.Time = time.UnixMilli(int64(math.Round(s * 1000))).UTC()
	return nil
}

// MarshalText is part of encoding.TextMarshaler: how the XML protocols write a time.
func (t Time) MarshalText() ([]byte, error) {
	return t.UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z"), nil
}
