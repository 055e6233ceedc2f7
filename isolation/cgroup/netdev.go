package cgroup

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openNetDev opens the interface counters of a network namespace. The file goes
// on showing that namespace, whether or not a process lives in it, because
// /proc/net shows the namespace of the thread that opened it.
func openNetDev(netns string) (int, error) {
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		// The thread is never unlocked: it ends with this goroutine, and nobody
		// else ever runs in the namespace.
		runtime.LockOSThread()
		ns, err := openFile(netns)
		if err != nil {
			done <- result{-1, err}
			return
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			done <- result{-1, fmt.Errorf("enter network namespace %s: %w", netns, os.NewSyscallError("setns", err))}
			return
		}
		fd, err := openFile("/proc/thread-self/net/dev")
		done <- result{fd, err}
	}()
	r := <-done
	return r.fd, r.err
}
