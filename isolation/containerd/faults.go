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
// what their definition or their image says. Everything else is the host's.
var usersFaults = regexp.MustCompile(`executable file not found in|` +
	`exec: ".*": .*(no such file or directory|permission denied|is a directory|not a directory)|` +
	`: exec /.*: (no such file or directory|permission denied|exec format error)|` +
	`chdir to cwd|` +
	`container init: mkdir .*: (not a directory|no such file or directory|permission denied|operation not permitted|` +
	`read-only file system|file exists|file name too long|too many levels of symbolic links|invalid argument)|` +
	`sysctl|` +
	`container init was OOM-killed|memory limit too low|` +
	`unable to (find user|setup user|set(g|u)id)|` +
	`invalid argument: environment|invalid environment variable|` +
	// What an image has in the place of a directory or file that is mounted over.
	`to rootfs at "[^"]*": create mountpoint for .*: (not a directory|is a directory|no such file or directory|` +
	`permission denied|operation not permitted|read-only file system|too many levels of symbolic links|file name too long)|` +
	`to rootfs at "[^"]*": mount .*: (not a directory|is a directory)|` +
	`must be mounted on ordinary directory`)

// hostPaths is what runc says of the host in such cases, which is not for users.
var hostPaths = regexp.MustCompile(`(?:error )?mount(?:ing)? (?:"/[^"]*" |src=/[^,]*, )`)

// startFault translates why containerd could not create or start a container's
// process. The words are Fargate's.
func startFault(err error, id string) error {
	if usersFaults.MatchString(err.Error()) && !errdefs.IsUnavailable(err) {
		text := hostPaths.ReplaceAllString(strings.TrimSuffix(err.Error(), ": unknown"), "error mounting ")
		return fault.Wrap(fault.Invalid, err, "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: %s", text)
	}
	return fmt.Errorf("create process of container %s: %w", id, err)
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
