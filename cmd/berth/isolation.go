package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"berth/task"
)

func describeIsolation(w io.Writer, i task.Isolation) {
	table(w,
		[]string{"Task", lastPart(i.TaskARN)},
		[]string{"Runtime", i.Runtime},
		[]string{"Cgroup", i.Cgroup.Path + ", " + i.Cgroup.Version},
		[]string{"CPU", limitOf(i.Cgroup.VCPU > 0, fmt.Sprintf("%g vCPU", i.Cgroup.VCPU)) + ", weight " + strconv.FormatInt(i.Cgroup.CPUWeight, 10) + cpusOf(i.Cgroup)},
		[]string{"Memory", limitOf(i.Cgroup.MemoryBytes > 0, byteCount(uint64(i.Cgroup.MemoryBytes))) + swapOf(i.Cgroup)},
		[]string{"Processes", limitOf(i.Cgroup.PIDs > 0, strconv.FormatInt(i.Cgroup.PIDs, 10))},
		[]string{"Storage", limitOf(i.Storage.Limited, byteCount(uint64(i.Storage.SizeBytes))+" on "+i.Storage.Device+", "+byteCount(uint64(i.Storage.UsedBytes))+" used")},
		[]string{"Network", i.Network.Namespace + ", " + strings.Join(i.Network.Interfaces, ", ")},
		[]string{"Speaks as", dash(strings.Join(i.Network.SenderGuard, ", ")) + ", port isolated: " + yes(i.Network.PortIsolated)},
		[]string{"Groups", dash(strings.Join(i.Network.Groups, ", "))},
		[]string{"Rules", dash(strings.Join(i.Network.Rules, ", "))},
	)
	for _, c := range i.Containers {
		fmt.Fprintln(w)
		table(w,
			[]string{"Container", c.Name},
			[]string{"Process", strconv.Itoa(c.HostPID) + " on the host, OOM score " + strconv.Itoa(c.OOMScoreAdj)},
			[]string{"Memory", limitOf(c.Cgroup.MemoryBytes > 0, byteCount(uint64(c.Cgroup.MemoryBytes)))},
			[]string{"Namespaces", strconv.Itoa(len(c.Namespaces)-len(c.SharedWithHost)) + " of its own; the host's: " + dash(strings.Join(c.SharedWithHost, ", "))},
			[]string{"User IDs", c.UIDMap},
			[]string{"Capabilities", dash(strings.Join(c.Capabilities.Effective, " "))},
			[]string{"Bounding set", dash(strings.Join(c.Capabilities.Bounding, " "))},
			[]string{"New privileges", yes(!c.NoNewPrivileges)},
			[]string{"Seccomp", c.Seccomp.Mode + ", " + count(c.Seccomp.Filters, "filter") + ", profile " + dash(c.Seccomp.Profile)},
			[]string{"Root", map[bool]string{true: "read-only", false: "writable"}[c.ReadonlyRoot]},
			[]string{"Masked", dash(strings.Join(c.MaskedPaths, " "))},
			[]string{"Read-only", dash(strings.Join(c.ReadonlyPaths, " "))},
			[]string{"Open files", dash(c.Rlimits["open files"])},
		)
	}
}

// limitOf is text, or that there is no limit.
func limitOf(there bool, text string) string {
	if !there {
		return "not limited"
	}
	return text
}

// cpusOf says on which CPUs a task runs.
func cpusOf(c task.CgroupLimits) string {
	if c.CPUs == "" {
		return ""
	}
	return ", on CPUs " + c.CPUs
}

func swapOf(c task.CgroupLimits) string {
	if c.SwapBytes == nil {
		return ", swap not counted"
	}
	return ", swap " + byteCount(uint64(*c.SwapBytes))
}
