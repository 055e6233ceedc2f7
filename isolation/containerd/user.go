package containerd

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
	"berth/isolation/thread"
)

// userCache remembers who a user specification is in an image: to find out, the
// image has to be mounted.
type userCache struct {
	mu sync.Mutex
	by map[userKey]specs.User
}

type userKey struct{ chain, spec string }

// user returns whom a container's process runs as. spec is user, uid,
// user:group, uid:gid, uid:group or user:gid, with names of the image's
// /etc/passwd and /etc/group; empty is root. Supplementary groups are those of
// the image's /etc/group. Somebody who is not there is the user's fault. rootfs
// is a file system made from the image.
func (r *Runtime) user(img image, rootfs []mount.Mount, spec string) (specs.User, error) {
	key := userKey{img.chain, spec}
	r.users.mu.Lock()
	u, ok := r.users.by[key]
	r.users.mu.Unlock()
	if ok {
		return u, nil
	}
	err := lookInto(rootfs, r.lookDir(), func(root string) (err error) {
		u, err = lookUp(root, spec)
		return err
	})
	if err != nil {
		return specs.User{}, fmt.Errorf("look for user %q in image %s: %w", spec, img.name, err)
	}
	r.users.mu.Lock()
	defer r.users.mu.Unlock()
	if r.users.by == nil || len(r.users.by) >= cacheSize {
		r.users.by = make(map[userKey]specs.User)
	}
	r.users.by[key] = u
	return u, nil
}

// lookInto mounts a root file system, read-only, at dir for as long as do looks
// at it, in a mount namespace that ends with do, or with this process: the mount
// can neither be seen by others nor be left behind.
func lookInto(rootfs []mount.Mount, dir string, do func(root string) error) error {
	return thread.Apart(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
		for _, m := range rootfs {
			if err := mountReadonly(m, dir); err != nil {
				return fmt.Errorf("mount %s: %w", m.Type, err)
			}
		}
		return do(dir)
	})
}

// mountReadonly mounts what a snapshotter says, without the writable layer.
// It changes the thread's working directory.
func mountReadonly(m mount.Mount, dir string) error {
	if m.Type != "overlay" {
		m.Options = append(slices.Clone(m.Options), "ro")
		return m.Mount(dir)
	}
	var lower []string
	for _, o := range m.Options {
		if list, ok := strings.CutPrefix(o, "lowerdir="); ok {
			lower = strings.Split(list, ":")
		}
	}
	if len(lower) == 1 { // Overlayfs wants two.
		return os.NewSyscallError("mount", unix.Mount(lower[0], dir, "", unix.MS_BIND|unix.MS_RDONLY, ""))
	}
	// The options of a mount have to fit into a page: paths are made relative
	// to the snapshots' directory, <snapshots>/<number>/fs.
	if len(lower) > 0 {
		base := filepath.Dir(filepath.Dir(lower[0]))
		if err := unix.Chdir(base); err != nil {
			return os.NewSyscallError("chdir", err)
		}
		for i, l := range lower {
			lower[i] = strings.TrimPrefix(l, base+"/")
		}
	}
	return os.NewSyscallError("mount", unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")))
}

func lookUp(root, spec string) (specs.User, error) {
	passwd, err := openInside(root, "/etc/passwd")
	if err != nil {
		return specs.User{}, err
	}
	defer passwd.Close()
	group, err := openInside(root, "/etc/group")
	if err != nil {
		return specs.User{}, err
	}
	defer group.Close()

	found, err := user.GetExecUser(spec, &user.ExecUser{}, bounded(passwd), bounded(group))
	if err != nil {
		return specs.User{}, fault.Wrap(fault.Invalid, err, "CannotStartContainerError: user %q: %s", spec, err)
	}
	u := specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid)}
	for _, gid := range append([]int{found.Gid}, found.Sgids...) {
		if !slices.Contains(u.AdditionalGids, uint32(gid)) {
			u.AdditionalGids = append(u.AdditionalGids, uint32(gid))
		}
	}
	return u, nil
}

// bounded keeps an image from filling our memory with its /etc/passwd.
func bounded(f *os.File) io.Reader { return io.LimitReader(f, 16<<20) }

// openInside opens a regular file of an image. Its symbolic links lead nowhere
// outside the image. A file that is not there is empty.
func openInside(root, path string) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil { // Not there, a loop, a socket: nobody is in it.
		return os.Open(os.DevNull)
	}
	f := os.NewFile(uintptr(fd), path)
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return os.Open(os.DevNull)
	}
	return f, nil
}
