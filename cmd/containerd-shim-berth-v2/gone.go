package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"
)

// gone tells how a container ended of which its shim left nothing but that.
type gone struct {
	At     time.Time `json:"Timestamp"`
	PID    int       `json:"Pid"`
	Status int       `json:"Status"`
}

// errRemains says that there is work for containerd-shim-runc-v2.
var errRemains = errors.New("something of the container remains")

// readGone reads from the bundle how the container ended. It is an error if its
// shim did not get as far as to write that down, or left something of it: runc's
// record, or its mounted root.
func readGone(c call) (gone, error) {
	bundle, err := os.Getwd()
	if err != nil {
		return gone{}, err
	}
	bundle = filepath.Join(filepath.Dir(bundle), c.id)
	var options struct{ Root string }
	if err := read(filepath.Join(bundle, "options.json"), &options); err != nil {
		return gone{}, err
	}
	if options.Root == "" {
		return gone{}, errRemains // It would be runc's own default.
	}
	if _, err := os.Lstat(filepath.Join(options.Root, c.namespace, c.id)); !errors.Is(err, fs.ErrNotExist) {
		return gone{}, errRemains
	}
	if mounted, err := isMounted(bundle, filepath.Join(bundle, "rootfs")); err != nil || mounted {
		return gone{}, errors.Join(errRemains, err)
	}
	var g gone
	if err := read(filepath.Join(bundle, "exit.json"), &g); err != nil {
		return gone{}, err
	}
	if g.PID <= 0 || g.Status < 0 || g.At.IsZero() {
		return gone{}, fmt.Errorf("exit.json says %+v", g)
	}
	return g, nil
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// isMounted reports whether dir, a directory of parent, is the root of a mount.
func isMounted(parent, dir string) (bool, error) {
	var above, it unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &it); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		return false, err
	}
	if err := unix.Statx(unix.AT_FDCWD, parent, 0, unix.STATX_BASIC_STATS, &above); err != nil {
		return false, err
	}
	return it.Dev_major != above.Dev_major || it.Dev_minor != above.Dev_minor || it.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// response is containerd.task.v3.DeleteResponse, as protobuf.
func (g gone) response() []byte {
	var at, b []byte
	at = protowire.AppendVarint(protowire.AppendTag(at, 1, protowire.VarintType), uint64(g.At.Unix()))
	at = protowire.AppendVarint(protowire.AppendTag(at, 2, protowire.VarintType), uint64(g.At.Nanosecond()))
	b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), uint64(g.PID))
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(g.Status))
	return protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), at)
}
