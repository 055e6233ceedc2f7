package rest

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/gin-gonic/gin"

	"berth/fault"
)

// operation is one call of the API: what the router needs to serve it and what
// the OpenAPI document says about it. Both come from the same types, so neither
// can lie about the other.
type operation struct {
	method, path string // path in gin's words, below api.Base
	summary      string
	status       int          // on success
	in           *plan        // how a request becomes In
	out          reflect.Type // what is answered; of a stream: one element of it
	formats      []string     // of a stream: its media types, the first is the default
	handler      gin.HandlerFunc
}

// call makes an operation of a plain function. Decoding, encoding and failing
// happen here and nowhere else.
func call[In, Out any](s *server, method, path, summary string, status int,
	f func(context.Context, *In) (*Out, error)) operation {
	in := newPlan(reflect.TypeFor[In]())
	return operation{
		method: method, path: path, summary: summary, status: status, in: in, out: reflect.TypeFor[Out](),
		handler: func(c *gin.Context) {
			var v In
			if err := s.bind(c, in, &v); err != nil {
				s.fail(c, err)
				return
			}
			c.Set(inputKey, &v)
			if d, ok := any(&v).(dryRunner); ok {
				c.Set(dryKey, d.dry())
			}
			out, err := f(c.Request.Context(), &v)
			if err != nil {
				s.fail(c, err)
				return
			}
			if status == http.StatusNoContent {
				c.Status(status)
				return
			}
			if v, ok := any(&v).(statuser); ok {
				c.JSON(v.status(), out)
				return
			}
			c.JSON(status, out)
		},
	}
}

// flow makes an operation of a function that answers bit by bit.
func flow[In, Item any](s *server, method, path, summary string, formats []string,
	f func(context.Context, *In, *stream[Item]) error) operation {
	in := newPlan(reflect.TypeFor[In]())
	return operation{
		method: method, path: path, summary: summary, status: http.StatusOK, in: in,
		out: reflect.TypeFor[Item](), formats: formats,
		handler: func(c *gin.Context) {
			var v In
			if err := s.bind(c, in, &v); err != nil {
				s.fail(c, err)
				return
			}
			ctx, cancel := context.WithCancel(c.Request.Context())
			defer cancel()
			st := newStream[Item](s, c, formats)
			stop := context.AfterFunc(s.lifetime, cancel) // A server that stops ends its streams.
			defer stop()
			err := func() error {
				defer st.close() // also when f panics: nothing may be written after that
				return f(ctx, &v, st)
			}()
			switch {
			case s.lifetime.Err() != nil && ctx.Err() != nil:
				st.fail(errStopping)
			case err == nil, ctx.Err() != nil, errors.As(err, new(errGone)): // Who is gone needs no answer.
			case st.begun:
				st.fail(err)
			default:
				s.fail(c, err)
			}
		},
	}
}

// errStopping ends the streams of a server that stops. Clients come back.
var errStopping = fault.New(fault.Unavailable, "the server is stopping")

// statuser is an input that decides with which status success is answered.
type statuser interface{ status() int }

// dryRunner is an input that may ask for nothing to be done.
type dryRunner interface{ dry() bool }

// none is the input or output of an operation that has none.
type none struct{}
