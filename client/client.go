// Package client speaks Berth's REST API. The command line and the tests use it,
// so it is as complete as the API.
//
// An error of the server comes back as the fault it was there: the same
// fault.Kind, message and field. A server that cannot be reached is
// fault.Unavailable. Streams that break off resume by themselves where they were
// and so miss nothing.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/fault"
	"berth/server/api"
)

// Client calls one server. Make it with New. It is safe for concurrent use.
type Client struct {
	base  string
	http  *http.Client
	agent string
	token string // "": none
	pause func(attempt int) time.Duration
}

// Option changes what New makes.
type Option func(*Client)

// WithHTTPClient makes the Client use h, which must not be nil. A Timeout in h
// would also end streams.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithUserAgent says who calls. The default is "berth-client".
func WithUserAgent(agent string) Option { return func(c *Client) { c.agent = agent } }

// WithToken proves who calls, to a server that asks.
func WithToken(token string) Option { return func(c *Client) { c.token = token } }

// WithPause sets how long a stream waits before it resumes for the nth time in a
// row, counted from 1. The default begins at 100 ms, doubles, and stays at 5 s.
func WithPause(pause func(attempt int) time.Duration) Option {
	return func(c *Client) { c.pause = pause }
}

// New returns a Client of the server at endpoint, for example
// "http://127.0.0.1:8080". It sends nothing yet.
func New(endpoint string, opts ...Option) *Client {
	c := &Client{base: strings.TrimRight(endpoint, "/"), http: http.DefaultClient, agent: "berth-client", pause: pause}
	if !strings.Contains(c.base, "://") {
		c.base = "http://" + c.base
	}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Endpoint returns the address of the server.
func (c *Client) Endpoint() string { return c.base }

func pause(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(attempt-1, 10), 5*time.Second)
}

// request is one call of the API.
type request struct {
	method, path string // path below api.Base, its parts escaped
	query        url.Values
	header       http.Header
	body         any       // sent as JSON; json.RawMessage as it is
	stream       io.Reader // sent as it is, instead of body
	media        string    // of stream; empty: a tar
}

// call is every call: encode, send, decode. out may be nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	resp, err := c.send(ctx, r, api.JSON)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", r.method, r.path, err)
	}
	return nil
}

// send sends r and returns the response, which is a success and has to be
// closed.
func (c *Client) send(ctx context.Context, r request, accept string) (*http.Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept+", "+api.Problem)
	resp, err := c.http.Do(req)
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, unreachable(c.base, err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, r request) (*http.Request, error) {
	body, kind := r.stream, "application/x-tar"
	if r.media != "" {
		kind = r.media
	}
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "the request is not JSON: %v", err)
		}
		body, kind = bytes.NewReader(data), api.JSON
	}
	address := c.base + api.Base + r.path
	if !strings.HasPrefix(r.path, "/") {
		address = c.base + "/" + strings.TrimPrefix(r.path, rootPath)
	}
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%q is not the address of a server", c.base)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// rootPath marks the paths that lie outside api.Base.
const rootPath = "root:"

// bodyMax is how much of an answer that is no success is read.
const bodyMax = 1 << 20

// refusal returns the fault that the server answered with.
func refusal(resp *http.Response) error {
	var p api.Fault
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	if err != nil || json.Unmarshal(body, &p) != nil || !strings.HasPrefix(p.Type, api.FaultType) {
		return foreign(resp.Request.URL.String(), resp.Status)
	}
	return asFault(p)
}

func unreachable(base string, err error) error {
	return fault.Wrap(fault.Unavailable, err, "no server answers at %s", base)
}

func foreign(address, status string) error {
	return fault.New(fault.Unavailable, "what answers at %s is not Berth (%s)", address, status)
}

// asFault is the inverse of what the server does with a fault.
func asFault(p api.Fault) error {
	kind := fault.ParseKind(strings.ReplaceAll(strings.TrimPrefix(p.Type, api.FaultType), "-", " "))
	e := &fault.Error{Kind: kind, Msg: p.Detail, Field: p.Field}
	if kind == fault.Internal { // Its message would not be shown; it names the request for whoever reads the log.
		return fmt.Errorf("the server had an internal error; its log says more about request %s", p.Instance)
	}
	if len(p.Errors) < 2 {
		return e
	}
	all := make([]error, len(p.Errors))
	for i, f := range p.Errors {
		all[i] = &fault.Error{Kind: kind, Msg: f.Message, Field: f.Field}
	}
	return errors.Join(all...)
}
