package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Confines reports whether tasks can be kept to some of the host's CPUs.
func (t *Tree) Confines() bool { return t.layout.by["cpuset"] != "" }

// Confine keeps the processes of a task to some of the host's CPUs, of which all are those
// that it may ever have; both in the kernel's list format. What runs elsewhere moves. Doing
// it again does nothing. If there is no such task, Confine does nothing.
func (t *Tree) Confine(id, cpus, all string) error {
	if !t.Exists(id) {
		return nil
	}
	confine := t.confineSplit
	if t.layout.unified {
		confine = func(id, cpus, _ string) error { return write(t.dir("cpuset", id)+"/cpuset.cpus", cpus) }
	}
	if err := ignoreGone(confine(id, cpus, all)); err != nil {
		return fmt.Errorf("keep cgroup %s to CPUs %s: %w", t.Path(id), cpus, err)
	}
	return nil
}

// confineSplit never lets a cgroup have a CPU that the one above it has not, for that is
// what version 1 refuses: first the task gets all, then those in it get fewer, and last the
// task itself. A runtime that makes one in it meanwhile gives it what the task has then.
func (t *Tree) confineSplit(id, cpus, all string) error {
	if err := t.ensureCpuset(id); err != nil {
		return err
	}
	const rounds = 10
	var err error
	for range rounds {
		if err = write(t.dir("cpuset", id)+"/cpuset.cpus", all); err != nil {
			return err
		}
		var dirs []string
		err = filepath.WalkDir(t.dir("cpuset", id), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return ignoreGone(err)
		})
		slices.Reverse(dirs)
		for i := 0; i < len(dirs) && err == nil; i++ {
			err = ignoreGone(write(dirs[i]+"/cpuset.cpus", cpus))
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return err
}

// ensureCpuset makes a task's cgroup in the hierarchy of version 1 that nothing else needs.
// A new one there has no CPUs and no memory, and takes no processes, until it is given
// those of the one above it.
func (t *Tree) ensureCpuset(id string) error {
	dir := t.layout.by["cpuset"]
	for _, name := range strings.Split(strings.Trim(t.Path(id), "/"), "/") {
		above := dir
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		for _, file := range []string{"/cpuset.cpus", "/cpuset.mems"} {
			has, err := os.ReadFile(dir + file)
			if err != nil {
				return err
			}
			if len(strings.TrimSpace(string(has))) > 0 {
				continue
			}
			give, err := os.ReadFile(above + file)
			if err == nil {
				err = write(dir+file, strings.TrimSpace(string(give)))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// cpus returns the CPUs that a cgroup may use; empty if that is not limited here.
func (t *Tree) cpus(path ...string) (string, error) {
	if !t.Confines() {
		return "", nil
	}
	file := "cpuset.effective_cpus"
	if t.layout.unified {
		file = "cpuset.cpus.effective"
	}
	text, err := os.ReadFile(t.dir("cpuset", path...) + "/" + file)
	return strings.TrimSpace(string(text)), ignoreGone(err)
}
