package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Kill sends SIGKILL to every process of a task, and to what they fork while it
// is at that. It returns when none is left or ctx ends. If there is no such
// cgroup, Kill does nothing.
func (t *Tree) Kill(ctx context.Context, id string) error {
	if err := t.Unthrottle(id); err != nil {
		return err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left, err := t.kill(id)
		if err != nil {
			return fmt.Errorf("kill cgroup %s: %w", t.Path(id), err)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup %s with %d processes left: %w", t.Path(id), left, ctx.Err())
		}
	}
}

// Unthrottle lifts the CPU limit of a task that is to die: ending thousands of
// processes is work too, and a fork bomb under a quarter of a CPU takes minutes
// over it, in which it can do nothing else. If there is no such cgroup,
// Unthrottle does nothing.
func (t *Tree) Unthrottle(id string) error {
	file, value := "cpu.cfs_quota_us", "-1"
	if t.layout.unified {
		file, value = "cpu.max", "max"
	}
	dir := t.dir("cpu", id)
	containers, err := filepath.Glob(filepath.Join(dir, "*", file))
	if err != nil {
		return fmt.Errorf("find containers of cgroup %s: %w", t.Path(id), err)
	}
	for _, f := range append([]string{filepath.Join(dir, file)}, containers...) { // what is above first: it bounds what is below
		if err := ignoreGone(write(f, value)); err != nil {
			return fmt.Errorf("lift the CPU limit of cgroup %s: %w", t.Path(id), err)
		}
	}
	return nil
}

// kill signals all processes once and returns how many it saw.
func (t *Tree) kill(id string) (int, error) {
	if !t.layout.unified {
		return t.killFrozen(t.dir("freezer", id))
	}
	dir := t.dir("pids", id)
	err := write(dir+"/cgroup.kill", "1") // Linux 5.14 and later; one shot that no fork escapes.
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		n, _ := signalAll(dir, 0)
		return n, ignoreGone(err)
	}
	return signalAll(dir, unix.SIGKILL)
}

// killFrozen stops time in a version 1 cgroup, so that no process can fork while
// it is read who there is. The signals take effect at the thaw.
func (t *Tree) killFrozen(dir string) (int, error) {
	state := dir + "/freezer.state"
	if err := write(state, "FROZEN"); err != nil {
		return 0, ignoreGone(err)
	}
	n, err := signalAll(dir, unix.SIGKILL)
	return n, errors.Join(err, ignoreGone(write(state, "THAWED")))
}

// signalAll sends a signal to every process of a cgroup and of those below it,
// and returns how many there were.
func signalAll(dir string, signal unix.Signal) (int, error) {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return ignoreGone(err)
		}
		procs, err := pids(path)
		if err != nil {
			return ignoreGone(err)
		}
		n += len(procs)
		for _, pid := range procs {
			if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		return nil
	})
	return n, err
}

// Remove removes the cgroup of a task and those below it from every hierarchy,
// once all of its processes have ended: call Kill first. If there is none,
// Remove does nothing.
func (t *Tree) Remove(ctx context.Context, id string) error {
	for _, mount := range t.layout.mounts {
		if err := removeAll(ctx, mount+t.Path(id)); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", t.Path(id), err)
		}
	}
	return nil
}

// tries bounds how long a cgroup may stay busy: a process that was killed leaves
// it a moment after it is seen to be gone, in all about two seconds.
const tries = 40

func removeAll(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ignoreGone(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeAll(ctx, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	pause := time.Millisecond
	for range tries {
		err = ignoreGone(unix.Rmdir(dir))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	return fmt.Errorf("rmdir %s: %w", dir, err)
}

func ignoreGone(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

// KillSession sends SIGKILL to every process of a container that belongs to a session
// (setsid(2)), until there is none, and returns. A process that began a session of its own
// is left alone, unless it was started with the variable mark, KEY=VALUE, in its
// environment; mark may be empty. If there is no such cgroup, KillSession does nothing.
func (t *Tree) KillSession(id, container string, session int, mark string) error {
	dir := t.dir("pids", id, container)
	for range 100 { // A process that forks is caught in the next round.
		procs, err := pids(dir)
		if err != nil {
			return ignoreGone(err)
		}
		found := false
		for _, pid := range procs {
			// The descriptor comes first, so that what is killed is what was looked at.
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue // It has ended.
			}
			if of := sessionOf(pid); of != 0 && of == session || marked(pid, mark) {
				found = true
				err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			}
			unix.Close(fd)
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		if !found {
			return nil
		}
	}
	return nil
}

// marked reports whether a process was started with mark in its environment
// (/proc/PID/environ, proc(5)) and has not ended.
func marked(pid int, mark string) bool {
	if mark == "" {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for each := range bytes.SplitSeq(text, []byte{0}) {
		if string(each) == mark {
			return sessionOf(pid) != 0
		}
	}
	return false
}

// sessionOf returns the session of a process, 0 if it has ended (field 6 of
// /proc/PID/stat, proc(5)).
func sessionOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the name in parentheses, which may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 4 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0
	}
	session, _ := strconv.Atoi(string(fields[3]))
	return session
}
