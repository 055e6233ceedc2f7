package doctor

import (
	"context"
	"fmt"
	"strings"
)

// layout returns which version of cgroups the host has: v1, hybrid, v2 or "",
// and where each controller is.
func (h host) layout() (version string, controllers map[string]bool, err error) {
	mounts, err := h.text("proc/self/mounts")
	if err != nil {
		return "", nil, err
	}
	controllers = make(map[string]bool)
	v1, v2 := false, ""
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		switch fields[2] {
		case "cgroup":
			v1 = true
			for option := range strings.SplitSeq(fields[3], ",") {
				controllers[option] = true // other options do no harm: nobody asks for them
			}
		case "cgroup2":
			v2 = fields[1]
		}
	}
	switch {
	case v1 && v2 != "":
		return "hybrid", controllers, nil
	case v1:
		return "v1", controllers, nil
	case v2 != "":
		list, err := h.text(v2 + "/cgroup.controllers")
		for _, name := range strings.Fields(list) {
			controllers[name] = true
		}
		return "v2", controllers, err
	}
	return "", nil, nil
}

func cgroupLayout(_ context.Context, h host) verdict {
	version, _, err := h.layout()
	switch {
	case err != nil:
		return fail("mount /proc and /sys", "not readable: %v", err)
	case version == "":
		return fail("mount cgroups, as in \"mount -t cgroup2 none /sys/fs/cgroup\"", "no cgroups are mounted")
	case version != "v2":
		return ok("%s; v2 is the future: containerd calls v1 deprecated", version)
	}
	return ok("v2")
}

func cgroupControllers(_ context.Context, h host) verdict {
	version, have, err := h.layout()
	if err != nil || version == "" {
		return fail("mount cgroups", "none")
	}
	required := []string{"cpu", "memory", "pids"}
	useful := []string{"io"}
	if version != "v2" {
		required = append(required, "cpuacct", "devices", "freezer")
		useful = []string{"blkio"}
	}
	if missing := lacking(have, required); len(missing) > 0 {
		return fail("enable them: boot with cgroup_enable=memory where it is off, or delegate them to this cgroup (cgroup.subtree_control)",
			"missing: %s", strings.Join(missing, ", "))
	}
	if missing := lacking(have, useful); len(missing) > 0 {
		return warn("without it, what tasks read and write is not counted", "missing: %s", strings.Join(missing, ", "))
	}
	return ok("%s", strings.Join(append(required, useful...), ", "))
}

func lacking(have map[string]bool, want []string) []string {
	var missing []string
	for _, name := range want {
		if !have[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

func cpuQuota(_ context.Context, h host) verdict {
	version, _, _ := h.layout()
	if version == "v2" {
		return ok("cpu.max belongs to v2") // the root has no such file; every child has
	}
	for _, dir := range []string{"sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"} {
		if h.has(dir + "/cpu.cfs_quota_us") {
			return ok("cpu.cfs_quota_us is there")
		}
	}
	return fail("use a kernel with CONFIG_CFS_BANDWIDTH", "no cpu.cfs_quota_us")
}

func swapAccounting(_ context.Context, h host) verdict {
	swaps, err := h.text("proc/swaps")
	if err != nil {
		return warn("", "not readable: %v", err)
	}
	if strings.Count(swaps, "\n") == 0 {
		return ok("no swap")
	}
	version, _, _ := h.layout()
	if version != "v2" && !h.has("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") {
		return warn("boot with swapaccount=1, or turn swap off: tasks could swap beyond their memory", "swap is on and not accounted")
	}
	return ok("swap is on, and accounted: %s", fmt.Sprint(strings.Count(swaps, "\n"), " area(s)"))
}

func ownCPUs(_ context.Context, h host) verdict {
	if _, have, err := h.layout(); err != nil || !have["cpuset"] {
		return warn("without it tasks share all CPUs: one that is busy with many processes slows others down", "missing: cpuset")
	}
	return ok("by cpuset, unless the server has --cpu-policy none")
}
