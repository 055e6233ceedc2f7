package isolationtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// session runs the program of the image.
func (b *bench) session(args ...string) isolation.Session {
	return isolation.Session{
		ID: string(task.NewID()), Args: append([]string{"/probe"}, args...), Stdout: io.Discard, Stderr: io.Discard,
	}
}

// screen is what somebody sees who waits for a word of it.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newScreen() *screen { return &screen{grew: make(chan struct{}, 1)} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.grew <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until word is on the screen.
func (b *bench) await(s *screen, word string) {
	b.Helper()
	late := time.After(patience)
	for !strings.Contains(s.String(), word) {
		select {
		case <-s.grew:
		case <-late:
			b.Fatalf("%q is not on the screen: %q", word, s)
		}
	}
}

// sessionStreams holds a session to pass every byte on, both ways, and to keep apart what
// is printed where.
func sessionStreams(b *bench) {
	b.run("main", "sleep", "1h")
	sent := make([]byte, 3<<20+17)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	var got, other bytes.Buffer
	s := b.session("cat")
	s.Stdin, s.Stdout, s.Stderr = bytes.NewReader(sent), &got, &other
	if code, err := b.rt.Attach(b.ctx(), b.id, "main", s); err != nil || code != 0 {
		b.Fatalf("Attach of cat = %d, %v", code, err)
	}
	if !bytes.Equal(got.Bytes(), sent) || other.Len() != 0 {
		b.Errorf("%d bytes came back of %d, and %d on the other stream", got.Len(), len(sent), other.Len())
	}

	got.Reset()
	s = b.session("loud", "3")
	s.Stdout, s.Stderr = &got, &other
	code, err := b.rt.Attach(b.ctx(), b.id, "main", s)
	if err != nil || code != 3 || got.String() != "loud\n" || other.String() != "loud\n" {
		b.Errorf("Attach of loud = %d, %v; it said %q and %q", code, err, &got, &other)
	}
	b.quiet("main", 50*time.Millisecond)
}

func sessionTerminal(b *bench) {
	b.run("main", "sleep", "1h")
	for _, first := range []isolation.Window{{}, {Columns: 132, Rows: 43}} {
		typed, keyboard := io.Pipe()
		resize := make(chan isolation.Window)
		seen := newScreen()
		s := b.session("window")
		s.Terminal, s.Size, s.Resize, s.Stdin, s.Stdout = true, first, resize, typed, seen
		type end struct {
			code int
			err  error
		}
		ended := make(chan end, 1)
		go func() {
			code, err := b.rt.Attach(b.ctx(), b.id, "main", s)
			ended <- end{code, err}
		}()
		want := "80x24\r\n"
		if first.Columns != 0 {
			want = "132x43\r\n"
		}
		b.await(seen, want)
		select {
		case resize <- isolation.Window{Columns: 100, Rows: 30}:
		case <-time.After(patience):
			b.Fatal("nobody takes the new size")
		}
		b.await(seen, "100x30\r\n")
		if _, err := io.WriteString(keyboard, "q\n"); err != nil {
			b.Fatal(err)
		}
		select {
		case e := <-ended:
			if e.code != 5 || e.err != nil {
				b.Errorf("Attach = %d, %v; want 5", e.code, e.err)
			}
		case <-time.After(patience):
			b.Fatal("the session goes on")
		}
		keyboard.Close()
	}
}

func sessionEndsWithContext(b *bench) {
	b.run("main", "sleep", "1h")
	s := b.session("sleep", "1h")
	ctx, cancel := context.WithTimeout(b.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := b.rt.Attach(ctx, b.id, "main", s); !errors.Is(err, context.DeadlineExceeded) {
		b.Errorf("Attach that does not end: %v", err)
	}
	s.Args = []string{"/probe", "exit", "4"}
	if code, err := b.rt.Attach(b.ctx(), b.id, "main", s); err != nil || code != 4 {
		b.Errorf("a session of an ID that has ended = %d, %v; want 4", code, err)
	}
	b.quiet("main", 50*time.Millisecond)
}

var errDeaf = errors.New("nobody listens")

type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errDeaf }

func sessionStreamFails(b *bench) {
	b.run("main", "sleep", "1h")
	s := b.session("cat")
	typed, keyboard := io.Pipe()
	s.Stdin, s.Stdout = typed, deaf{}
	go func() {
		_, _ = io.WriteString(keyboard, "anybody?")
	}()
	defer keyboard.Close()
	if _, err := b.rt.Attach(b.ctx(), b.id, "main", s); !errors.Is(err, errDeaf) {
		b.Errorf("Attach with nobody who listens: %v", err)
	}
}

func sessionEndsWithContainer(b *bench) {
	b.run("main", "sleep", "1h")
	seen := newScreen()
	typed, keyboard := io.Pipe()
	defer keyboard.Close()
	s := b.session("cat")
	s.Stdin, s.Stdout = typed, seen
	ended := make(chan error, 1)
	go func() {
		_, err := b.rt.Attach(b.ctx(), b.id, "main", s)
		ended <- err
	}()
	if _, err := io.WriteString(keyboard, "here"); err != nil {
		b.Fatal(err)
	}
	b.await(seen, "here")
	b.kill("main")
	select {
	case <-ended: // It was killed, or its container was gone already.
	case <-time.After(patience):
		b.Error("the session goes on after its container has ended")
	}
}

func sessionNowhere(b *bench) {
	_, err := b.rt.Attach(b.ctx(), b.id, "main", b.session("exit", "0"))
	b.wantKind("Attach in no container", err, fault.Conflict)
	b.provision()
	b.create("main", "sleep", "1h")
	_, err = b.rt.Attach(b.ctx(), b.id, "main", b.session("exit", "0"))
	b.wantKind("Attach in a container that was not started", err, fault.Conflict)
	b.start("main")
	s := b.session()
	s.Args = []string{"/missing"}
	_, err = b.rt.Attach(b.ctx(), b.id, "main", s)
	b.wantKind("Attach of what is not there", err, fault.Invalid)

	seen := newScreen()
	typed, keyboard := io.Pipe()
	s = b.session("cat")
	s.Stdin, s.Stdout = typed, seen
	ended := make(chan error, 1)
	go func() {
		_, err := b.rt.Attach(b.ctx(), b.id, "main", s)
		ended <- err
	}()
	if _, err := io.WriteString(keyboard, "here"); err != nil {
		b.Fatal(err)
	}
	b.await(seen, "here")
	twice := b.session("exit", "0")
	twice.ID = s.ID
	_, err = b.rt.Attach(b.ctx(), b.id, "main", twice)
	b.wantKind("a second session of one ID", err, fault.Conflict)
	keyboard.Close()
	select {
	case err := <-ended:
		if err != nil {
			b.Errorf("Attach whose input ended: %v", err)
		}
	case <-time.After(patience):
		b.Error("the session goes on after its input has ended")
	}
}
