package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"berth/task"
)

// sweep removes what an earlier Create of a container may have left that
// containerd knows nothing of. If a caller dies while containerd creates a
// process, containerd gives up; but a shim that serves other containers of the
// task, too, may come to the end of it all the same. Then there is a container
// in runc, and a berth-log that keeps the next one from the log.
func (r *Runtime) sweep(ctx context.Context, id task.ID, name string) error {
	rid := runtimeID(id, name)
	root := filepath.Join(r.runcDir(), r.Client.DefaultNamespace())
	if _, err := os.Stat(filepath.Join(root, rid)); err == nil {
		out, err := exec.CommandContext(ctx, r.runc(), "--root", root, "delete", "--force", rid).CombinedOutput()
		if err != nil {
			return fmt.Errorf("sweep container %s: %w: %s", rid, err, bytes.TrimSpace(out))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("sweep container %s: %w", rid, err)
	}
	return killAll(r.logger(), logDirFlag, r.logDir(id, name))
}

// killAll sends SIGKILL to all processes of a program that have this flag and
// value among their arguments.
func killAll(program, flag, value string) error {
	start, argument := []byte(program+"\x00"), []byte("\x00"+flag+"\x00"+value+"\x00")
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("look for processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The descriptor comes first, so that what is killed is what was looked at.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // It has ended.
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && bytes.HasPrefix(line, start) && bytes.Contains(line, argument) {
			err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		} else {
			err = nil
		}
		unix.Close(fd)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}
