package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/disk"
	"berth/task"
)

// A task's storage is everything that its containers can write to, but memory and
// file systems that outlive it: the writable layers of their root file systems, the
// task's volumes, the files that are mounted into /etc. It is one directory, and a
// disk of its own is mounted there, so that the kernel holds all of it to one limit.
// Logs are elsewhere, for they outlive the task: the room that they can take at most
// is taken off the disk.
//
//	StateDir/storage/<task>/image                 the disk
//	StateDir/storage/<task>/disk/                 is mounted here
//	StateDir/storage/<task>/disk/volumes/<volume>/
//	StateDir/storage/<task>/disk/<runtime ID>/    of one container: upper, work, its /etc files
//	                                              and volumes/, those that its image declares
func (c Config) storagesDir() string { return filepath.Join(c.StateDir, "storage") }
func (c Config) storageDir(id task.ID) string {
	return filepath.Join(c.storagesDir(), string(id), "disk")
}
func (c Config) diskImage(id task.ID) string {
	return filepath.Join(c.storagesDir(), string(id), "image")
}

// volumesDir holds a task's volumes.
func (c Config) volumesDir(id task.ID) string { return filepath.Join(c.storageDir(id), "volumes") }

// layerDir holds what is one container's own of its task's storage.
func (c Config) layerDir(id task.ID, container string) string {
	return filepath.Join(c.storageDir(id), runtimeID(id, container))
}

// The logs of a container, if Config does not say.
const (
	defaultLogSize  = 10 << 20
	defaultLogFiles = 5
)

// logPart is the least part of a task's storage that is left for everything but logs.
const logPart = 4

// logLimits returns the most that one log file of a container of s may have, in bytes,
// and how many files there may be.
func (c Config) logLimits(s isolation.Sandbox) (size int64, files int) {
	size, files = c.LogMaxSize, c.LogMaxFiles
	if s.Storage > 0 && s.Containers > 0 {
		size = min(size, s.Storage/logPart/int64(s.Containers)/int64(files))
	}
	return size, files
}

// diskSize is what is left of a task's storage beside its logs.
func (c Config) diskSize(s isolation.Sandbox) int64 {
	size, files := c.logLimits(s)
	return s.Storage - int64(s.Containers)*int64(files)*size
}

// tryDisks finds out whether this host can hold tasks to a limit of storage. If not,
// their storage has to be able to be a layer of a root file system as it is.
func (r *Runtime) tryDisks(ctx context.Context) error {
	if err := disk.Try(ctx, filepath.Join(r.storagesDir(), "trial")); err != nil {
		if err := tryOverlay(r.StateDir); err != nil {
			return fault.Wrap(fault.Unavailable, err, "this host can neither make disks for tasks nor lay writable layers into %s", r.StateDir)
		}
		r.Log.Warn("the storage of tasks is not limited: this host cannot make disks for them", zap.Error(err))
		return nil
	}
	r.disks = true
	return nil
}

// defaultDiskFloor leaves room for the database, and for what tasks that run still write.
const defaultDiskFloor = 1 << 30

// hasRoom refuses new tasks, as fault.Exhausted, when the host's disk is nearly full:
// disks are sparse, so all of them together may be more than there is.
func (r *Runtime) hasRoom() error {
	var st unix.Statfs_t
	if err := unix.Statfs(r.storagesDir(), &st); err != nil {
		return fmt.Errorf("look for room on the host's disk: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < r.DiskFloor {
		return fault.New(fault.Exhausted, "the host's disk is nearly full: %d MiB are free, and a new task needs %d MiB", free>>20, r.DiskFloor>>20)
	}
	return nil
}

// makeStorage makes a task's storage; nothing may be left of an earlier one.
func (r *Runtime) makeStorage(ctx context.Context, s isolation.Sandbox) error {
	if err := r.hasRoom(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.storageDir(s.ID), 0o700); err != nil {
		return fmt.Errorf("make storage: %w", err)
	}
	if !r.disks || s.Storage == 0 {
		return nil
	}
	return disk.Make(ctx, r.diskImage(s.ID), r.storageDir(s.ID), r.diskSize(s))
}

// hasStorage reports whether the storage of a task is there, with its limit.
func (r *Runtime) hasStorage(record sandboxRecord) (bool, error) {
	if !record.Disk {
		return true, nil // It is only a directory.
	}
	return disk.Mounted(r.storageDir(record.Sandbox.ID))
}

// removeStorage takes away a task's storage, as far as it is there.
func (r *Runtime) removeStorage(id task.ID) error {
	return errors.Join(disk.Remove(r.diskImage(id), r.storageDir(id)), os.RemoveAll(filepath.Dir(r.storageDir(id))))
}

// storageUsed returns how much of its storage a task uses, in bytes, without its logs;
// false if that is not known.
func (r *Runtime) storageUsed(id task.ID) (uint64, bool) {
	if there, err := disk.Mounted(r.storageDir(id)); err != nil || !there {
		return 0, false
	}
	u, err := disk.Look(r.storageDir(id))
	return uint64(u.Used), err == nil
}

// storageFull is how much of a disk may be free when it is full: ext4 keeps up to 2 %
// of its blocks for itself.
const storageFull = 0.03

// storageFault says whose fault it is that there was no room for a container: the
// task's, if it has filled its own storage.
func (r *Runtime) storageFault(id task.ID, err error) error {
	if err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		return err
	}
	if there, mountErr := disk.Mounted(r.storageDir(id)); mountErr != nil || !there {
		return err
	}
	u, lookErr := disk.Look(r.storageDir(id))
	if lookErr != nil || float64(u.Size-u.Used) > storageFull*float64(u.Size) && u.FreeFiles > 0 {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "CannotCreateContainerError: no space left on the task's ephemeral storage")
}

// logsUsed returns how many bytes the logs of a task have.
func (r *Runtime) logsUsed(id task.ID) (bytes uint64) {
	files, err := filepath.Glob(filepath.Join(r.LogsDir, string(id), "*", "*"))
	if err != nil {
		return 0
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil { // else it was the oldest just now
			bytes += uint64(st.Size())
		}
	}
	return bytes
}

// rootfs makes a container's root file system, if it is not there: the image's layers
// and over them a writable one in the task's storage. Nobody owns the view of the
// layers until the container is made; the label keeps containerd's garbage collector
// from it all the same.
func (r *Runtime) rootfs(ctx context.Context, world sandboxRecord, name string, img image) ([]mount.Mount, error) {
	id := world.Sandbox.ID
	rid := runtimeID(id, name)
	keep := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": r.Now().UTC().Format(time.RFC3339), labelTask: string(id)})
	_, err := r.Client.SnapshotService(r.Snapshotter).View(ctx, rid, img.chain, keep)
	if errdefs.IsNotFound(err) {
		return nil, errGone
	}
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create root file system of container %s: %w", rid, err)
	}
	return r.layers(ctx, world, name)
}

// layers returns the mounts that are a container's root file system, once rootfs has
// made it. The caller has the task's lock.
func (r *Runtime) layers(ctx context.Context, world sandboxRecord, name string) ([]mount.Mount, error) {
	id := world.Sandbox.ID
	rid := runtimeID(id, name)
	view, err := r.Client.SnapshotService(r.Snapshotter).Mounts(ctx, rid)
	if err == nil && len(view) != 1 {
		err = fmt.Errorf("a view of %d mounts", len(view))
	}
	if err != nil {
		return nil, fmt.Errorf("find root file system of container %s: %w", rid, err)
	}
	lower := view[0].Source
	var options []string
	if view[0].Type == "overlay" {
		for _, o := range view[0].Options {
			if dirs, ok := strings.CutPrefix(o, "lowerdir="); ok {
				lower = dirs
			} else if strings.Contains(o, "=") { // index=off and the like; "ro" would be the view's
				options = append(options, o)
			}
		}
	}
	if lower, err = r.ownLayers(id, world.IDs, lower); err != nil {
		return nil, fmt.Errorf("make root file system of container %s: %w", rid, err)
	}
	upper, work := filepath.Join(r.layerDir(id, name), "upper"), filepath.Join(r.layerDir(id, name), "work")
	if err := makeUpper(upper, work, strings.SplitN(lower, ":", 2)[0]); err != nil {
		return nil, fmt.Errorf("make writable layer of container %s: %w", rid, err)
	}
	options = append(options, "workdir="+work, "upperdir="+upper, "lowerdir="+lower)
	return []mount.Mount{{Type: "overlay", Source: "overlay", Options: options}}, nil
}

// makeUpper makes an empty layer, if there is none. The root directory of an overlay is
// that of its upper layer, and is to look like the image's.
func makeUpper(upper, work, lower string) error {
	if _, err := os.Stat(upper); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(lower, &st); err != nil {
		return &os.PathError{Op: "stat", Path: lower, Err: err}
	}
	begun := upper + ".new"
	if err := errors.Join(os.RemoveAll(begun), os.MkdirAll(begun, 0o755), os.MkdirAll(work, 0o711)); err != nil {
		return err
	}
	if err := errors.Join(os.Chown(begun, int(st.Uid), int(st.Gid)), unix.Chmod(begun, st.Mode&0o7777)); err != nil {
		return err
	}
	return os.Rename(begun, upper)
}
