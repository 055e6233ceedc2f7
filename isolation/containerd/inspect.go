package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
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
	if world.Sandbox.Runtime == task.GVisor {
		i.Runtime = filepath.Join(r.Libexec, "runsc")
	}
	if i.Cgroup, err = r.cgroups.Inspect(string(id)); err != nil {
		return i, err
	}
	if i.Network, err = r.network.inspect(id, r.netns(id), world.Network); err != nil {
		return i, err
	}
	if world.Sandbox.Runtime == task.GVisor {
		told := slices.DeleteFunc(i.Network.Interfaces, func(name string) bool { return name == eth0 }) // It has no address for the kernel.
		i.Network.Interfaces = append(told, eth0+" "+world.Network.IPv4+" in gVisor's network stack")
	}
	if i.Storage, err = r.inspectStorage(id); err != nil {
		return i, err
	}
	rids, err := r.containersOf(ctx, id)
	if err != nil {
		return i, err
	}
	for _, rid := range rids {
		c, running, err := r.inspectContainer(ctx, world.Sandbox, rid)
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
func (r *Runtime) inspectContainer(ctx context.Context, s isolation.Sandbox, rid string) (task.ContainerIsolation, bool, error) {
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
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(known.Spec, &spec); err != nil {
		return c, false, fmt.Errorf("read the spec of container %s: %w", rid, err)
	}
	cgroup := rid
	if s.Runtime == task.GVisor {
		if c.HostPID = r.sandboxPID(s.ID); c.HostPID == 0 {
			return c, false, nil
		}
		cgroup = sandboxID(s.ID)
	} else if c.Seccomp.Profile, err = profileOf(spec); err != nil {
		return c, false, err
	}
	err = readProcess(&c)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return c, false, nil // It has just ended.
	}
	if err != nil {
		return c, false, fmt.Errorf("look at container %s: %w", rid, err)
	}
	if s.Runtime == task.GVisor { // The sandbox has a root of its own, which nobody sees.
		c.ReadonlyRoot = spec.Root.Readonly
	}
	c.Cgroup, err = r.cgroups.Inspect(string(s.ID), cgroup)
	if fault.KindOf(err) == fault.NotFound {
		return c, false, nil
	}
	return c, true, err
}
