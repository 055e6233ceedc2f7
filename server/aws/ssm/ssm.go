// Package ssm is as much of AWS Systems Manager as ECS Exec needs: the data channel over
// which the session-manager-plugin talks to a command, and the two calls with which it
// comes back after its connection broke, and goes.
//
// The rule: whoever has a session's token is who asked for it. A token is good once and
// soon, and what it opens is that one session.
package ssm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/access"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/server/origin"
	"berth/session"
)

// Path is below what the data channels of all sessions are.
const Path = "/v1/data-channel/"

const (
	// TokenLife is how long a token may be used: within it the AWS CLI has started its
	// plugin on the slowest of machines.
	TokenLife = 2 * time.Minute

	// ResumeLife is how long a session goes on without a connection: the plugin tries for
	// a quarter of that.
	ResumeLife = time.Minute
)

// Sessions lets people run commands in containers; see package session.
type Sessions interface {
	Hold(ctx context.Context, one session.Session, s session.Streams) (code int, err error)
}

// Config is what New needs. All fields are required.
type Config struct {
	Sessions Sessions
	Hosts    []string // names in lower case, besides localhost and addresses, that clients may call this server by
	Log      *zap.Logger
	Now      func() time.Time
}

// Server has the data channels. It is safe for concurrent use.
type Server struct {
	Config
	lifetime context.Context
	origin   origin.Check

	mu   sync.Mutex
	open map[string]*conversation // by session ID
}

// New returns a Server whose sessions end with ctx.
func New(ctx context.Context, c Config) *Server {
	return &Server{Config: c, lifetime: ctx, origin: origin.New(c.Hosts), open: make(map[string]*conversation)}
}

// Opened is what a client needs to begin a session.
type Opened struct {
	SessionID string
	StreamURL string
	Token     string
}

// NewID returns the ID of a session, as ECS names those of ExecuteCommand.
func NewID() string { return "ecs-execute-command-" + random(9)[:17] }

// Open makes a session ready to be talked to by whoever has the token. Nothing runs until
// they come; if they do not, it is forgotten.
func (s *Server) Open(c wire.Call, one session.Session) Opened {
	v := newConversation(s, one)
	token := v.issue()
	s.mu.Lock()
	s.open[one.ID] = v
	s.mu.Unlock()
	return Opened{SessionID: one.ID, StreamURL: streamURL(c, one.ID), Token: token}
}

func streamURL(c wire.Call, id string) string {
	u := url.URL{Scheme: "ws", Host: c.Host, Path: Path + id, RawQuery: "role=publish_subscribe"}
	if c.Secure {
		u.Scheme = "wss"
	}
	return u.String()
}

// conversation returns the one of an ID, nil if there is none.
func (s *Server) conversation(id string) *conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

// forget is called when a conversation is over.
func (s *Server) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}

// random returns n bytes of chance in hex.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // It does not fail.
	return hex.EncodeToString(b)
}

// ticket is a token that was issued. Only its hash is kept.
type ticket struct {
	hash  [sha256.Size]byte
	until time.Time
}

// fits reports whether token is the ticket's, in a time that does not tell how much of it
// is right.
func (t ticket) fits(token string, now time.Time) bool {
	hash := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1 && now.Before(t.until)
}

type resumeIn struct {
	SessionID string `json:"SessionId" required:"true" min:"1" max:"96"`
}

type resumeOut struct {
	SessionID  string `json:"SessionId"`
	TokenValue string `json:"TokenValue,omitempty"`
	StreamURL  string `json:"StreamUrl,omitempty"`
}

type terminateOut struct {
	SessionID string `json:"SessionId"`
}

// Service is what AWS's front serves of Systems Manager.
func (s *Server) Service() wire.Service {
	return wire.Service{
		Name: "ssm", Protocol: wire.JSON, Target: "AmazonSSM", Version: "1.1", Invalid: "ValidationException",
		Code: func(err error) (string, int) {
			if fault.KindOf(err) == fault.NotFound {
				return "DoesNotExistException", 0
			}
			return "", 0
		},
		Operations: []wire.Operation{
			wire.Op("ResumeSession", s.resume, wire.Resources(sessionARN)),
			wire.Op("TerminateSession", s.terminate, wire.Resources(sessionARN)),
		},
	}
}

func sessionARN(c wire.Call, in *resumeIn) []string {
	return []string{"arn:aws:ssm:" + c.Identity.Region + ":" + c.Identity.Account + ":session/" + in.SessionID}
}

// resume gives a client that lost its connection a token for the next. Of a session that is
// over it gets none, by which the plugin knows.
func (s *Server) resume(_ context.Context, c wire.Call, in *resumeIn) (*resumeOut, error) {
	v := s.conversation(in.SessionID)
	if v == nil || !v.isOf(c.Identity) {
		return &resumeOut{SessionID: in.SessionID}, nil
	}
	return &resumeOut{SessionID: in.SessionID, TokenValue: v.issue(), StreamURL: streamURL(c, in.SessionID)}, nil
}

// terminate ends a session. One that is over is left as it is.
func (s *Server) terminate(_ context.Context, c wire.Call, in *resumeIn) (*terminateOut, error) {
	if v := s.conversation(in.SessionID); v != nil && v.isOf(c.Identity) {
		v.end(errTerminated)
	}
	return &terminateOut{SessionID: in.SessionID}, nil
}

// isOf reports whether who may come back to a conversation, or end it.
func (v *conversation) isOf(who access.Identity) bool { return v.one.Who.Account == who.Account }
