package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"berth/client"
	"berth/fault"
	"berth/server/api"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/task"
)

// talker is a server with a task that runs, and a client of it.
func talker(t *testing.T) (f *resttest.Fake, srv *httptest.Server, c *client.Client, id string) {
	t.Helper()
	f = resttest.New()
	config := f.Config()
	config.Log = zap.NewNop()
	srv = httptest.NewServer(rest.New(t.Context(), config))
	t.Cleanup(srv.Close)
	d, err := task.ParseDefinition([]byte(`{"family": "job", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
		"containerDefinitions": [{"name": "main", "image": "busybox"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	made, err := f.Submit(t.Context(), task.Run{Realm: f.Realm, Inline: &d})
	if err != nil {
		t.Fatal(err)
	}
	live(f, made[0].ID)
	return f, srv, client.New(srv.URL), string(made[0].ID)
}

// Ensure a session passes on every byte, tells the streams apart and says how it ended.
func TestExec(t *testing.T) {
	_, _, c, id := talker(t)
	sent := make([]byte, 3<<20+1)
	random := rand.NewChaCha8([32]byte{7})
	_, _ = random.Read(sent)
	var out, other bytes.Buffer
	code, err := c.Exec(t.Context(), id, client.Command{Args: []string{"cat"}, Stdin: bytes.NewReader(sent), Stdout: &out, Stderr: &other})
	if code != 0 || err != nil || !bytes.Equal(out.Bytes(), sent) || other.Len() != 0 {
		t.Errorf("cat = %d, %v; %d bytes came back of %d, and %d elsewhere", code, err, out.Len(), len(sent), other.Len())
	}
	out.Reset()
	code, err = c.Exec(t.Context(), id, client.Command{Container: "main", Args: []string{"say", "grüß dich"}, Stdout: &out, Stderr: &other})
	if code != 0 || err != nil || out.String() != "grüß dich\n" || other.String() != "grüß dich\n" {
		t.Errorf("say = %d, %v; %q and %q", code, err, &out, &other)
	}
	if code, err := c.Exec(t.Context(), id, client.Command{Args: []string{"exit", "42"}}); code != 42 || err != nil {
		t.Errorf("exit = %d, %v", code, err)
	}
	for _, bad := range []struct {
		what string
		id   string
		cmd  client.Command
		want fault.Kind
	}{
		{"what cannot be executed", id, client.Command{Args: []string{"/missing"}}, fault.Invalid},
		{"no such container", id, client.Command{Container: "side", Args: []string{"cat"}}, fault.NotFound},
		{"no such task", string(task.NewID()), client.Command{Args: []string{"cat"}}, fault.NotFound},
	} {
		if _, err := c.Exec(t.Context(), bad.id, bad.cmd); fault.KindOf(err) != bad.want {
			t.Errorf("%s: %v, want %s", bad.what, err, bad.want)
		}
	}
}

// Ensure the size of a terminal is passed on, and its changes.
func TestExecResize(t *testing.T) {
	_, _, c, id := talker(t)
	sizes := make(chan api.Window)
	typed, keyboard := io.Pipe()
	seen, screen := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), id, client.Command{
			Args: []string{"size"}, Terminal: true, Size: api.Window{Columns: 132, Rows: 43}, Resize: sizes, Stdin: typed, Stdout: screen,
		})
		ended <- err
	}()
	line := func() string {
		b := make([]byte, 100)
		n, err := seen.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := line(); got != "132x43\n" {
		t.Errorf("the first size is %q", got)
	}
	sizes <- api.Window{Columns: 20, Rows: 10}
	if got := line(); got != "20x10\n" {
		t.Errorf("the next size is %q", got)
	}
	keyboard.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Ensure a session ends with who listens.
func TestExecHangUp(t *testing.T) {
	_, _, c, id := talker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(ctx, id, client.Command{Args: []string{"wait"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Exec = %v", err)
	}
	typed, keyboard := io.Pipe()
	keyboard.CloseWithError(errors.New("unplugged"))
	if _, err := c.Exec(t.Context(), id, client.Command{Args: []string{"wait"}, Stdin: typed}); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "unplugged") {
		t.Errorf("Exec with an input that fails = %v", err)
	}
}

// Ensure nobody begins a session from a web page, and that a plain request hears why it is
// refused.
func TestExecRefusals(t *testing.T) {
	_, srv, _, id := talker(t)
	at := srv.URL + "/api/v1/tasks/" + id + "/exec?"
	for _, c := range []struct {
		what, query string
		header      http.Header
		status      int
		says        string
	}{
		{"no WebSocket", "command=cat", nil, http.StatusUpgradeRequired, "WebSocket"},
		{"another page", "command=cat", http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden, "web pages"},
		{"another page, says the browser", "command=cat", http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden, "web pages"},
		{"no command", "tty=true", nil, http.StatusBadRequest, "command"},
		{"half a command", "command=" + url.QueryEscape(`["cat"`), nil, http.StatusBadRequest, "command"},
		{"a terminal without columns", "command=cat&columns=0", nil, http.StatusBadRequest, "columns"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", at+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{}
		if c.header != nil {
			req.Header = c.header
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "websocket")
			req.Header.Set("Sec-WebSocket-Version", "13")
			req.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var p api.Fault
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != c.status || !strings.Contains(p.Detail+p.Field, c.says) {
			t.Errorf("%s: %s, %+v, %v", c.what, resp.Status, p, err)
		}
		resp.Body.Close()
	}
}

// Ensure what is no message of a session ends it, and that the command is told so.
func TestExecMessages(t *testing.T) {
	_, srv, _, id := talker(t)
	for _, bad := range []struct {
		kind websocket.MessageType
		text string
	}{
		{websocket.MessageText, "resize"}, {websocket.MessageBinary, ""}, {websocket.MessageBinary, "\x01output"},
	} {
		conn, _, err := websocket.Dial(t.Context(), srv.URL+"/api/v1/tasks/"+id+"/exec?stdin=true&command=wait", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), bad.kind, []byte(bad.text)); err != nil {
			t.Fatal(err)
		}
		_, message, err := conn.Read(t.Context())
		var last api.ExecHears
		if err != nil || json.Unmarshal(message, &last) != nil || last.Error == nil || last.Error.Status != http.StatusBadRequest {
			t.Errorf("%q: %s, %v", bad.text, message, err)
		}
		conn.CloseNow()
	}
}
