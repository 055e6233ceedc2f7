// Package cpuset decides which CPUs tasks run on: a task that reserves whole CPUs has them
// to itself, all others share what is left. It is what Kubernetes calls the static policy
// of its CPU manager.
package cpuset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Set is CPUs of the host by their numbers, ascending.
type Set []int

// String returns the set in the kernel's list format, as in 0-3,8 (cpuset(7)).
func (s Set) String() string {
	var parts []string
	for i := 0; i < len(s); {
		j := i
		for j+1 < len(s) && s[j+1] == s[j]+1 {
			j++
		}
		part := strconv.Itoa(s[i])
		if j > i {
			part += "-" + strconv.Itoa(s[j])
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ",")
}

// CPU is one CPU of the host, and the core that it is a thread of.
type CPU struct{ Number, Package, Core int }

// Host returns the CPUs that this process, and so its tasks, may run on, as the kernel
// tells of them in /sys (Documentation/admin-guide/cputopology.rst). CPUs of which it does
// not tell are cores of their own.
func Host() ([]CPU, error) {
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var all []CPU
	for n := 0; len(all) < mask.Count(); n++ {
		if !mask.IsSet(n) {
			continue
		}
		c := CPU{Number: n, Core: n}
		for file, into := range map[string]*int{"physical_package_id": &c.Package, "core_id": &c.Core} {
			text, err := os.ReadFile(filepath.Join("/sys/devices/system/cpu", fmt.Sprintf("cpu%d", n), "topology", file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read the topology of CPU %d: %w", n, err)
			}
			if id, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && id >= 0 {
				*into = id
			}
		}
		all = append(all, c)
	}
	return all, nil
}

func setOf(numbers []int) Set {
	s := slices.Clone(numbers)
	slices.Sort(s)
	return s
}
