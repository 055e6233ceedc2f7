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
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"berth/task"
)

// sweep removes what an earlier Create of a container may have left that
// containerd knows nothing of. If a caller dies while containerd creates a
// process, containerd gives up; but a shim that serves other containers of the
// task, too, may come to the end of it all the same. Then there is a container
// in runc, and a berth-log that keeps the next one from the log.
func (r *Runtime) sweep(ctx context.Context, id task.ID, name string) error {
	if err := r.sweepRunc(ctx, runtimeID(id, name)); err != nil {
		return err
	}
	return killAll(r.logger(), logDirFlag, r.logDir(id, name))
}

// sweepRunc removes from runc a container that containerd does not know of, if
// there is one.
func (r *Runtime) sweepRunc(ctx context.Context, rid string) error {
	if err := r.sweepRunsc(ctx, rid); err != nil {
		return err
	}
	root := filepath.Join(r.runcDir(), r.Client.DefaultNamespace())
	state := filepath.Join(root, rid)
	if _, err := os.Lstat(state); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	out, err := exec.CommandContext(ctx, r.runc(), "--root", root, "delete", "--force", rid).CombinedOutput()
	if err == nil {
		return nil
	}
	if _, gone := os.Lstat(state); errors.Is(gone, fs.ErrNotExist) {
		return nil // A shim that was ending did it meanwhile.
	}
	return fmt.Errorf("sweep container %s: %w: %s", rid, err, bytes.TrimSpace(out))
}

// killCut ends what may still work on a creation that was cut short, and what
// containerd started to clean up after it: shims, and the runc that either of
// them has begun.
func (r *Runtime) killCut(rid string) error {
	return errors.Join(
		killAll(r.shim(), "-id", rid),
		killAll(r.runc(), "--bundle", r.bundle(rid)),
		killAll(r.runc(), "--force", rid),
		killAll(r.runsc(), "--bundle", r.bundle(rid)),
	)
}

// abandoned is how long containerd may take to clean up by itself after it gave
// up a creation; only what is left after that is ours to take away. Its own
// limits for that are 5 s each ("shim.cleanup", "shim.shutdown").
const abandoned = 15 * time.Second

// sweepAbandoned clears the way for a creation, if an earlier one left something
// in it that containerd does not know of any more.
func (r *Runtime) sweepAbandoned(ctx context.Context, rid string) error {
	if _, err := os.Stat(r.bundle(rid)); err != nil {
		return nil // Nothing is in the way; if it cannot be seen, the creation will tell.
	}
	if _, err := r.status(ctx, rid); !errdefs.IsNotFound(err) {
		return nil // It is there, or containerd cannot say: then it cannot create either.
	}
	return r.sweepBundle(rid, abandoned)
}

// bundle is where the supervised containerd keeps a container's bundle.
func (r *Runtime) bundle(rid string) string {
	return filepath.Join(r.bundlesDir(), r.Client.DefaultNamespace(), rid)
}

// sweepBundle removes what containerd itself forgot when the caller of a
// creation died: the shim that it had started, and the bundle, which would keep
// it from creating that container ever again. Nothing is done while the bundle is
// younger than age. It must only be called for containers that containerd has no
// process of.
func (r *Runtime) sweepBundle(rid string, age time.Duration) error {
	bundle := r.bundle(rid)
	info, err := os.Stat(bundle)
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.Now().Sub(info.ModTime()) < age {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep bundle of container %s: %w", rid, err)
	}
	if err := killAll(r.shim(), "-id", rid); err != nil {
		return err
	}
	err = unix.Unmount(filepath.Join(bundle, "rootfs"), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount root of container %s: %w", rid, err)
	}
	if err := os.RemoveAll(bundle); err != nil {
		return fmt.Errorf("remove bundle of container %s: %w", rid, err)
	}
	return nil
}

// shim is the path of our shim, as containerd starts it.
func (r *Runtime) shim() string { return filepath.Join(r.Libexec, "containerd-shim-runc-v2") }

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
