package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// sessionMark is the variable that everything has in its environment that a session
// started: by it what began a session of its own (setsid(2)) is found when it has to go.
const sessionMark = "BERTH_SESSION="

// sessionFile is the record of a session, in its directory.
const sessionFile = "session.json"

// sessionRecord says what has to be ended when the server died over a session.
type sessionRecord struct {
	Task      task.ID
	Container string // runtime ID
}

var sessionID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// Attach implements isolation.Runtime. What is said goes through named pipes between the
// shim and this process; they and a record of the session are in a directory of its own,
// by which the next server finds what has to be ended if this one dies.
func (r *Runtime) Attach(ctx context.Context, id task.ID, name string, s isolation.Session) (code int, err error) {
	if !sessionID.MatchString(s.ID) || len(s.Args) == 0 {
		return 0, fault.New(fault.Invalid, "a session needs an ID of letters, digits and hyphens, and a command")
	}
	rid := runtimeID(id, name)
	if status, err := r.status(ctx, rid); errdefs.IsNotFound(err) || err == nil && status != tasktypes.Status_RUNNING {
		return 0, notRunning(err, name)
	} else if err != nil {
		return 0, err
	}
	process, err := r.mainProcess(ctx, rid)
	if err != nil {
		return 0, err
	}
	joinSession(process, s)

	dir := filepath.Join(r.sessionsDir(), s.ID)
	if err := os.Mkdir(dir, 0o700); errors.Is(err, os.ErrExist) {
		return 0, fault.New(fault.Conflict, "there is a session %s already", s.ID)
	} else if err != nil {
		return 0, fmt.Errorf("begin session: %w", err)
	}
	x := r.session(dir, id, rid, s.ID)
	x.terminal = s.Terminal
	var l lines
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), execPatience)
		defer cancel()
		err = errors.Join(err, x.clear(last), os.RemoveAll(dir))
		l.close()
		r.unwatchSession(x.mark)
	}()
	if err := save(dir, sessionFile, sessionRecord{Task: id, Container: rid}); err != nil {
		return 0, err
	}
	r.watchSession(id, rid, x.mark)
	if err := l.open(ctx, &x, dir, s); err != nil {
		return 0, fmt.Errorf("begin session: %w", err)
	}
	if err := x.make(ctx, process); err != nil {
		return 0, err
	}
	if err := x.start(ctx); err != nil {
		return 0, inSession(err)
	}
	return r.converse(ctx, &x, &l, s)
}

// inSession is why a command could not be executed, without what is said of containers.
func inSession(err error) error {
	if fault.KindOf(err) != fault.Invalid {
		return err
	}
	_, reason, _ := strings.Cut(fault.Message(err), "failed to create new container runtime task: ")
	if i := strings.LastIndex(reason, "exec: "); i >= 0 {
		reason = reason[i:]
	}
	return fault.Wrap(fault.Invalid, err, "the command cannot be executed: %s", reason)
}

// session is the execution of a session.
func (r *Runtime) session(dir string, id task.ID, rid, session string) execution {
	return execution{r: r, task: id, container: rid, id: "session-" + session, mark: sessionMark + session}
}

// joinSession makes of a container's main process a command that somebody talks to.
func joinSession(p *specs.Process, s isolation.Session) {
	main := p.Args
	p.Args, p.Terminal, p.ConsoleSize = withSecrets(main, s.Args), s.Terminal, nil
	secret := len(p.Args) > len(s.Args)
	// Root that may not pass over permissions cannot read what is for another user only.
	if caps := p.Capabilities; p.User.UID != 0 && !(secret && !slices.Contains(caps.Bounding, "CAP_DAC_OVERRIDE")) {
		p.User = specs.User{}
		caps.Permitted, caps.Effective = caps.Bounding, caps.Bounding
		p.Env = slices.DeleteFunc(p.Env, func(kv string) bool { return strings.HasPrefix(kv, "HOME=") })
	}
	p.Env = append(p.Env, sessionMark+s.ID)
	if !s.Terminal {
		return
	}
	size := windowOr(s.Size)
	p.ConsoleSize = &specs.Box{Width: uint(size.Columns), Height: uint(size.Rows)}
	if !slices.ContainsFunc(p.Env, func(kv string) bool { return strings.HasPrefix(kv, "TERM=") }) {
		p.Env = append(p.Env, "TERM=xterm-256color")
	}
}

func windowOr(w isolation.Window) isolation.Window {
	if w.Columns == 0 || w.Rows == 0 {
		return isolation.DefaultWindow
	}
	return w
}

// converse carries what is said to a command and by it, until it has ended.
func (r *Runtime) converse(ctx context.Context, x *execution, l *lines, s isolation.Session) (int, error) {
	talk, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	l.carry(hangUp, s, func() error { // the shim holds the other end of the pipe open too
		_, err := r.tasks().CloseIO(talk, &tasks.CloseIORequest{ContainerID: x.container, ExecID: x.id, Stdin: true})
		return err
	})
	resized := make(chan struct{})
	go func() {
		defer close(resized)
		if s.Terminal {
			x.resize(talk, s.Size) // Not every runtime goes by the size in the spec.
		}
		for {
			select {
			case w, ok := <-s.Resize:
				if !ok {
					return
				}
				x.resize(talk, w)
			case <-talk.Done():
				return
			}
		}
	}()
	code, err := x.outlast(talk)
	if talk.Err() != nil {
		err = context.Cause(talk)
	}
	// What it started in the background holds the other ends of the streams open. If
	// nobody listens any more, what is still said is read all the same, for the shim waits
	// until it is rid of it.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), execPatience)
	defer cancel()
	err = errors.Join(err, x.killAll(last))
	if wrote := l.drain(talk); err == nil {
		err = wrote
	}
	hangUp(nil)
	<-resized
	return code, err
}

// resize sets the size of a command's terminal. If it has ended, nobody minds.
func (x *execution) resize(ctx context.Context, w isolation.Window) {
	w = windowOr(w)
	_, _ = x.r.tasks().ResizePty(ctx, &tasks.ResizePtyRequest{
		ContainerID: x.container, ExecID: x.id, Width: uint32(w.Columns), Height: uint32(w.Rows),
	})
}

// outlast waits for a command over restarts of containerd, which its shim does not notice.
func (x *execution) outlast(ctx context.Context) (int, error) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		code, err := x.wait(ctx)
		if !errdefs.IsUnavailable(err) {
			return code, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// EndSessions ends the sessions of a server that died, and takes away what is left of them.
// It is called once, by the server that comes after, when containerd is there.
func (r *Runtime) EndSessions(ctx context.Context) error {
	entries, err := os.ReadDir(r.sessionsDir())
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	var failed []error
	for _, e := range entries {
		dir := filepath.Join(r.sessionsDir(), e.Name())
		record, found, err := load[sessionRecord](dir, sessionFile)
		if found && err == nil {
			x := r.session(dir, record.Task, record.Container, e.Name())
			err = x.clear(ctx)
		}
		if err == nil {
			err = os.RemoveAll(dir)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
