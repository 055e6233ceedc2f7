package containerd

import (
	"slices"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// seccompProfile is containerd's default profile for what s says of
// capabilities, without the system calls of x32 where the kernel has none: nobody
// could make them, and runc compiles the profile anew for every container, which
// takes it longer for each architecture than all that it does besides
// (docs/performance.md). A program that makes them all the same is killed.
func seccompProfile(s *specs.Spec) *specs.LinuxSeccomp {
	profile := seccomp.DefaultProfile(s)
	if !hasX32() {
		profile.Architectures = slices.DeleteFunc(profile.Architectures, func(a specs.Arch) bool { return a == specs.ArchX32 })
	}
	return profile
}
