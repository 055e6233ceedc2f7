package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// maxTries is how many targets a request or connection is offered to.
	maxTries = 5

	// dialPatience is how long a target on this host may take to accept a connection.
	dialPatience = 2 * time.Second

	// idlePatience is how long a target may take to begin with its answer, and a client
	// with its next request (Application Load Balancers, idle timeout).
	idlePatience = 60 * time.Second

	// lastPatience is how long open requests may take when the listener ends.
	lastPatience = 5 * time.Second
)

// errNoTarget says that there is nobody to ask.
var errNoTarget = errors.New("no target is healthy")

// dialError says that a target did not accept a connection, so it was sent nothing.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// dial connects to a target.
func (b *Balancer) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	c, err := b.Dial(ctx, address)
	if err != nil {
		return nil, dialError{err}
	}
	return c, nil
}

func (b *Balancer) transport() *http.Transport {
	return &http.Transport{
		DialContext:           func(ctx context.Context, _, address string) (net.Conn, error) { return b.dial(ctx, address) },
		DisableCompression:    true, // What the target says is passed on as it is.
		MaxIdleConnsPerHost:   128,
		IdleConnTimeout:       idlePatience,
		ResponseHeaderTimeout: idlePatience,
		ExpectContinueTimeout: time.Second,
	}
}

// transports are those of one target. Of requests that can be sent twice, net/http itself
// makes sure that one on a connection that the target has just closed is sent again.
// Others get a connection that nobody can have closed.
func (b *Balancer) transports() (warm, cold *http.Transport) {
	warm, cold = b.transport(), b.transport()
	cold.DisableKeepAlives = true
	return warm, cold
}

// buffers are what answers are copied with.
type buffers struct{ sync.Pool }

const bufferSize = 32 << 10

// Get is part of httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.Pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

// Put is part of httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.Pool.Put(&p) }

// serveHTTP shares requests out until ctx ends, and lets those that are open then end.
func (p *pool) serveHTTP(ctx context.Context, l net.Listener) error {
	last, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut() // ends what Shutdown does not know any more: upgraded connections
	log := zap.NewStdLog(p.b.Log.Named("http"))
	srv := &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite: p.rewrite, Transport: p, FlushInterval: -1, BufferPool: &p.b.buffers, ErrorHandler: p.fail,
			ErrorLog: zap.NewStdLog(zap.NewNop()), // Clients and tasks that break off are no news.
		},
		ReadHeaderTimeout: idlePatience, IdleTimeout: idlePatience, MaxHeaderBytes: 64 << 10, ErrorLog: log,
		BaseContext: func(net.Listener) context.Context { return last },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(last, lastPatience)
	defer cancel()
	if srv.Shutdown(patience) != nil {
		cut()
		srv.Close()
	}
	<-failed
	return ctx.Err()
}

// rewrite keeps the client's Host, as Application Load Balancers do, and says who asks.
func (p *pool) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host = "http", "target" // RoundTrip chooses.
	r.Out.URL.RawQuery = r.In.URL.RawQuery              // also what net/url does not understand
	h := r.Out.Header
	h["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"] // SetXForwarded appends.
	r.SetXForwarded()
	h.Del("X-Forwarded-Host")
	if _, had := r.In.Header["User-Agent"]; !had {
		h.Set("User-Agent", "") // or net/http would make one up
	}
	if local, ok := r.In.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		h.Set("X-Forwarded-Port", strconv.Itoa(local.Port))
	}
}

// RoundTrip sends a request to a target. One that got nothing of it, as it did not accept
// the connection, is passed over for the next; so is one that ended before it answered, if
// the request can be sent twice (RFC 9110, 9.2.2).
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	twice := repeatable(req)
	err := errNoTarget
	for tried := []*target(nil); len(tried) < maxTries; {
		t := p.take(tried)
		if t == nil {
			break
		}
		tried = append(tried, t)
		out := *req
		if body != nil && body != http.NoBody {
			out.Body = io.NopCloser(body) // net/http closes it when it fails, and it is needed again.
		}
		var resp *http.Response
		if resp, err = t.send(&out, twice); err == nil {
			return resp, nil
		}
		var unsent dialError
		var late net.Error
		if req.Context().Err() != nil || !errors.As(err, &unsent) && (!twice || errors.As(err, &late) && late.Timeout()) {
			break
		}
	}
	return nil, err
}

// repeatable reports whether a request may be sent to a second target after the first one
// got it: if it changes nothing and brings nothing along.
func repeatable(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return (req.Body == nil || req.Body == http.NoBody) && req.Header.Get("Upgrade") == ""
	}
	return false
}

// send sends a request to this target, which is held, and released when it is answered.
func (t *target) send(req *http.Request, twice bool) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	unhook := context.AfterFunc(t.life, cancel)
	done := sync.OnceFunc(func() { unhook(); cancel(); t.release() })
	req = req.WithContext(ctx)
	u := *req.URL
	u.Host = t.address()
	req.URL = &u
	by := t.cold
	if twice {
		by = t.warm
	}
	resp, err := by.RoundTrip(req)
	if err != nil {
		done()
		return nil, err
	}
	if both, ok := resp.Body.(io.ReadWriteCloser); ok { // another protocol from now on
		resp.Body = heldBoth{both, done, context.AfterFunc(t.life, func() { both.Close() })}
	} else {
		resp.Body = held{resp.Body, done}
	}
	return resp, nil
}

// held is the body of an answer of a target.
type held struct {
	io.ReadCloser
	done func()
}

// Close implements io.Closer.
func (h held) Close() error {
	err := h.ReadCloser.Close()
	h.done()
	return err
}

// heldBoth is a connection to a target that speaks another protocol now.
type heldBoth struct {
	io.ReadWriteCloser
	done   func()
	unhook func() bool
}

// Close implements io.Closer.
func (h heldBoth) Close() error {
	h.unhook()
	err := h.ReadWriteCloser.Close()
	h.done()
	return err
}

// fail answers for targets that did not, with the codes of Application Load Balancers.
func (p *pool) fail(w http.ResponseWriter, req *http.Request, err error) {
	var late net.Error
	code, text := http.StatusBadGateway, "a target did not answer"
	switch {
	case req.Context().Err() != nil:
		return // The client has gone.
	case errors.Is(err, errNoTarget):
		code, text = http.StatusServiceUnavailable, "no target is healthy"
	case errors.As(err, &late) && late.Timeout():
		code, text = http.StatusGatewayTimeout, "a target took too long"
	}
	p.b.Log.Debug("request not answered", zap.String("targetGroup", p.settings().Name), zap.Int("status", code), zap.Error(err))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, "%d %s: %s\n", code, http.StatusText(code), text)
}
