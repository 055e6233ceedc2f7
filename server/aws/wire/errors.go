package wire

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"berth/access/sigv4"
	"berth/fault"
)

// Error says exactly what the client gets.
type Error struct {
	Code    string         // as in ClusterNotFoundException
	Message string         // for the user
	Status  int            // of HTTP; 0 means 400
	Members map[string]any // that the error's shape has besides its message
	Err     error          // the cause, for the operator; may be nil
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error with HTTP status 400.
func Errorf(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// translate makes of err what the client gets.
func (s *Service) translate(err error) *Error {
	var exact *Error
	if errors.As(err, &exact) {
		if exact.Status == 0 {
			exact = &Error{exact.Code, exact.Message, http.StatusBadRequest, maps.Clone(exact.Members), exact.Err}
		}
		return exact
	}
	e := &Error{Message: Message(err), Err: err}
	if s != nil && s.Code != nil {
		e.Code, e.Status = s.Code(err)
	}
	if e.Code == "" {
		e.Code, e.Status = s.usual(err)
	}
	if e.Status == 0 {
		e.Status = http.StatusBadRequest
	}
	return e
}

// usual is what most services say of faults.
func (s *Service) usual(err error) (code string, status int) {
	json := s == nil || s.Protocol == JSON
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		return s.unauthenticated(err)
	case fault.Denied:
		switch {
		case json:
			return "AccessDeniedException", http.StatusBadRequest
		case s.Protocol == EC2:
			return "UnauthorizedOperation", http.StatusForbidden
		}
		return "AccessDenied", http.StatusForbidden
	case fault.Throttled:
		if json {
			return "ThrottlingException", http.StatusBadRequest
		}
		return "Throttling", http.StatusBadRequest
	case fault.Unavailable:
		return "ServiceUnavailable", http.StatusServiceUnavailable
	case fault.Internal:
		return "InternalFailure", http.StatusInternalServerError
	case fault.TooLarge:
		return "RequestEntityTooLarge", http.StatusRequestEntityTooLarge
	}
	if s != nil && s.Invalid != "" {
		return s.Invalid, http.StatusBadRequest
	}
	return "ValidationException", http.StatusBadRequest
}

// unauthenticated is what services say of signatures that do not count.
func (s *Service) unauthenticated(err error) (code string, status int) {
	reason := sigv4.Unknown
	var e *sigv4.Error
	if errors.As(err, &e) {
		reason = e.Reason
	}
	if s == nil || s.Protocol == JSON {
		switch reason {
		case sigv4.Missing:
			return "MissingAuthenticationTokenException", http.StatusBadRequest
		case sigv4.Incomplete:
			return "IncompleteSignatureException", http.StatusBadRequest
		case sigv4.Unknown:
			return "UnrecognizedClientException", http.StatusBadRequest
		}
		return "InvalidSignatureException", http.StatusBadRequest
	}
	switch {
	case reason == sigv4.Missing:
		return "MissingAuthenticationToken", http.StatusForbidden
	case reason == sigv4.Incomplete:
		return "IncompleteSignature", http.StatusBadRequest
	case reason == sigv4.Unknown && s.Protocol == EC2:
		return "AuthFailure", http.StatusUnauthorized
	case reason == sigv4.Unknown:
		return "InvalidClientTokenId", http.StatusForbidden
	case reason == sigv4.Expired && s.Protocol == EC2:
		return "RequestExpired", http.StatusBadRequest
	}
	return "SignatureDoesNotMatch", http.StatusForbidden
}

// Message returns what the user may see of err. A text that is only right beside the name
// of its field, since it does not begin as a sentence does, gets that name.
func Message(err error) string {
	text, field := fault.Message(err), fault.FieldOf(err)
	if field != "" && text != "" && text[0] >= 'a' && text[0] <= 'z' {
		return field + " " + text
	}
	return text
}

// CodeOf is the word by which an error is known where the service that it came from is not:
// an Error's code, or else the fault's kind.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fault.KindOf(err).String()
}
