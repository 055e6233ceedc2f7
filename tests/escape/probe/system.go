package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deviceProbes make device files and open them.
var deviceProbes = []probe{
	{"device-disk", "read the host's disk through a device file of its own", func(f facts) (string, error) { return openDevice(unix.S_IFBLK, f.Disk) }, refused, onHost},
	{"device-mem", "read the machine's memory", device(unix.S_IFCHR, 1, 1), append([]error{unix.ENXIO}, refused...), none},
	{"device-port", "reach the machine's ports", device(unix.S_IFCHR, 1, 4), append([]error{unix.ENXIO}, refused...), none},
	{"device-kmsg", "read the kernel's log", device(unix.S_IFCHR, 1, 11), refused, onHost},
	{"device-loop", "make block devices of files", device(unix.S_IFCHR, 10, 237), refused, onHost},
	{"device-loop0", "open a loop device, perhaps a neighbour's storage", device(unix.S_IFBLK, 7, 0), refused, onHost},
	{"device-fuse", "be a file system", device(unix.S_IFCHR, 10, 229), refused, onHost},
	{"device-kvm", "run a machine", device(unix.S_IFCHR, 10, 232), refused, none},
	{"device-mapper", "steer the device mapper", device(unix.S_IFCHR, 10, 236), refused, none},
	{"device-vhost", "move packets in the kernel", device(unix.S_IFCHR, 10, 238), refused, none},
	{"device-uinput", "type on the host's keyboard", device(unix.S_IFCHR, 10, 223), refused, none},
	{"device-tty0", "open the host's console", device(unix.S_IFCHR, 4, 0), refused, none},
	{"device-console", "open the system's console", device(unix.S_IFCHR, 5, 1), refused, none},
	{"device-rtc", "set the machine's clock", device(unix.S_IFCHR, 254, 0), append([]error{unix.ENXIO}, refused...), none},
	{"device-any", "open any device that /sys tells of", anyDevice, refused, none},
	{"device-tun", "make a network device", tun, refused, inNet},
}

// room is where every container can write, whatever its root file system is.
const room = "/dev/shm"

func device(kind, major, minor uint32) func(facts) (string, error) {
	return func(facts) (string, error) { return openDevice(kind, unix.Mkdev(major, minor)) }
}

func openDevice(kind uint32, number uint64) (string, error) {
	// A file system without devices would refuse for another reason, so it is tried
	// where they work: in the container's /dev, or where the host has them.
	where := fmt.Sprintf("%d:%d", unix.Major(number), unix.Minor(number))
	var last error
	for _, dir := range []string{"/dev", "/tmp", "/"} {
		path := fmt.Sprintf("%s/probe-%d", dir, os.Getpid())
		if err := unix.Mknod(path, kind|0o600, int(number)); err != nil {
			if last == nil || errors.Is(last, unix.EROFS) {
				last = err
			}
			continue
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		_ = os.Remove(path)
		if err == nil {
			unix.Close(fd)
			return where, nil
		}
		return where, err
	}
	if errors.Is(last, unix.EROFS) {
		last = unix.EPERM
	}
	return where, last
}

// harmless are the devices of every container; opening a watchdog would begin a
// countdown.
var harmless = map[string]bool{
	"1:3": true, "1:5": true, "1:7": true, "1:8": true, "1:9": true, "5:0": true, "5:2": true,
	"10:200": true, // tun, see device-tun
	"10:130": true,
}

func anyDevice(facts) (string, error) {
	tried := 0
	for dir, kind := range map[string]uint32{"/sys/dev/block": unix.S_IFBLK, "/sys/dev/char": unix.S_IFCHR} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return dir, err
		}
		for _, e := range entries {
			var major, minor uint32
			if _, err := fmt.Sscanf(e.Name(), "%d:%d", &major, &minor); err != nil || harmless[e.Name()] || major == 136 {
				continue
			}
			tried++
			if _, err := openDevice(kind, unix.Mkdev(major, minor)); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
				return e.Name(), err
			}
		}
	}
	if tried == 0 {
		return "no device known", unix.EPERM
	}
	return fmt.Sprintf("%d devices", tried), unix.EPERM
}

func tun(facts) (string, error) {
	path := fmt.Sprintf("/dev/probe-%d", os.Getpid())
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
		return "mknod", err
	}
	defer os.Remove(path)
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	if err != nil {
		return "open", err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("probe0")
	if err != nil {
		return "", err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	return "TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
}

// mountProbes mount and unmount.
var mountProbes = []probe{
	{"mount-tmpfs", "mount a tmpfs", mounts("tmpfs", "tmpfs", 0, ""), refused, onHost},
	{"mount-proc", "mount /proc anew, without what is masked", mounts("proc", "proc", 0, ""), refused, onHost},
	{"mount-sysfs", "mount /sys anew, writable", mounts("sysfs", "sysfs", 0, ""), refused, onHost},
	{"mount-cgroup", "mount cgroups anew, writable", func(f facts) (string, error) {
		saw, err := mounts("cgroup2", "cgroup2", 0, "")(f)
		if err == nil {
			return saw, nil
		}
		return mounts("cgroup", "cgroup", 0, "pids")(f)
	}, refused, onHost},
	{"mount-bind", "bind / elsewhere", mounts("/", "", unix.MS_BIND, ""), refused, onHost},
	{"mount-overlay", "mount an overlay", mounts("overlay", "overlay", 0, "lowerdir=/etc:/dev"), refused, onHost},
	{"mount-debugfs", "mount debugfs", mounts("debugfs", "debugfs", 0, ""), refused, onHost},
	{"mount-bpffs", "mount the file system of BPF", mounts("bpf", "bpf", 0, ""), refused, onHost},
	{"mount-disk", "mount the host's disk", func(f facts) (string, error) {
		path := fmt.Sprintf("/dev/probe-%d", os.Getpid())
		if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(f.Disk)); err != nil {
			return "mknod", err
		}
		defer os.Remove(path)
		return mounts(path, "ext4", unix.MS_RDONLY, "")(f)
	}, refused, none},
	{"mount-remount", "make /sys writable", func(facts) (string, error) {
		return "", unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "")
	}, refused, none},
	{"mount-unmask", "unmount what hides files of /proc", func(facts) (string, error) { return "", unix.Unmount("/proc/kcore", unix.MNT_DETACH) }, refused, none},
	{"mount-propagation", "share mounts with the host", func(facts) (string, error) { return "", unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, "") }, refused, none},
	{"mount-pivot", "change the root", calls(unix.SYS_PIVOT_ROOT, text("/"), text("/")), refused, onHost},
	{"mount-fsopen", "mount by the new calls: fsopen", func(facts) (string, error) {
		fd, err := unix.Fsopen("tmpfs", 0)
		if err == nil {
			unix.Close(fd)
		}
		return "", err
	}, refused, onHost},
	{"mount-open-tree", "mount by the new calls: open_tree", func(facts) (string, error) {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
		if err == nil {
			unix.Close(fd)
		}
		return "", err
	}, refused, onHost},
	{"mount-move", "mount by the new calls: move_mount", calls(unix.SYS_MOVE_MOUNT, ^uintptr(0), text(""), ^uintptr(0), text(""), 0), refused, onHost},
	{"mount-setattr", "make mounts writable by mount_setattr", func(facts) (string, error) {
		return "", unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	}, refused, onHost},
	{"mount-fspick", "reconfigure a file system by fspick", calls(unix.SYS_FSPICK, ^uintptr(99), text("/"), 0), refused, onHost},
}

func mounts(source, kind string, flags uintptr, data string) func(facts) (string, error) {
	return func(facts) (string, error) {
		dir, err := os.MkdirTemp(room, "probe")
		if err != nil {
			return "", err
		}
		defer os.Remove(dir)
		if err := unix.Mount(source, dir, kind, flags, data); err != nil {
			return "", err
		}
		return kind, unix.Unmount(dir, unix.MNT_DETACH)
	}
}

// namespaceProbes make namespaces, in which a process has capabilities that reach parts
// of the kernel that it has no business with, and join those of others.
var namespaceProbes = []probe{
	{"ns-clone-user", "start a process in a user namespace", clone(unix.CLONE_NEWUSER), refused, onHost},
	{"ns-clone-user-net", "start a process in user and network namespaces", clone(unix.CLONE_NEWUSER | unix.CLONE_NEWNET), refused, onHost},
	{"ns-clone-mount", "start a process in a mount namespace", clone(unix.CLONE_NEWNS), refused, onHost},
	{"ns-clone-pid", "start a process in a PID namespace", clone(unix.CLONE_NEWPID), refused, onHost},
	// A program of several threads may not have a user namespace; that it is told so is far enough.
	{"ns-unshare-user", "move into a user namespace", calls(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), refused, onHost},
	{"ns-unshare-mount", "move into a mount namespace", calls(unix.SYS_UNSHARE, unix.CLONE_NEWNS), refused, onHost},
	{"ns-unshare-net", "move into a network namespace", calls(unix.SYS_UNSHARE, unix.CLONE_NEWNET), refused, onHost},
	{"ns-unshare-cgroup", "move into a cgroup namespace", calls(unix.SYS_UNSHARE, unix.CLONE_NEWCGROUP), refused, onHost},
	{"ns-clone3", "hide flags from the filter in clone3's structure", calls(unix.SYS_CLONE3, address([11]uint64{unix.CLONE_NEWUSER, 0, 0, 0, ^uint64(0)}), 88), refused, onHost},
	{"ns-setns", "join a namespace, if only its own", func(facts) (string, error) {
		file, err := os.Open("/proc/self/ns/uts")
		if err != nil {
			return "open", err
		}
		defer file.Close()
		return "", unix.Setns(int(file.Fd()), 0)
	}, refused, onHost},
	{"ns-victim", "join a neighbour's network", func(f facts) (string, error) {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", f.VictimPID))
		if err != nil {
			return "open", err
		}
		defer file.Close()
		return "", unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
	}, hidden, onHost},
}

func clone(flags uintptr) func(facts) (string, error) {
	return func(facts) (string, error) {
		cmd := exec.Command("/proc/self/exe", "helper", "nothing")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		return "", cmd.Run()
	}
}

// privilegeProbes try to be more, or to reach other processes.
var privilegeProbes = []probe{
	{"priv-capset", "give itself CAP_SYS_ADMIN", func(facts) (string, error) {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return "capget", err
		}
		data[0].Permitted |= 1 << unix.CAP_SYS_ADMIN
		data[0].Effective |= 1 << unix.CAP_SYS_ADMIN
		return "", unix.Capset(&header, &data[0])
	}, refused, onHost},
	{"priv-file-caps", "run a program whose file has CAP_SYS_ADMIN", fileCaps, refused, onHost},
	{"priv-setuid", "run a program that is setuid root, as somebody else", func(facts) (string, error) {
		if os.Geteuid() != 0 {
			_, err := os.Stat("/setuid")
			if err != nil {
				return "", err
			}
			return "the image's", exitError(exec.Command("/setuid", "helper", "uid").Run())
		}
		// Root gives itself another number first, and cannot come back.
		path, err := copyOfSelf(0o4755)
		if err != nil {
			return "", err
		}
		defer os.Remove(path)
		cmd := exec.Command(path, "helper", "uid")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return "its own", exitError(cmd.Run())
	}, refused, onHost},
	{"priv-no-new-privs", "take back that it cannot become more", func(facts) (string, error) {
		return "", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
	}, append([]error{unix.EINVAL}, refused...), none},
	{"priv-seccomp", "take its system call filter off", func(facts) (string, error) {
		return "", unix.Prctl(unix.PR_SET_SECCOMP, 0, 0, 0, 0)
	}, append([]error{unix.EINVAL}, refused...), none},
	{"priv-oom", "have others killed before it when memory is short", func(facts) (string, error) {
		return "", os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	}, refused, none},
	{"priv-rlimit", "raise its hard limit of open files", func(facts) (string, error) {
		return "", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	}, refused, none},
	{"priv-realtime", "be a real-time process, which no CPU limit holds", func(facts) (string, error) {
		return "", unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	}, refused, onHost},
	{"priv-nice", "be nicer to itself than others are", func(facts) (string, error) {
		return "", unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}, refused, onHost},
	{"priv-ioprio", "be first at the disk", calls(unix.SYS_IOPRIO_SET, 1, 0, 1<<13), refused, onHost},

	{"process-kill", "signal a neighbour's process", func(f facts) (string, error) {
		return "", unix.Kill(f.VictimPID, 0)
	}, []error{unix.ESRCH, unix.EPERM}, onHost},
	{"process-ptrace", "trace a neighbour's process", func(f facts) (string, error) {
		err := unix.PtraceAttach(f.VictimPID)
		if err == nil {
			_ = unix.PtraceDetach(f.VictimPID)
		}
		return "", err
	}, []error{unix.ESRCH, unix.EPERM}, onHost},
	{"process-pidfd", "hold a neighbour's process", func(f facts) (string, error) {
		fd, err := unix.PidfdOpen(f.VictimPID, 0)
		if err == nil {
			unix.Close(fd)
		}
		return "", err
	}, []error{unix.ESRCH, unix.EPERM, unix.ENOSYS}, onHost},
	{"process-vm", "read a neighbour's memory by process_vm_readv", func(f facts) (string, error) {
		b := make([]byte, 8)
		_, err := unix.ProcessVMReadv(f.VictimPID, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
		return "", err
	}, []error{unix.ESRCH, unix.EPERM, unix.ENOSYS}, onHost},
	{"process-all", "find a process that is not of its own container", func(facts) (string, error) {
		dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, d := range dirs {
			b, err := os.ReadFile(d)
			if err == nil && len(b) > 0 && !strings.Contains(string(b), "probe") && !strings.Contains(string(b), "/proc/self/exe") {
				return strings.ReplaceAll(string(b), "\x00", " "), nil
			}
		}
		return fmt.Sprintf("%d processes, all its own", len(dirs)), unix.ESRCH
	}, []error{unix.ESRCH}, onHost},
	{"process-runc", "overwrite the runtime through /proc/1/exe (CVE-2019-5736)", func(facts) (string, error) {
		to, err := os.Readlink("/proc/1/exe")
		if err != nil {
			return "", err
		}
		if strings.Contains(to, "runc") {
			return to, nil
		}
		return to, errMasked
	}, []error{errMasked, unix.EACCES}, none},
}

// copyOfSelf writes this program where a file may be run with more rights than its
// caller has.
func copyOfSelf(mode os.FileMode) (string, error) {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	last := error(unix.EACCES)
	for _, dir := range []string{"/tmp", "/", "/dev"} {
		path := fmt.Sprintf("%s/probe-%d", dir, os.Getpid())
		if last = os.WriteFile(path, b, 0o755); last == nil {
			// Not through os.FileMode, which has bits of its own for setuid.
			return path, unix.Chmod(path, uint32(mode))
		}
	}
	if errors.Is(last, unix.EROFS) {
		last = unix.EACCES
	}
	return "", last
}

func fileCaps(facts) (string, error) {
	path, err := copyOfSelf(0o755)
	if err != nil {
		return "", err
	}
	defer os.Remove(path)
	// struct vfs_ns_cap_data, version 2, effective (linux/capability.h)
	caps := []byte{1, 0, 0, 2, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // 1<<21: CAP_SYS_ADMIN
	if err := unix.Setxattr(path, "security.capability", caps, 0); err != nil {
		return "setxattr", err
	}
	cmd := exec.Command(path, "helper", "caps")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return "", exitError(cmd.Run())
}

// exitError is the error that a helper ended with.
func exitError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return unix.Errno(exit.ExitCode())
	}
	if errors.Is(err, fs.ErrPermission) {
		return unix.EPERM
	}
	return err
}

// kernelProbes call what steers the kernel. Their arguments are such that whoever is
// let through harms nothing.
var kernelProbes = []probe{
	{"kernel-bpf-map", "make a BPF map", calls(unix.SYS_BPF, unix.BPF_MAP_CREATE, address(bpfMap{Type: unix.BPF_MAP_TYPE_ARRAY, Key: 4, Value: 4, Entries: 1}), 72), refused, onHost},
	{"kernel-bpf-prog", "load a BPF program", calls(unix.SYS_BPF, unix.BPF_PROG_LOAD, address([18]uint64{}), 72), refused, onHost},
	{"kernel-perf", "watch the kernel by perf events", func(facts) (string, error) {
		fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: unix.PERF_ATTR_SIZE_VER0, Config: unix.PERF_COUNT_SW_CPU_CLOCK}, -1, 0, -1, 0)
		if err == nil {
			unix.Close(fd)
		}
		return "", err
	}, refused, onHost},
	{"kernel-module", "load a module", calls(unix.SYS_INIT_MODULE, text("nothing"), 7, text("")), refused, none},
	{"kernel-finit-module", "load a module from a file", calls(unix.SYS_FINIT_MODULE, ^uintptr(0), text(""), 0), refused, none},
	{"kernel-delete-module", "unload a module", calls(unix.SYS_DELETE_MODULE, text("berth_no_such"), unix.O_NONBLOCK), refused, none},
	{"kernel-kexec", "start another kernel", calls(unix.SYS_KEXEC_LOAD, 0, 99, 0, 0), refused, none},
	{"kernel-reboot", "stop the machine", calls(unix.SYS_REBOOT, 1, 2, 3, 0), refused, onHost},
	{"kernel-swapon", "swap to a file", calls(unix.SYS_SWAPON, text("/nothing"), 0), refused, onHost},
	{"kernel-swapoff", "stop swapping", calls(unix.SYS_SWAPOFF, text("/nothing")), refused, onHost},
	{"kernel-acct", "have every process recorded", calls(unix.SYS_ACCT, text("/nothing")), refused, onHost},
	{"kernel-quotactl", "change quotas", calls(unix.SYS_QUOTACTL, 0xffffffff, 0, 0, 0), refused, onHost},
	{"kernel-clock", "set the clock", calls(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, address(unix.Timespec{Nsec: -1})), refused, onHost},
	{"kernel-settimeofday", "set the clock by the old call", calls(unix.SYS_SETTIMEOFDAY, address(unix.Timeval{Usec: -1}), 0), refused, onHost},
	{"kernel-adjtime", "drift the clock", func(facts) (string, error) {
		var now unix.Timex
		if _, err := unix.Adjtimex(&now); err != nil {
			return "ask", err
		}
		now.Modes = unix.ADJ_FREQUENCY // to what it is
		_, err := unix.Adjtimex(&now)
		return "", err
	}, refused, onHost},
	{"kernel-hostname", "rename the host", func(facts) (string, error) { return "", unix.Sethostname([]byte("probe")) }, refused, onHost},
	{"kernel-domainname", "rename its domain", func(facts) (string, error) { return "", unix.Setdomainname([]byte("probe")) }, refused, onHost},
	{"kernel-syslog", "read the kernel's log", func(facts) (string, error) {
		_, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 64))
		return "", err
	}, refused, onHost},
	{"kernel-userfaultfd", "stop the kernel in the middle of a page fault", calls(unix.SYS_USERFAULTFD, 0), refused, onHost},
	{"kernel-io-uring", "make calls past the filter by io_uring", calls(unix.SYS_IO_URING_SETUP, 1, address([120]byte{})), refused, onHost},
	{"kernel-io-uring-enter", "use an io_uring", calls(unix.SYS_IO_URING_ENTER, ^uintptr(0), 1, 0, 0, 0), refused, onHost},
	{"kernel-add-key", "leave a key in a keyring", calls(unix.SYS_ADD_KEY, text("user"), text("probe"), text("x"), 1, negative(2)), refused, onHost},
	{"kernel-keyctl", "use the keyring of the session that it was started from", calls(unix.SYS_KEYCTL, 0, negative(3), 0), refused, onHost},
	{"kernel-request-key", "ask the host's programs for a key", calls(unix.SYS_REQUEST_KEY, text("user"), text("berth-no-such"), 0, 0), refused, onHost},
	{"kernel-fanotify", "watch a whole file system", calls(unix.SYS_FANOTIFY_INIT, 0, 0), refused, onHost},
	{"kernel-lookup-dcookie", "ask for paths by number", calls(unix.SYS_LOOKUP_DCOOKIE, 0, 0, 0), refused, none},
	{"kernel-move-pages", "move memory between nodes", calls(unix.SYS_MOVE_PAGES, 0, 0, 0, 0, 0, 0), refused, onHost},
	{"kernel-mbind", "bind memory to nodes", calls(unix.SYS_MBIND, 0, 0, 99, 0, 0, 0), refused, onHost},
	{"kernel-kcmp", "compare its memory with a neighbour's in the kernel", func(f facts) (string, error) {
		return "", call(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(f.VictimPID), 1, 0, 0)
	}, append([]error{unix.ESRCH}, refused...), onHost},
	{"kernel-personality", "turn off the randomisation of addresses", calls(unix.SYS_PERSONALITY, 0x0040000), refused, onHost},
	{"kernel-vhangup", "hang up a terminal", calls(unix.SYS_VHANGUP), refused, none},
	{"kernel-nfsservctl", "steer the kernel's NFS server", calls(unix.SYS_NFSSERVCTL, 0, 0, 0), refused, none},
	{"kernel-name-handle", "ask for handles of files", func(facts) (string, error) {
		_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0)
		return "", err
	}, append([]error{unix.EOPNOTSUPP}, refused...), none},
}

type bpfMap struct {
	Type, Key, Value, Entries uint32
	rest                      [56]byte
}

func negative(n int) uintptr { return uintptr(-n) }

// flood takes as much of one thing as it can get for some time, and then says how much
// that was and what stopped it.
func flood(kind, duration string) {
	d, err := time.ParseDuration(duration)
	if err != nil {
		d = 5 * time.Second
	}
	until := time.Now().Add(d)
	got, last := 0, error(nil)
	for time.Now().Before(until) {
		n, err := floods[kind]()
		got += n
		if err != nil {
			last = err
			time.Sleep(time.Millisecond)
		}
	}
	fmt.Printf(`{"flood":%q,"got":%d,"stopped":%q}`+"\n", kind, got, fmt.Sprint(last))
}
