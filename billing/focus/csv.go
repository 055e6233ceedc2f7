package focus

import (
	"bytes"
	"fmt"
	"io"
	"iter"
)

// flushAt is how much is gathered before it is written.
const flushAt = 64 << 10

// CSV writes rows as CSV (RFC 4180, with line feeds): a header and a line for
// each row. Null is an empty field. An error of rows ends it and is returned; what
// was written by then is not a whole file.
func CSV(w io.Writer, o Options, rows iter.Seq2[*Row, error]) error {
	if err := o.check(); err != nil {
		return err
	}
	columns := o.columns()
	var out []byte
	for i, c := range columns {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, c.name...)
	}
	out = append(out, '\n')
	cs := newCells(&o)
	var field []byte
	for r, err := range rows {
		if err != nil {
			return err
		}
		cs.set(r)
		for i, c := range columns {
			if i > 0 {
				out = append(out, ',')
			}
			field = c.append(field[:0], cs)
			out = appendField(out, field)
		}
		if out = append(out, '\n'); len(out) >= flushAt {
			if _, err := w.Write(out); err != nil {
				return fmt.Errorf("write CSV: %w", err)
			}
			out = out[:0]
		}
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

func appendField(out, field []byte) []byte {
	if bytes.IndexAny(field, "\",\r\n") < 0 {
		return append(out, field...)
	}
	out = append(out, '"')
	for _, c := range field {
		if c == '"' {
			out = append(out, '"')
		}
		out = append(out, c)
	}
	return append(out, '"')
}
