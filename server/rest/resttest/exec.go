package resttest

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"berth/access"
	"berth/fault"
	"berth/isolation"
	"berth/session"
	"berth/task"
)

// Prepare is part of rest.Sessions.
func (f *Fake) Prepare(ctx context.Context, w session.Wish) (session.Session, error) {
	t, err := f.Task(ctx, w.Task)
	if err != nil {
		return session.Session{}, err
	}
	if w.Container == "" {
		w.Container = t.Containers[0].Name
	}
	if t.Container(w.Container) == nil {
		return session.Session{}, fault.New(fault.NotFound, "task %s has no container %q", t.ID, w.Container)
	}
	if t.LastStatus != task.Running {
		return session.Session{}, fault.New(fault.Conflict, "container %s does not run", w.Container)
	}
	return session.Session{ID: string(task.NewID()), Who: access.From(ctx), Wish: w, TaskARN: t.ARN}, nil
}

// Hold is part of rest.Sessions. The commands are cat, which repeats its input; exit CODE;
// say WORD, on both outputs; size, which says how large its terminal is and each size that
// it gets, until its input ends; and wait, which goes on until ctx ends. Others cannot be
// executed.
func (f *Fake) Hold(ctx context.Context, one session.Session, s session.Streams) (int, error) {
	word := func(n int) string {
		if n < len(one.Command) {
			return one.Command[n]
		}
		return ""
	}
	switch word(0) {
	case "cat":
		if s.Stdin == nil {
			return 0, nil
		}
		_, err := io.Copy(s.Stdout, s.Stdin)
		return 0, err
	case "exit":
		return strconv.Atoi(word(1))
	case "say":
		fmt.Fprintln(s.Stderr, word(1))
		_, err := fmt.Fprintln(s.Stdout, word(1))
		return 0, err
	case "size":
		return 0, tellSizes(ctx, s)
	case "wait":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 0, fault.New(fault.Invalid, "the command cannot be executed: %s", word(0))
}

func tellSizes(ctx context.Context, s session.Streams) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, s.Stdin)
	}()
	for size := s.Size; ; {
		if size == (isolation.Window{}) {
			size = isolation.DefaultWindow
		}
		fmt.Fprintf(s.Stdout, "%dx%d\n", size.Columns, size.Rows)
		select {
		case size = <-s.Resize:
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
