package ssm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"berth/server/aws/ssm/channel"
)

const (
	introduction = 10 * time.Second // how long a client may take to say who it is
	frameMax     = channel.MaxPayload + 4096
)

// opening is the first message of a client.
type opening struct {
	MessageSchemaVersion string
	RequestID            string `json:"RequestId"`
	TokenValue           string
	ClientID             string `json:"ClientId"`
	ClientVersion        string
}

// Handles reports whether r is for a data channel.
func Handles(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, Path) }

// ServeHTTP is part of http.Handler: it serves one connection of a data channel.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.origin.Ours(r.Host):
		http.Error(w, "this server does not answer to that host", http.StatusMisdirectedRequest)
		return
	case !s.origin.SameOriginSocket(r):
		http.Error(w, "data channels from other web pages are refused", http.StatusForbidden)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // looked at above
	if err != nil {
		return // It has been answered.
	}
	defer conn.CloseNow()
	conn.SetReadLimit(frameMax)
	id := strings.TrimPrefix(r.URL.Path, Path)
	v := s.conversation(id)
	if token, err := s.greet(r.Context(), conn); err != nil || v == nil || !v.redeem(token) {
		// Which of the three it was is nobody's business.
		conn.Close(websocket.StatusPolicyViolation, "no such session, or its token was used or is too old")
		return
	}
	v.connect(conn)
	defer v.disconnect(conn)
	err = v.listen(conn)
	s.Log.Debug("data channel disconnected", zap.String("session", id), zap.Error(err))
}

// greet returns the token that a client comes with.
func (s *Server) greet(ctx context.Context, conn *websocket.Conn) (token string, err error) {
	soon, cancel := context.WithTimeout(ctx, introduction)
	defer cancel()
	_, text, err := conn.Read(soon)
	if err != nil {
		return "", err
	}
	var o opening
	err = json.Unmarshal(text, &o)
	return o.TokenValue, err
}
