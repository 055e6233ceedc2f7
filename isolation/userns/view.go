package userns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/fault"
)

// View mounts the directory dir at another one, which it makes if need be: read-only, and
// with the owners that the user namespace at the path users knows. If it is there, View
// does nothing. What cannot be shown so is fault.Unavailable.
func View(dir, at, users string) error {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("make view: %w", err)
	}
	var from, there unix.Stat_t
	if err := errors.Join(unix.Stat(dir, &from), unix.Stat(at, &there)); err != nil {
		return fmt.Errorf("make view of %s: %w", dir, err)
	}
	if from.Dev == there.Dev && from.Ino == there.Ino {
		return nil
	}
	ns, err := os.Open(users)
	if err != nil {
		return fmt.Errorf("make view of %s: %w", dir, err)
	}
	defer ns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "open_tree of %s (Linux 5.2): %v", dir, err)
	}
	defer unix.Close(tree)
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV, Userns_fd: uint64(ns.Fd()),
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "its file system does not show %s with other owners: %v", dir, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("make view of %s: %w", dir, err)
	}
	return nil
}

// Try finds out whether this host can give tasks their own IDs, with layers of images and
// writable ones in the directory dir, which it makes and takes away, with what an earlier
// try left that died. The error says what the host lacks.
func Try(dir string) error {
	return inside(dir, func(part func(string) string) error {
		for _, name := range []string{"lower", "upper", "work", "root"} {
			if err := os.Mkdir(part(name), 0o700); err != nil {
				return err
			}
		}
		return withView(part("lower"), part("view"), func() error {
			options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", part("view"), part("upper"), part("work"))
			if err := unix.Mount("overlay", part("root"), "overlay", 0, options); err != nil {
				return fault.Wrap(fault.Unavailable, err, "overlays do not take layers with other owners (Linux 5.19): %v", err)
			}
			return os.NewSyscallError("umount", unix.Unmount(part("root"), unix.MNT_DETACH))
		})
	})
}

// TryView finds out whether what is in a directory can be shown with other owners. It makes
// the directory dir for that and takes it away, with what an earlier try left that died. If
// from is not there, that is fs.ErrNotExist.
func TryView(from, dir string) error {
	return inside(dir, func(part func(string) string) error {
		return withView(from, part("view"), func() error { return nil })
	})
}

// inside calls do while there is a directory, empty at first, and says where its parts are.
func inside(dir string, do func(part func(string) string) error) (err error) {
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return fmt.Errorf("try user namespaces: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return do(func(name string) string { return filepath.Join(dir, name) })
}

// withView calls do while there is a view of dir at another place. Only the thread that do
// runs on has it: if this process is killed meanwhile, nothing stays mounted.
func withView(dir, at string, do func() error) error {
	return Make(first, func(users, _ string) error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			return os.NewSyscallError("mount", err)
		}
		if err := View(dir, at, users); err != nil {
			return err
		}
		return errors.Join(do(), os.NewSyscallError("umount", unix.Unmount(at, unix.MNT_DETACH)))
	})
}
