package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"berth/fault"
	"berth/task"
)

// unlimited is more than any limit that somebody set: version 1 says "none" as the
// largest number of whole pages.
const unlimited = 1 << 62

// Inspect reads back the limits of the cgroup of a task or, if a container is named, of
// that container in it. If there is none, the error is fault.NotFound.
func (t *Tree) Inspect(id string, container ...string) (task.CgroupLimits, error) {
	path := append([]string{id}, container...)
	l := task.CgroupLimits{Version: t.layout.String(), Path: t.Path(strings.Join(path, "/"))}
	var err error
	read := func(controller, file string) string {
		text, readErr := os.ReadFile(t.dir(controller, path...) + "/" + file)
		if readErr != nil && err == nil {
			err = readErr
		}
		return strings.TrimSpace(string(text))
	}
	number := func(text string) int64 { // 0: none
		n, parseErr := strconv.ParseInt(text, 10, 64)
		if parseErr != nil || n < 0 || n > unlimited {
			return 0
		}
		return n
	}
	if t.layout.unified {
		quota, period, _ := strings.Cut(read("cpu", "cpu.max"), " ")
		if p := number(period); p > 0 {
			l.VCPU = float64(number(quota)) / float64(p)
		}
		l.CPUWeight = number(read("cpu", "cpu.weight"))
		l.MemoryBytes = number(read("memory", "memory.max"))
		if swap, swapErr := os.ReadFile(t.dir("memory", path...) + "/memory.swap.max"); swapErr == nil {
			n := number(strings.TrimSpace(string(swap)))
			l.SwapBytes = &n
		}
	} else {
		if p := number(read("cpu", "cpu.cfs_period_us")); p > 0 {
			l.VCPU = float64(number(read("cpu", "cpu.cfs_quota_us"))) / float64(p)
		}
		l.CPUWeight = number(read("cpu", "cpu.shares"))
		l.MemoryBytes = number(read("memory", "memory.limit_in_bytes"))
		if both, swapErr := os.ReadFile(t.dir("memory", path...) + "/memory.memsw.limit_in_bytes"); swapErr == nil {
			n := max(0, number(strings.TrimSpace(string(both)))-l.MemoryBytes)
			l.SwapBytes = &n
		}
	}
	l.PIDs = number(read("pids", "pids.max"))
	if err == nil {
		l.CPUs, err = t.cpus(path...)
	}
	if gone(err) {
		return l, fault.Wrap(fault.NotFound, err, "there is no cgroup %s", l.Path)
	}
	if err != nil {
		return l, fmt.Errorf("read limits of cgroup %s: %w", l.Path, err)
	}
	return l, nil
}
