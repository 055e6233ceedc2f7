package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"berth/fault"
	"berth/task"
)

// Protection remembers which tasks are not stopped when their service has too many. A
// task that cannot be protected is a ProtectionFailure.
type Protection interface {
	Protected(ctx context.Context, t task.Task) (ProtectedUntil, error)

	// Protect says whether t is protected from now on, and for how long.
	Protect(ctx context.Context, t task.Task, enabled bool, lasts time.Duration) (ProtectedUntil, error)
}

// ProtectedUntil is when a task's protection ends; zero: it is not protected.
type ProtectedUntil time.Time

// ProtectionFailure is why a task cannot be protected.
type ProtectionFailure = task.ProtectionFailure

// Standalone is the Protection of tasks that no service runs, of which there is none.
type Standalone struct{}

const notOfService = task.NotValid

// Protected implements Protection.
func (Standalone) Protected(context.Context, task.Task) (ProtectedUntil, error) {
	return ProtectedUntil{}, notOfService
}

// Protect implements Protection.
func (Standalone) Protect(context.Context, task.Task, bool, time.Duration) (ProtectedUntil, error) {
	return ProtectedUntil{}, notOfService
}

type protectionAnswer struct {
	Protection *protectedTask     `json:"protection,omitempty"`
	Failure    *protectionFailure `json:"failure,omitempty"`
	Error      *protectionError   `json:"error,omitempty"`
}

type protectedTask struct {
	ExpirationDate    *time.Time
	ProtectionEnabled bool
	TaskArn           string
}

type protectionFailure struct {
	Arn    string
	Detail *string
	Reason string
}

type protectionError struct {
	Arn     string `json:"Arn,omitempty"`
	Code    string
	Message string
}

// protection is GET …/task-protection/v1/state.
func (e *endpoint) protection(c *gin.Context) {
	a, ok := e.protectable(c)
	if !ok {
		return
	}
	until, err := e.Protection.Protected(c.Request.Context(), a.task)
	e.tellProtection(c, a, until, err)
}

// protect is PUT …/task-protection/v1/state.
func (e *endpoint) protect(c *gin.Context) {
	var in struct {
		ProtectionEnabled *bool
		ExpiresInMinutes  *int
	}
	d := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		refuseProtection(c, http.StatusBadRequest, "", "InvalidParameterException", "UpdateTaskProtection: failed to decode request")
		return
	}
	a, ok := e.asks(c)
	if !ok {
		return
	}
	lasts, invalid := task.ProtectionLasts(in.ExpiresInMinutes)
	switch {
	case in.ProtectionEnabled == nil:
		refuseProtection(c, http.StatusBadRequest, a.task.ARN, "InvalidParameterException", "Invalid request: does not contain 'ProtectionEnabled' field")
		return
	case invalid != nil:
		refuseProtection(c, http.StatusBadRequest, a.task.ARN, "InvalidParameterException", fault.Message(invalid))
		return
	}
	if !hasRole(c, a) {
		return
	}
	until, err := e.Protection.Protect(c.Request.Context(), a.task, *in.ProtectionEnabled, lasts)
	e.tellProtection(c, a, until, err)
}

// protectable returns who asks, if it has a role to ask in.
func (e *endpoint) protectable(c *gin.Context) (asker, bool) {
	a, ok := e.asks(c)
	return a, ok && hasRole(c, a)
}

// asks returns who asks, or writes down that nobody does.
func (e *endpoint) asks(c *gin.Context) (asker, bool) {
	a, err := e.asker(c)
	const message = "Failed to find a task for the request"
	switch {
	case fault.KindOf(err) == fault.NotFound:
		refuseProtection(c, http.StatusNotFound, "", "ResourceNotFoundException", message)
	case err != nil:
		e.failed(c, err)
		refuseProtection(c, http.StatusInternalServerError, "", "ServerException", message)
	}
	return a, err == nil
}

// hasRole writes down that a task without a role may not ask, if it has none: the agent
// asks ECS in the task's name.
func hasRole(c *gin.Context, a asker) bool {
	if task.Role(a.definition, a.task) != "" {
		return true
	}
	refuseProtection(c, http.StatusForbidden, a.task.ARN, "AccessDeniedException", "Invalid Request: no task IAM role credentials available for task")
	return false
}

func (e *endpoint) tellProtection(c *gin.Context, a asker, until ProtectedUntil, err error) {
	var why ProtectionFailure
	switch {
	case errors.As(err, &why):
		write(c, http.StatusOK, protectionAnswer{Failure: &protectionFailure{Arn: a.task.ARN, Reason: string(why)}})
	case err != nil:
		e.failed(c, err)
		refuseProtection(c, http.StatusInternalServerError, a.task.ARN, "ServerException", "Unexpected error occurred")
	default:
		at := time.Time(until)
		write(c, http.StatusOK, protectionAnswer{Protection: &protectedTask{ExpirationDate: moment(at), ProtectionEnabled: !at.IsZero(), TaskArn: a.task.ARN}})
	}
}

func refuseProtection(c *gin.Context, status int, arn, code, message string) {
	write(c, status, protectionAnswer{Error: &protectionError{Arn: arn, Code: code, Message: message}})
}
