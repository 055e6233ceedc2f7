package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/isolation/userns"
)

const (
	gib         = 1 << 30
	spaceLeast  = 1 * gib // an image and its containers
	spaceEnough = 10 * gib
	inodesLeast = 50_000
)

// existing returns the state directory, or what of the way to it exists.
func (h host) existing() string {
	dir := h.StateDir
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func stateDir(_ context.Context, h host) verdict {
	dir := h.existing()
	probe, err := os.CreateTemp(dir, ".berth-doctor-")
	if err != nil {
		return fail("choose another one with --state-dir, or make it writable", "%v", err)
	}
	name := probe.Name()
	err = errors.Join(probe.Sync(), probe.Close(), os.Remove(name))
	if err != nil {
		return fail("the disk does not keep what is written; look at dmesg", "%v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fail("", "%v", err)
	}
	switch st.Type {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return fail("choose a local disk with --state-dir: locks and overlays do not work there", "%s is on a network file system", dir)
	case unix.OVERLAYFS_SUPER_MAGIC:
		return warn("give berth a volume of its own with --state-dir; until then root file systems are copied", "%s is on an overlay, which cannot hold another", dir)
	case unix.TMPFS_MAGIC:
		return warn("choose a disk with --state-dir: what is in memory is gone after a restart", "%s is in memory", dir)
	}
	if dir != h.StateDir {
		return ok("%s does not exist yet and can be made", h.StateDir)
	}
	return ok("%s is writable", dir)
}

// userNamespaces tries them: besides the kernel's, it takes the leave of the file system that
// images lie on.
func userNamespaces(_ context.Context, h host) verdict {
	if os.Geteuid() != 0 {
		return warn("run berth with sudo", "not tried")
	}
	if err := userns.Try(filepath.Join(h.existing(), ".berth-doctor-users")); err != nil {
		return warn("use Linux 5.19 or later, and ext4, XFS or Btrfs for --state-dir; until then tasks have the host's user IDs", "%v", err)
	}
	return ok("tasks have user IDs of their own")
}

func diskSpace(_ context.Context, h host) verdict {
	var st unix.Statfs_t
	if err := unix.Statfs(h.existing(), &st); err != nil {
		return fail("", "%v", err)
	}
	free := st.Bavail * uint64(st.Bsize)
	text := fmt.Sprintf("%.1f GiB free", float64(free)/gib)
	switch {
	case free < spaceLeast:
		return fail("make room, or choose another disk with --state-dir", "%s", text)
	case free < spaceEnough:
		return warn("make room: a task may use 20 GiB of disk", "%s", text)
	}
	return ok("%s", text)
}

func inodes(_ context.Context, h host) verdict {
	var st unix.Statfs_t
	if err := unix.Statfs(h.existing(), &st); err != nil {
		return fail("", "%v", err)
	}
	switch {
	case st.Files == 0:
		return ok("made as needed") // btrfs
	case st.Ffree < inodesLeast:
		return warn("make room, or choose another disk with --state-dir", "%d free", st.Ffree)
	}
	return ok("%d free", st.Ffree)
}

// missingFiles returns which of names are not in dir, or cannot be executed.
func missingFiles(dir string, names []string) []string {
	var missing []string
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || err != nil || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	return missing
}
