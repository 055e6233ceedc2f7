package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	contfs "github.com/containerd/continuity/fs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"berth/isolation"
	"berth/task"
)

// volumesDir holds a task's volumes. It goes with the task's records.
func (c Config) volumesDir(id task.ID) string { return filepath.Join(c.taskDir(id), "volumes") }

// ensureVolumes makes those volumes of a container that are not there yet. The
// caller has the task's lock.
func (r *Runtime) ensureVolumes(c isolation.Container, img image, rootfs []mount.Mount) error {
	for _, m := range c.Mounts {
		if m.Volume == "" {
			continue
		}
		if err := r.ensureVolume(c.Task, m, img, rootfs); err != nil {
			return fmt.Errorf("make volume %s: %w", m.Volume, err)
		}
	}
	return nil
}

// ensureVolume makes a volume in one step: one that is there is whole. It belongs to
// root and anybody may read it, unless the image declares a volume at that path:
// then it has what the image has there, and its owner and permissions (ECS developer
// guide, "Use bind mounts with Amazon ECS").
func (r *Runtime) ensureVolume(id task.ID, m isolation.Mount, img image, rootfs []mount.Mount) error {
	dir := filepath.Join(r.volumesDir(id), m.Volume)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	begun := filepath.Join(r.taskDir(id), "volume.new")
	if err := errors.Join(os.RemoveAll(begun), os.MkdirAll(r.volumesDir(id), 0o700), os.Mkdir(begun, 0o755), os.Chmod(begun, 0o755)); err != nil {
		return err
	}
	if declares(img, m.Path) {
		err := lookInto(rootfs, r.lookDir(), func(root string) error { return copyFrom(root, m.Path, begun) })
		if err != nil {
			return fmt.Errorf("copy %s of image %s: %w", m.Path, img.name, err)
		}
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

// extraMounts are what a container has beside the mounts that all have.
func (r *Runtime) extraMounts(c isolation.Container) []specs.Mount {
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
		out = append(out, bind(filepath.Join(r.volumesDir(c.Task), m.Volume), m.Path, options...))
	}
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
