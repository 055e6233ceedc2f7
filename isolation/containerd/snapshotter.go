package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/client"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// The snapshotters that Berth uses. Native copies files: it works everywhere, and
// each container's root file system takes the time and the room of its image.
const (
	overlay = "overlayfs"
	native  = "native"
)

// Snapshotter returns which snapshotter to use: overlayfs, or native where the
// kernel or the file system of dir, below which containerd keeps its files, cannot
// do writable overlays. containerd itself only looks whether it can read through
// one. An empty dir means that it is not known.
func Snapshotter(ctx context.Context, c *client.Client, dir string, log *zap.Logger) (string, error) {
	plugins, err := c.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return "", fmt.Errorf("ask containerd for its snapshotters: %w", err)
	}
	cause := errors.New("this containerd has none")
	for _, p := range plugins.Plugins {
		if p.ID != overlay {
			continue
		}
		if p.InitErr != nil {
			cause = errors.New(p.InitErr.Message)
		} else if cause = tryOverlay(dir); cause == nil {
			return overlay, nil
		}
	}
	log.Warn("overlays cannot be used; root file systems are copied, which is slower and takes room", zap.Error(cause))
	return native, nil
}

// tryOverlay mounts a writable overlay whose layers are in dir, and takes it away.
func tryOverlay(dir string) (err error) {
	if dir == "" {
		return nil
	}
	at, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(at)) }()
	options := ""
	for _, layer := range []string{"lower", "upper", "work"} {
		path := filepath.Join(at, layer)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		options += "," + layer + "dir=" + path
	}
	target := filepath.Join(at, "lower") // A mount may hide its own layer.
	if err := unix.Mount("overlay", target, "overlay", 0, options[1:]); err != nil {
		return fmt.Errorf("mount an overlay in %s: %w", dir, err)
	}
	return unix.Unmount(target, unix.MNT_DETACH)
}
