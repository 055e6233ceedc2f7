package images

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"go.uber.org/zap"

	"berth/fault"
	"berth/task"
)

// inventory is all image records at one moment.
type inventory struct {
	records map[string]images.Image // by name
	used    map[string]bool         // names that unfinished tasks need, normalised
}

func (s *Store) take(ctx context.Context) (inventory, error) {
	// Use first: a task that comes later pulls later, and waits for s.removing.
	names, err := s.InUse(ctx)
	if err != nil {
		return inventory{}, fmt.Errorf("look up images in use: %w", err)
	}
	all, err := s.Client.ImageService().List(ctx)
	if err != nil {
		return inventory{}, fmt.Errorf("list images: %w", err)
	}
	inv := inventory{make(map[string]images.Image, len(all)), make(map[string]bool, len(names))}
	for _, img := range all {
		inv.records[img.Name] = img
	}
	for _, s := range names {
		if n, err := parseName(s); err == nil {
			inv.used[n.String()] = true
		}
	}
	return inv, nil
}

// tags returns the tag records that mean what a digest reference means, sorted.
func (inv inventory) tags(ref string) []string {
	var tags []string
	for other, img := range inv.records {
		if n, err := parseName(other); err == nil && n.tag != "" && n.at(img.Target.Digest) == ref {
			tags = append(tags, other)
		}
	}
	slices.Sort(tags)
	return tags
}

// inUse reports whether an unfinished task needs the image of a digest
// reference, by that or by any tag.
func (inv inventory) inUse(ref string) bool {
	return inv.used[ref] || slices.ContainsFunc(inv.tags(ref), func(tag string) bool { return inv.used[tag] })
}

// imported reports whether the image of a digest reference came from a file,
// under that or any tag.
func (inv inventory) imported(ref string) bool {
	return slices.ContainsFunc(append(inv.tags(ref), ref), func(r string) bool {
		return inv.records[r].Labels[labelImported] != ""
	})
}

// List returns the images on this host by name. An image that has no tag any
// more is listed by its digest reference.
func (s *Store) List(ctx context.Context) ([]task.Image, error) {
	inv, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	all := []task.Image{}
	for record, img := range inv.records {
		n, err := parseName(record)
		if err != nil || n.digest != "" && len(inv.tags(record)) > 0 {
			continue
		}
		all = append(all, s.image(ctx, inv, n, img))
	}
	slices.SortFunc(all, func(a, b task.Image) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Have returns those of some images that are on this host, by the names that they are
// asked for by. It fetches nothing, and what is not a name of an image is not here.
func (s *Store) Have(ctx context.Context, names []string) (map[string]task.Image, error) {
	inv, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	here := make(map[string]task.Image)
	for _, name := range names {
		n, err := parseName(name)
		if err != nil {
			continue
		}
		if img, ok := inv.records[n.String()]; ok {
			here[name] = s.image(ctx, inv, n, img)
		}
	}
	return here, nil
}

// describe returns one image as List does.
func (s *Store) describe(ctx context.Context, record string) (task.Image, error) {
	inv, err := s.take(ctx)
	if err != nil {
		return task.Image{}, err
	}
	n, err := parseName(record)
	if err != nil {
		return task.Image{}, err
	}
	img, ok := inv.records[record]
	if !ok {
		return task.Image{}, fault.New(fault.NotFound, "no image %s here", record)
	}
	return s.image(ctx, inv, n, img), nil
}

func (s *Store) image(ctx context.Context, inv inventory, n name, img images.Image) task.Image {
	ref := n.at(img.Target.Digest)
	out := task.Image{
		Name: img.Name, Digest: img.Target.Digest.String(), Platform: platforms.DefaultString(),
		Imported: img.Labels[labelImported] != "", InUse: inv.used[img.Name] || inv.inUse(ref), CreatedAt: img.CreatedAt.UTC(),
	}
	out.UsedAt, _ = time.Parse(time.RFC3339Nano, inv.records[ref].Labels[labelUsed])
	if m, err := images.Manifest(ctx, s.Client.ContentStore(), img.Target, s.platform); err == nil {
		out.SizeBytes = m.Config.Size
		for _, l := range m.Layers {
			out.SizeBytes += l.Size
		}
	}
	return out
}

// Size returns how many bytes a pull of the image moves, of a reference that Pull
// returned.
func (s *Store) Size(ctx context.Context, ref string) (int64, error) {
	img, err := s.Client.ImageService().Get(ctx, ref)
	if err != nil {
		return 0, fmt.Errorf("look for image %s: %w", ref, err)
	}
	n, err := parseName(ref)
	if err != nil {
		return 0, err
	}
	return s.image(ctx, inventory{}, n, img).SizeBytes, nil
}

// Remove deletes an image by its tag or digest reference; the last tag takes the
// image with it. An image that an unfinished task needs is fault.Conflict unless
// force is set: what runs of it runs on, and a task that has yet to start may have to
// pull it again. One that is not here is fault.NotFound.
func (s *Store) Remove(ctx context.Context, image string, force bool) error {
	n, err := parseName(image)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "%q is not an image name: %v", image, err)
	}
	s.removing.Lock()
	defer s.removing.Unlock()
	inv, err := s.take(ctx)
	if err != nil {
		return err
	}
	img, ok := inv.records[n.String()]
	if !ok {
		return fault.New(fault.NotFound, "no image %s here", n)
	}
	ref := n.at(img.Target.Digest)
	tags := inv.tags(ref)
	if n.tag != "" && len(tags) > 1 {
		if inv.used[n.String()] && !force {
			return fault.New(fault.Conflict, "image %s is needed by a task that has not stopped", n)
		}
		return s.delete(ctx, n.String())
	}
	if inv.inUse(ref) && !force {
		return fault.New(fault.Conflict, "image %s is needed by a task that has not stopped", n)
	}
	if err := s.delete(ctx, append(tags, ref)...); err != nil {
		return err
	}
	return s.collect(ctx)
}

// delete removes records. Tags come first: none may point to what is gone.
func (s *Store) delete(ctx context.Context, records ...string) error {
	for _, r := range records {
		s.verify(r, false)
		if err := s.Client.ImageService().Delete(ctx, r); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("delete image %s: %w", r, err)
		}
	}
	return nil
}

// collect makes containerd remove at once what nothing keeps. Giving up a lease
// is the way to ask for that.
func (s *Store) collect(ctx context.Context) error {
	l, err := s.Client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Minute))
	if err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	if err := s.Client.LeasesService().Delete(ctx, l, leases.SynchronousDelete); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	return nil
}

// Collect removes the images that no unfinished task needs and that no task was
// pulled for since unusedFor, and whatever else nothing keeps. Imported images
// stay: no registry could bring them back. It returns about how many bytes of
// disk that freed; what pulls bring meanwhile makes it less.
func (s *Store) Collect(ctx context.Context, unusedFor time.Duration) (freed int64, err error) {
	before, err := s.occupied(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.removeUnused(ctx, s.Now().Add(-unusedFor)); err != nil {
		return 0, err
	}
	if err := s.collect(ctx); err != nil {
		return 0, err
	}
	after, err := s.occupied(ctx)
	if err != nil {
		return 0, err
	}
	return max(0, before-after), nil
}

func (s *Store) removeUnused(ctx context.Context, before time.Time) error {
	s.removing.Lock()
	defer s.removing.Unlock()
	inv, err := s.take(ctx)
	if err != nil {
		return err
	}
	for ref, img := range inv.records {
		n, err := parseName(ref)
		if err != nil || n.digest == "" || inv.imported(ref) || inv.inUse(ref) {
			continue
		}
		last, err := time.Parse(time.RFC3339Nano, img.Labels[labelUsed])
		if err != nil {
			last = img.UpdatedAt
		}
		if !last.Before(before) {
			continue
		}
		if err := s.delete(ctx, append(inv.tags(ref), ref)...); err != nil {
			return err
		}
		s.Log.Info("image removed", zap.String("image", ref), zap.Time("used", last))
	}
	return nil
}

// occupied returns the bytes of all blobs and root file systems of images.
func (s *Store) occupied(ctx context.Context) (bytes int64, err error) {
	err = s.Client.ContentStore().Walk(ctx, func(i content.Info) error {
		bytes += i.Size
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure content: %w", err)
	}
	shots := s.Client.SnapshotService(s.Snapshotter)
	err = shots.Walk(ctx, func(ctx context.Context, i snapshots.Info) error {
		if i.Kind != snapshots.KindCommitted {
			return nil
		}
		u, err := shots.Usage(ctx, i.Name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		bytes += u.Size
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure snapshots: %w", err)
	}
	return bytes, nil
}
