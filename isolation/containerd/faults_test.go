package containerd

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"berth/fault"
)

// What runc and containerd said on a real host.
func TestWhoseFault(t *testing.T) {
	const prefix = "failed to create shim task: OCI runtime create failed: runc create failed: "
	for text, users := range map[string]bool{
		prefix + `unable to start container process: error during container init: exec: "x": executable file not found in $PATH: unknown`:   true,
		prefix + `unable to start container process: error during container init: exec: "/x": stat /x: no such file or directory: unknown`:  true,
		prefix + `unable to start container process: error during container init: exec: "/etc": is a directory: unknown`:                    true,
		prefix + `unable to start container process: error during container init: exec: "/etc/passwd": permission denied: unknown`:          true,
		prefix + `unable to start container process: error during container init: mkdir /etc/passwd: not a directory: unknown`:              true,
		prefix + `sysctl "kernel.pid_max" is not in a separate kernel namespace: unknown`:                                                   true,
		prefix + `unable to start container process: container init was OOM-killed (memory limit too low?): unknown`:                        true,
		prefix + `unable to start container process: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/x: no space left on device`: false,
		prefix + `unable to start container process: error during container init: mkdir /proc/self/fd/8: no such file or directory`:         true,
		prefix + `unable to start container process: error during container init: mkdir /work: read-only file system: unknown`:              true,
		prefix + `unable to start container process: error during container init: mkdir /work: no space left on device: unknown`:            false,
		prefix + `unable to start container process: error during container init: error mounting "/x/hosts" to rootfs at "/etc/hosts": ` +
			`mount src=/x/hosts, dst=/etc/hosts, dstFd=/proc/thread-self/fd/14, flags=MS_BIND|MS_REC: not a directory: unknown`: true,
		prefix + `unable to start container process: error during container init: error mounting "/x/hosts" to rootfs at "/etc/hosts": ` +
			`create mountpoint for /etc/hosts mount: make mountpoint "/etc/hosts": openat hosts: no such file or directory: unknown`: true,
		prefix + `unable to start container process: error during container init: error mounting "/x/hosts" to rootfs at "/etc/hosts": ` +
			`create mountpoint for /etc/hosts mount: lookup mountpoint target: openat2 /etc/hosts: too many levels of symbolic links`: true,
		prefix + `unable to start container process: error during container init: error mounting "/x/hosts" to rootfs at "/etc/hosts": ` +
			`create mountpoint for /etc/hosts mount: make mountpoint "/etc/hosts": no space left on device`: false,
		prefix + `unable to start container process: error during container init: error mounting "proc" to rootfs at "/proc": ` +
			`filesystem "proc" must be mounted on ordinary directory: unknown`: true,
		prefix + `unable to start container process: error during container init: error mounting "/x/hosts" to rootfs at "/etc/hosts": ` +
			`mount src=/x/hosts, dst=/etc/hosts, dstFd=/proc/thread-self/fd/14, flags=MS_BIND|MS_REC: no such file or directory: unknown`: false,
		prefix + `unable to start container process: error during container init: error mounting "/x/hosts" to rootfs at "/etc/hosts": ` +
			`create mountpoint for /etc/hosts mount: check proc-safety of /etc/hosts mount: "/x/hosts/rootfs/proc/1/environ" cannot be mounted because it is inside /proc`: true,
		prefix + `unable to start container process: error during container init: error reopening /dev/null inside container: ` +
			`can't reopen /dev/null: container's /dev/null is invalid`: true,
		prefix + `unable to start container process: error during container init: invalid environment variable: missing '='`: true,
		`OCI runtime start failed: starting container: starting sub-container [/probe flood /tmp/big]: failed to create process working directory "/work/here": ` +
			`failed to create directory "/work": read-only file system`: true,
		"ttrpc: closed": false,
		"failed to start shim: start failed: : fork/exec /x/containerd-shim-runc-v2: no such file or directory: unknown":                      false,
		prefix + "open /run/runc/x: no such file or directory":                                                                                false,
		prefix + `unable to start container process: error mounting "/x/hosts" to rootfs at "/etc/hosts": no such file or directory: unknown`: false,
	} {
		err := startFault(errors.New(text), "id")
		if got := fault.KindOf(err) == fault.Invalid; got != users {
			t.Errorf("%s: the user's fault: %v, want %v", text, got, users)
		}
		if users && strings.Contains(fault.Message(err), "/x/hosts") {
			t.Errorf("the user sees a path of the host: %s", fault.Message(err))
		}
		if users && (strings.HasSuffix(fault.Message(err), "unknown") || !strings.HasPrefix(fault.Message(err), "CannotStartContainerError: ResourceInitializationError: ")) {
			t.Errorf("the user sees %q", fault.Message(err))
		}
	}
	// While containerd is away nothing is known of the user's faults.
	err := startFault(fmt.Errorf("sysctl: %w", errdefs.ErrUnavailable), "id")
	if fault.KindOf(err) == fault.Invalid {
		t.Errorf("%v counts as the user's fault", err)
	}
}
