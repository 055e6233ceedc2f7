package cgroup

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"berth/isolation/thread"
)

// openNetDev opens the interface counters of a network namespace. The file goes
// on showing that namespace, whether or not a process lives in it, because
// /proc/net shows the namespace of the thread that opened it.
func openNetDev(netns string) (fd int, err error) {
	err = thread.Apart(func() error {
		fd = -1
		ns, err := openFile(netns)
		if err != nil {
			return err
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", netns, os.NewSyscallError("setns", err))
		}
		fd, err = openFile("/proc/thread-self/net/dev")
		return err
	})
	return fd, err
}
