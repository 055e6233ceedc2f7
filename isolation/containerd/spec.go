package containerd

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/task"
)

// oomScore makes the kernel, when the whole host is out of memory, end tasks
// before it ends what looks after them.
const oomScore = 500

// spec returns what runc has to do for a container.
func (r *Runtime) spec(c isolation.Container, world sandboxRecord, img image, u specs.User, shared []sharedMount, images []imageVolume) (*specs.Spec, error) {
	args, err := command(c, img.config)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(c.AddCapabilities, c.DropCapabilities)
	if err != nil {
		return nil, err
	}
	rlimits, err := r.rlimits(c.Ulimits)
	if err != nil {
		return nil, err
	}
	mounts := append(defaultMounts(), r.extraMounts(c, world.IDs, shared, images)...)
	args, launcher, err := r.launched(c, args)
	if err != nil {
		return nil, err
	}
	mounts = append(mounts, launcher...)
	for _, file := range etcFiles {
		options := []string{"nosuid", "nodev", "noexec"}
		if c.ReadonlyRootFilesystem {
			options = append(options, "ro")
		}
		mounts = append(mounts, bind(filepath.Join(r.layerDir(c.Task, c.Name), file), "/etc/"+file, options...))
	}
	cwd := c.WorkingDirectory
	if cwd == "" {
		cwd = img.config.WorkingDir
	}
	host := hostname(c)
	score := oomScore
	s := &specs.Spec{
		Version:  specs.Version,
		Hostname: host,
		Root:     &specs.Root{Path: "rootfs", Readonly: c.ReadonlyRootFilesystem},
		Mounts:   mounts,
		Process: &specs.Process{
			Args:            args,
			Env:             environment(c, img.config, host),
			Cwd:             filepath.Join("/", cwd), // runc makes it if it is missing
			User:            u,
			Terminal:        c.Terminal,
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps},
			Rlimits:         rlimits,
			OOMScoreAdj:     &score,
		},
		// All containers of a task are served by one shim.
		Annotations: map[string]string{shimGroup: string(c.Task)},
		Linux: &specs.Linux{
			CgroupsPath: r.cgroups.Path(string(c.Task)) + "/" + runtimeID(c.Task, c.Name),
			Resources:   r.resources(c, world.Sandbox.Size),
			Sysctl:      c.Sysctls,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.CgroupNamespace},
				{Type: specs.NetworkNamespace, Path: r.netns(c.Task)},
			},
			UIDMappings:   world.IDs.Mappings(),
			GIDMappings:   world.IDs.Mappings(),
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
		},
	}
	if world.IDs != 0 {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: r.userns(c.Task)})
	}
	if u.UID == 0 {
		// What a program gets by execve(2) alone: root all that is allowed,
		// anybody else nothing. The inheritable set stays empty for both.
		s.Process.Capabilities.Permitted, s.Process.Capabilities.Effective = caps, caps
	}
	s.Linux.Seccomp = seccompProfile(s) // looks at the capabilities
	return s, nil
}

// hostname is the container's own or, as the host part of a task's name, the end
// of its ID: its beginning is the time, which tasks share.
func hostname(c isolation.Container) string {
	if c.Hostname != "" {
		return c.Hostname
	}
	return string(c.Task[max(0, len(c.Task)-12):])
}

// resources are the limits of the container inside those of its task. Where it
// has none of its own it gets the task's again, which changes nothing but what a
// program sees: language runtimes size their heaps by the cgroup that they are in.
// That of CPU time comes when its process starts.
func (r *Runtime) resources(c isolation.Container, size task.Size) *specs.LinuxResources {
	shares := uint64(max(2, c.CPU)) // 2 is the least that the kernel knows
	limit := int64(size.Memory) << 20
	if c.Memory > 0 {
		limit = int64(c.Memory) << 20
	}
	res := &specs.LinuxResources{
		CPU:     &specs.LinuxCPU{Shares: &shares},
		Memory:  &specs.LinuxMemory{Limit: &limit},
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, // runc adds /dev/null and its like
	}
	if r.cgroups.CountsSwap() {
		res.Memory.Swap = &limit // of memory and swap together
	}
	if c.MemoryReservation > 0 {
		soft := int64(c.MemoryReservation) << 20
		res.Memory.Reservation = &soft
	}
	return res
}

// defaultCapabilities are those of a container on Fargate, which are Docker's
// (API reference, KernelCapabilities).
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// addable is the one capability that Fargate lets a definition add.
const addable = "CAP_SYS_PTRACE"

func capabilities(add, drop []string) ([]string, error) {
	full := func(name string) string { return "CAP_" + strings.TrimPrefix(strings.ToUpper(name), "CAP_") }
	caps := slices.Clone(defaultCapabilities)
	for _, name := range drop {
		if full(name) == "CAP_ALL" {
			caps = nil
		}
		caps = slices.DeleteFunc(caps, func(c string) bool { return c == full(name) })
	}
	for _, name := range add {
		if full(name) != addable {
			return nil, fault.New(fault.Invalid, "CannotCreateContainerError: capability %s cannot be added; only SYS_PTRACE can", name)
		}
		if !slices.Contains(caps, addable) {
			caps = append(caps, addable)
		}
	}
	return caps, nil
}

// defaultFiles is how many files a process may have open, soft and hard, if the
// definition does not say (API reference, Ulimit).
const defaultFiles = 65535

// ulimits are the names of Docker and ECS.
var ulimits = map[string]string{
	"core": "RLIMIT_CORE", "cpu": "RLIMIT_CPU", "data": "RLIMIT_DATA", "fsize": "RLIMIT_FSIZE", "locks": "RLIMIT_LOCKS",
	"memlock": "RLIMIT_MEMLOCK", "msgqueue": "RLIMIT_MSGQUEUE", "nice": "RLIMIT_NICE", "nofile": "RLIMIT_NOFILE",
	"nproc": "RLIMIT_NPROC", "rss": "RLIMIT_RSS", "rtprio": "RLIMIT_RTPRIO", "rttime": "RLIMIT_RTTIME",
	"sigpending": "RLIMIT_SIGPENDING", "stack": "RLIMIT_STACK",
}

// rlimits returns a container's limits. Where this process may not raise a limit
// as far as asked, the container gets what is possible: a host that is itself a
// container should not for that be unable to run anything.
func (r *Runtime) rlimits(want []isolation.Ulimit) ([]specs.POSIXRlimit, error) {
	limits := []specs.POSIXRlimit{
		{Type: "RLIMIT_NOFILE", Soft: defaultFiles, Hard: defaultFiles},
		// The CPU limit holds ordinary processes only: whoever may become a real-time
		// one takes the host's CPUs, and whatever we were started with is inherited.
		{Type: "RLIMIT_RTPRIO"},
	}
	for _, u := range want {
		name, ok := ulimits[u.Name]
		if !ok || u.Soft > u.Hard {
			return nil, fault.New(fault.Invalid, "CannotCreateContainerError: ulimit %s=%d:%d is not one", u.Name, u.Soft, u.Hard)
		}
		if u.Name == "rtprio" && u.Hard > 0 {
			return nil, fault.New(fault.Invalid, "CannotCreateContainerError: ulimit rtprio can only be 0")
		}
		limit := specs.POSIXRlimit{Type: name, Soft: u.Soft, Hard: u.Hard}
		if i := slices.IndexFunc(limits, func(l specs.POSIXRlimit) bool { return l.Type == name }); i >= 0 {
			limits[i] = limit
			continue
		}
		limits = append(limits, limit)
	}
	if mayRaise() {
		return limits, nil
	}
	for i, l := range limits {
		ceiling := ceilingOf(l.Type)
		if l.Hard > ceiling {
			r.nofile.Do(func() {
				r.Log.Warn("containers get lower limits than asked: this process may not raise them",
					zap.String("limit", l.Type), zap.Uint64("asked", l.Hard), zap.Uint64("given", ceiling))
			})
			limits[i].Soft, limits[i].Hard = min(l.Soft, ceiling), ceiling
		}
	}
	return limits, nil
}

// mayRaise reports whether this process, and so its children, has
// CAP_SYS_RESOURCE.
func mayRaise() bool {
	own, err := capability.NewPid2(0)
	return err == nil && own.Load() == nil && own.Get(capability.EFFECTIVE, capability.CAP_SYS_RESOURCE)
}

// rlimitNumbers are those of getrlimit(2), which are the same on all
// architectures that Go and containerd share.
var rlimitNumbers = map[string]int{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE,
	"RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

func ceilingOf(limit string) uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(rlimitNumbers[limit], &l); err != nil {
		return unix.RLIM_INFINITY
	}
	return l.Max
}
