package focus_test

import (
	"bytes"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"berth/billing/focus"
)

// Ensure that a Parquet file says what the CSV file says.
func TestParquet(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		charges := history(r)
		o := options(rapid.SampledFrom([]focus.Version{focus.V12, focus.V14}).Draw(r, "version"))
		want := read(t, o.Version, write(t, o.Version, charges))
		var out bytes.Buffer
		if err := focus.Parquet(&out, o, focus.Rows(seq(charges))); err != nil {
			r.Fatal(err)
		}
		f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			r.Fatal(err)
		}
		if f.NumRows() != int64(len(want.rows)) {
			r.Fatalf("%d rows and %d in CSV", f.NumRows(), len(want.rows))
		}
		columns := f.Schema().Columns()
		rows := parquet.NewReader(f)
		defer rows.Close()
		for i := 0; ; i++ {
			one := make([]parquet.Row, 1)
			n, err := rows.ReadRows(one)
			for _, v := range one[:n][0] {
				name := columns[v.Column()][0]
				if got := plain(v); got != same(want.rows[i][name], v) {
					r.Fatalf("row %d: %s is %q and %q in CSV", i, name, got, want.rows[i][name])
				}
			}
			if err == io.EOF || i == len(want.rows)-1 {
				break
			}
			if err != nil {
				r.Fatal(err)
			}
		}
	})
}

func plain(v parquet.Value) string {
	switch {
	case v.IsNull():
		return ""
	case v.Kind() == parquet.Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case v.Kind() == parquet.Int64:
		return time.UnixMilli(v.Int64()).UTC().Format(time.RFC3339)
	}
	return string(v.ByteArray())
}

func same(field string, v parquet.Value) string {
	if v.Kind() == parquet.Double && !v.IsNull() {
		f, _ := strconv.ParseFloat(field, 64)
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return field
}

func BenchmarkCSV(b *testing.B)     { bench(b, focus.CSV) }
func BenchmarkParquet(b *testing.B) { bench(b, focus.Parquet) }
