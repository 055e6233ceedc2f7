package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/coder/websocket"

	"berth/fault"
	"berth/server/api"
)

// Command is a command to run in a container.
type Command struct {
	Container string   // empty: the task's only one
	Args      []string // program and arguments

	Terminal bool
	Size     api.Window        // of the terminal; zero: 80 columns by 24 rows
	Resize   <-chan api.Window // further sizes; may be nil

	Stdin          io.Reader // nil: none
	Stdout, Stderr io.Writer // of a terminal everything is Stdout
}

// Exec runs a command in a container of a task and returns its exit code when it has ended
// and all that it printed is written. When ctx ends, so does the command. One that cannot
// be executed is fault.Invalid, a container that does not run fault.Conflict. A Read of
// Stdin that blocks is left behind.
func (c *Client) Exec(ctx context.Context, id string, cmd Command) (code int, err error) {
	line, err := json.Marshal(cmd.Args)
	if err != nil {
		return 0, fmt.Errorf("encode command: %w", err)
	}
	query := values("container", cmd.Container, "command", string(line))
	if cmd.Terminal {
		query.Set("tty", "true")
	}
	if cmd.Stdin != nil {
		query.Set("stdin", "true")
	}
	if cmd.Size.Columns > 0 && cmd.Size.Rows > 0 {
		query.Set("columns", strconv.Itoa(int(cmd.Size.Columns)))
		query.Set("rows", strconv.Itoa(int(cmd.Size.Rows)))
	}
	req, err := c.request(ctx, request{method: "GET", path: taskPath(id, "/exec"), query: query})
	if err != nil {
		return 0, err
	}
	conn, resp, err := websocket.Dial(ctx, req.URL.String(), &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: req.Header})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case resp != nil && resp.StatusCode >= http.StatusBadRequest:
		defer resp.Body.Close()
		return 0, refusal(resp)
	default:
		return 0, unreachable(c.base, err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(api.ExecMessageMax)

	ctx, cancel := context.WithCancelCause(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel(nil)
	s := speaker{conn: conn}
	if cmd.Stdin != nil {
		go s.feed(ctx, cancel, cmd.Stdin)
	}
	if cmd.Resize != nil {
		others.Go(func() { s.resize(ctx, cmd.Resize) })
	}
	code, err = listen(ctx, conn, cmd)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return code, err
}

// listen writes what the command prints until the server says how it ended.
func listen(ctx context.Context, conn *websocket.Conn, cmd Command) (int, error) {
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return 0, errBroke(err)
		}
		if kind == websocket.MessageText {
			var last api.ExecHears
			switch err := json.Unmarshal(message, &last); {
			case err != nil:
				return 0, fmt.Errorf("decode the end of a session: %w", err)
			case last.Error != nil:
				return 0, asFault(*last.Error)
			case last.Exit != nil:
				conn.Close(websocket.StatusNormalClosure, "")
				return *last.Exit, nil
			}
			continue
		}
		to := cmd.Stdout
		if len(message) > 0 && message[0] == api.Stderr {
			to = cmd.Stderr
		}
		if len(message) < 2 || to == nil {
			continue
		}
		if _, err := to.Write(message[1:]); err != nil {
			return 0, fmt.Errorf("write what the command printed: %w", err)
		}
	}
}

// speaker says to the server what it is to know.
type speaker struct{ conn *websocket.Conn }

// feed sends an input to its end. Who cannot read it hangs up.
func (s speaker) feed(ctx context.Context, hangUp context.CancelCauseFunc, from io.Reader) {
	buffer := make([]byte, 32<<10)
	buffer[0] = api.Stdin
	for {
		n, err := from.Read(buffer[1:])
		if n > 0 && s.conn.Write(ctx, websocket.MessageBinary, buffer[:1+n]) != nil {
			return // listen finds out why.
		}
		if errors.Is(err, io.EOF) {
			_ = s.say(ctx, api.ExecSays{End: true})
			return
		}
		if err != nil {
			hangUp(fault.Wrap(fault.Invalid, err, "the input cannot be read"))
			return
		}
	}
}

func (s speaker) resize(ctx context.Context, sizes <-chan api.Window) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok || s.say(ctx, api.ExecSays{Resize: &size}) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s speaker) say(ctx context.Context, says api.ExecSays) error {
	text, err := json.Marshal(says)
	if err != nil {
		return err
	}
	return s.conn.Write(ctx, websocket.MessageText, text)
}
