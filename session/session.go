// Package session lets people run commands in containers beside what those do: it says
// who may have how many and for how long, and keeps a record of each.
//
// The rule: a session is as long as the conversation. It ends with the command, with
// whoever talks to it, with its container, with the server, and when nothing was said for
// some time; and then nothing of it runs any more.
package session

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/isolation"
	"berth/task"
)

const (
	// Idle is how long nothing may be said, either way, before a session is ended
	// (Amazon ECS Developer Guide, "Using ECS Exec": 20 minutes).
	Idle = 20 * time.Minute

	// Most is how many sessions a container may have at once (Amazon ECS service quotas,
	// "Tasks per ... ECS Exec sessions": 1000 per container).
	Most = 1000
)

// Attacher runs commands in containers; see isolation.Runtime.
type Attacher interface {
	Attach(ctx context.Context, id task.ID, container string, s isolation.Session) (code int, err error)
}

// Tasks knows the tasks that there are.
type Tasks interface {
	Task(ctx context.Context, id task.ID) (task.Task, error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Runtime Attacher
	Tasks   Tasks
	Record  func(ctx context.Context, r Record) // is told when a session begins and when it has ended
	Idle    time.Duration                       // Idle, but in tests
	Most    int                                 // Most, but in tests
	Log     *zap.Logger
	Now     func() time.Time
	NewID   func() string // of letters, digits and hyphens, at most 64
}

// Wish is a session that somebody wants.
type Wish struct {
	Task      task.ID
	Container string   // empty: the task's only one
	Command   []string // program and arguments
	Terminal  bool
	Via       string // how it was asked for: exec, or ecs-exec
}

// Session is a session that may be held, once, with Hold.
type Session struct {
	ID  string
	Who access.Identity
	Wish
	TaskARN, ContainerARN string
}

// Record is what is kept of a session.
type Record struct {
	Session
	Began time.Time
	Ended time.Time  // zero: it has begun
	Code  *int       // exit code of the command; nil: it did not end by itself
	Kind  fault.Kind // of Cause
	Cause string     // why it did not; empty if Code is not nil
	In    int64      // bytes that were said to the command
	Out   int64      // bytes that it said
}

// Streams is who talks in a session; see isolation.Session.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Size           isolation.Window
	Resize         <-chan isolation.Window
}

// Sessions is all sessions of one server. It is safe for concurrent use.
type Sessions struct {
	Config

	mu    sync.Mutex
	open  map[place]int
	over  bool
	ends  map[string]context.CancelCauseFunc // by session ID
	going sync.WaitGroup
}

type place struct {
	task      task.ID
	container string
}

// New returns Sessions of which none goes on.
func New(c Config) *Sessions {
	return &Sessions{Config: c, open: make(map[place]int), ends: make(map[string]context.CancelCauseFunc)}
}

// errIdle ends a session in which nothing was said, errStopping one over which the server
// ends.
var (
	errIdle     = errors.New("nothing was said for too long")
	errStopping = fault.New(fault.Unavailable, "the server is stopping")
)

// Run ends all sessions when ctx ends, and returns when they have ended. After that there
// are none any more.
func (s *Sessions) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.over = true
	for _, end := range s.ends {
		end(errStopping)
	}
	s.mu.Unlock()
	s.going.Wait()
	return nil
}

// Prepare returns the session that w asks for, or why there cannot be one: no such task or
// container is fault.NotFound, one that does not run fault.Conflict, a wish that says too
// little fault.Invalid. Nothing runs yet.
func (s *Sessions) Prepare(ctx context.Context, w Wish) (Session, error) {
	if len(w.Command) == 0 || w.Command[0] == "" {
		return Session{}, fault.At("command", "it is missing")
	}
	t, err := s.Tasks.Task(ctx, w.Task)
	if err != nil {
		return Session{}, err
	}
	if w.Container == "" {
		if len(t.Containers) != 1 {
			return Session{}, fault.At("container", "the task has several: %s", strings.Join(names(t), ", "))
		}
		w.Container = t.Containers[0].Name
	}
	c := t.Container(w.Container)
	if c == nil {
		return Session{}, fault.New(fault.NotFound, "task %s has no container %q; it has %s", t.ID, w.Container, strings.Join(names(t), ", "))
	}
	if c.LastStatus != task.Running {
		return Session{}, fault.New(fault.Conflict, "container %s of task %s does not run: it is %s", c.Name, t.ID, c.LastStatus)
	}
	return Session{ID: s.NewID(), Who: access.From(ctx), Wish: w, TaskARN: t.ARN, ContainerARN: c.ARN}, nil
}

func names(t task.Task) []string {
	var all []string
	for _, c := range t.Containers {
		all = append(all, c.Name)
	}
	return all
}

// Hold holds a session until it has ended and returns the exit code of its command.
// When ctx ends, or nothing was said for too long, which is fault.Unavailable, the command
// is killed with all that it started. One session too many is fault.Exhausted. Otherwise
// as isolation.Runtime's Attach.
func (s *Sessions) Hold(ctx context.Context, one Session, streams Streams) (int, error) {
	ctx, hangUp := context.WithCancelCause(ctx)
	defer hangUp(nil)
	if err := s.enter(one, hangUp); err != nil {
		return 0, err
	}
	defer s.leave(one)
	idle := time.AfterFunc(s.Idle, func() { hangUp(errIdle) })
	defer idle.Stop()
	said := &meter{touch: func() { idle.Reset(s.Idle) }}

	r := Record{Session: one, Began: s.Now()}
	log := s.Log.With(zap.String("session", one.ID), zap.String("task", string(one.Task)), zap.String("container", one.Container),
		zap.String("who", one.Who.ARN))
	log.Info("session began", zap.Strings("command", one.Command), zap.String("via", one.Via))
	s.Record(context.WithoutCancel(ctx), r)
	code, err := s.Runtime.Attach(ctx, one.Task, one.Container, isolation.Session{
		ID: one.ID, Args: one.Command, Terminal: one.Terminal, Size: streams.Size, Resize: streams.Resize,
		Stdin: said.reader(streams.Stdin), Stdout: said.writer(streams.Stdout), Stderr: said.writer(streams.Stderr),
	})
	gone := false
	switch cause := context.Cause(ctx); {
	case err == nil:
	case errors.Is(cause, errIdle):
		err = fault.New(fault.Unavailable, "the session was ended: nothing was said for %s", s.Idle)
	case errors.Is(cause, errStopping):
		err = errStopping
	case ctx.Err() != nil:
		gone = true
	}
	r.Ended, r.In, r.Out = s.Now(), said.in.Load(), said.out.Load()
	switch {
	case err == nil:
		r.Code = &code
	case gone:
		r.Kind, r.Cause = fault.Unavailable, "who talked in it went away"
	default:
		r.Kind, r.Cause = fault.KindOf(err), fault.Message(err)
	}
	s.Record(context.WithoutCancel(ctx), r)
	log.Info("session ended", zap.Intp("exitCode", r.Code), zap.String("cause", r.Cause), zap.Duration("took", r.Ended.Sub(r.Began)),
		zap.Int64("in", r.In), zap.Int64("out", r.Out))
	return code, err
}

func (s *Sessions) enter(one Session, end context.CancelCauseFunc) error {
	at := place{one.Task, one.Container}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errStopping
	}
	if s.open[at] >= s.Most {
		return fault.New(fault.Exhausted, "container %s has %d sessions, and no container can have more", at.container, s.Most)
	}
	s.open[at]++
	s.ends[one.ID] = end
	s.going.Add(1)
	return nil
}

func (s *Sessions) leave(one Session) {
	at := place{one.Task, one.Container}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[at]--; s.open[at] == 0 {
		delete(s.open, at)
	}
	delete(s.ends, one.ID)
	s.going.Done()
}
