package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"berth/isolation/disk"
	"berth/task"
)

// deathPatience is how long a process that was killed may take to be gone.
const deathPatience = 10 * time.Second

// Remove implements isolation.Runtime. The task's directory goes last: until
// then a Remove that was cut short is found by List.
func (r *Runtime) Remove(ctx context.Context, id task.ID) error {
	unlock, err := r.locks.lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()

	rids, err := r.containersOf(ctx, id)
	if err != nil {
		return err
	}
	r.killing.Lock()
	delete(r.dying, id)
	r.killing.Unlock()
	// Everything ends at once, also what containerd does not know of.
	dying, cancel := context.WithTimeout(ctx, deathPatience)
	defer cancel()
	if err := errors.Join(r.closeGauges(id), r.cgroups.Kill(dying, string(id))); err != nil {
		return err
	}
	for _, rid := range rids {
		r.annulRunsc(rid)
	}
	disk.Abandon(r.storageDir(id))
	var g errgroup.Group
	for _, rid := range rids {
		g.Go(func() error { return r.removeContainer(ctx, rid) })
	}
	g.Go(func() error { return r.unlink(id) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("remove task %s: %w", id, err)
	}
	for _, rid := range rids { // after all: containers may share a shim
		if err := r.sweepBundle(rid, 0); err != nil {
			return err
		}
		_, cut, err := load[cutRecord](filepath.Join(r.taskDir(id), rid), cutFile)
		if err == nil && cut {
			err = r.killCut(rid)
		}
		if err == nil {
			err = r.sweepRunc(ctx, rid)
		}
		if err != nil {
			return err
		}
	}
	if err := r.removeSandbox(ctx, id); err != nil {
		return fmt.Errorf("remove task %s: %w", id, err)
	}
	if err := r.endShim(ctx, id, rids); err != nil {
		return fmt.Errorf("remove task %s: %w", id, err)
	}
	if err := r.releaseCPUs(id); err != nil { // before its cgroup goes, which must not come back
		return err
	}
	if err := errors.Join(r.cgroups.Remove(ctx, string(id)), r.removeUsers(id), r.removeStorage(id), r.removeSecrets(id)); err != nil {
		return err
	}
	return r.discard(r.taskDir(id))
}

// shimPatience is how long a shim may take to end after its last container did.
const shimPatience = 2 * time.Second

// endShim sees to it that a task's shim has ended: containerd asks it to, with its last
// container, and may die before it did.
func (r *Runtime) endShim(ctx context.Context, id task.ID, rids []string) error {
	socket := r.shimSocket(id)
	patience, cancel := context.WithTimeout(ctx, shimPatience)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			break // Nobody is there.
		}
		conn.Close()
		select {
		case <-time.After(pause):
			continue
		case <-patience.Done():
		}
		for _, rid := range rids {
			if err := killAll(r.shim(), "-id", rid); err != nil {
				return err
			}
		}
		break
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// discard removes a directory of records in one step: half of them would tell
// of another life than the task had.
func (r *Runtime) discard(dir string) error {
	away := filepath.Join(r.trashDir(), filepath.Base(dir))
	err := errors.Join(os.MkdirAll(r.trashDir(), 0o700), os.RemoveAll(away))
	if err == nil {
		err = os.Rename(dir, away)
	}
	if err != nil {
		if _, gone := os.Stat(dir); errors.Is(gone, fs.ErrNotExist) {
			return nil // An earlier call did it.
		}
		return fmt.Errorf("remove records: %w", err)
	}
	if err := os.RemoveAll(away); err != nil {
		return fmt.Errorf("remove records: %w", err)
	}
	return nil
}

// containersOf returns the runtime IDs of a task's containers, from its records
// or, if those are gone, from containerd.
func (r *Runtime) containersOf(ctx context.Context, id task.ID) ([]string, error) {
	var rids []string
	entries, err := os.ReadDir(r.taskDir(id))
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), string(id)) {
			rids = append(rids, e.Name())
		}
	}
	if err == nil {
		return rids, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers of task %s: %w", id, err)
	}
	known, err := r.Client.ContainerService().List(ctx, fmt.Sprintf("labels.%q==%s", labelTask, id))
	if err != nil {
		return nil, fmt.Errorf("list containers of task %s: %w", id, err)
	}
	for _, c := range known {
		rids = append(rids, c.ID)
	}
	err = r.Client.SnapshotService(r.Snapshotter).Walk(ctx, func(_ context.Context, s snapshots.Info) error {
		rids = append(rids, s.Name)
		return nil
	}, fmt.Sprintf("labels.%q==%s", labelTask, id))
	if err != nil {
		return nil, fmt.Errorf("list snapshots of task %s: %w", id, err)
	}
	slices.Sort(rids)
	return slices.Compact(rids), nil
}

// removeContainer removes a container's process, snapshot and record from
// containerd, or whichever of them are there.
func (r *Runtime) removeContainer(ctx context.Context, rid string) error {
	if err := r.deleteTask(ctx, rid); err != nil {
		return err
	}
	var g errgroup.Group
	for _, part := range []struct {
		what   string
		remove func() error
	}{
		{"exit entry", func() error { return r.Client.SandboxStore().Delete(ctx, rid) }}, // see keepExit
		{"root file system", func() error { return r.Client.SnapshotService(r.Snapshotter).Remove(ctx, rid) }},
		{"record", func() error { return r.Client.ContainerService().Delete(ctx, rid) }},
	} {
		g.Go(func() error {
			if err := part.remove(); err != nil && !errdefs.IsNotFound(err) {
				return fmt.Errorf("remove the %s of container %s: %w", part.what, rid, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// deleteTask makes containerd and the shim forget a process that was killed. If
// the shim was killed too, containerd needs a moment to notice that.
func (r *Runtime) deleteTask(ctx context.Context, rid string) error {
	ctx, cancel := context.WithTimeout(ctx, deathPatience)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := r.tryDelete(ctx, rid)
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("delete process of container %s: %w", rid, err)
		}
	}
}

func (r *Runtime) tryDelete(ctx context.Context, rid string) error {
	soon, cancel := context.WithTimeout(ctx, deathPatience/5)
	defer cancel()
	_, err := r.tasks().Wait(soon, &tasks.WaitRequest{ContainerID: rid})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return err
	}
	if err != nil { // It escaped its cgroup.
		_, err = r.tasks().Kill(ctx, &tasks.KillRequest{ContainerID: rid, Signal: uint32(unix.SIGKILL)})
		if err = errgrpc.ToNative(err); err != nil && !ended(err) {
			return err
		}
	}
	_, err = r.tasks().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: rid})
	return errgrpc.ToNative(err)
}
