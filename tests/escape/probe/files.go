package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileProbes look for the host's files, and for what the kernel shows of the host.
var fileProbes = []probe{
	{"file-state", "read the server's state directory by its path", reads(func(f facts) string { return f.State }), hidden, onHost},
	{"file-dotdot", "climb above the root by ../../..", reads(func(f facts) string { return strings.Repeat("../", 40) + f.State }), hidden, onHost},
	{"file-proc-root", "go through /proc/1/root", reads(func(f facts) string { return "/proc/1/root" + f.State }), hidden, onHost},
	{"file-proc-cwd", "go up from /proc/1/cwd", reads(func(f facts) string { return "/proc/1/cwd" + strings.Repeat("/..", 40) + f.State }), hidden, onHost},
	{"file-victim-root", "go through /proc/PID/root of a neighbour's process", func(f facts) (string, error) {
		_, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", f.VictimPID))
		return "", err
	}, hidden, onHost},
	{"file-victim-environ", "read a neighbour's environment", reads(func(f facts) string { return fmt.Sprintf("/proc/%d/environ", f.VictimPID) }), hidden, onHost},
	{"file-victim-mem", "open a neighbour's memory", opens(os.O_RDWR, func(f facts) string { return fmt.Sprintf("/proc/%d/mem", f.VictimPID) }), hidden, onHost},
	{"file-chroot", "leave the root by a second chroot", func(f facts) (string, error) { return helped("chroot", f.State) }, hidden, onHost},
	{"file-handle", "open the root of the file system by its handle (shocker)", openByHandle, append([]error{unix.EOPNOTSUPP}, refused...), onHost},
	{"file-descriptors", "use a descriptor that the runtime forgot to close (CVE-2024-21626)", leakedDescriptors, []error{errMasked}, none},
	{"file-cwd", "be in a directory outside the root (CVE-2024-21626)", func(f facts) (string, error) {
		_, err := os.Stat("/proc/self/cwd" + strings.Repeat("/..", 40) + f.State)
		return "", err
	}, hidden, onHost},
	{"socket-containerd", "talk to containerd", dialUnix(func(f facts) []string { return []string{f.Socket} }), hidden, onHost},
	{"socket-others", "talk to Docker, the host's containerd, systemd or D-Bus", dialUnix(func(facts) []string {
		return []string{"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"}
	}), hidden, none},
	{"socket-abstract", "find an abstract socket of the host", abstractSockets, []error{errMasked}, none},

	{"proc-core-pattern", "have the host run a program at the next crash", writes("/proc/sys/kernel/core_pattern"), hidden, onHost},
	{"proc-modprobe", "have the host run a program for the next module", writes("/proc/sys/kernel/modprobe"), hidden, none},
	{"proc-sysrq", "press the magic key", writes("/proc/sysrq-trigger"), hidden, onHost},
	{"proc-sysctl-vm", "change the host's memory management", writes("/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/panic_on_oom"), hidden, onHost},
	{"proc-sysctl-net", "change sysctls of the network", writes("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/arp_announce"), hidden, onHost},
	{"proc-sysctl-kernel", "change how the kernel protects itself", writes("/proc/sys/kernel/kptr_restrict", "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/pid_max"), hidden, onHost},
	{"proc-binfmt", "register an interpreter for the host's programs", writes("/proc/sys/fs/binfmt_misc/register"), hidden, none},
	{"proc-irq", "move the host's interrupts", writes("/proc/irq/default_smp_affinity"), hidden, none},
	{"proc-writable", "find anything in /proc that opens for writing, its processes apart", anyWritable("/proc"), hidden, onHost},
	{"sys-writable", "find anything in /sys that opens for writing", anyWritable("/sys"), hidden, onHost},
	{"proc-kcore", "read the kernel's memory", readsByte("/proc/kcore"), hidden, onHost},
	{"proc-keys", "read the keys in the kernel", readsByte("/proc/keys"), hidden, none},
	{"proc-timers", "read what the host's processes wait for", readsByte("/proc/timer_list"), hidden, none},
	{"proc-kmsg", "read the kernel's log", opens(os.O_RDONLY|unix.O_NONBLOCK, func(facts) string { return "/proc/kmsg" }), hidden, onHost},
	{"proc-kallsyms", "read where the kernel's functions are", kernelAddresses, []error{errMasked, fs.ErrNotExist, unix.EPERM, unix.EACCES}, none},
	{"proc-pages", "read which pages of the host's memory are used how", readsByte("/proc/kpageflags", "/proc/kpagecount", "/proc/kpagecgroup"), hidden, onHost},
	{"proc-allocations", "read what the kernel allocated", readsByte("/proc/vmallocinfo", "/proc/slabinfo", "/proc/pagetypeinfo", "/proc/allocinfo"), hidden, onHost},
	{"proc-scheduler", "read of every process of the host", readsByte("/proc/sched_debug", "/sys/kernel/debug/sched/debug"), hidden, none},
	{"sys-firmware", "read the firmware's tables", dirHasEntries("/sys/firmware"), hidden, onHost},
	{"sys-debug", "read debugfs and tracefs", dirHasEntries("/sys/kernel/debug", "/sys/kernel/tracing"), hidden, none},
	{"sys-security", "load rules into a security module", dirHasEntries("/sys/kernel/security"), hidden, none},
	{"sys-uevent-helper", "have the host run a program for the next device", writes("/sys/kernel/uevent_helper"), hidden, none},
	{"sys-power", "read the host's energy counters", dirHasEntries("/sys/devices/virtual/powercap"), hidden, none},
	{"sys-bpf", "read the host's pinned BPF programs", dirHasEntries("/sys/fs/bpf"), hidden, none},

	{"cgroup-release-agent", "have the host run a program when a cgroup is empty", writesGlob("/sys/fs/cgroup/*/release_agent", "/sys/fs/cgroup/release_agent"), hidden, onHost},
	{"cgroup-limits", "raise the limits of its own cgroup", writesGlob(
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/cpu*/cpu.cfs_quota_us", "/sys/fs/cgroup/pids/pids.max",
		"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/pids.max"), hidden, none},
	{"cgroup-devices", "allow itself devices", writesGlob("/sys/fs/cgroup/devices/devices.allow"), hidden, none},
	{"cgroup-procs", "move itself to another cgroup", writesGlob("/sys/fs/cgroup/*/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"), hidden, onHost},
	{"cgroup-new", "make a cgroup", func(facts) (string, error) {
		for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"} {
			err := os.Mkdir(dir+"/probe", 0o755)
			if err == nil {
				_ = os.Remove(dir + "/probe")
				return dir, nil
			}
			if !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
				return dir, err
			}
		}
		return "", unix.EROFS
	}, hidden, onHost},
}

// reads succeeds if the file can be read.
func reads(path func(facts) string) func(facts) (string, error) {
	return func(f facts) (string, error) {
		b, err := os.ReadFile(path(f))
		return fmt.Sprintf("%d bytes of %s", len(b), path(f)), err
	}
}

func opens(flags int, path func(facts) string) func(facts) (string, error) {
	return func(f facts) (string, error) {
		file, err := os.OpenFile(path(f), flags, 0)
		if err == nil {
			file.Close()
		}
		return path(f), err
	}
}

// writes succeeds if any of the files opens for writing. Nothing is written.
func writes(paths ...string) func(facts) (string, error) {
	return func(facts) (string, error) {
		var last error
		for _, p := range paths {
			if last = opensForWriting(p); last == nil {
				return p, nil
			}
		}
		return paths[len(paths)-1], last
	}
}

func writesGlob(patterns ...string) func(facts) (string, error) {
	return func(facts) (string, error) {
		last, where := error(fs.ErrNotExist), ""
		for _, pattern := range patterns {
			paths, _ := filepath.Glob(pattern)
			for _, p := range paths {
				if where, last = p, opensForWriting(p); last == nil {
					return p, nil
				}
			}
		}
		return where, last
	}
}

func opensForWriting(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if st, err := file.Stat(); err == nil && st.Mode()&fs.ModeCharDevice != 0 {
		return errMasked // by /dev/null
	}
	return nil
}

// readsByte succeeds if any of the files has something in it.
func readsByte(paths ...string) func(facts) (string, error) {
	return func(facts) (string, error) {
		last, where := error(nil), ""
		for _, p := range paths {
			file, err := os.Open(p)
			if where, last = p, err; err != nil {
				continue
			}
			n, err := file.Read(make([]byte, 8))
			file.Close()
			if n > 0 {
				return p, nil
			}
			if last = err; err == nil || err.Error() == "EOF" {
				last = errMasked
			}
		}
		return where, last
	}
}

func dirHasEntries(paths ...string) func(facts) (string, error) {
	return func(facts) (string, error) {
		last, where := error(nil), ""
		for _, p := range paths {
			entries, err := os.ReadDir(p)
			if len(entries) > 0 {
				return p + "/" + entries[0].Name(), nil
			}
			if where, last = p, err; err == nil {
				last = errMasked
			}
		}
		return where, last
	}
}

// anyWritable walks a file system of the kernel's until something opens for writing.
// What belongs to processes is theirs.
func anyWritable(root string) func(facts) (string, error) {
	return func(facts) (found string, err error) {
		tried := 0
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // what cannot be read cannot be written
			}
			first := strings.Split(strings.TrimPrefix(path, "/proc/"), "/")[0]
			if root == "/proc" && d.IsDir() && first != "" && strings.Trim(first, "0123456789") == "" {
				return fs.SkipDir
			}
			// Root may open what is for reading only, too, and writes in vain.
			if st, err := d.Info(); err != nil || !st.Mode().IsRegular() || st.Mode()&0o222 == 0 {
				return nil //nolint:nilerr // as above
			}
			tried++
			if opensForWriting(path) == nil {
				found = path
				return fs.SkipAll
			}
			return nil
		})
		if found != "" {
			return found, nil
		}
		return fmt.Sprintf("%d files", tried), unix.EROFS
	}
}

func kernelAddresses(facts) (string, error) {
	b, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(b) {
		if address, _, _ := bytes.Cut(line, []byte(" ")); strings.Trim(string(address), "0") != "" && !bytes.Contains(line, []byte(" A ")) {
			return strings.TrimSpace(string(line)), nil
		}
	}
	return "only zeros", errMasked
}

// openByHandle guesses the handle of the root of the file system that /etc/hosts lies
// on, which for ext4 is inode 2, and opens it.
func openByHandle(facts) (string, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/etc/hosts", 0)
	if err != nil {
		h = unix.NewFileHandle(1, make([]byte, 8)) // FILEID_INO32_GEN
	}
	dir, err := os.Open("/etc/hosts")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	if b := h.Bytes(); h.Type() == 1 && len(b) >= 8 {
		copy(b, []byte{2, 0, 0, 0, 0, 0, 0, 0})
	}
	fd, err := unix.OpenByHandleAt(int(dir.Fd()), h, unix.O_RDONLY)
	if err == nil {
		unix.Close(fd)
	}
	return "", err
}

// leakedDescriptors looks at what the program began with: the three and what the Go
// runtime opens itself.
func leakedDescriptors(facts) (string, error) {
	entries, err := os.ReadDir("/proc/1/fd")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		to, _ := os.Readlink("/proc/1/fd/" + e.Name())
		if strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/dev/") && to != "/" && !strings.HasPrefix(to, "/proc/") &&
			!strings.HasPrefix(to, "/sys/fs/cgroup/") { // where Go's runtime looks how many CPUs it has
			return e.Name() + " → " + to, nil
		}
	}
	return fmt.Sprintf("%d descriptors, none leads to a file", len(entries)), errMasked
}

func dialUnix(paths func(facts) []string) func(facts) (string, error) {
	return func(f facts) (string, error) {
		last, where := error(nil), ""
		for _, p := range paths(f) {
			c, err := net.Dial("unix", p)
			if where, last = p, err; err == nil {
				c.Close()
				return p, nil
			}
		}
		return where, last
	}
}

func abstractSockets(facts) (string, error) {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if i := strings.Index(line, "@"); i >= 0 {
			return strings.TrimSpace(line[i:]), nil
		}
	}
	return "none", errMasked
}

// helped runs a part of this program that changes its process beyond return. Its exit
// code is an error number, 0 if it got through.
func helped(args ...string) (string, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"helper"}, args...)...)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return "", unix.Errno(exit.ExitCode())
	}
	return "", err
}

func helper(args []string) {
	exit := func(err error) {
		var e unix.Errno
		switch {
		case err == nil:
			os.Exit(0)
		case errors.As(err, &e):
			os.Exit(int(e))
		}
		os.Exit(int(unix.EIO))
	}
	switch args[0] {
	case "chroot":
		dir, err := os.MkdirTemp("/dev/shm", "probe")
		if err != nil {
			exit(err)
		}
		if err := unix.Chroot(dir); err != nil {
			_ = os.Remove(dir)
			exit(err)
		}
		for range 40 {
			_ = unix.Chdir("..") // it is outside the new root, so nothing stops it
		}
		if err := unix.Chroot("."); err != nil {
			exit(err)
		}
		_ = os.Remove(dir)
		_, err = os.Stat(args[1])
		exit(err)
	case "nothing":
		exit(nil)
	case "caps": // which file capabilities a program was given
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			exit(err)
		}
		if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
			exit(unix.EPERM)
		}
		exit(nil)
	case "uid":
		if os.Geteuid() != 0 {
			exit(unix.EPERM)
		}
		exit(nil)
	}
}

// kept keeps what system calls were given the addresses of.
var kept []any

// address is what a system call is given for a value.
func address[T any](v T) uintptr {
	p := &v
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}

// text is what a system call is given for a string.
func text(s string) uintptr {
	p, _ := unix.BytePtrFromString(s)
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}
