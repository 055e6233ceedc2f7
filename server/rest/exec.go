package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/fault"
	"berth/isolation"
	"berth/server/api"
	"berth/session"
)

// Sessions lets people run commands in containers; see package session.
type Sessions interface {
	Prepare(ctx context.Context, w session.Wish) (session.Session, error)
	Hold(ctx context.Context, one session.Session, s session.Streams) (code int, err error)
}

type execIn struct {
	taskIn
	Container string      `query:"container" doc:"May be left out if the task has only one"`
	Command   commandLine `query:"command" required:"true" doc:"Program and arguments: a JSON array of strings, or words with spaces between them"`
	Terminal  bool        `query:"tty" doc:"With a terminal"`
	Stdin     bool        `query:"stdin" doc:"With an input; otherwise the command's is empty"`
	Columns   int         `query:"columns" minimum:"1" maximum:"65535" doc:"Of the terminal when the command begins; 80 if left out"`
	Rows      int         `query:"rows" minimum:"1" maximum:"65535" doc:"Of the terminal when the command begins; 24 if left out"`
}

// commandLine is a command in a query.
type commandLine []string

func (w *commandLine) UnmarshalText(text []byte) error {
	if !strings.HasPrefix(string(text), "[") {
		*w = strings.Fields(string(text))
		return nil
	}
	if err := json.Unmarshal(text, (*[]string)(w)); err != nil {
		return fault.New(fault.Invalid, "it is not a JSON array of strings")
	}
	return nil
}

// execOperation is the one operation that is a conversation. Until it begins it fails as
// others do; then a last message says how it ended.
func (s *server) execOperation() operation {
	in := newPlan(reflect.TypeFor[execIn]())
	return operation{
		method: "GET", path: "/tasks/:id/exec", summary: "Run a command in a container of a task and talk to it, over a WebSocket",
		status: http.StatusSwitchingProtocols, in: in, out: reflect.TypeFor[api.ExecHears](), formats: []string{api.JSON},
		handler: func(c *gin.Context) {
			var v execIn
			err := s.bind(c, in, &v)
			if err == nil {
				err = s.exec(c, &v)
			}
			if err != nil {
				s.fail(c, err)
			}
		},
	}
}

// exec holds a session. Its error is that there is none.
func (s *server) exec(c *gin.Context, in *execIn) error {
	ctx := c.Request.Context()
	if !s.origin.SameOriginSocket(c.Request) {
		return refusal{http.StatusForbidden, "sessions from other web pages are refused"}
	}
	if err := s.ours(ctx, in.ID.ID); err != nil {
		return err
	}
	one, err := s.Sessions.Prepare(ctx, session.Wish{
		Task: in.ID.ID, Container: in.Container, Command: in.Command, Terminal: in.Terminal, Via: "exec",
	})
	if err != nil {
		return err
	}
	if !strings.EqualFold(c.GetHeader("Upgrade"), "websocket") {
		c.Header("Upgrade", "websocket")
		return refusal{http.StatusUpgradeRequired, "a session is held over a WebSocket (RFC 6455)"}
	}
	// The origin was looked at already, with the names that this server goes by.
	conn, err := websocket.Accept(c.Writer, c.Request, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil //nolint:nilerr // It has been answered.
	}
	defer conn.CloseNow()
	conn.SetReadLimit(api.ExecMessageMax)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // net/http gives the connection up
	defer cancel(nil)
	stop := context.AfterFunc(s.lifetime, func() { cancel(errStopping) })
	defer stop()

	t := talk{ctx: ctx, conn: conn, resize: make(chan isolation.Window)}
	streams := session.Streams{
		Stdout: t.writer(ctx, api.Stdout), Stderr: t.writer(ctx, api.Stderr), Resize: t.resize,
		Size: isolation.Window{Columns: uint16(in.Columns), Rows: uint16(in.Rows)},
	}
	read, typed := io.Pipe()
	if in.Stdin {
		streams.Stdin = read
	}
	var others sync.WaitGroup
	others.Go(func() { cancel(t.listen(ctx, typed)) })
	others.Go(func() { t.beat(ctx) })
	code, err := s.Sessions.Hold(ctx, one, streams)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	t.end(code, err, func(p *api.Fault) {
		p.Instance = c.Writer.Header().Get(api.RequestID)
		if p.Status >= http.StatusInternalServerError && !errors.Is(err, errStopping) && fault.KindOf(err) == fault.Internal {
			s.Log.Error("session failed", zap.String("request", p.Instance), zap.Error(err))
		}
	})
	cancel(nil)
	read.CloseWithError(errEnded)
	others.Wait()
	return nil
}

// errEnded is for who still types when a session has ended.
var errEnded = errors.New("the session has ended")

// talk is one end of a session's WebSocket.
type talk struct {
	ctx    context.Context // of the request, for its values
	conn   *websocket.Conn
	resize chan isolation.Window
}

// writer passes on what the command prints. Its Write returns when ctx ends.
func (t *talk) writer(ctx context.Context, stream byte) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		if err := t.conn.Write(ctx, websocket.MessageBinary, append([]byte{stream}, b...)); err != nil {
			return 0, errGone{err}
		}
		return len(b), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// listen takes what the client says, until that or the session has ended.
func (t *talk) listen(ctx context.Context, typed *io.PipeWriter) error {
	for {
		kind, message, err := t.conn.Read(ctx)
		if err != nil {
			err = errGone{err}
			typed.CloseWithError(err)
			return err
		}
		switch {
		case kind == websocket.MessageText:
			err = t.hear(ctx, message, typed)
		case len(message) == 0 || message[0] != api.Stdin:
			err = fault.New(fault.Invalid, "a binary message begins with the number of its stream: %d", api.Stdin)
		default:
			_, _ = typed.Write(message[1:]) // A command that has ended takes nothing more.
		}
		if err != nil {
			typed.CloseWithError(err)
			return err
		}
	}
}

func (t *talk) hear(ctx context.Context, message []byte, typed *io.PipeWriter) error {
	var says api.ExecSays
	if err := json.Unmarshal(message, &says); err != nil {
		return fault.New(fault.Invalid, "a text message is JSON: resize or end")
	}
	if says.Resize != nil {
		select {
		case t.resize <- isolation.Window{Columns: says.Resize.Columns, Rows: says.Resize.Rows}:
		case <-ctx.Done():
		}
	}
	if says.End {
		typed.Close()
	}
	return nil
}

// beat says now and then that this end lives, so that nothing between the two takes silence
// for death. The answer may lie behind input that the command does not take: it is not
// waited for. A connection that is dead is found out by TCP.
func (t *talk) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			soon, cancel := context.WithTimeout(ctx, heartbeat)
			_ = t.conn.Ping(soon)
			cancel()
		}
	}
}

// endPatience is how long the client may take to hear how its session ended.
const endPatience = 5 * time.Second

// end says how the session ended and closes the connection.
func (t *talk) end(code int, err error, named func(*api.Fault)) {
	var last api.ExecHears
	switch {
	case errors.As(err, new(errGone)):
		return
	case err != nil:
		p := problem(err)
		named(&p)
		last.Error = &p
	default:
		last.Exit = &code
	}
	text, err := json.Marshal(last)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), endPatience)
	defer cancel()
	if t.conn.Write(ctx, websocket.MessageText, text) == nil {
		t.conn.Close(websocket.StatusNormalClosure, "")
	}
}
