package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/fifo"
	"golang.org/x/sys/unix"

	"berth/isolation"
)

// lines are the named pipes between a session's streams and the shim.
type lines struct {
	in       io.WriteCloser // nil: there is none
	out, err io.ReadCloser

	outputs sync.WaitGroup
	writing atomic.Int32 // how many of the outputs wait for the one who listens
	carried atomic.Int64 // bytes of all outputs

	mu     sync.Mutex
	failed error // the first failure of an output
}

// open makes the pipes in dir and tells x of them. Opening one does not wait for the shim.
func (l *lines) open(ctx context.Context, x *execution, dir string, s isolation.Session) (err error) {
	// A pipe is closed, not given up, when ctx ends: it has to be emptied.
	ctx = context.WithoutCancel(ctx)
	pipe := func(name string, flag int) (string, io.ReadWriteCloser) {
		if err != nil {
			return "", nil
		}
		var p io.ReadWriteCloser
		at := filepath.Join(dir, name)
		p, err = fifo.OpenFifo(ctx, at, flag|unix.O_CREAT|unix.O_NONBLOCK, 0o600)
		return at, p
	}
	if s.Stdin != nil {
		x.stdin, l.in = pipe("stdin", unix.O_WRONLY)
	}
	x.stdout, l.out = pipe("stdout", unix.O_RDONLY)
	if !s.Terminal {
		x.stderr, l.err = pipe("stderr", unix.O_RDONLY)
	}
	return err
}

// carry begins to copy between the pipes and the streams of s. hangUp is told if one of
// them fails. endInput is called at the end of Stdin.
func (l *lines) carry(hangUp context.CancelCauseFunc, s isolation.Session, endInput func() error) {
	if l.in != nil {
		go func() {
			if _, err := io.Copy(pipeWriter{l.in}, s.Stdin); err != nil && !errors.As(err, new(pipeGone)) {
				hangUp(fmt.Errorf("read the input of a session: %w", err))
				return
			}
			if s.Terminal { // Whoever is at it still reads what comes.
				return
			}
			l.in.Close()
			_ = endInput() // If the command has ended, so has its input.
		}()
	}
	l.output(hangUp, l.out, s.Stdout)
	if l.err != nil {
		l.output(hangUp, l.err, s.Stderr)
	}
}

// pipeWriter tells the failures of a pipe from those of who writes to it.
type pipeWriter struct{ io.Writer }

func (w pipeWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if err != nil {
		err = pipeGone{err}
	}
	return n, err
}

// pipeGone says that the command takes nothing more.
type pipeGone struct{ error }

// chunk is how much of an output is passed on in one piece at most.
const chunk = 32 << 10

// output copies from a pipe to who listens, and when that fails reads on to the end.
func (l *lines) output(hangUp context.CancelCauseFunc, from io.Reader, to io.Writer) {
	l.outputs.Go(func() {
		buffer := make([]byte, chunk)
		for {
			n, err := from.Read(buffer)
			if n > 0 && to != nil {
				l.writing.Add(1)
				_, failed := to.Write(buffer[:n])
				l.writing.Add(-1)
				if failed != nil {
					l.fail(failed)
					hangUp(failed)
					to = nil
				}
			}
			l.carried.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
}

func (l *lines) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// How long an output whose command has ended may be silent before it is given up: what
// holds it open has escaped.
const (
	drainTick  = 50 * time.Millisecond
	drainTicks = 20
)

// drain waits until all that was printed has reached who listens, and returns what failed
// of that.
func (l *lines) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { l.outputs.Wait(); close(done) }()
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	quiet, before := 0, int64(-1)
	for quiet < drainTicks {
		select {
		case <-done:
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.failed
		case <-tick.C:
		}
		now := l.carried.Load()
		if quiet++; now != before || l.writing.Load() > 0 && ctx.Err() == nil {
			quiet = 0
		}
		before = now
	}
	l.close()
	if l.writing.Load() == 0 { // A Write that blocks is left behind.
		<-done
	}
	return nil
}

// close closes the pipes. It may be called twice.
func (l *lines) close() {
	for _, c := range []io.Closer{l.in, l.out, l.err} {
		if c != nil {
			c.Close() // A pipe that the shim has never opened says so.
		}
	}
}
