package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/fault"
)

// Limits is what all processes of a task together may use, beside what Throttle
// says.
type Limits struct {
	CPU    int   // CPU units, for its weight among others; 1024 are one vCPU
	Memory int   // MiB; none of it can be swapped out
	PIDs   int64 // processes and threads
}

// Tree is the cgroups of one server's tasks. It is safe for concurrent use.
type Tree struct {
	layout layout
	parent string // path below every hierarchy's mount point, begins with a slash
}

// period is the kernel's default: a task with a quarter of a CPU runs for at
// most 25 ms, and then waits for at most 75.
const period = 100 * time.Millisecond

// Open finds the host's cgroups. parent is the path of the cgroup that is to
// hold those of the tasks, from the root of each hierarchy; it need not exist.
func Open(parent string) (*Tree, error) {
	if !filepath.IsAbs(parent) || filepath.Clean(parent) == "/" {
		return nil, fault.New(fault.Invalid, "cgroup parent %q is not the path of a cgroup below the root", parent)
	}
	l, err := detect()
	if err != nil {
		return nil, err
	}
	return &Tree{layout: l, parent: filepath.Clean(parent)}, nil
}

// Layout says which version of cgroups the host has.
func (t *Tree) Layout() string { return t.layout.String() }

// Unified reports whether the host has version 2 alone.
func (t *Tree) Unified() bool { return t.layout.unified }

// Path returns the path of a task's cgroup from the root of every hierarchy, as
// an OCI runtime wants it.
func (t *Tree) Path(id string) string { return t.parent + "/" + id }

// dir returns the directory of a cgroup in the hierarchy of a controller.
func (t *Tree) dir(controller string, path ...string) string {
	return filepath.Join(append([]string{t.layout.by[controller], t.parent}, path...)...)
}

// Create makes the cgroup of a task and sets its limits, but that of CPU time: see
// Throttle. If it exists, Create sets them again. Among the host's other processes, which all together weigh
// like one CPU's worth by default, the tasks weigh as much as the host has CPUs:
// what was sold to them is there for them.
func (t *Tree) Create(id string, l Limits) error {
	make := t.createSplit
	if t.layout.unified {
		make = t.createUnified
	}
	if err := make(id, l); err != nil {
		return fmt.Errorf("create cgroup %s: %w", t.Path(id), err)
	}
	return nil
}

func (t *Tree) createSplit(id string, l Limits) error {
	for _, c := range needed1 {
		if err := os.MkdirAll(t.dir(c, id), 0o755); err != nil {
			return err
		}
	}
	for path := t.parent; path != "/"; path = filepath.Dir(path) {
		if err := write(t.layout.by["cpu"]+path+"/cpu.shares", strconv.Itoa(1024*runtime.NumCPU())); err != nil {
			return err
		}
	}
	cpu, memory := t.dir("cpu", id), t.dir("memory", id)
	bytes := strconv.FormatInt(int64(l.Memory)<<20, 10)
	for _, f := range []struct{ file, value string }{
		{cpu + "/cpu.shares", strconv.Itoa(max(2, l.CPU))},
		{memory + "/memory.limit_in_bytes", bytes},
		{t.dir("pids", id) + "/pids.max", strconv.FormatInt(l.PIDs, 10)},
	} {
		if err := write(f.file, f.value); err != nil {
			return err
		}
	}
	// No swap: where the kernel counts it, memory and swap together get the
	// limit of memory alone; where it does not, this at least makes it loath to.
	if err := write(memory+"/memory.memsw.limit_in_bytes", bytes); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := write(memory+"/memory.swappiness", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return limitBuffers(memory, l.Memory)
}

// socketShare is which part of its memory, beyond its memory, the buffers of a task's
// sockets may have on version 1: more than the kernel gives all sockets of a host of that
// size (tcp(7), tcp_mem).
const socketShare = 4

// CountBuffers has the buffers of a container's sockets counted among its task's, which has
// so many MiB of memory, from the next socket on. Version 1 counts them, UDP's too whatever
// the file is called, apart from all other memory, and only in cgroups that have a limit
// themselves. Version 2 counts them as memory, and CountBuffers does nothing.
func (t *Tree) CountBuffers(id, container string, memory int) error {
	if t.layout.unified {
		return nil
	}
	if err := limitBuffers(t.dir("memory", id, container), memory); err != nil {
		return fmt.Errorf("limit the socket buffers of cgroup %s: %w", t.Path(id), err)
	}
	return nil
}

func limitBuffers(dir string, memory int) error {
	err := write(dir+"/memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(int64(memory)<<20/socketShare, 10))
	return ignoreGone(err) // A kernel without that file counts no buffers.
}

func (t *Tree) createUnified(id string, l Limits) error {
	if err := t.delegate(id); err != nil {
		return err
	}
	for path := t.parent; path != "/"; path = filepath.Dir(path) {
		if err := write(t.layout.by["cpu"]+path+"/cpu.weight", strconv.Itoa(min(100*runtime.NumCPU(), 10000))); err != nil {
			return err
		}
	}
	dir := t.dir("cpu", id)
	for _, f := range []struct{ file, value string }{
		{"cpu.weight", strconv.Itoa(min(max(1, l.CPU*100/1024), 10000))},
		{"memory.max", strconv.FormatInt(int64(l.Memory)<<20, 10)},
		{"pids.max", strconv.FormatInt(l.PIDs, 10)},
	} {
		if err := write(filepath.Join(dir, f.file), f.value); err != nil {
			return err
		}
	}
	if err := write(dir+"/memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Exists reports whether a task has a cgroup.
func (t *Tree) Exists(id string) bool {
	_, err := os.Stat(t.dir("memory", id))
	return err == nil
}

// Throttle limits the CPU time of a task's cgroup, and of one container's in it,
// to that of so many CPU units. A container's limit beside its task's changes
// nothing but what a program sees: language runtimes size their pools by the
// cgroup that they are in. Doing it again does nothing.
//
// It is not part of Create, because what a runtime does in the cgroup before the
// container's own program, some 30 ms of work, would take a task of a quarter of a
// CPU past the end of its first period, and four times as long.
func (t *Tree) Throttle(id, container string, cpu int) error {
	for _, dir := range []string{t.dir("cpu", id), t.dir("cpu", id, container)} { // what is above first: it bounds what is below
		if err := t.throttle(dir, cpu); err != nil {
			return fmt.Errorf("limit the CPU time of cgroup %s: %w", t.Path(id), err)
		}
	}
	return nil
}

func (t *Tree) throttle(dir string, cpu int) error {
	us, periodUS := strconv.FormatInt(quota(cpu).Microseconds(), 10), strconv.FormatInt(period.Microseconds(), 10)
	if t.layout.unified {
		return write(dir+"/cpu.max", us+" "+periodUS)
	}
	if err := write(dir+"/cpu.cfs_period_us", periodUS); err != nil {
		return err
	}
	return write(dir+"/cpu.cfs_quota_us", us)
}

// quota is the CPU time that cpu units get in a period. The kernel accepts no
// less than a millisecond.
func quota(cpu int) time.Duration {
	return max(time.Millisecond, period*time.Duration(cpu)/1024)
}

// delegate makes the cgroup of a task and all above it, each handing down its
// controllers.
func (t *Tree) delegate(id string) error {
	mount := t.layout.mounts[0]
	want := slices.Clone(needed2)
	if t.layout.by["cpuset"] != "" {
		want = append(want, "cpuset") // runc wants it in the containers' cgroups.
	}
	enable := "+" + strings.Join(want, " +")
	dir := mount
	for _, name := range strings.Split(strings.Trim(t.Path(id), "/"), "/") {
		err := write(dir+"/cgroup.subtree_control", enable)
		if errors.Is(err, unix.EBUSY) && dir == mount {
			// A cgroup with processes of its own cannot hand down controllers.
			// That is no rule for the host's root, only for a container's.
			if err = vacate(mount); err == nil {
				err = write(dir+"/cgroup.subtree_control", enable)
			}
		}
		if err != nil {
			return err
		}
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return write(dir+"/cgroup.subtree_control", enable)
}

// vacate moves all processes of a cgroup into a leaf below it.
func vacate(dir string) error {
	leaf := filepath.Join(dir, "init")
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for range 10 { // They may fork meanwhile.
		procs, err := pids(dir)
		if err != nil || len(procs) == 0 {
			return err
		}
		for _, pid := range procs {
			err := write(leaf+"/cgroup.procs", strconv.Itoa(pid))
			if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
				return err
			}
		}
	}
	return nil
}

// CountsSwap reports whether a container's memory limit can, and must, be joined
// by one for memory and swap together. On version 2 the task's own limit keeps
// everything in it from swapping.
func (t *Tree) CountsSwap() bool {
	_, err := os.Stat(filepath.Join(t.layout.by["memory"], "memory.memsw.limit_in_bytes"))
	return err == nil
}

// List returns the names of all cgroups below the parent, in any hierarchy.
func (t *Tree) List() ([]string, error) {
	var names []string
	for _, mount := range t.layout.mounts {
		entries, err := os.ReadDir(mount + t.parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// OOMKills returns how often the kernel killed a process for memory in the
// cgroup of one container. If there is no such cgroup, it returns 0.
func (t *Tree) OOMKills(id, container string) (uint64, error) {
	file := t.dir("memory", id, container) + "/" + t.oomFile()
	text, err := os.ReadFile(file)
	if gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read OOM kills: %w", err)
	}
	return field(text, "oom_kill"), nil
}

func (t *Tree) oomFile() string {
	if t.layout.unified {
		return "memory.events"
	}
	return "memory.oom_control"
}

// Close removes the parent cgroup, and those above it that are empty, if no
// task is left in it. Otherwise it does nothing.
func (t *Tree) Close(ctx context.Context) error {
	left, err := t.List()
	if err != nil || len(left) > 0 {
		return err
	}
	for _, mount := range t.layout.mounts {
		for path := t.parent; path != "/"; path = filepath.Dir(path) {
			if err := unix.Rmdir(mount + path); err != nil && !gone(err) {
				break // Others use it.
			}
		}
	}
	return ctx.Err()
}

// pids returns the processes of one cgroup, not of those below it.
func pids(dir string) ([]int, error) {
	text, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	var all []int
	for line := range bytes.FieldsSeq(text) {
		if pid, err := strconv.Atoi(string(line)); err == nil && pid > 0 {
			all = append(all, pid)
		}
	}
	return all, nil
}

// write writes a control file. Unlike os.WriteFile it never creates one.
func write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// gone reports whether err says that a cgroup is not there (any more).
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}
