package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/mount"
	contfs "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/userns"
	"berth/task"
)

// ensureVolumes makes those volumes of a container that are not there yet. The
// caller has the task's lock.
func (r *Runtime) ensureVolumes(c isolation.Container, ids userns.Range, img image, rootfs []mount.Mount) error {
	for _, m := range c.Mounts {
		if m.Volume == "" || m.FileSystem != "" {
			continue
		}
		if err := r.ensureVolume(c.Task, ids, m, img, rootfs); err != nil {
			return fmt.Errorf("make volume %s: %w", m.Volume, err)
		}
	}
	return nil
}

// ensureVolume makes a volume in one step: one that is there is whole. It belongs to
// root and anybody may read it, unless the image declares a volume at that path:
// then it has what the image has there, and its owner and permissions (ECS developer
// guide, "Use bind mounts with Amazon ECS").
func (r *Runtime) ensureVolume(id task.ID, ids userns.Range, m isolation.Mount, img image, rootfs []mount.Mount) error {
	dir, begun := filepath.Join(r.volumesDir(id), m.Volume), filepath.Join(r.storageDir(id), "volume.new")
	return makeVolume(dir, begun, ids, func(begun string) error {
		if !declares(img, m.Path) {
			return nil
		}
		err := lookInto(rootfs, r.lookDir(), func(root string) error { return copyFrom(root, m.Path, begun) })
		if err != nil {
			return fmt.Errorf("copy %s of image %s: %w", m.Path, img.name, err)
		}
		return nil
	})
}

// makeVolume makes the directory of a volume, unless it is there: it is begun elsewhere
// on the same file system, filled, and put in its place.
func makeVolume(dir, begun string, ids userns.Range, fill func(begun string) error) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	root := ids.Outside(0)
	if err := errors.Join(os.RemoveAll(begun), os.MkdirAll(filepath.Dir(dir), 0o700), os.Mkdir(begun, 0o755), os.Chmod(begun, 0o755), os.Chown(begun, root, root)); err != nil {
		return err
	}
	if err := fill(begun); err != nil {
		return err
	}
	return os.Rename(begun, dir)
}

// declares reports whether the image has a VOLUME at that path.
func declares(img image, at string) bool {
	for declared := range img.config.Volumes {
		if path.Clean("/"+declared) == at {
			return true
		}
	}
	return false
}

// copyFrom copies a directory of an image, with owners, permissions and links. Its
// symbolic links lead nowhere outside the image. A directory that is not there is
// empty.
func copyFrom(root, at, to string) error {
	from, err := contfs.RootPath(root, at)
	if err != nil {
		return err
	}
	if st, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return nil
	}
	return contfs.CopyDir(to, from)
}

// sharedMount is a directory of a file system that outlives tasks, at a container's
// path. Whoever writes to a file system can put a link to the host's files into it,
// and can do so after we looked and before runc mounts. So what was mounted is
// compared with what was found before the container's program starts.
type sharedMount struct {
	Path     string // in the container
	Source   string // on this host
	Dev, Ino uint64
}

// findShared looks up what a container mounts of file systems.
func (r *Runtime) findShared(c isolation.Container) ([]sharedMount, error) {
	var all []sharedMount
	for _, m := range c.Mounts {
		if m.FileSystem == "" {
			continue
		}
		found, err := r.findDirectory(m)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err,
				"ResourceInitializationError: failed to set up volume %s: %s", m.Volume, fault.Message(err))
		}
		all = append(all, found)
	}
	return all, nil
}

func (r *Runtime) findDirectory(m isolation.Mount) (sharedMount, error) {
	dir, known := r.FileSystems[m.FileSystem]
	if !known {
		return sharedMount{}, fault.New(fault.Invalid, "this server has no file system %s", m.FileSystem)
	}
	found, err := lookBelow(dir, m.Root)
	if err != nil {
		return sharedMount{}, fault.Wrap(fault.Invalid, err, "mounting %s:%s failed: %v", m.FileSystem, m.Root, errors.Unwrap(err))
	}
	found.Path = m.Path
	return found, nil
}

// checkShared makes sure that a container that waits to be started has what was found.
func (r *Runtime) checkShared(ctx context.Context, rid string, wanted []sharedMount) error {
	if len(wanted) == 0 {
		return nil
	}
	got, err := r.tasks().Get(ctx, &tasks.GetRequest{ContainerID: rid})
	if err != nil {
		return fmt.Errorf("look at process of container %s: %w", rid, errgrpc.ToNative(err))
	}
	for _, m := range wanted {
		found, err := lookBelow(fmt.Sprintf("/proc/%d/root", got.Process.Pid), m.Path)
		if err != nil || found.Dev != m.Dev || found.Ino != m.Ino {
			return fault.Wrap(fault.Invalid, err, "ResourceInitializationError: the file system that %s is to show changed while it was mounted", m.Path)
		}
	}
	return nil
}

// lookBelow finds a directory below another one, which no link and no step upwards
// on the way can leave.
func lookBelow(root, path string) (sharedMount, error) {
	top, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return sharedMount{}, err
	}
	defer top.Close()
	fd, err := unix.Openat2(int(top.Fd()), "."+path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return sharedMount{}, os.NewSyscallError("openat2", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return sharedMount{}, os.NewSyscallError("fstat", err)
	}
	source, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return sharedMount{Source: source, Dev: st.Dev, Ino: st.Ino}, err
}

// extraMounts are what a container has beside the mounts that all have, outer ones before
// inner ones.
func (r *Runtime) extraMounts(c isolation.Container, ids userns.Range, shared []sharedMount, images []imageVolume) []specs.Mount {
	var out []specs.Mount
	for _, m := range c.Mounts {
		if m.Volume == "" {
			out = append(out, specs.Mount{Destination: m.Path, Type: "tmpfs", Source: "tmpfs", Options: memoryOptions(m)})
			continue
		}
		var options []string
		if m.ReadOnly {
			options = []string{"ro"}
		}
		source := filepath.Join(r.volumesDir(c.Task), m.Volume)
		if i := slices.IndexFunc(shared, func(s sharedMount) bool { return s.Path == m.Path }); i >= 0 {
			source = shared[i].Source
			if ids != 0 { // Its files belong to users of no task in particular.
				options = append(options, "ridmap")
			}
		}
		out = append(out, bind(source, m.Path, options...))
	}
	for _, v := range images {
		var options []string
		if v.readOnly {
			options = []string{"ro"}
		}
		out = append(out, bind(v.dir, v.at, options...))
	}
	slices.SortStableFunc(out, func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	return out
}

// memoryOptions are Docker's for a tmpfs, and then those that the definition says:
// of two that contradict one another the later one counts.
func memoryOptions(m isolation.Mount) []string {
	options := append([]string{"nosuid", "nodev", "noexec", fmt.Sprintf("size=%dm", m.Size)}, m.Options...)
	if m.ReadOnly {
		options = append(options, "ro")
	}
	return options
}
