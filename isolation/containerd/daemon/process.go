package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// process is a process that need not be our child. It is held by a pidfd, so
// that a signal can never reach another one that got its PID.
type process struct {
	pid     int
	fd      int
	adopted bool
	done    chan struct{} // closed when it has ended
}

func open(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	p := &process{pid: pid, fd: fd, done: make(chan struct{})}
	// The waiter has its own descriptor, for it may outlive close.
	wait, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	go func() {
		defer unix.Close(wait)
		for { // A pidfd becomes readable when its process ends.
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(wait), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				close(p.done)
				return
			}
		}
	}()
	return p, nil
}

func (p *process) close() { unix.Close(p.fd) }

// stop ends the process: at its leisure, and if that takes too long, by force.
func (p *process) stop() error {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(p.fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stop containerd: %w", os.NewSyscallError("pidfd_send_signal", err))
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(shutdownPatience):
		}
	}
	return fmt.Errorf("containerd (process %d) does not end", p.pid)
}

// identify tells a process from all others that had or will have its PID.
func identify(pid int) (identity, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, err
	}
	// The name, field 2, is in parentheses and may contain anything.
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	const startTime = 22 - 3 // rest begins with field 3
	fields := bytes.Fields(rest)
	if len(fields) <= startTime {
		return identity{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return identity{PID: pid, StartTime: string(fields[startTime]), BootID: string(bytes.TrimSpace(boot))}, nil
}
