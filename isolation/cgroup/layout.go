// Package cgroup keeps the cgroups of one server's tasks: it makes a parent
// cgroup per task with the task's limits, reads its counters, ends everything in
// it and removes it. Version 1, version 2 and the hybrid of both are treated
// alike; nothing outside this package knows which one the host has.
//
// The rule: the kernel's files are the only state. Every call looks at them and
// can be repeated, by this process or by the next one.
package cgroup

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// layout is where the host keeps its cgroup hierarchies.
type layout struct {
	unified bool              // version 2 has all the controllers
	mounts  []string          // every hierarchy's mount point, each once
	by      map[string]string // controller → mount point of its hierarchy
}

// needed are the controllers without which a task cannot be held to its size.
var (
	needed1 = []string{"cpu", "cpuacct", "memory", "pids", "blkio", "freezer"}
	needed2 = []string{"cpu", "memory", "pids", "io"}
)

// root is where runc, too, looks for cgroups: it takes a host for version 2 if
// a cgroup2 file system is mounted here, and for version 1 otherwise.
const root = "/sys/fs/cgroup"

func detect() (layout, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return layout{}, fmt.Errorf("look for cgroups at %s: %w", root, err)
	}
	if fs.Type == unix.CGROUP2_SUPER_MAGIC {
		controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if err != nil {
			return layout{}, fmt.Errorf("read the cgroup controllers: %w", err)
		}
		return unifiedLayout(root, string(controllers))
	}
	mountinfo, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return layout{}, fmt.Errorf("look for cgroup hierarchies: %w", err)
	}
	defer mountinfo.Close()
	return splitLayout(mountinfo)
}

func unifiedLayout(mount, controllers string) (layout, error) {
	l := layout{unified: true, mounts: []string{mount}, by: make(map[string]string)}
	for _, c := range strings.Fields(controllers) {
		l.by[c] = mount
	}
	return l, l.complete(needed2)
}

// splitLayout reads proc(5)'s mountinfo:
//
//	36 35 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
func splitLayout(mountinfo io.Reader) (layout, error) {
	l := layout{by: make(map[string]string)}
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		at, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(at) < 5 || len(kind) < 3 || kind[0] != "cgroup" && kind[0] != "cgroup2" {
			continue
		}
		mount := at[4]
		if !slices.Contains(l.mounts, mount) {
			l.mounts = append(l.mounts, mount)
		}
		if kind[0] == "cgroup2" {
			continue // In a hybrid nobody but systemd uses it.
		}
		for _, option := range strings.Split(kind[2], ",") {
			if l.by[option] == "" {
				l.by[option] = mount // Options that are no controllers do no harm.
			}
		}
	}
	if err := lines.Err(); err != nil {
		return layout{}, fmt.Errorf("read the mount table: %w", err)
	}
	return l, l.complete(needed1)
}

func (l layout) complete(needed []string) error {
	for _, c := range needed {
		if l.by[c] == "" {
			return fmt.Errorf("the kernel offers no cgroup controller %q at %s", c, root)
		}
	}
	return nil
}

func (l layout) String() string {
	if l.unified {
		return "cgroup v2"
	}
	for _, m := range l.mounts {
		if filepath.Base(m) == "unified" {
			return "cgroup v1 (hybrid)"
		}
	}
	return "cgroup v1"
}
