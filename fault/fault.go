// Package fault is the one vocabulary of errors.
//
// A package that knows what went wrong says so with [New] or [Wrap]. Everything
// else stays a plain error and counts as [Internal], so a stray "not found" from
// a library can never turn into a 404 by accident. A fault has two readers: Msg
// is written for the user of the API, Err is the cause and is for the operator
// alone.
package fault

import (
	"errors"
	"fmt"
	"slices"
)

// Kind is what a caller can do about an error. The zero value is Internal.
type Kind uint8

const (
	Internal        Kind = iota // A bug or a broken dependency; details are for the operator.
	Invalid                     // The request can never succeed as written.
	NotFound                    // The thing named does not exist.
	Conflict                    // It exists, and its state forbids this.
	Exhausted                   // No capacity or quota left, now or ever.
	Unavailable                 // Worth trying again later.
	TooLarge                    // The request is larger than any request may be.
	OverBudget                  // A limit on spending forbids it.
	Unauthenticated             // Nobody has proved who asks.
	Denied                      // Who asks may not do this.
	Throttled                   // Asked too often; the same is answered again soon.
)

// names are append-only: they travel in API responses.
var names = [...]string{"internal", "invalid", "not found", "conflict", "exhausted", "unavailable", "too large", "over budget",
	"unauthenticated", "denied", "throttled"}

func (k Kind) String() string { return names[k] }

// ParseKind is the inverse of String. A name that it does not know is Internal.
func ParseKind(name string) Kind { return Kind(max(0, slices.Index(names[:], name))) }

// Error is a classified error.
type Error struct {
	Kind  Kind
	Msg   string // for the user: what is wrong and, if short, how to mend it
	Field string // JSON path of the input at fault, as in containerDefinitions[0].image; empty if none
	Err   error  // the cause, for the operator; may be nil
}

func (e *Error) Error() string {
	s := e.Msg
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the given kind. The message reaches the user.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// At returns an Invalid error about one field of the input, named by its JSON
// path. The message reaches the user.
func At(field, format string, args ...any) error {
	return &Error{Kind: Invalid, Field: field, Msg: fmt.Sprintf(format, args...)}
}

// Wrap classifies cause. The message reaches the user, the cause only the log.
func Wrap(k Kind, cause error, format string, args ...any) error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...), Err: cause}
}

// KindOf returns the kind of the outermost classified error in err's chain, and
// Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// FieldOf returns the JSON path of the input at fault, or "".
func FieldOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Field
	}
	return ""
}

// Message returns what the user may see of err.
func Message(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Kind != Internal {
		return e.Msg
	}
	return "internal error"
}
