package images

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"

	"berth/fault"
)

// errPlatform says that an image is not for this host.
var errPlatform = errors.New("image Manifest does not contain descriptor matching platform '" + platforms.DefaultString() + "'")

// The two steps of a pull, in the words of Fargate's messages.
const (
	stepManifest = "pull image manifest"
	stepContent  = "ref pull"
)

// pullFault says in Fargate's words why a pull failed. Errors of this host, such
// as containerd being down, stay plain: the pull is worth repeating.
//
// The texts are those that Fargate tasks show (CannotPullContainerError in the
// ECS developer guide, "CannotPullContainer task errors").
func pullFault(step string, attempts int, err error) error {
	if own(err) {
		return err
	}
	return fault.Wrap(kind(err), err, "CannotPullContainerError: %s has been retried %d time(s): %s", step, attempts, err)
}

// own reports whether err is this host's and not the registry's or the image's.
func own(err error) bool {
	return errors.Is(err, context.Canceled) || errdefs.IsCanceled(err) || errdefs.IsUnavailable(err)
}

// kind says whether trying again can help.
func kind(err error) fault.Kind {
	var status remoteerrors.ErrUnexpectedStatus
	switch {
	case errors.Is(err, errPlatform), errors.Is(err, docker.ErrInvalidAuthorization), errdefs.IsNotImplemented(err):
		return fault.Invalid
	case errdefs.IsNotFound(err):
		return fault.NotFound
	case errors.As(err, &status):
		code := status.StatusCode
		if code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests {
			return fault.Invalid
		}
	}
	return fault.Unavailable
}

// resolveError spells a failure to resolve as Fargate does, with the name once.
func resolveError(n name, err error) error {
	if strings.HasPrefix(err.Error(), n.String()+": ") {
		return &text{"failed to resolve ref " + err.Error(), err}
	}
	return &text{"failed to resolve ref " + n.String() + ": " + err.Error(), err}
}

// text is an error with other words.
type text struct {
	words string
	err   error
}

func (t *text) Error() string { return t.words }
func (t *text) Unwrap() error { return t.err }
