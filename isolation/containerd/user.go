package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/fault"
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
// the image's /etc/group. Somebody who is not there is the user's fault.
func (r *Runtime) user(ctx context.Context, img image, spec string) (specs.User, error) {
	key := userKey{img.chain, spec}
	r.users.mu.Lock()
	u, ok := r.users.by[key]
	r.users.mu.Unlock()
	if ok {
		return u, nil
	}
	err := r.withImage(ctx, img, func(root string) (err error) {
		u, err = lookUp(root, spec)
		return err
	})
	if err != nil {
		return specs.User{}, err
	}
	r.users.mu.Lock()
	defer r.users.mu.Unlock()
	if r.users.by == nil || len(r.users.by) >= cacheSize {
		r.users.by = make(map[userKey]specs.User)
	}
	r.users.by[key] = u
	return u, nil
}

// withImage mounts an image's root file system, read-only, for as long as do
// looks at it.
func (r *Runtime) withImage(ctx context.Context, img image, do func(root string) error) error {
	ctx, release, err := r.Client.WithLease(ctx)
	if err != nil {
		return fmt.Errorf("look into image %s: %w", img.name, err)
	}
	last := context.WithoutCancel(ctx)
	defer release(last)

	views := r.Client.SnapshotService(r.Snapshotter)
	dir, err := os.MkdirTemp(r.RunDir, "look.")
	if err != nil {
		return fmt.Errorf("look into image %s: %w", img.name, err)
	}
	defer os.Remove(dir)
	key := "look/" + strings.TrimPrefix(dir, r.RunDir)
	mounts, err := views.View(ctx, key, img.chain)
	if errdefs.IsNotFound(err) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("look into image %s: %w", img.name, err)
	}
	defer views.Remove(last, key)
	if err := mount.All(mounts, dir); err != nil {
		return fmt.Errorf("mount image %s: %w", img.name, err)
	}
	return errors.Join(do(dir), mount.UnmountAll(dir, unix.MNT_DETACH))
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
