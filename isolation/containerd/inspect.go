package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation/disk"
	"berth/task"
)

// Inspect implements isolation.Runtime.
func (r *Runtime) Inspect(ctx context.Context, id task.ID) (task.Isolation, error) {
	world, there, err := r.world(id)
	if err != nil {
		return task.Isolation{}, err
	}
	if !there {
		return task.Isolation{}, fault.New(fault.Conflict, "task %s has nothing on this host now", id)
	}
	i := task.Isolation{Runtime: r.runc(), Containers: []task.ContainerIsolation{}}
	if i.Cgroup, err = r.cgroups.Inspect(string(id)); err != nil {
		return i, err
	}
	if i.Network, err = r.network.inspect(id, r.netns(id), world.Network); err != nil {
		return i, err
	}
	if i.Storage, err = r.inspectStorage(id); err != nil {
		return i, err
	}
	rids, err := r.containersOf(ctx, id)
	if err != nil {
		return i, err
	}
	for _, rid := range rids {
		c, running, err := r.inspectContainer(ctx, id, rid)
		if err != nil {
			return i, err
		}
		if running {
			i.Containers = append(i.Containers, c)
		}
	}
	slices.SortFunc(i.Containers, func(a, b task.ContainerIsolation) int { return strings.Compare(a.Name, b.Name) })
	return i, nil
}

func (r *Runtime) inspectStorage(id task.ID) (task.StorageIsolation, error) {
	at := r.storageDir(id)
	there, err := disk.Mounted(at)
	if err != nil || !there {
		return task.StorageIsolation{}, err
	}
	u, err := disk.Look(at)
	if err != nil {
		return task.StorageIsolation{}, err
	}
	s := task.StorageIsolation{Limited: true, SizeBytes: u.Size, UsedBytes: u.Used, FreeFiles: u.FreeFiles}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(at))
	if err != nil {
		return s, fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		s.Device, s.MountOptions = m.Source, m.Options+","+m.VFSOptions
	}
	return s, nil
}

// inspectContainer reports what keeps a container apart, and false if it has no process.
func (r *Runtime) inspectContainer(ctx context.Context, id task.ID, rid string) (task.ContainerIsolation, bool, error) {
	got, err := r.tasks().Get(ctx, &tasks.GetRequest{ContainerID: rid})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return task.ContainerIsolation{}, false, nil
	}
	if err != nil {
		return task.ContainerIsolation{}, false, fmt.Errorf("look at process of container %s: %w", rid, err)
	}
	known, err := r.Client.ContainerService().Get(ctx, rid)
	if err != nil {
		return task.ContainerIsolation{}, false, fmt.Errorf("read container %s: %w", rid, err)
	}
	c := task.ContainerIsolation{Name: known.Labels[labelContainer], HostPID: int(got.Process.Pid)}
	if c.Seccomp.Profile, err = profileOf(known.Spec); err != nil {
		return c, false, err
	}
	err = readProcess(&c)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return c, false, nil // It has just ended.
	}
	if err != nil {
		return c, false, fmt.Errorf("look at container %s: %w", rid, err)
	}
	c.Cgroup, err = r.cgroups.Inspect(string(id), rid)
	if fault.KindOf(err) == fault.NotFound {
		return c, false, nil
	}
	return c, true, err
}
