package rest

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"berth/fault"
	"berth/server/api"
)

// statuses is the one place where faults become HTTP.
var statuses = map[fault.Kind]int{
	fault.Internal:    http.StatusInternalServerError,
	fault.Invalid:     http.StatusBadRequest,
	fault.NotFound:    http.StatusNotFound,
	fault.Conflict:    http.StatusConflict,
	fault.Exhausted:   http.StatusTooManyRequests,
	fault.Unavailable: http.StatusServiceUnavailable,
	fault.TooLarge:    http.StatusRequestEntityTooLarge,
	fault.OverBudget:  http.StatusPaymentRequired,

	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Denied:          http.StatusForbidden,
	fault.Throttled:       http.StatusTooManyRequests,
}

// refusal is a request that HTTP itself has a word for.
type refusal struct {
	status int
	detail string
}

func (r refusal) Error() string { return r.detail }

// problem translates err for the user. Causes stay behind.
func problem(err error) api.Fault {
	var r refusal
	if errors.As(err, &r) {
		return api.Fault{
			Type: faultType(fault.Invalid), Title: http.StatusText(r.status), Status: r.status, Detail: r.detail,
		}
	}
	kind := fault.KindOf(err)
	p := api.Fault{
		Type: faultType(kind), Title: title(kind), Status: statuses[kind],
		Detail: fault.Message(err), Field: fault.FieldOf(err),
	}
	for _, f := range faults(err) {
		if f.Kind == fault.Invalid && f.Field != "" {
			p.Errors = append(p.Errors, api.FieldError{Field: f.Field, Message: f.Msg})
		}
	}
	return p
}

func faultType(k fault.Kind) string { return api.FaultType + strings.ReplaceAll(k.String(), " ", "-") }

func title(k fault.Kind) string {
	name := k.String()
	return strings.ToUpper(name[:1]) + name[1:]
}

// faults lists the classified errors that err is made of, outermost only.
func faults(err error) []*fault.Error {
	switch e := err.(type) {
	case nil:
		return nil
	case *fault.Error:
		return []*fault.Error{e}
	case interface{ Unwrap() []error }:
		var all []*fault.Error
		for _, each := range e.Unwrap() {
			all = append(all, faults(each)...)
		}
		return all
	}
	return faults(errors.Unwrap(err))
}

// fail answers with err. What the user may not see goes to the log.
func (s *server) fail(c *gin.Context, err error) {
	c.Set(faultKey, err)
	p := problem(err)
	p.Instance = c.Writer.Header().Get(api.RequestID)
	if p.Status >= http.StatusInternalServerError {
		s.Log.Error("request failed", zap.String("request", p.Instance), zap.String("method", c.Request.Method),
			zap.String("route", c.FullPath()), zap.Error(err))
	}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		c.Header("Retry-After", "5")
	}
	c.Header("Content-Type", api.Problem)
	c.AbortWithStatusJSON(p.Status, p)
}

// recovered answers for a handler that panicked. The server lives on.
func (s *server) recovered(c *gin.Context, v any) {
	s.Log.Error("handler panicked", zap.String("request", c.Writer.Header().Get(api.RequestID)),
		zap.String("route", c.FullPath()), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
	if !c.Writer.Written() {
		s.fail(c, errPanicked)
	}
	c.Abort()
}

var errPanicked = errors.New("handler panicked")
