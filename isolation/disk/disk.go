// Package disk makes file systems of a limited size that take only the room that is
// used: an ext4 in a sparse file on a loop device. What fills one gets ENOSPC, of
// blocks or of inodes, and nobody else does.
//
// Project quotas would need no loop device, and many hosts have none: the kernel has
// to be built for them, and the file system made and mounted with them. See
// docs/decisions/0018.
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/fault"
)

// Least is the smallest disk that can be made, in bytes.
const Least = 16 << 20

// block is the size of a block of the disk, and so what the loop device reads and
// writes: whole pages of the file below it, which may then bypass the page cache.
const block = 4096

// mkfs is the program that makes the file system, of e2fsprogs.
const mkfs = "mkfs.ext4"

// options of mkfs: no journal, for what is on a task's disk does not outlive the
// host; nothing kept back for root; inode tables that are zero because the file is.
var options = []string{
	"-q", "-F", "-O", "^has_journal,^resize_inode", "-m", "0", "-b", strconv.Itoa(block),
	"-E", "lazy_itable_init=1,nodiscard,root_owner=0:0",
}

// mountOptions: no background zeroing of inode tables, no write barriers for a file
// system that nobody reads after a crash, and room that is freed goes back to the host.
const mountOptions = "noinit_itable,nobarrier,discard"

// Make makes a disk of size bytes in the file image, which must not exist, and mounts
// it at the directory at, which must. If it fails, or this process dies, there may be a file, and
// Remove takes that away too. A host that has no room for the file system itself is
// fault.Exhausted; one that cannot make any, as Try finds out, is fault.Unavailable.
func Make(ctx context.Context, image, at string, size int64) error {
	if size < Least {
		return fault.New(fault.Invalid, "a disk has %d bytes or more, not %d", Least, size)
	}
	program, err := findMkfs()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(size / block * block); err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	// By descriptor: should we die, what goes on works on a file that nobody has any more.
	cmd := exec.CommandContext(ctx, program, append(options, "/proc/self/fd/3")...)
	cmd.ExtraFiles = []*os.File{f}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make file system in %s: %w: %s", image, err, bytes.TrimSpace(out))
	}
	loop, err := attach(f)
	if err != nil {
		return err
	}
	defer loop.Close() // The mount holds the device; without one this frees it.
	if err := unix.Mount(loop.Name(), at, "ext4", unix.MS_NODEV|unix.MS_NOATIME, mountOptions); err != nil {
		return fmt.Errorf("mount disk at %s: %w", at, err)
	}
	return nil
}

func findMkfs() (string, error) {
	program, err := exec.LookPath(mkfs)
	for _, dir := range []string{"/usr/sbin", "/sbin"} { // which are not in everybody's PATH
		if err == nil {
			break
		}
		program, err = exec.LookPath(filepath.Join(dir, mkfs))
	}
	if err != nil {
		return "", fault.Wrap(fault.Unavailable, err, "there is no %s on this host; install e2fsprogs", mkfs)
	}
	return program, nil
}

// attach gives the file a free loop device. It is freed with its last user.
func attach(image *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the kernel offers no loop devices: %v", err)
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "no loop device is free: %v", err)
		}
		loop, err := open(n)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{
			Fd: uint32(image.Fd()), Size: block,
			Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO},
		}
		copy(config.Info.File_name[:len(config.Info.File_name)-1], image.Name())
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) { // Somebody else was faster.
			return nil, fault.Wrap(fault.Unavailable, err, "set up loop device %d: %v", n, err)
		}
	}
}

// loopMajor is the number of the driver (Documentation/admin-guide/devices.txt).
const loopMajor = 7

// open opens a loop device. In a container /dev has only the devices of when that
// began.
func open(n int) (*os.File, error) {
	path := "/dev/loop" + strconv.Itoa(n)
	loop, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(n)))); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fault.Wrap(fault.Unavailable, err, "make device %s: %v", path, err)
		}
		loop, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "open loop device: %v", err)
	}
	return loop, nil
}

// Mounted reports whether a disk is mounted at that directory.
func Mounted(at string) (bool, error) {
	var st, above unix.Stat_t
	err := errors.Join(unix.Stat(at, &st), unix.Stat(filepath.Dir(at), &above))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for disk at %s: %w", at, err)
	}
	return st.Dev != above.Dev && unix.Major(st.Dev) == loopMajor, nil
}

// Usage is how full a disk is.
type Usage struct {
	Used, Size int64  // bytes
	FreeFiles  uint64 // how many more files and directories can be made
}

// Look returns how full the disk mounted at that directory is.
func Look(at string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return Usage{}, fmt.Errorf("look at disk %s: %w", at, err)
	}
	return Usage{
		Used: int64(st.Blocks-st.Bfree) * st.Bsize, Size: int64(st.Blocks) * st.Bsize, FreeFiles: st.Ffree,
	}, nil
}

// shutdown is EXT4_IOC_SHUTDOWN (fs/ext4/ext4.h), and noFlush its flag
// EXT4_GOING_FLAGS_NOLOGFLUSH.
const (
	shutdown = 2<<30 | 4<<16 | 'X'<<8 | 125 // _IOR('X', 125, __u32)
	noFlush  = 2
)

// Abandon gives up what is on the disk mounted at that directory: nothing more is
// written, so that taking it away need not wait for it. Whoever still uses it gets
// errors. If there is none, or the kernel cannot do that, Abandon does nothing.
func Abandon(at string) {
	if there, err := Mounted(at); err != nil || !there {
		return
	}
	dir, err := os.Open(at)
	if err != nil {
		return
	}
	defer dir.Close()
	flag := uint32(noFlush)
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&flag)))
}

// Remove unmounts what is mounted at that directory, as often as something is, and
// removes the file image. If there is neither, Remove does nothing.
func Remove(image, at string) error {
	for {
		err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // It is not, or no longer, a mount point.
		}
		if errors.Is(err, unix.EBUSY) { // Somebody looks at it; it goes when they have gone.
			err = unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		if err != nil {
			return fmt.Errorf("unmount disk %s: %w", at, err)
		}
	}
	if err := os.Remove(image); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove disk: %w", err)
	}
	return nil
}

// Try finds out whether disks can be made in the directory dir, which it makes and takes
// away, with what an earlier try left that died. The error says what the host lacks.
func Try(ctx context.Context, dir string) (err error) {
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	clear := func() error { return errors.Join(Remove(image, at), os.RemoveAll(dir)) }
	if err := clear(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clear()) }()
	if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("try to make a disk: %w", err)
	}
	return Make(ctx, image, at, Least)
}
