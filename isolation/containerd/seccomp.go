package containerd

import (
	"slices"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// unneeded are system calls that containerd's default profile allows and no task of
// Fargate's needs, each with why it is not there (docs/decisions/0017). Who makes one is
// told EPERM.
var unneeded = map[string]string{
	"fanotify_mark":    "fanotify_init, without which it is useless, needs a capability that nobody has",
	"remap_file_pages": "obsolete since Linux 3.16, which only emulates it",
	"vmsplice":         "lends pages of its own to the kernel; nothing of a service's uses it, and bugs did",

	// Only who may add SYS_PTRACE traces, as on Fargate: a debugger asks for it.
	"ptrace":            "traces others; only with SYS_PTRACE",
	"process_vm_readv":  "reads others' memory; only with SYS_PTRACE",
	"process_vm_writev": "writes others' memory; only with SYS_PTRACE",
}

// A task's sockets are of the families UNIX, INET, INET6 and NETLINK, and PACKET with
// NET_RAW; containerd's profile has some forty, most of them protocols that a kernel loads
// a module for and nobody maintains. Each rule costs time at every launch, so that AF_UNIX
// and AF_INET are one.
var socketFamilies = []specs.LinuxSeccompArg{
	{Index: 0, Value: unix.AF_INET + 1, Op: specs.OpLessThan}, is(0, unix.AF_INET6), is(0, unix.AF_NETLINK),
}

// personalities are Linux itself, its 32-bit variant and the question which it is.
// Others turn off what makes a program hard to attack.
var personalities = []uint64{0x0, 0x8, 0xffffffff}

// ruled are the calls for which tighten has rules of its own.
var ruled = []string{"personality", "setsockopt", "socket", "socketcall"}

// seccompProfile is what a container may ask of the kernel: containerd's default profile
// for its capabilities, tightened, and without the system calls of x32 where the kernel
// has none: nobody could make them, and runc compiles the profile anew for every
// container, which takes it longer for each architecture than all that it does besides
// (docs/performance.md). A program that makes them all the same is killed.
func seccompProfile(s *specs.Spec) *specs.LinuxSeccomp {
	profile := seccomp.DefaultProfile(s)
	if !hasX32() {
		profile.Architectures = slices.DeleteFunc(profile.Architectures, func(a specs.Arch) bool { return a == specs.ArchX32 })
	}
	tighten(profile, s.Process.Capabilities.Bounding)
	return profile
}

func tighten(profile *specs.LinuxSeccomp, caps []string) {
	gone := func(name string) bool {
		if slices.Contains(ruled, name) {
			return true
		}
		_, ok := unneeded[name]
		return ok
	}
	var kept []specs.LinuxSyscall
	for _, rule := range profile.Syscalls {
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), gone)
		if len(rule.Names) > 0 {
			kept = append(kept, rule)
		}
	}
	allow := func(name string, args ...specs.LinuxSeccompArg) {
		kept = append(kept, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: args})
	}
	for _, p := range personalities {
		allow("personality", is(0, p))
	}
	for _, f := range socketFamilies {
		allow("socket", f)
	}
	if slices.Contains(caps, "CAP_SYS_PTRACE") {
		for _, name := range []string{"ptrace", "process_vm_readv", "process_vm_writev"} {
			allow(name)
		}
	}
	if !slices.Contains(caps, "CAP_NET_RAW") {
		allow("setsockopt")
		allow("socketcall")
		profile.Syscalls = kept
		return
	}
	// The ring of a packet socket is memory of the kernel's that no cgroup is charged
	// for, 4 GiB for each socket: a task could take all that the host has. Of 32-bit
	// programs on x86, seccomp cannot see what they give to socketcall. The C library musl
	// makes the calls one by one when there is none; glibc and Go do not, and need a
	// container without NET_RAW, whose sockets have no rings.
	allow("socket", is(0, unix.AF_PACKET))
	allow("setsockopt", specs.LinuxSeccompArg{Index: 1, Value: unix.SOL_PACKET, Op: specs.OpNotEqual})
	allow("setsockopt", is(1, unix.SOL_PACKET), specs.LinuxSeccompArg{Index: 2, Value: unix.PACKET_RX_RING, Op: specs.OpLessThan})
	allow("setsockopt", is(1, unix.SOL_PACKET), specs.LinuxSeccompArg{Index: 2, Value: unix.PACKET_TX_RING, Op: specs.OpGreaterThan})
	allow("setsockopt", is(1, unix.SOL_PACKET), is(2, unix.PACKET_AUXDATA)) // DHCP clients
	absent := uint(unix.ENOSYS)
	kept = append(kept, specs.LinuxSyscall{Names: []string{"socketcall"}, Action: specs.ActErrno, ErrnoRet: &absent})
	profile.Syscalls = kept
}

func is(index uint, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Value: value, Op: specs.OpEqualTo}
}
