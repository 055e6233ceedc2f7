package task

import (
	"errors"
	"strings"
	"time"

	"berth/fault"
)

// ProtectionFailure is why a task cannot be protected from being stopped by its service: a
// reason of the ECS API's failures. It is the cause of a fault.Conflict.
type ProtectionFailure string

func (f ProtectionFailure) Error() string { return "task protection: " + string(f) }

// Why a task cannot be protected (ECS developer guide, "API failure reasons").
const (
	NotValid          ProtectionFailure = "TASK_NOT_VALID"     // it is of no service, or has stopped
	DeploymentBlocked ProtectionFailure = "DEPLOYMENT_BLOCKED" // protected tasks keep a deployment from going on
)

// ProtectionFailureOf returns why a task could not be protected; NotValid if err does not
// say.
func ProtectionFailureOf(err error) ProtectionFailure {
	var f ProtectionFailure
	if errors.As(err, &f) {
		return f
	}
	return NotValid
}

// How long a task can be protected (ECS API, UpdateTaskProtection).
const (
	defaultProtection = 120  // minutes
	maxProtection     = 2880 // minutes: 48 hours
)

// ProtectionLasts returns how long a protection lasts that was asked for with so many
// minutes; nil is the usual two hours. Less than one minute and more than 48 hours are
// fault.Invalid.
func ProtectionLasts(minutes *int) (time.Duration, error) {
	n := defaultProtection
	if minutes != nil {
		n = *minutes
	}
	if n < 1 || n > maxProtection {
		return 0, fault.At("expiresInMinutes", "expiresInMinutes must be between 1 and %d", maxProtection)
	}
	return time.Duration(n) * time.Minute, nil
}

// Protectable returns nil if a service could stop t, and else a fault.Conflict with a
// ProtectionFailure.
func (t Task) Protectable() error {
	switch {
	case !strings.HasPrefix(t.Group, serviceGroup):
		return fault.Wrap(fault.Conflict, NotValid, "The task is not part of a service.")
	case t.DesiredStatus == Stopped:
		return fault.Wrap(fault.Conflict, NotValid, "The task is stopping or has stopped.")
	}
	return nil
}

// serviceGroup is how the groups of the tasks of services begin.
const serviceGroup = "service:"

// ProtectedAt reports whether t is protected at that time.
func (t Task) ProtectedAt(now time.Time) bool { return now.Before(t.ProtectedUntil) }

// Protect returns t protected until that time; the zero time ends its protection. The
// errors are those of Protectable.
func (t Task) Protect(until time.Time) (protected Task, changed bool, err error) {
	if err := t.Protectable(); err != nil {
		return t, false, err
	}
	if t.ProtectedUntil.Equal(until) {
		return t, false, nil
	}
	t = t.Clone()
	t.ProtectedUntil = until
	t.Version++
	return t, true, nil
}
