package ssm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"berth/fault"
	"berth/isolation"
	"berth/server/aws/ssm/channel"
	"berth/session"
)

// agentVersion is what the agent on the other side of AWS's data channels says that it is.
// From 2.3.722 on clients end sessions with a flag.
const agentVersion = "3.3.0.0"

const (
	chunk      = 1024                   // bytes of output in a message, as AWS's agent sends them
	typedAhead = 10_000                 // messages of input that the command has not taken; more are not acknowledged
	tick       = 100 * time.Millisecond // between two looks for what has to be sent again
	patience   = 30 * time.Second       // a client that takes nothing for so long is cut off, and may come back
	farewell   = 10 * time.Second       // how long the client may take to acknowledge the last output
)

var (
	errTerminated = errors.New("the client ended the session")
	errLeft       = errors.New("the client did not come back")
	errOver       = errors.New("the session has ended")
)

// conversation is a session and the data channel to whoever talks in it. The channel
// outlives its connections.
type conversation struct {
	s    *Server
	one  session.Session
	life context.Context
	end  context.CancelCauseFunc // of life

	typed  *io.PipeReader
	keys   chan []byte // what was typed and is not taken yet
	resize chan isolation.Window
	begin  sync.Once

	sending sync.Mutex // held while a frame is written, so that they leave in order

	mu      sync.Mutex
	link    *channel.Link
	conn    *websocket.Conn // nil: there is none
	changed chan struct{}   // closed when acknowledgements came, or a connection
	tickets []ticket
	leave   *time.Timer // ends life while there is no connection, or no handshake
	met     time.Time   // when the handshake began
	begun   bool        // the handshake is complete
}

func newConversation(s *Server, one session.Session) *conversation {
	v := &conversation{
		s: s, one: one, link: channel.NewServer(func() [16]byte { return uuid.New() }),
		keys: make(chan []byte, typedAhead), resize: make(chan isolation.Window, 1), changed: make(chan struct{}),
	}
	v.life, v.end = context.WithCancelCause(s.lifetime)
	v.leave = time.AfterFunc(TokenLife, func() { v.end(errLeft) })
	context.AfterFunc(v.life, func() { // also if nobody ever came
		v.leave.Stop()
		v.begin.Do(func() { v.hangUp() }) // or else hold says farewell
		s.forget(one.ID)
	})
	return v
}

// hangUp closes the connection, if there is one.
func (v *conversation) hangUp() {
	v.mu.Lock()
	conn := v.conn
	v.mu.Unlock()
	if conn != nil {
		conn.CloseNow()
	}
}

// issue returns a token that is good for one connection.
func (v *conversation) issue() string {
	token := random(32)
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.s.Now()
	var good []ticket
	for _, t := range v.tickets {
		if now.Before(t.until) {
			good = append(good, t)
		}
	}
	v.tickets = append(good, ticket{hash: sha256.Sum256([]byte(token)), until: now.Add(TokenLife)})
	return token
}

// redeem reports whether a token is good, and makes sure that it never is again.
func (v *conversation) redeem(token string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, t := range v.tickets {
		if t.fits(token, v.s.Now()) {
			v.tickets = append(v.tickets[:i], v.tickets[i+1:]...)
			return true
		}
	}
	return false
}

// note wakes who waits for acknowledgements or a connection. mu is held.
func (v *conversation) note() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// connect makes conn the conversation's, in place of the one that it had, and says what has
// to be said first.
func (v *conversation) connect(conn *websocket.Conn) {
	v.mu.Lock()
	before, first := v.conn, v.met.IsZero()
	v.conn = conn
	if v.begun {
		v.leave.Stop() // Who has not begun yet has no more time for it than before.
	}
	now := v.s.Now()
	frames := v.link.Resume(now)
	if first {
		v.met = now
		frames = append(frames, v.link.Send(now, channel.HandshakeRequest, handshake))
	}
	v.note()
	v.mu.Unlock()
	if before != nil {
		before.CloseNow()
	}
	for _, frame := range frames {
		v.write(frame)
	}
}

// disconnect is called when conn has failed.
func (v *conversation) disconnect(conn *websocket.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conn == conn {
		v.conn = nil
		if v.begun {
			v.leave.Reset(ResumeLife)
		}
	}
}

// handshake asks the client for nothing but to show what comes as that of a terminal.
var handshake = []byte(`{"AgentVersion":"` + agentVersion + `","RequestedClientActions":[{"ActionType":"SessionType",` +
	`"ActionParameters":{"SessionType":"InteractiveCommands","Properties":{}}}]}`)

// write sends a frame if there is a connection. One that fails is found out by its reader;
// what was lost is sent again.
func (v *conversation) write(frame []byte) {
	v.sending.Lock()
	defer v.sending.Unlock()
	v.mu.Lock()
	conn := v.conn
	v.mu.Unlock()
	if conn == nil {
		return
	}
	soon, cancel := context.WithTimeout(context.WithoutCancel(v.life), patience)
	defer cancel()
	_ = conn.Write(soon, websocket.MessageBinary, frame)
}

// listen takes what comes over conn until it fails or the session is over.
func (v *conversation) listen(conn *websocket.Conn) error {
	for {
		kind, frame, err := conn.Read(context.WithoutCancel(v.life)) // it is closed when all is said
		if err != nil {
			return err
		}
		if kind != websocket.MessageBinary {
			continue // Only the first message is text.
		}
		if err := v.take(frame); err != nil {
			return err
		}
	}
}

// take takes one frame. If the command takes nothing and too much waits for it, the frame
// is not taken: the client sends it again.
func (v *conversation) take(frame []byte) error {
	v.mu.Lock()
	if len(v.keys) > typedAhead-channel.Window {
		if m, err := channel.Decode(frame); err == nil && m.Type == channel.Input {
			v.mu.Unlock()
			return nil
		}
	}
	taken, err := v.link.Take(v.s.Now(), frame)
	v.note()
	v.mu.Unlock()
	if err != nil {
		return err
	}
	if taken.Answer != nil {
		v.write(taken.Answer)
	}
	for _, m := range taken.Messages {
		v.hear(m)
	}
	return nil
}

// hear acts on a message of the client's stream. It does not block: there is room for what
// is typed.
func (v *conversation) hear(m channel.Message) {
	switch m.Kind {
	case channel.Bytes:
		v.keys <- m.Payload
	case channel.Size:
		var size struct{ Cols, Rows uint16 }
		if json.Unmarshal(m.Payload, &size) != nil {
			return
		}
		w := isolation.Window{Columns: size.Cols, Rows: size.Rows}
		for { // Only the latest counts.
			select {
			case v.resize <- w:
				return
			case <-v.resize:
			}
		}
	case channel.HandshakeResponse:
		v.begin.Do(func() {
			v.mu.Lock()
			v.begun = true
			v.leave.Stop()
			v.mu.Unlock()
			go v.hold()
		})
	case channel.Flag:
		if n, ok := channel.Number(m.Payload); ok && n == channel.TerminateSession {
			v.end(errTerminated)
		}
	}
}

// send sends a message of the server's stream when there is room for it.
func (v *conversation) send(kind channel.PayloadType, payload []byte) error {
	for {
		if v.life.Err() != nil {
			return context.Cause(v.life)
		}
		v.mu.Lock()
		if v.link.Room() {
			frame := v.link.Send(v.s.Now(), kind, payload)
			v.mu.Unlock()
			v.write(frame)
			return nil
		}
		changed := v.changed
		v.mu.Unlock()
		select {
		case <-changed:
		case <-v.life.Done():
		}
	}
}

// Write sends what the command printed.
func (v *conversation) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := b[n:min(n+chunk, len(b))]
		if err := v.send(channel.Bytes, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// hold holds the session, once the client has said that it is ready, and then says
// farewell.
func (v *conversation) hold() {
	var others sync.WaitGroup
	read, typing := io.Pipe()
	over := make(chan struct{})
	others.Go(func() { v.resend(over) })
	others.Go(func() {
		for {
			select {
			case b := <-v.keys:
				_, _ = typing.Write(b) // A command that has ended takes nothing more.
			case <-over:
				return
			}
		}
	})
	complete, err := json.Marshal(map[string]any{"HandshakeTimeToComplete": v.s.Now().Sub(v.met), "CustomerMessage": ""})
	if err == nil {
		err = v.send(channel.HandshakeComplete, complete)
	}
	code := 0
	if err == nil {
		code, err = v.s.Sessions.Hold(v.life, v.one, session.Streams{Stdin: read, Stdout: v, Stderr: v, Resize: v.resize})
	}
	read.CloseWithError(errOver)
	v.close(v.last(code, err))
	v.end(errOver)
	close(over)
	others.Wait()
}

// last is what the client is told of a session's end; empty if that is as usual. The plugin
// has no exit code of its own for it.
func (v *conversation) last(code int, err error) string {
	switch cause := context.Cause(v.life); {
	case err == nil && code == 0, errors.Is(cause, errTerminated):
		return ""
	case err == nil:
		return fmt.Sprintf("The command exited with code %d.", code)
	case v.s.lifetime.Err() != nil:
		return "The server is stopping."
	case fault.KindOf(err) == fault.Internal:
		v.s.Log.Error("session failed", zap.String("session", v.one.ID), zap.Error(err))
		return "The session failed."
	}
	return fault.Message(err)
}

// resend sends again what was not acknowledged in time.
func (v *conversation) resend(over <-chan struct{}) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-over:
			return
		case <-t.C:
		}
		v.mu.Lock()
		var frames [][]byte
		if v.conn != nil {
			frames = v.link.Due(v.s.Now())
		}
		v.mu.Unlock()
		for _, frame := range frames {
			v.write(frame)
		}
	}
}

// close waits until all output was acknowledged, tells the client that the channel is
// closed, and why if that is not empty, and closes the connection.
func (v *conversation) close(why string) {
	late := time.NewTimer(farewell)
	defer late.Stop()
	for waiting := true; waiting; {
		v.mu.Lock()
		left, changed := v.link.Unacked(), v.changed
		v.mu.Unlock()
		if left == 0 {
			break
		}
		select {
		case <-changed:
		case <-late.C:
			waiting = false
		case <-v.life.Done():
			waiting = false
		}
	}
	v.s.forget(v.one.ID) // Until now the client may have come back for the rest.
	now := v.s.Now()
	text, err := json.Marshal(map[string]any{
		"MessageId": uuid.NewString(), "CreatedDate": now.UTC().Format(time.RFC3339), "DestinationId": v.one.TaskARN,
		"SessionId": v.one.ID, "MessageType": channel.Closed, "SchemaVersion": 1, "Output": why,
	})
	if err != nil {
		return
	}
	v.mu.Lock()
	frame, conn := v.link.Say(now, channel.Closed, text), v.conn
	v.mu.Unlock()
	v.write(frame)
	if conn != nil {
		conn.Close(websocket.StatusNormalClosure, "")
	}
}
