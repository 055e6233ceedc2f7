package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/isolation"
)

// ensureTmp gives a container in gVisor a directory of its task's storage at /tmp, if its
// image has an empty one there and nothing is mounted. Otherwise gVisor would put a file
// system there that is in the sandbox's memory, as no other task has it: what is written
// to it counts as the task's memory and not as its storage, and a root file system that
// may not be written to does not keep anybody from it.
func (r *Runtime) ensureTmp(c isolation.Container, rootfs []mount.Mount, spec *specs.Spec) error {
	const tmp = "/tmp"
	if slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool {
		return m.Destination == tmp || strings.HasPrefix(m.Destination, tmp+"/")
	}) {
		return nil
	}
	dir := filepath.Join(r.layerDir(c.Task, c.Name), "tmp")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		made, err := makeTmp(dir, rootfs, r.lookDir())
		if err != nil {
			return fmt.Errorf("make %s of container %s: %w", tmp, c.Name, err)
		}
		if !made {
			return nil
		}
	} else if err != nil {
		return err
	}
	var options []string
	if spec.Root.Readonly {
		options = []string{"ro"}
	}
	spec.Mounts = append(spec.Mounts, bind(dir, tmp, options...))
	return nil
}

// makeTmp makes a directory like an image's /tmp, if that is one and is empty.
func makeTmp(dir string, rootfs []mount.Mount, lookDir string) (made bool, err error) {
	var st unix.Stat_t
	err = lookInto(rootfs, lookDir, func(root string) error {
		at := filepath.Join(root, "tmp")
		err := unix.Lstat(at, &st)
		if errors.Is(err, unix.ENOENT) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "lstat", Path: at, Err: err}
		}
		entries, err := os.ReadDir(at)
		made = err == nil && len(entries) == 0
		return err
	})
	if err != nil || !made {
		return false, err
	}
	begun := dir + ".new"
	if err := errors.Join(os.RemoveAll(begun), os.Mkdir(begun, 0o700)); err != nil {
		return false, err
	}
	if err := errors.Join(os.Chown(begun, int(st.Uid), int(st.Gid)), unix.Chmod(begun, st.Mode&0o7777)); err != nil {
		return false, err
	}
	return true, os.Rename(begun, dir)
}
