package focus

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
)

const (
	groupRows = 50_000 // of one row group, which is in memory until it is written
	batchRows = 256    // that are handed over at once
)

// Parquet writes rows as a Parquet file, compressed by Snappy, as AWS's exports
// are: numbers are DOUBLE, which is what FOCUS's validator takes for Decimal, and
// times are milliseconds, UTC. Exact amounts are in x_ExactCost and
// x_ExactQuantity. An error of rows ends it and is returned; what was written by
// then is not a Parquet file.
func Parquet(w io.Writer, o Options, rows iter.Seq2[*Row, error]) error {
	if err := o.check(); err != nil {
		return err
	}
	columns := o.columns()
	group := make(parquet.Group, len(columns))
	for _, c := range columns {
		group[c.name] = c.node()
	}
	out := parquet.NewWriter(w, parquet.NewSchema("focus", group), parquet.MaxRowsPerRowGroup(groupRows),
		parquet.Compression(&parquet.Snappy), parquet.CreatedBy("Berth", "", ""))
	out.SetKeyValueMetadata("FocusVersion", string(o.Version))
	slices.SortFunc(columns, func(a, b column) int { // as a Group has them
		if a.name < b.name {
			return -1
		}
		return 1
	})

	cs := newCells(&o)
	batch := make([]parquet.Row, 0, batchRows)
	var values []byte // of the batch
	flush := func() error {
		if _, err := out.WriteRows(batch); err != nil {
			return fmt.Errorf("write Parquet: %w", err)
		}
		batch, values = batch[:0], values[:0]
		return nil
	}
	for r, err := range rows {
		if err != nil {
			return err
		}
		cs.set(r)
		batch = batch[:len(batch)+1]
		row := batch[len(batch)-1][:0]
		for i, c := range columns {
			at := len(values)
			values = c.append(values, cs)
			v, defined, err := c.value(values[at:])
			if err != nil {
				return err
			}
			row = append(row, v.Level(0, defined, i))
		}
		if batch[len(batch)-1] = row; len(batch) == batchRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write Parquet: %w", err)
	}
	return nil
}

// node is the column's type.
func (c column) node() parquet.Node {
	switch c.kind {
	case number:
		return parquet.Optional(parquet.Leaf(parquet.DoubleType))
	case moment:
		return parquet.Optional(parquet.Timestamp(parquet.Millisecond))
	}
	return parquet.Optional(parquet.Encoded(parquet.String(), &parquet.RLEDictionary))
}

// value reads what the column's append wrote, so that both kinds of files say
// the same.
func (c column) value(field []byte) (v parquet.Value, defined int, err error) {
	if len(field) == 0 {
		return parquet.NullValue(), 0, nil
	}
	switch c.kind {
	case number:
		f, err := strconv.ParseFloat(string(field), 64)
		if err != nil {
			return v, 0, fmt.Errorf("column %s: %w", c.name, err)
		}
		return parquet.DoubleValue(f), 1, nil
	case moment:
		t, err := time.Parse(time.RFC3339, string(field))
		if err != nil {
			return v, 0, fmt.Errorf("column %s: %w", c.name, err)
		}
		return parquet.Int64Value(t.UnixMilli()), 1, nil
	}
	return parquet.ByteArrayValue(field), 1, nil
}
