package images

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// DemoName is the name of the built-in image.
const DemoName = "berth/demo:latest"

// Demo makes the built-in image from one static program: it is its entry point,
// /demo, with the argument hello. The same program gives the same digest. Demo
// does nothing if that image is here already.
func (s *Store) Demo(ctx context.Context, program []byte) error {
	n, err := parseName(DemoName)
	if err != nil {
		return err
	}
	img, err := demo(program)
	if err != nil {
		return fmt.Errorf("make demo image: %w", err)
	}
	d, err := img.Digest()
	if err != nil {
		return fmt.Errorf("make demo image: %w", err)
	}
	if here, _, err := s.local(ctx, n); err != nil || here == n.at(digest.Digest(d.String())) {
		return err
	}
	held, release, err := s.hold(ctx)
	if err != nil {
		return err
	}
	defer func() { release(false) }()
	desc, err := s.write(held, img)
	if err != nil {
		return fmt.Errorf("write demo image: %w", err)
	}
	if err := s.unpack(held, desc); err != nil {
		return fmt.Errorf("unpack demo image: %w", err)
	}
	_, err = s.keep(held, n, desc, true)
	return err
}

// demo builds the image in memory.
func demo(program []byte) (v1.Image, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		text []byte
	}{
		{"demo", 0o755, program},
		{"etc/", 0o755, nil},
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/demo\nnobody:x:65534:65534:nobody:/:/demo\n")},
		{"etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n")},
		{"tmp/", 0o1777, nil},
	} {
		kind := byte(tar.TypeReg)
		if f.text == nil {
			kind = tar.TypeDir
		}
		// No time, owner or name of the host: the digest depends on the program only.
		h := &tar.Header{Typeflag: kind, Name: f.name, Mode: f.mode, Size: int64(len(f.text)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, l); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(img, withConfig(img))
}

// withConfig returns the config of img with what the demo needs.
func withConfig(img v1.Image) *v1.ConfigFile {
	c, err := img.ConfigFile()
	if err != nil {
		c = &v1.ConfigFile{} // ConfigFile of an image in memory does not fail
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", runtime.GOARCH
	c.Config = v1.Config{
		Entrypoint: []string{"/demo"},
		Cmd:        []string{"hello"},
		Env:        []string{"PATH=/"},
		WorkingDir: "/",
	}
	return c
}

// write puts the blobs of an image into the content store.
func (s *Store) write(ctx context.Context, img v1.Image) (desc ocispec.Descriptor, err error) {
	layers, err := img.Layers()
	if err != nil {
		return desc, err
	}
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			return desc, err
		}
		packed, err := l.Compressed()
		if err != nil {
			return desc, err
		}
		err = s.writeBlob(ctx, d, packed)
		packed.Close()
		if err != nil {
			return desc, err
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return desc, err
	}
	configDigest, err := img.ConfigName()
	if err != nil {
		return desc, err
	}
	if err := s.writeBlob(ctx, configDigest, bytes.NewReader(config)); err != nil {
		return desc, err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return desc, err
	}
	desc = ocispec.Descriptor{MediaType: string(types.OCIManifestSchema1), Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	d, err := img.Digest()
	if err != nil {
		return desc, err
	}
	return desc, s.writeBlob(ctx, d, bytes.NewReader(manifest))
}

func (s *Store) writeBlob(ctx context.Context, d v1.Hash, r io.Reader) error {
	want := digest.Digest(d.String())
	if _, err := s.Client.ContentStore().Info(ctx, want); err == nil {
		return nil
	} else if !errdefs.IsNotFound(err) {
		return err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return content.WriteBlob(ctx, s.Client.ContentStore(), "demo-"+d.Hex, bytes.NewReader(text),
		ocispec.Descriptor{Digest: want, Size: int64(len(text))})
}
