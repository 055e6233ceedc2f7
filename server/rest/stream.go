package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/server/api"
)

const (
	heartbeat   = 15 * time.Second // silence after which a stream says that it lives
	patience    = 30 * time.Second // a reader that takes nothing for so long is given up
	retryMillis = 1000             // how long a browser waits before it comes back
)

// stream answers a request bit by bit: as server-sent events, as one JSON value
// a line, or as plain text, whichever the client accepts. Every item is on the
// wire when send returns.
type stream[Item any] struct {
	s       *server
	w       gin.ResponseWriter
	control *http.ResponseController
	format  string
	end     chan struct{} // closed: no more heartbeats
	beats   sync.WaitGroup

	mu    sync.Mutex // held while writing
	begun bool
}

func newStream[Item any](s *server, c *gin.Context, formats []string) *stream[Item] {
	return &stream[Item]{
		s: s, w: c.Writer, control: http.NewResponseController(c.Writer),
		format: negotiate(c.GetHeader("Accept"), formats), end: make(chan struct{}),
	}
}

// negotiate returns the first of formats that the client names, and formats[0]
// if it names none of them.
func negotiate(accept string, formats []string) string {
	for each := range strings.SplitSeq(accept, ",") {
		if media, _, err := mime.ParseMediaType(each); err == nil && slices.Contains(formats, media) {
			return media
		}
	}
	return formats[0]
}

// begin sends the header, so that the client knows that it is being served
// although there is nothing to tell yet. Only the first call does something.
func (st *stream[Item]) begin() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.start()
}

func (st *stream[Item]) start() error {
	if st.begun {
		return nil
	}
	st.begun = true
	h := st.w.Header()
	h.Set("Content-Type", st.format)
	if st.format != api.SSE {
		h.Set("Content-Type", st.format+"; charset=utf-8")
	}
	h.Set("X-Accel-Buffering", "no") // tells proxies not to hold lines back
	st.w.WriteHeader(http.StatusOK)
	if st.format != api.SSE {
		return st.write(nil)
	}
	st.beats.Go(st.beat)
	return st.write(fmt.Appendf(nil, "retry: %d\n\n", retryMillis))
}

// send sends one item. id is where a client that comes back goes on; it may be
// empty. text is the item as plain text.
func (st *stream[Item]) send(id, event string, item Item, text func(Item) string) error {
	var line bytes.Buffer
	if st.format == api.Text {
		line.WriteString(text(item))
		line.WriteByte('\n')
	} else {
		data, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("encode %s: %w", event, err)
		}
		st.frame(&line, id, event, data)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.start(); err != nil {
		return err
	}
	return st.write(line.Bytes())
}

func (st *stream[Item]) frame(line *bytes.Buffer, id, event string, data []byte) {
	if st.format != api.SSE {
		line.Write(data)
		line.WriteByte('\n')
		return
	}
	if id != "" {
		fmt.Fprintf(line, "id: %s\n", id)
	}
	fmt.Fprintf(line, "event: %s\ndata: %s\n\n", event, data) // JSON has no line ends
}

// fail tells the client, which has read half an answer, that the rest will not
// come.
func (st *stream[Item]) fail(err error) {
	p := problem(err)
	p.Instance = st.w.Header().Get(api.RequestID)
	if p.Status >= http.StatusInternalServerError {
		st.s.Log.Error("stream failed", zap.String("request", p.Instance), zap.Error(err))
	}
	var line bytes.Buffer
	if st.format == api.Text {
		fmt.Fprintf(&line, "error: %s\n", p.Detail)
	} else if data, err := json.Marshal(map[string]any{"error": p}); err == nil {
		st.frame(&line, "", "problem", data)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.start() != nil {
		return
	}
	st.write(line.Bytes()) // If it does not arrive, the client learns from the end of the stream.
}

// close ends the heartbeats and gives the connection back as it was.
func (st *stream[Item]) close() {
	close(st.end)
	st.beats.Wait()
	if st.begun {
		st.control.SetWriteDeadline(time.Time{})
	}
}

// beat sends a comment now and then, so that neither end and nothing between
// them takes silence for death.
func (st *stream[Item]) beat() {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-st.end:
			return
		case <-tick.C:
			st.mu.Lock()
			st.write([]byte(":\n\n"))
			st.mu.Unlock()
		}
	}
}

// write writes and flushes. mu is held.
func (st *stream[Item]) write(b []byte) error {
	st.control.SetWriteDeadline(st.s.Now().Add(patience)) // Not every connection can.
	if _, err := st.w.Write(b); err != nil {
		return errGone{err}
	}
	if err := st.control.Flush(); err != nil {
		return errGone{err}
	}
	return nil
}

// errGone says that nobody reads the stream any more.
type errGone struct{ error }

func (e errGone) Unwrap() error { return e.error }
