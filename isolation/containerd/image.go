package containerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/fault"
	"berth/isolation"
)

// image is what a container needs of its image.
type image struct {
	name   string // in containerd
	config ocispec.ImageConfig
	chain  string // the snapshot with its root file system
}

// cacheSize bounds the caches of what images say. They are emptied when full:
// what is in use comes back at once.
const cacheSize = 512

// imageCache remembers images by their digest reference, so that the second
// container of an image costs no call to containerd. An image cannot change; that
// it was removed shows when its snapshot is used.
type imageCache struct {
	mu sync.Mutex
	by map[string]image
}

func (c *imageCache) get(ref string) (image, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	img, ok := c.by[ref]
	return img, ok
}

func (c *imageCache) put(ref string, img image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil || len(c.by) >= cacheSize {
		c.by = make(map[string]image)
	}
	c.by[ref] = img
}

func (c *imageCache) forget(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.by, ref)
}

// image returns the image of a digest reference and sees to it that its root
// file system is unpacked.
func (r *Runtime) image(ctx context.Context, ref string) (image, error) {
	if !strings.Contains(ref, "@") {
		return image{}, fault.New(fault.Invalid, "CannotCreateContainerError: image %q is not a digest reference", ref)
	}
	if img, ok := r.images.get(ref); ok {
		return img, nil
	}
	found, err := r.findImage(ctx, ref)
	if err != nil {
		return image{}, err
	}
	full := client.NewImageWithPlatform(r.Client, found, platforms.Default())
	spec, err := full.Spec(ctx)
	if errdefs.IsNotFound(err) {
		return image{}, fault.Wrap(fault.NotFound, err,
			"CannotPullContainerError: image %s does not contain descriptor matching platform '%s'", ref, platforms.DefaultString())
	}
	if err != nil {
		return image{}, fmt.Errorf("read image %s: %w", ref, err)
	}
	unpacked, err := full.IsUnpacked(ctx, r.Snapshotter)
	if err == nil && !unpacked {
		err = full.Unpack(ctx, r.Snapshotter)
	}
	if err != nil {
		return image{}, fmt.Errorf("unpack image %s: %w", ref, err)
	}
	img := image{name: found.Name, config: spec.Config, chain: identity.ChainID(spec.RootFS.DiffIDs).String()}
	r.images.put(ref, img)
	return img, nil
}

// findImage looks for the reference, and then for its digest under any name.
func (r *Runtime) findImage(ctx context.Context, ref string) (images.Image, error) {
	img, err := r.Client.ImageService().Get(ctx, ref)
	if err == nil {
		return img, nil
	}
	if !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
		return images.Image{}, fmt.Errorf("look for image %s: %w", ref, err)
	}
	_, digest, _ := strings.Cut(ref, "@")
	all, err := r.Client.ImageService().List(ctx, "target.digest=="+digest)
	if err != nil {
		return images.Image{}, fmt.Errorf("look for image %s: %w", ref, err)
	}
	if len(all) == 0 {
		return images.Image{}, fault.Wrap(fault.NotFound, isolation.ErrNoImage, "CannotCreateContainerError: image %s is not on this host", ref)
	}
	return all[0], nil
}

// command returns what a container runs, as ECS and Docker compute it: an entry
// point of its own comes without the image's command.
func command(c isolation.Container, img ocispec.ImageConfig) ([]string, error) {
	entry, cmd := img.Entrypoint, img.Cmd
	if len(c.EntryPoint) > 0 {
		entry, cmd = c.EntryPoint, nil
	}
	if len(c.Command) > 0 {
		cmd = c.Command
	}
	args := slices.Concat(entry, cmd)
	if len(args) == 0 || args[0] == "" {
		return nil, fault.New(fault.Invalid, "CannotStartContainerError: no command specified: neither image %s nor the container definition has one", c.Image)
	}
	return args, nil
}

// defaultPath is Docker's.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment returns a container's variables, each once. Later ones replace
// earlier ones: Docker's defaults, the image's, the definition's.
func environment(c isolation.Container, img ocispec.ImageConfig, hostname string) []string {
	env := []string{"PATH=" + defaultPath, "HOSTNAME=" + hostname}
	if c.Terminal {
		env = append(env, "TERM=xterm")
	}
	at := make(map[string]int)
	var out []string
	for _, kv := range slices.Concat(env, img.Env, c.Env) {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			out[i] = kv
			continue
		}
		at[key] = len(out)
		out = append(out, kv)
	}
	return out
}

// errGone says that an image vanished between two looks at it.
var errGone = errors.New("the image was removed")
