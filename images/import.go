package images

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	containerdlog "github.com/containerd/log"
	"github.com/google/uuid"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/fault"
	"berth/task"
)

// Import reads a tar archive with images, an OCI layout or what docker save
// writes, gzip-compressed or not, and unpacks those for this platform. They are
// named as the archive says, or tag if that is not empty and there is one image
// only. No registry is ever asked about these names.
//
// A bad archive is fault.Invalid and leaves nothing behind. Importing the same
// archive again changes nothing.
func (s *Store) Import(ctx context.Context, r io.Reader, tag string) ([]task.Image, error) {
	var as *name
	if tag != "" {
		n, err := parseName(tag)
		if err == nil && n.digest != "" {
			err = errors.New("an image cannot be named by a digest of one's choice")
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "%q is not a name to give to an image: %v", tag, err)
		}
		as = &n
	}
	held, release, err := s.hold(containerdlog.WithLogger(ctx, s.quiet))
	if err != nil {
		return nil, err
	}
	imported := false
	defer func() { release(!imported) }()

	source := &errReader{Reader: r}
	index, err := s.unarchive(held, source)
	if source.err != nil {
		return nil, fmt.Errorf("read image archive: %w", source.err)
	}
	if err != nil {
		return nil, badArchive(ctx, err, source.n)
	}
	found, err := s.choose(held, index, as)
	if err != nil {
		return nil, err
	}
	for _, img := range found {
		if err := s.unpack(held, img.desc); err != nil {
			return nil, badArchive(ctx, fmt.Errorf("image %s: %w", img.name, err), source.n)
		}
	}
	var all []task.Image
	for _, img := range found {
		if _, err := s.keep(held, img.name, img.desc, true); err != nil {
			return nil, err
		}
		described, err := s.describe(held, img.name.String())
		if err != nil {
			return nil, err
		}
		all = append(all, described)
	}
	imported = true
	return all, nil
}

// badArchive blames the archive, unless it was us.
func badArchive(ctx context.Context, err error, read int64) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if own(err) || strings.Contains(err.Error(), "no space left on device") || fault.KindOf(err) != fault.Internal {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "image archive, %d bytes read: %v", read, err)
}

// unarchive writes the blobs of an archive into the content store and returns
// the index of the images that they make.
func (s *Store) unarchive(ctx context.Context, r io.Reader) (index ocispec.Index, err error) {
	in := bufio.NewReaderSize(r, 1<<20)
	var plain io.Reader = in
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" {
		if plain, err = gzip.NewReader(in); err != nil {
			return index, err
		}
	}
	store := ownIngests{s.Client.ContentStore(), "import-" + uuid.NewString() + "-"}
	desc, err := archive.ImportIndex(ctx, store, plain)
	if err != nil {
		return index, err
	}
	// What follows the archive is padding, and the checksum of its compression.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return index, err
	}
	text, err := content.ReadBlob(ctx, store, desc)
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return index, fmt.Errorf("index.json: %w", err)
	}
	if len(index.Manifests) == 0 {
		return index, errors.New("index.json: there is no image in it")
	}
	return index, nil
}

// ownIngests gives the blobs of one archive keys of their own. By the names in
// the archive, half a blob of an earlier one would be taken for the beginning.
type ownIngests struct {
	content.Store
	prefix string
}

func (o ownIngests) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var w content.WriterOpts
	for _, opt := range opts {
		if err := opt(&w); err != nil {
			return nil, err
		}
	}
	return o.Store.Writer(ctx, append(opts, content.WithRef(o.prefix+w.Ref))...)
}

// chosen is an image of an archive and the name it gets.
type chosen struct {
	name name
	desc ocispec.Descriptor
}

// choose returns the images of an archive, each name once. A layout may list a
// name several times, once for each platform.
func (s *Store) choose(ctx context.Context, index ocispec.Index, as *name) ([]chosen, error) {
	var all []chosen
	at := make(map[string]int)
	digests := make(map[string]bool)
	foreign := false
	for _, m := range index.Manifests {
		if m.Annotations[images.AnnotationManifestSubject] != "" || !images.IsManifestType(m.MediaType) && !images.IsIndexType(m.MediaType) {
			continue
		}
		if m.Platform != nil && m.Platform.OS != "" && !s.platform.Match(*m.Platform) {
			foreign = true
			continue
		}
		n := as
		if n == nil {
			given, err := nameIn(m)
			if err != nil {
				return nil, err
			}
			n = &given
		}
		digests[m.Digest.String()] = true
		if _, have := at[n.String()]; !have {
			at[n.String()] = len(all)
			m.Annotations = nil
			all = append(all, chosen{*n, m})
		}
	}
	switch {
	case len(all) == 0 && foreign:
		return nil, fault.Wrap(fault.Invalid, errPlatform, "image archive: %v", errPlatform)
	case len(all) == 0:
		return nil, fault.New(fault.Invalid, "image archive: index.json: there is no image in it")
	case as != nil && len(digests) > 1:
		return nil, fault.New(fault.Invalid, "image archive: there are %d images in it and one name to give: import it without a name", len(digests))
	}
	return all, nil
}

// nameIn returns the name that an archive gives an image. The OCI annotation is
// often a bare tag, which names nothing.
func nameIn(m ocispec.Descriptor) (name, error) {
	given := m.Annotations[images.AnnotationImageName]
	if ref := m.Annotations[ocispec.AnnotationRefName]; given == "" && strings.ContainsAny(ref, "/:") {
		given = ref
	}
	if given == "" {
		return name{}, fault.New(fault.Invalid, "image archive: image %s has no name in it: give it one", m.Digest)
	}
	n, err := parseName(given)
	if err == nil && n.digest != "" {
		err = errors.New("it has a digest")
	}
	if err != nil {
		return name{}, fault.Wrap(fault.Invalid, err, "image archive: %q is not a name for an image: %v", given, err)
	}
	return n, nil
}

// unpack checks that an image is whole and for this platform, ties its parts
// together for the garbage collector, and makes its root file system.
func (s *Store) unpack(ctx context.Context, desc ocispec.Descriptor) error {
	store := s.Client.ContentStore()
	present := images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		info, err := store.Info(ctx, d.Digest)
		if errdefs.IsNotFound(err) {
			return nil, fmt.Errorf("blob %s is missing", d.Digest)
		}
		if err != nil {
			return nil, err
		}
		if info.Size != d.Size {
			return nil, fmt.Errorf("blob %s has %d bytes, want %d", d.Digest, info.Size, d.Size)
		}
		if images.IsConfigType(d.MediaType) {
			return nil, s.runsHere(ctx, d)
		}
		return nil, nil
	})
	children := images.LimitManifests(images.FilterPlatforms(images.ChildrenHandler(store), s.platform), s.platform, 1)
	err := images.Walk(ctx, images.Handlers(present, images.SetChildrenLabels(store, children)), desc)
	if err != nil {
		if strings.Contains(err.Error(), "no match for platform") {
			return errPlatform
		}
		return err
	}
	img := client.NewImageWithPlatform(s.Client, images.Image{Name: desc.Digest.String(), Target: desc}, s.platform)
	return img.Unpack(ctx, s.Snapshotter)
}

// errReader remembers the error that ended a stream, and how far it got.
type errReader struct {
	io.Reader
	n   int64
	err error
}

func (r *errReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
