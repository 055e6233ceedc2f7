package containerd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"berth/fault"
)

// usersFaults is what runc says of containers that cannot be started because of
// what their definition or their image says: all that goes wrong after it entered
// the container's own world, and what it finds out before. The rest is the host's.
var usersFaults = regexp.MustCompile(`error during container init: |` +
	`executable file not found in|` +
	`exec: "[^"]*": (stat|permission denied|is a directory|no such file)|` +
	`: exec /.*: (no such file or directory|permission denied|exec format error)|` +
	`failed to load [^:]*: (no such file or directory|permission denied|exec format error)|error finding executable|failed to create process working directory|` + // runsc's words
	`sysctl|` +
	`container init was OOM-killed|memory limit too low|` +
	`unable to (find user|setup user|set(g|u)id)|` +
	`invalid argument: environment|invalid environment variable`)

// hostsFaults is what goes wrong in the container's own world for want of
// something of the host's.
var hostsFaults = regexp.MustCompile(`no space left on device|disk quota exceeded|cannot allocate memory|too many open files|` +
	`input/output error|resource temporarily unavailable|device or resource busy|stale file handle|structure needs cleaning|` +
	`interrupted system call|timed out|broken pipe|connection reset|` +
	`mount src=[^:]*: no such file or directory`)

// hostPaths is where runc names files of the host, which are not for users: what it
// mounts, and the container's root.
var hostPaths = regexp.MustCompile(`(error )?mount(ing)? ("/[^"]*" |src=/[^,]*, )|/[^" ]*/rootfs(/|\b)`)

// startFault translates why containerd could not create or start a container's
// process. The words are Fargate's.
func startFault(err error, id string) error {
	text := strings.TrimSuffix(err.Error(), ": unknown")
	if reason := controlFault(text); reason != "" && !errdefs.IsUnavailable(err) {
		return fault.Wrap(fault.Invalid, err, "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: %s", reason)
	}
	if errdefs.IsUnavailable(err) || !usersFaults.MatchString(text) || hostsFaults.MatchString(text) {
		return fmt.Errorf("create process of container %s: %w", id, err)
	}
	text = hostPaths.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "/") {
			return "/"
		}
		return "error mounting "
	})
	return fault.Wrap(fault.Invalid, err, "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: %s", text)
}

// notOpened and notWritten are what runc says of a kernel parameter (sysctl) that cannot be
// set, up to the kernel's own reason. A value is quoted as Go does.
var (
	notOpened  = regexp.MustCompile(`open sysctl ([^ "]+) file: .*: (no such file or directory|not a directory|permission denied|operation not permitted|is a directory|read-only file system)$`)
	notWritten = regexp.MustCompile(`failed to write sysctl ([^ "]+) = ("(?:[^"\\]|\\.)*"): write [^ ]+: (invalid argument|numerical result out of range|permission denied|operation not permitted)$`)
)

// controlFault says in the words of a definition why one of its systemControls could not be
// set, if that is what text tells of. Which there are depends on the kernel.
func controlFault(text string) string {
	if m := notOpened.FindStringSubmatch(text); m != nil {
		switch m[2] {
		case "no such file or directory", "not a directory":
			return "systemControls: a container on this host has no " + m[1] + ": its kernel does not know it, or only for the host as a whole"
		case "is a directory":
			return "systemControls: " + m[1] + " is a group of parameters, not one"
		}
		return "systemControls: " + m[1] + " cannot be set in a container on this host"
	}
	if m := notWritten.FindStringSubmatch(text); m != nil {
		switch m[3] {
		case "permission denied", "operation not permitted":
			return "systemControls: " + m[1] + " cannot be set in a container on this host"
		}
		return "systemControls: " + m[1] + " cannot be " + m[2]
	}
	return ""
}

// parseSignal reads a signal as a Dockerfile's STOPSIGNAL has it: SIGTERM, TERM
// or 15.
func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return 0, fmt.Errorf("signal %d is out of range", n)
		}
		return unix.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n := unix.SignalNum(name); n != 0 {
		return n, nil
	}
	if rt, ok := strings.CutPrefix(name, "SIGRTMIN"); ok { // systemd's is RTMIN+3
		if n, err := strconv.Atoi("0" + strings.TrimPrefix(rt, "+")); err == nil && n <= 30 {
			return unix.Signal(34 + n), nil
		}
	}
	return 0, fmt.Errorf("unknown signal %q", s)
}
