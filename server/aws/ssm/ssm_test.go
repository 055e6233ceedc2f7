package ssm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/server/aws/ssm/channel"
	"berth/server/aws/wire"
	"berth/session"
)

// commands are Sessions of which the first word of a command says what it does.
type commands struct{ ended chan error }

func (c commands) Hold(ctx context.Context, one session.Session, s session.Streams) (code int, err error) {
	defer func() { c.ended <- err }()
	switch one.Command[0] {
	case "cat":
		for buffer := make([]byte, 4096); ; {
			n, err := s.Stdin.Read(buffer)
			if i := bytes.IndexByte(buffer[:n], 4); i >= 0 { // Ctrl-D
				_, err = s.Stdout.Write(buffer[:i])
				return 0, err
			}
			if _, err := s.Stdout.Write(buffer[:n]); err != nil {
				return 0, err
			}
			if err != nil {
				return 0, err
			}
		}
	case "size":
		for range 2 {
			select {
			case w := <-s.Resize:
				fmt.Fprintf(s.Stdout, "%dx%d;", w.Columns, w.Rows)
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		return 3, nil
	case "refused":
		return 0, fault.New(fault.Invalid, "the command cannot be executed: refused")
	}
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// stage is a Server and one session on it.
type stage struct {
	*testing.T
	*Server
	http  *httptest.Server
	ended chan error
	call  wire.Call
	Opened
}

func newStage(t *testing.T, command string) *stage {
	t.Helper()
	s := &stage{T: t, ended: make(chan error, 1)}
	s.Server = New(t.Context(), Config{Sessions: commands{s.ended}, Log: zap.NewNop(), Now: time.Now})
	s.http = httptest.NewServer(s.Server)
	t.Cleanup(s.http.Close)
	who := access.Identity{Account: "111122223333", Region: "eu-west-1"}
	s.call = wire.Call{Identity: who, Host: strings.TrimPrefix(s.http.URL, "http://")}
	s.Opened = s.Open(s.call, session.Session{ID: NewID(), Who: who, Wish: session.Wish{Command: []string{command}, Terminal: true}})
	return s
}

// person is a client of a data channel.
type person struct {
	*stage
	link *channel.Link
	conn *websocket.Conn
	seen bytes.Buffer
}

func (s *stage) dial(token string) *websocket.Conn {
	s.Helper()
	conn, _, err := websocket.Dial(s.Context(), s.StreamURL, nil)
	if err != nil {
		s.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	text := fmt.Sprintf(`{"MessageSchemaVersion":"1.0","RequestId":%q,"TokenValue":%q,"ClientId":"c","ClientVersion":"1.2"}`, uuid.NewString(), token)
	if err := conn.Write(s.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.CloseNow() })
	return conn
}

func (s *stage) person() *person {
	return &person{stage: s, link: channel.NewClient(func() [16]byte { return uuid.New() }), conn: s.dial(s.Token)}
}

func (p *person) send(kind channel.PayloadType, payload []byte) {
	p.Helper()
	p.write(p.link.Send(time.Now(), kind, payload))
}

func (p *person) write(frame []byte) {
	p.Helper()
	if err := p.conn.Write(p.Context(), websocket.MessageBinary, frame); err != nil {
		p.Fatal(err)
	}
}

// hear takes messages until done says that it is enough, or the channel is closed, which it
// returns the reason of. lose decides which of them are lost.
func (p *person) hear(done func() bool, lose func() bool) (closed bool, why string) {
	p.Helper()
	for !done() {
		_, frame, err := p.conn.Read(p.Context())
		if err != nil {
			p.Fatalf("the connection broke off after %d bytes: %v", p.seen.Len(), err)
		}
		if m, err := channel.Decode(frame); err == nil && m.Type != channel.Closed && lose() { // which is not sent again
			continue
		}
		taken, err := p.link.Take(time.Now(), frame)
		if err != nil {
			p.Fatal(err)
		}
		if o := taken.Other; o != nil && o.Type == channel.Closed {
			var c struct{ SessionID, Output string }
			if err := json.Unmarshal(o.Payload, &c); err != nil || c.SessionID != p.SessionID {
				p.Errorf("channel_closed says %s, %v", o.Payload, err)
			}
			return true, c.Output
		}
		if taken.Answer != nil && !lose() {
			p.write(taken.Answer)
		}
		for _, m := range taken.Messages {
			switch m.Kind {
			case channel.HandshakeRequest:
				p.send(channel.HandshakeResponse, []byte(`{"ClientVersion":"1.2","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1}]}`))
			case channel.Bytes:
				p.seen.Write(m.Payload)
			}
		}
		for _, again := range p.link.Due(time.Now()) {
			p.write(again)
		}
	}
	return false, ""
}

func never() bool { return false }

// Ensure what is typed comes to the command and what it prints comes back, whole, also if
// messages have to be sent again.
func TestConversation(t *testing.T) {
	for _, loss := range []float64{0, 0.2} {
		t.Run(fmt.Sprint("loss=", loss), func(t *testing.T) {
			t.Parallel()
			luck := rand.New(rand.NewPCG(1, 1))
			lose := func() bool { return luck.Float64() < loss }
			p := newStage(t, "cat").person()
			sent := bytes.Repeat([]byte("äöü, and no byte of it may be lost. "), 8000)
			if loss > 0 {
				sent = sent[:40_000]
			}
			for at := 0; at < len(sent); at += 1024 {
				if !p.link.Room() {
					p.hear(p.link.Room, lose)
				}
				p.send(channel.Bytes, sent[at:min(at+1024, len(sent))])
			}
			p.send(channel.Bytes, []byte{4})
			closed, why := p.hear(never, lose)
			if !closed || why != "" || !bytes.Equal(p.seen.Bytes(), sent) {
				t.Errorf("%d bytes came back of %d; closed: %v %q", p.seen.Len(), len(sent), closed, why)
			}
			if err := <-p.ended; err != nil {
				t.Error(err)
			}
			if p.conversation(p.SessionID) != nil {
				t.Error("the session is still known")
			}
		})
	}
}

// Ensure sizes are passed on, and the client is told of an exit code and of failures.
func TestEnds(t *testing.T) {
	p := newStage(t, "size").person()
	p.send(channel.Size, []byte(`{"cols":132,"rows":43}`))
	p.hear(func() bool { return p.seen.String() == "132x43;" }, never)
	p.send(channel.Size, []byte(`{"cols":20,"rows":10}`))
	if _, why := p.hear(never, never); why != "The command exited with code 3." || p.seen.String() != "132x43;20x10;" {
		t.Errorf("it ended with %q and said %q", why, &p.seen)
	}
	p = newStage(t, "refused").person()
	if _, why := p.hear(never, never); why != "the command cannot be executed: refused" {
		t.Errorf("it ended with %q", why)
	}
}

// Ensure a client can come back after its connection broke, and misses nothing.
func TestResume(t *testing.T) {
	s := newStage(t, "cat")
	p := s.person()
	p.send(channel.Bytes, []byte("before;"))
	p.hear(func() bool { return p.seen.String() == "before;" }, never)
	p.conn.CloseNow()
	p.link.Send(time.Now(), channel.Bytes, []byte("lost;")) // on its way when the connection broke
	out, err := s.resume(t.Context(), s.call, &resumeIn{SessionID: s.SessionID})
	if err != nil || out.TokenValue == "" || out.StreamURL != s.StreamURL {
		t.Fatalf("ResumeSession = %+v, %v", out, err)
	}
	p.conn = s.dial(out.TokenValue)
	for _, frame := range p.link.Resume(time.Now()) {
		p.write(frame)
	}
	p.send(channel.Bytes, []byte("after\x04"))
	if _, why := p.hear(never, never); why != "" || p.seen.String() != "before;lost;after" {
		t.Errorf("it said %q and ended with %q", &p.seen, why)
	}
	if out, err := s.resume(t.Context(), s.call, &resumeIn{SessionID: s.SessionID}); err != nil || out.TokenValue != "" {
		t.Errorf("ResumeSession of a session that is over = %+v, %v", out, err)
	}
}

// Ensure a client can end its session in both ways, and nobody else can.
func TestTerminate(t *testing.T) {
	s := newStage(t, "wait")
	p := s.person()
	p.hear(func() bool { return p.conversation(p.SessionID).started() }, never)
	other := s.call
	other.Identity.Account = "444455556666"
	if _, err := s.terminate(t.Context(), other, &resumeIn{SessionID: s.SessionID}); err != nil || s.conversation(s.SessionID) == nil {
		t.Errorf("another account ended the session: %v", err)
	}
	if out, _ := s.resume(t.Context(), other, &resumeIn{SessionID: s.SessionID}); out.TokenValue != "" {
		t.Error("another account got a token")
	}
	if _, err := s.terminate(t.Context(), s.call, &resumeIn{SessionID: s.SessionID}); err != nil {
		t.Error(err)
	}
	if closed, why := p.hear(never, never); !closed || why != "" {
		t.Errorf("it ended with %q", why)
	}
	if err := <-s.ended; !errors.Is(err, errTerminated) {
		t.Errorf("the command ended with %v", err)
	}

	p = newStage(t, "wait").person()
	p.hear(func() bool { return p.conversation(p.SessionID).started() }, never)
	p.send(channel.Flag, []byte{0, 0, 0, channel.TerminateSession})
	if closed, why := p.hear(never, never); !closed || why != "" {
		t.Errorf("it ended with %q", why)
	}
}

func (v *conversation) started() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.begun
}

// Ensure a token is good once, for its session only, and that nobody learns which of it was
// wrong.
func TestTokens(t *testing.T) {
	s := newStage(t, "wait")
	other := s.Open(s.call, session.Session{ID: NewID(), Who: s.call.Identity, Wish: session.Wish{Command: []string{"wait"}}})
	refused := func(what, url, token string) {
		t.Helper()
		at := s.StreamURL
		s.StreamURL = url
		defer func() { s.StreamURL = at }()
		if _, _, err := s.dial(token).Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("no token", s.StreamURL, "")
	refused("another session's token", s.StreamURL, other.Token)
	refused("no such session", strings.Replace(s.StreamURL, s.SessionID, NewID(), 1), s.Token)
	p := s.person()
	p.hear(func() bool { return p.conversation(p.SessionID).started() }, never)
	refused("a token that was used", s.StreamURL, s.Token)

	v := s.conversation(other.SessionID)
	v.s = &Server{Config: Config{Now: func() time.Time { return time.Now().Add(TokenLife) }}}
	if v.redeem(other.Token) {
		t.Error("an old token is good")
	}
}

// Ensure a web page cannot open a channel.
func TestOrigin(t *testing.T) {
	s := newStage(t, "wait")
	for _, header := range []http.Header{{"Origin": {"https://evil.example"}}, {"Sec-Fetch-Site": {"cross-site"}}} {
		_, resp, err := websocket.Dial(t.Context(), s.StreamURL, &websocket.DialOptions{HTTPHeader: header})
		if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %v", header, err)
		}
	}
	_, resp, err := websocket.Dial(t.Context(), s.StreamURL, &websocket.DialOptions{Host: "rebound.example"})
	if err == nil || resp == nil || resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: %v", err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
}
