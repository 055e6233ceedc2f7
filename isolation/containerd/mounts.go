package containerd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/isolation"
)

// shmSize is the size of /dev/shm, Docker's default. It counts as the task's memory.
const shmSize = "65536k"

// terminals is how many a container can have. The kernel has some 3,000 for all
// containers together, and without a limit the first to ask gets them all.
const terminals = "max=256"

// defaultMounts are Docker's.
func defaultMounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", terminals}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + shmSize}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
}

// maskedPaths tell of the host, or steer it, and are hidden: Docker's, and what a root
// without capabilities may read of the host's memory.
var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",

	"/proc/allocinfo", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/pagetypeinfo", "/proc/slabinfo",
	"/proc/vmallocinfo",
}

// readonlyPaths can be looked at: Docker's, and what its owner may write without a
// capability. Whoever writes to /proc/pressure has the kernel start a thread; what runc
// mounts at /sys/fs/cgroup on version 1 is a tmpfs that it leaves writable.
var readonlyPaths = []string{
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
	"/proc/dynamic_debug", "/proc/mtrr", "/proc/pressure", "/sys/fs/cgroup",
}

func bind(source, destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "bind", Source: source, Options: append([]string{"rbind", "rprivate"}, options...)}
}

// etcFiles are written for each container and mounted over the image's.
var etcFiles = []string{"hosts", "hostname", "resolv.conf"}

// resolverFiles say which name servers this host asks, the first that names one
// which tasks can reach too. Where systemd-resolved answers on loopback, the second
// has those that it asks.
var resolverFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// resolvConf is the content of a task's resolv.conf: the host's, without name
// servers that only the host reaches. Tasks have no IPv6.
func resolvConf(files []string) string {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var kept strings.Builder
		servers := 0
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || !slices.Contains([]string{"nameserver", "search", "domain", "options"}, fields[0]) {
				continue
			}
			if fields[0] == "nameserver" {
				addr, err := netip.ParseAddr(fields[1])
				if err != nil || !addr.Is4() || addr.IsLoopback() {
					continue
				}
				servers++
			}
			kept.WriteString(strings.Join(fields, " ") + "\n")
		}
		if servers > 0 {
			return kept.String()
		}
	}
	return "# This host has no name server that a task could reach.\n"
}

// nameServers are those that a task's resolv.conf names.
func nameServers(resolvConf string) []netip.Addr {
	var all []netip.Addr
	for line := range strings.Lines(resolvConf) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			if addr, err := netip.ParseAddr(fields[1]); err == nil && addr.Is4() {
				all = append(all, addr)
			}
		}
	}
	return all
}

// writeEtc writes a container's etcFiles, which belong to its root.
func writeEtc(dir string, c isolation.Container, world sandboxRecord) error {
	name, resolv := hostname(c), world.ResolvConf
	if resolv == "" { // The task was begun by an earlier version.
		resolv = resolvConf(resolverFiles)
	}
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if ip := world.Network.IPv4; ip != "" {
		hosts += ip + "\t" + name + "\n"
	}
	for file, text := range map[string]string{
		"hosts":       hosts,
		"hostname":    name + "\n",
		"resolv.conf": resolv,
	} {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write /etc/%s: %w", file, err)
		}
		root := world.IDs.Outside(0)
		if err := errors.Join(os.Chmod(path, 0o644), os.Chown(path, root, root)); err != nil { // whatever our umask is
			return fmt.Errorf("write /etc/%s: %w", file, err)
		}
	}
	return nil
}
