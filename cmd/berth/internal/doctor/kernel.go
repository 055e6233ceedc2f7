package doctor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func root(context.Context, host) verdict {
	if uid := os.Geteuid(); uid != 0 {
		return fail("run berth with sudo", "user ID %d", uid)
	}
	return ok("user ID 0")
}

// The oldest kernel that containerd 2 and runc 1.2 state, and the oldest with
// all of cgroup v2 that is used here (cgroup.kill).
const (
	oldestMajor, oldestMinor = 4, 18
	goodMajor, goodMinor     = 5, 14
)

func kernel(_ context.Context, h host) verdict {
	release, err := h.text("proc/sys/kernel/osrelease")
	var major, minor int
	if _, scan := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || scan != nil {
		return warn("", "its version is not readable (%q)", release)
	}
	switch {
	case before(major, minor, oldestMajor, oldestMinor):
		return fail("install a kernel of a current distribution", "Linux %s; at least %d.%d is needed", release, oldestMajor, oldestMinor)
	case before(major, minor, goodMajor, goodMinor):
		return warn("a kernel from 5.14 on kills whole cgroups at once", "Linux %s", release)
	}
	return ok("Linux %s", release)
}

func before(major, minor, wantMajor, wantMinor int) bool {
	return major < wantMajor || major == wantMajor && minor < wantMinor
}

func architecture(context.Context, host) verdict {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return fail("use a host with x86-64 or ARM64", "%s", runtime.GOARCH)
	}
	return ok("%s, %d CPUs", runtime.GOARCH, runtime.NumCPU())
}

// What capability numbers mean here (capability.h).
var needed = []struct {
	name string
	bit  uint
}{
	{"CAP_CHOWN", 0}, {"CAP_DAC_OVERRIDE", 1}, {"CAP_FOWNER", 3}, {"CAP_KILL", 5}, {"CAP_SETGID", 6}, {"CAP_SETUID", 7},
	{"CAP_SETPCAP", 8}, {"CAP_NET_ADMIN", 12}, {"CAP_SYS_CHROOT", 18}, {"CAP_SYS_PTRACE", 19}, {"CAP_SYS_ADMIN", 21},
	{"CAP_MKNOD", 27},
}

const capSysResource = 24

// effective returns the capabilities that this process has.
func (h host) effective() (uint64, error) {
	status, err := h.text("proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(status) {
		if hex, found := strings.CutPrefix(line, "CapEff:"); found {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("no CapEff in /proc/self/status")
}

func capabilities(_ context.Context, h host) verdict {
	have, err := h.effective()
	if err != nil {
		return warn("", "not readable: %v", err)
	}
	var missing []string
	for _, c := range needed {
		if have&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return fail("run berth as root on the host, or in a container with --privileged", "missing: %s", strings.Join(missing, ", "))
	}
	return ok("all that are needed")
}

func sysResource(_ context.Context, h host) verdict {
	have, err := h.effective()
	if err != nil || have&(1<<capSysResource) == 0 {
		return warn("tasks run; ulimits above the hard limit of this host are refused. Outside of a restricted container root has it", "missing")
	}
	return ok("present")
}

func namespaces(_ context.Context, h host) verdict {
	var missing []string
	for _, kind := range []string{"pid", "ipc", "uts", "mnt", "net"} {
		if !h.has("proc/self/ns/" + kind) {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		return fail("use a kernel that was built with them", "missing: %s", strings.Join(missing, ", "))
	}
	return ok("pid, ipc, uts, mnt, net")
}

func seccomp(_ context.Context, h host) verdict {
	actions, err := h.text("proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		return fail("use a kernel with CONFIG_SECCOMP_FILTER", "the kernel has no seccomp filters")
	}
	return ok("%s", actions)
}

func appArmor(_ context.Context, h host) verdict {
	if enabled, _ := h.text("sys/module/apparmor/parameters/enabled"); enabled != "Y" {
		return warn("optional; boot with apparmor=1 where the kernel has it", "not enabled")
	}
	return ok("enabled")
}

// filesystem reports whether the kernel knows a file system now or could load it.
func (h host) filesystem(name string) bool {
	list, _ := h.text("proc/filesystems")
	for line := range strings.Lines(list) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[len(fields)-1] == name {
			return true
		}
	}
	return h.module(name)
}

// module reports whether the kernel can load, or has built in, a module.
func (h host) module(name string) bool {
	release, err := h.text("proc/sys/kernel/osrelease")
	if err != nil {
		return false
	}
	for _, list := range []string{"modules.builtin", "modules.dep"} {
		if h.lists("lib/modules/"+release+"/"+list, "/"+name+".ko") {
			return true
		}
	}
	return h.has("sys/module/" + name)
}

func (h host) lists(path, word string) bool {
	f, err := os.Open(h.Root + "/" + path)
	if err != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), word) {
			return true
		}
	}
	return false
}

func overlayfs(_ context.Context, h host) verdict {
	if !h.filesystem("overlay") {
		return fail("load it with \"modprobe overlay\", or use a kernel that has it", "the kernel does not have it")
	}
	return ok("present")
}

func disks(_ context.Context, h host) verdict {
	if !h.has("dev/loop-control") {
		return warn("load it with \"modprobe loop\"", "no /dev/loop-control: the storage of tasks is not limited")
	}
	for _, dir := range []string{"usr/sbin", "sbin", "usr/bin"} {
		if path := dir + "/mkfs.ext4"; h.has(path) {
			return ok("/dev/loop-control and /%s are there", path)
		}
	}
	return warn("install e2fsprogs", "no mkfs.ext4: the storage of tasks is not limited")
}

func openFiles(_ context.Context, h host) verdict {
	limits, err := h.text("proc/self/limits")
	if err != nil {
		return warn("", "not readable: %v", err)
	}
	for line := range strings.Lines(limits) {
		rest, found := strings.CutPrefix(line, "Max open files")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			break
		}
		hard, err := strconv.Atoi(fields[1])
		if err == nil && hard < 65536 {
			return warn("raise the hard limit to 1048576, as in \"ulimit -Hn 1048576\" or LimitNOFILE= of its systemd unit; "+
				"containers cannot have Fargate's 65535 open files", "hard limit %d", hard)
		}
		return ok("hard limit %s", fields[1])
	}
	return warn("", "not stated in /proc/self/limits")
}

func pidMax(_ context.Context, h host) verdict {
	text, err := h.text("proc/sys/kernel/pid_max")
	n, _ := strconv.Atoi(text)
	switch {
	case err != nil:
		return warn("", "not readable: %v", err)
	case n < 65536:
		return warn("sysctl -w kernel.pid_max=4194304, if many tasks with many threads shall run at once", "%d", n)
	}
	return ok("%d", n)
}

func inotify(_ context.Context, h host) verdict {
	text, err := h.text("proc/sys/fs/inotify/max_user_instances")
	n, _ := strconv.Atoi(text)
	switch {
	case err != nil:
		return fail("use a kernel with CONFIG_INOTIFY_USER", "the kernel does not have it")
	case n < 128:
		return warn("sysctl -w fs.inotify.max_user_instances=1024", "%d instances a user", n)
	}
	return ok("%d instances a user", n)
}

func bootID(_ context.Context, h host) verdict {
	id, err := h.text("proc/sys/kernel/random/boot_id")
	if err != nil || len(id) != 36 {
		return fail("mount /proc", "not readable")
	}
	return ok("%s", id)
}
