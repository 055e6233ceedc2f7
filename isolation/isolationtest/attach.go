package isolationtest

import (
	"context"
	"fmt"
	"io"
	"time"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// Attach implements isolation.Runtime. The command is a script as the container's is, with
// streams.
func (f *Fake) Attach(ctx context.Context, id task.ID, name string, s isolation.Session) (int, error) {
	f.mu.Lock()
	_, in := f.find(process{id, name})
	running, used := in != nil && in.running(), f.sessions[s.ID]
	if f.sessions == nil {
		f.sessions = make(map[string]bool)
	}
	if running && !used {
		f.sessions[s.ID] = true
		defer func() {
			f.mu.Lock()
			delete(f.sessions, s.ID)
			f.mu.Unlock()
		}()
	}
	f.mu.Unlock()
	switch {
	case !running:
		return 0, fault.New(fault.Conflict, "container %s does not run", name)
	case used:
		return 0, fault.New(fault.Conflict, "there is a session %s already", s.ID)
	}
	script, err := parse(s.Args)
	if err != nil {
		return 0, err
	}
	talk, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	ended := make(chan error, 1)
	go func() { ended <- script.perform(talk, s) }()
	select {
	case err := <-ended:
		if err != nil {
			return 0, err
		}
		return script.code, f.fail("attach", id)
	case <-in.done:
		return 128 + 9, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// perform plays a command of a session.
func (s script) perform(ctx context.Context, to isolation.Session) error {
	say := func(format string, args ...any) error {
		end := "\n"
		if to.Terminal {
			end = "\r\n"
		}
		_, err := fmt.Fprintf(to.Stdout, format+end, args...)
		return err
	}
	switch {
	case s.says != "":
		for _, w := range []io.Writer{to.Stdout, to.Stderr} {
			if _, err := io.WriteString(w, s.says); err != nil {
				return err
			}
		}
	case s.repeats:
		_, err := io.Copy(to.Stdout, to.Stdin)
		return err
	case s.windows:
		typed := make(chan struct{})
		go func() {
			for one := make([]byte, 1); ; {
				if _, err := to.Stdin.Read(one); err != nil {
					return
				}
				if one[0] == 'q' {
					close(typed)
					break
				}
			}
			_, _ = io.Copy(io.Discard, to.Stdin) // as a terminal takes it
		}()
		for size := to.Size; ; {
			if size == (isolation.Window{}) {
				size = isolation.DefaultWindow
			}
			if err := say("%dx%d", size.Columns, size.Rows); err != nil {
				return err
			}
			select {
			case size = <-to.Resize:
			case <-typed:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	timer := time.NewTimer(s.runs)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
