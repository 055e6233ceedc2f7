package session

import (
	"io"
	"sync/atomic"
)

// meter counts what is said in a session, and notes that something was.
type meter struct {
	in, out atomic.Int64
	touch   func()
}

// reader is r, or nil if that is.
func (m *meter) reader(r io.Reader) io.Reader {
	if r == nil {
		return nil
	}
	return meteredReader{r, m}
}

// writer is w, or nil if that is.
func (m *meter) writer(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return meteredWriter{w, m}
}

type meteredReader struct {
	io.Reader
	m *meter
}

func (r meteredReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.m.in.Add(int64(n))
	r.m.touch()
	return n, err
}

type meteredWriter struct {
	io.Writer
	m *meter
}

func (w meteredWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.m.out.Add(int64(n))
	w.m.touch()
	return n, err
}
