package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/fault"
)

// background is a server that "berth up" started, as its pid file tells. The
// start time makes sure that the process is still that one: the kernel gives
// numbers out again.
type background struct {
	pid      int
	start    uint64 // clock ticks since boot, field 22 of /proc/PID/stat (proc(5))
	endpoint string
	pinned   string // file with its certificate; "" if it does not speak TLS
}

const (
	pidFile = "server.pid"
	logFile = "server.log"
)

// findBackground returns the server of a state directory, or false if none runs.
func findBackground(dir string) (background, bool) {
	data, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return background{}, false
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if len(lines) != 3 && len(lines) != 4 {
		return background{}, false
	}
	pid, err1 := strconv.Atoi(lines[0])
	start, err2 := strconv.ParseUint(lines[1], 10, 64)
	b := background{pid: pid, start: start, endpoint: lines[2]}
	if len(lines) == 4 {
		b.pinned = lines[3]
	}
	return b, err1 == nil && err2 == nil && b.alive()
}

func (b background) alive() bool {
	state, start, err := processState(b.pid)
	return err == nil && start == b.start && state != 'Z'
}

// processState reads the state and the start time of a process.
func processState(pid int) (state byte, start uint64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read process state: %w", err)
	}
	// The second field is the name in parentheses, which may hold anything.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, errors.New("read process state: too few fields")
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0][0], start, err
}

func (b background) write(dir string) error {
	text := fmt.Sprintf("%d\n%d\n%s\n%s\n", b.pid, b.start, b.endpoint, b.pinned)
	if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}

// startBackground starts "berth server" with args in a session of its own, where
// no terminal can end it. died is told when it ends before this process does.
func startBackground(dir, listen, endpoint, pinned string, args, environ []string) (b background, died <-chan error, err error) {
	if err := portFree(listen); err != nil {
		return b, nil, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return b, nil, fmt.Errorf("make state directory: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return b, nil, fmt.Errorf("open server log: %w", err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return b, nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, append([]string{"server"}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, environ
	cmd.Dir = "/" // no file system is kept busy
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return b, nil, fmt.Errorf("start server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	_, start, err := processState(cmd.Process.Pid)
	if err != nil {
		return b, ended, err
	}
	b = background{pid: cmd.Process.Pid, start: start, endpoint: endpoint, pinned: pinned}
	return b, ended, b.write(dir)
}

func portFree(listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fault.Wrap(fault.Conflict, err, "nothing can listen on %s; another program may, or another server; choose another port with --listen", listen)
	}
	return l.Close()
}

// end asks the server to end, and after patience makes it.
func (b background) end(ctx context.Context, patience time.Duration) (killed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.signal(syscall.SIGTERM); err != nil {
		return false, err
	}
	if b.gone(ctx) {
		return false, nil
	}
	if err := b.signal(syscall.SIGKILL); err != nil {
		return true, err
	}
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancelLast()
	if !b.gone(last) {
		return true, fmt.Errorf("end server: process %d does not end, not even by SIGKILL", b.pid)
	}
	return true, nil
}

func (b background) signal(sig syscall.Signal) error {
	if !b.alive() {
		return nil
	}
	if err := syscall.Kill(b.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal server: %w", err)
	}
	return nil
}

// gone waits until the process has ended; false if ctx ended first.
func (b background) gone(ctx context.Context) bool {
	for b.alive() {
		if nap(ctx, 50*time.Millisecond) != nil {
			return !b.alive()
		}
	}
	return true
}

func nap(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastLines returns the last n lines of a file, or why it cannot.
func lastLines(path string, n int) string {
	const enough = 64 << 10
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > enough {
		f.Seek(-enough, io.SeekEnd) // If it fails there is more to read, no less.
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// writePID notes this process as the server of a state directory, so that
// "berth down" finds it however it was started.
func writePID(dir, endpoint, pinned string) error {
	_, start, err := processState(os.Getpid())
	if err != nil {
		return err
	}
	return background{pid: os.Getpid(), start: start, endpoint: endpoint, pinned: pinned}.write(dir)
}
