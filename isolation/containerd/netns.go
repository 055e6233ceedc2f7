package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/isolation/thread"
)

// createNetns makes a network namespace that belongs to the host's users, and mounts it at
// path, which keeps it while no process is in it.
func createNetns(path string) error {
	return thread.Apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("create network namespace: %w", os.NewSyscallError("unshare", err))
		}
		const own = "/proc/thread-self/ns/net"
		if err := setUpNetns(own); err != nil {
			return err
		}
		return pin(own, path)
	})
}

// setUpNetns brings loopback up in a new network namespace. It moves the thread there.
func setUpNetns(path string) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("set up network namespace: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("set up network namespace: %w", os.NewSyscallError("setns", err))
	}
	// Every interface that is added gets an IPv6 address of its own accord, and
	// with it a way to its neighbours. Loopback is there already and keeps ::1.
	err = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set up network namespace: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo))
}

// pin mounts a namespace at path, which keeps it while no process is in it.
func pin(namespace, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep namespace: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.NewSyscallError("mount", unix.Mount(namespace, path, "none", unix.MS_BIND, ""))
	}
	if err != nil {
		return fmt.Errorf("keep namespace at %s: %w", path, err)
	}
	return nil
}

// pinned reports whether a namespace is mounted at path.
func pinned(path string) (bool, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for namespace %s: %w", path, err)
	}
	return st.Type == unix.NSFS_MAGIC, nil
}

// unpin takes a namespace away from path, if it is there. It ends with its last process.
func unpin(path string) error {
	if err := unmountAll(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove namespace: %w", err)
	}
	return nil
}

// unmountAll unmounts what is mounted at path, as often as something is.
func unmountAll(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // It is not, or no longer, a mount point.
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
}
