package containerd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	contfs "github.com/containerd/continuity/fs"

	"berth/fault"
	"berth/isolation"
	"berth/isolation/userns"
	"berth/task"
)

// An image may declare volumes. Where a definition mounts nothing there, a container gets
// one of its own that begins as the image has the place, as with Docker: it can be written
// to though the root file system cannot, and whoever takes volumes from the container gets
// it too. It lies with what else is the container's of its task's storage.

// maxImageVolumes bounds what an image has a server do: each volume is a copy and a mount.
const maxImageVolumes = 128

// imageVolume is where a container has a volume that its image declares, or another's.
type imageVolume struct {
	at       string // in the container
	dir      string // on this host
	readOnly bool
}

// imageVolumeDir is the one with that number in the container's record.
func (c Config) imageVolumeDir(id task.ID, container string, n int) string {
	return filepath.Join(c.layerDir(id, container), "volumes", strconv.Itoa(n))
}

// inheritedVolumes are those that a container has of the images of others.
func (r *Runtime) inheritedVolumes(c isolation.Container) ([]imageVolume, error) {
	var all []imageVolume
	for _, from := range c.VolumesFrom {
		source, found, err := load[containerRecord](r.containerDir(c.Task, from.Container), containerFile)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fault.New(fault.Conflict, "CannotCreateContainerError: container %s is to have volumes of container %s, which is not made", c.Name, from.Container)
		}
		for n, at := range source.Volumes {
			taken := slices.ContainsFunc(c.Mounts, func(m isolation.Mount) bool { return m.Path == at }) ||
				slices.ContainsFunc(all, func(v imageVolume) bool { return v.at == at })
			if !taken {
				all = append(all, imageVolume{at, r.imageVolumeDir(c.Task, from.Container, n), from.ReadOnly})
			}
		}
	}
	return all, nil
}

// ownVolumes makes the volumes that a container has because its image declares them, as
// far as they are not there yet, and returns where it has them: by their numbers as the
// image says it, and as what to mount. The caller has the task's lock.
func (r *Runtime) ownVolumes(c isolation.Container, inherited []imageVolume, ids userns.Range, img image, rootfs []mount.Mount) (paths []string, all []imageVolume, err error) {
	var taken []string
	for _, m := range c.Mounts {
		taken = append(taken, m.Path)
	}
	for _, v := range inherited {
		taken = append(taken, v.at)
	}
	wanted, err := declaredVolumes(img, taken)
	if err != nil || len(wanted) == 0 {
		return nil, nil, err
	}
	err = lookInto(rootfs, r.lookDir(), func(root string) error {
		for _, at := range taken { // also by another name
			if place, err := placeOf(root, at); err == nil {
				taken = append(taken, place)
			}
		}
		for _, at := range wanted {
			place, err := placeOf(root, at)
			if err != nil {
				return fault.Wrap(fault.Invalid, err, "CannotCreateContainerError: image %s declares a volume at %q: %v", img.name, at, err)
			}
			if ofKernel(place) || slices.Contains(taken, place) {
				continue
			}
			dir := r.imageVolumeDir(c.Task, c.Name, len(paths))
			err = makeVolume(dir, filepath.Join(r.layerDir(c.Task, c.Name), "volume.new"), ids, func(begun string) error {
				return copyFrom(root, place, begun)
			})
			if err != nil {
				return fmt.Errorf("make volume %s of image %s: %w", at, img.name, err)
			}
			taken, paths, all = append(taken, place), append(paths, at), append(all, imageVolume{at: place, dir: dir})
		}
		return nil
	})
	return paths, all, err
}

// declaredVolumes are the paths of an image's volumes that are not taken, outer ones
// before inner ones.
func declaredVolumes(img image, taken []string) ([]string, error) {
	var all []string
	for declared := range img.config.Volumes {
		if at := path.Clean("/" + declared); !slices.Contains(taken, at) && !ofKernel(at) {
			all = append(all, at)
		}
	}
	if len(all) > maxImageVolumes {
		return nil, fault.New(fault.Invalid, "CannotCreateContainerError: image %s declares %d volumes, and a container can have %d", img.name, len(all), maxImageVolumes)
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), cmp.Compare(a, b))
	})
	return slices.Compact(all), nil
}

// ofKernel reports whether a container has something of the kernel's at a path, which
// stays there whatever its image declares.
func ofKernel(at string) bool {
	return slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(dir string) bool { return atOrBelow(at, dir) })
}

func atOrBelow(at, dir string) bool { return at == dir || strings.HasPrefix(at, dir+"/") }

// placeOf returns where a path of a container leads to by the links of its image. It is
// an error if no directory can be there.
func placeOf(root, at string) (string, error) {
	if strings.ContainsRune(at, 0) {
		return "", errors.New("no path has a NUL in it")
	}
	found, err := contfs.RootPath(root, at)
	if err != nil {
		return "", reason(err)
	}
	place := path.Clean("/" + strings.TrimPrefix(found, root))
	if place == "/" {
		return "", errors.New("nothing can be mounted over the root")
	}
	for _, file := range etcFiles {
		if atOrBelow(place, "/etc/"+file) {
			return "", errors.New("cannot mount volume over existing file, file exists /etc/" + file)
		}
	}
	st, err := os.Lstat(found)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return place, nil
	case err != nil:
		return "", reason(err)
	case !st.IsDir():
		return "", errors.New("cannot mount volume over existing file, file exists " + place)
	}
	return place, nil
}

// reason is an error without the path that it is about, which is one of this host.
func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
