package userns

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"berth/isolation/thread"
)

// Make makes a user namespace with these IDs, and a network namespace that belongs to it,
// and calls keep with their paths, which are good until it returns: whatever is not
// mounted elsewhere by then ends. keep runs on a thread of its own, as by thread.Apart.
//
// The kernel lets only a process of one thread change its user namespace, so one is
// started in them. It is stopped before its program's first instruction (PTRACE_TRACEME),
// and has no other purpose than to be there.
func Make(r Range, keep func(users, network string) error) error {
	return thread.Apart(func() error {
		p, err := start(r)
		if err != nil {
			return fmt.Errorf("create user namespace: %w", err)
		}
		defer func() {
			_ = p.Kill()
			_, _ = p.Wait()
		}()
		return keep(fmt.Sprintf("/proc/%d/ns/user", p.Pid), fmt.Sprintf("/proc/%d/ns/net", p.Pid))
	})
}

// start starts a process in new namespaces, and makes the user of the host that is its
// root their owner.
//
// What the kernel counts by user, such as inotify instances, it counts for everybody in a
// user namespace once more, for its owner (inc_ucount, kernel/ucount.c). If that were the
// host's root, all tasks together would have what one user may have. But where root may
// not raise limits of others it has to be, for runc to set those of containers.
func start(r Range) (*os.Process, error) {
	var maps []syscall.SysProcIDMap
	for _, m := range r.Mappings() {
		maps = append(maps, syscall.SysProcIDMap{ContainerID: int(m.ContainerID), HostID: int(m.HostID), Size: int(m.Size)})
	}
	// This thread changes its user alone, unlike by package syscall, and keeps its capabilities.
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, secbitNoSetuidFixup, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl", err)
	}
	become := func(uid int) error {
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
		if errno != 0 {
			return os.NewSyscallError("setresuid", errno)
		}
		return nil
	}
	if mayRaise() {
		if err := become(r.Outside(0)); err != nil {
			return nil, err
		}
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"namespaces"}, &os.ProcAttr{
		Env: []string{},
		Sys: &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
			UidMappings: maps, GidMappings: maps, GidMappingsEnableSetgroups: true,
			Ptrace: true, Pdeathsig: unix.SIGKILL,
		},
	})
	if back := become(0); back != nil && err == nil {
		err = errors.Join(back, p.Kill())
		_, _ = p.Wait()
	}
	return p, err
}

// secbitNoSetuidFixup is SECBIT_NO_SETUID_FIXUP of capabilities(7).
const secbitNoSetuidFixup = 1 << 2

// mayRaise reports whether this process may raise limits of others.
func mayRaise() bool {
	own, err := capability.NewPid2(0)
	return err == nil && own.Load() == nil && own.Get(capability.EFFECTIVE, capability.CAP_SYS_RESOURCE)
}
