// Package doctor looks at a host and says whether tasks can run on it.
//
// It only looks: no check changes anything that stays. Every finding says what
// was found, what that means for tasks and how to mend it, so that nobody has to
// know the kernel to follow it.
package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Status is how a check went.
type Status string

// What a Status means.
const (
	OK   Status = "ok"
	Warn Status = "warn" // tasks run, and something is less good than it could be
	Fail Status = "fail" // tasks cannot run
)

// Finding is what one check found.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`          // the facts
	Means  string `json:"means"`          // why tasks need it
	Mend   string `json:"mend,omitempty"` // what to do about it
}

// Config says what to examine.
type Config struct {
	Root              string // where /proc, /sys and /etc are: "/", or a copy in tests
	StateDir          string
	Listen            string // host:port of the API
	Libexec           string // directory of containerd and its kin
	KataShim          string // path of Kata's shim; empty if there is none
	ContainerdAddress string // socket of a containerd to use; empty if the server starts its own
	Running           bool   // a server of StateDir runs, and so its port is taken
	Now               func() time.Time
}

// check is one thing to look at.
type check struct {
	name  string
	means string
	look  func(context.Context, host) verdict
}

// verdict is what a check says: the facts, and if they are bad how to mend them.
type verdict struct {
	status Status
	found  string
	mend   string
}

func ok(format string, args ...any) verdict {
	return verdict{OK, fmt.Sprintf(format, args...), ""}
}

func warn(mend, format string, args ...any) verdict {
	return verdict{Warn, fmt.Sprintf(format, args...), mend}
}

func fail(mend, format string, args ...any) verdict {
	return verdict{Fail, fmt.Sprintf(format, args...), mend}
}

// Examine runs every check, in the order in which to mend what they find.
func Examine(ctx context.Context, c Config) []Finding {
	h := host{c}
	var findings []Finding
	for _, check := range checks() {
		v := check.look(ctx, h)
		findings = append(findings, Finding{Check: check.name, Status: v.status, Found: v.found, Means: check.means, Mend: v.mend})
	}
	return findings
}

// Count returns how many findings have the status.
func Count(findings []Finding, s Status) int {
	n := 0
	for _, f := range findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

func checks() []check {
	return []check{
		{"root", "Berth makes namespaces, mounts and cgroups, which only root may.", root},
		{"kernel", "Isolation needs a Linux kernel that is not too old.", kernel},
		{"architecture", "Programs and images are for x86-64 and ARM64.", architecture},
		{"capabilities", "A process that is root can still lack capabilities, in a container for instance.", capabilities},
		{"CAP_SYS_RESOURCE", "Without it, limits on open files cannot be raised beyond ours, and OOM scores not lowered.", sysResource},
		{"cgroup layout", "Limits on CPU and memory are cgroups.", cgroupLayout},
		{"cgroup controllers", "Each limit and each counter needs its controller.", cgroupControllers},
		{"own CPUs", "Tasks of 1, 2, 4, … vCPUs have CPUs to themselves, by the controller cpuset.", ownCPUs},
		{"CPU quota", "The vCPUs of a task are a CFS quota of its cgroup.", cpuQuota},
		{"swap accounting", "A task's memory limit must hold for memory and swap together.", swapAccounting},
		{"namespaces", "Each task has PID, IPC, UTS, mount and network namespaces of its own.", namespaces},
		{"user namespaces", "Root in a task is nobody on the host, and nobody in another task.", userNamespaces},
		{"seccomp", "Tasks get containerd's default filter of system calls.", seccomp},
		{"AppArmor", "A second wall around tasks, where the kernel has it.", appArmor},
		{"overlayfs", "A container's root file system is an overlay over its image.", overlayfs},
		{"disks", "The ephemeral storage of a task is a file system of its own, on a loop device.", disks},
		{"bridge", "Tasks are connected by a bridge.", linkKind("bridge")},
		{"veth", "Each task's network is the end of a veth pair.", linkKind("veth")},
		{"nftables", "Firewall rules keep tasks from each other and from the host.", nftables},
		{"netem", "Optional: added latency for fault injection.", netem},
		{"open files", "Every task keeps some files of the server and its shims open.", openFiles},
		{"pid_max", "All processes of all tasks share the kernel's process numbers.", pidMax},
		{"inotify", "The server watches files.", inotify},
		{"programs", "Berth stands on containerd, its shim, runc, the CNI plugins and its own log writer.", programs},
		{"gVisor", "Optional: tasks can have a kernel of their own in user space (--runtime gvisor).", gvisor},
		{"Kata", "Optional: tasks can be virtual machines (--runtime kata).", kata},
		{"containerd", "containerd runs the containers.", containerd},
		{"state directory", "Everything the server remembers is written there.", stateDir},
		{"disk space", "Images, containers and logs need room.", diskSpace},
		{"inodes", "Every file of every image needs an inode.", inodes},
		{"port", "The API listens there.", port},
		{"boot ID", "It tells whether tasks can have survived.", bootID},
		{"clock", "Bills carry wall-clock times.", clock},
	}
}

// host reads the host's files.
type host struct{ Config }

// text returns the content of a file below the root, without blanks around it.
func (h host) text(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(h.Root, path))
	return strings.TrimSpace(string(b)), err
}

// has reports whether there is a file of that name below the root.
func (h host) has(path string) bool {
	_, err := os.Stat(filepath.Join(h.Root, path))
	return err == nil
}
