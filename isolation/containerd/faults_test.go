package containerd

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"berth/fault"
)

// Ensure what runc said of kernel parameters on a real host is told in words, without its
// paths, and that a value cannot pass for the reason.
func TestControlFault(t *testing.T) {
	const prefix = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: "
	const words = "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: systemControls: "
	for text, want := range map[string]string{
		`open sysctl net.ipv4.none file: unsafe procfs detected: openat2 fsmount:fscontext:proc/./sys/net/ipv4/none: no such file or directory`: "a container on this host has no net.ipv4.none: its kernel does not know it, or only for the host as a whole",
		`open sysctl net.core.somaxconn.x file: unsafe procfs detected: openat2 fsmount:fscontext:proc/./sys/x: not a directory`:                "a container on this host has no net.core.somaxconn.x: its kernel does not know it, or only for the host as a whole",
		`open sysctl net.core.rmem_max file: reopen fd 8: permission denied`:                                                                    "net.core.rmem_max cannot be set in a container on this host",
		`open sysctl net.ipv4 file: reopen fd 8: is a directory`:                                                                                "net.ipv4 is a group of parameters, not one",
		`failed to write sysctl net.core.somaxconn = "many words": write fsmount:fscontext:proc/./sys/net/core/somaxconn: invalid argument`:     `net.core.somaxconn cannot be "many words"`,
		`failed to write sysctl kernel.sem = "1 \"timed out\" 2": write fsmount:fscontext:proc/./sys/kernel/sem: numerical result out of range`: `kernel.sem cannot be "1 \"timed out\" 2"`,
		`failed to write sysctl net.x.y = "1": write fsmount:fscontext:proc/./sys/net/x/y: operation not permitted`:                             "net.x.y cannot be set in a container on this host",
	} {
		err := startFault(errors.New(prefix+text+": unknown"), "id")
		if fault.KindOf(err) != fault.Invalid || fault.Message(err) != words+want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, fault.Message(err), words+want)
		}
	}
	for _, text := range []string{
		`failed to write sysctl net.x.y = "1": write fsmount:fscontext:proc/./sys/net/x/y: cannot allocate memory`,
		`open sysctl net.x.y file: openat2 fsmount:fscontext:proc/./sys/net/x/y: too many open files`,
	} {
		if err := startFault(errors.New(prefix+text), "id"); fault.KindOf(err) == fault.Invalid {
			t.Errorf("the host's want is the user's fault: %v", err)
		}
	}
}

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
