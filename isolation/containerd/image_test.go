//go:build e2e

package containerd_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/isolation/containerd"
)

// importImage makes an image of the tests, from nothing but the probe, that declares
// those volumes, and returns its digest reference.
func (s *stage) importImage(ctx context.Context, c *client.Client, name string, volumes ...string) (string, error) {
	ctx, release, err := c.WithLease(namespaces.WithNamespace(ctx, containerd.Namespace))
	if err != nil {
		return "", err
	}
	defer release(context.WithoutCancel(ctx))
	layer, err := s.layer()
	if err != nil {
		return "", err
	}
	store := c.ContentStore()
	add := func(mediaType string, blob []byte, labels map[string]string) (ocispec.Descriptor, error) {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(blob), Size: int64(len(blob))}
		err := content.WriteBlob(ctx, store, "test-"+d.Digest.String(), bytes.NewReader(blob), d, content.WithLabels(labels))
		return d, err
	}
	layerDesc, err := add(ocispec.MediaTypeImageLayer, layer, map[string]string{"containerd.io/uncompressed": digest.FromBytes(layer).String()})
	if err != nil {
		return "", err
	}
	declared := make(map[string]struct{})
	for _, v := range volumes {
		declared[v] = struct{}{}
	}
	config, err := json.Marshal(ocispec.Image{
		Platform: platforms.DefaultSpec(),
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDesc.Digest}},
		Config: ocispec.ImageConfig{
			Entrypoint: []string{"/probe"}, Cmd: []string{"exit", "0"}, WorkingDir: "/work/here",
			Env:     []string{"FROM=image", "BOTH=image"},
			Volumes: declared,
		},
	})
	if err != nil {
		return "", err
	}
	configDesc, err := add(ocispec.MediaTypeImageConfig, config, nil)
	if err != nil {
		return "", err
	}
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configDesc, Layers: []ocispec.Descriptor{layerDesc},
	})
	if err != nil {
		return "", err
	}
	target, err := add(ocispec.MediaTypeImageManifest, manifest, map[string]string{
		"containerd.io/gc.ref.content.config": configDesc.Digest.String(),
		"containerd.io/gc.ref.content.l.0":    layerDesc.Digest.String(),
	})
	if err != nil {
		return "", err
	}
	img, err := c.ImageService().Create(ctx, images.Image{Name: "test/" + name + ":latest", Target: target})
	if err != nil {
		return "", err
	}
	return "test/" + name + "@" + target.Digest.String(), client.NewImage(c, img).Unpack(ctx, s.config.Snapshotter)
}

var imageCount atomic.Int64

// imageWith returns an image that declares those volumes, for as long as the test runs.
func imageWith(t *testing.T, volumes ...string) string {
	t.Helper()
	c, err := shared.dial()
	if err != nil {
		t.Fatal(err)
	}
	ctx := namespaces.WithNamespace(context.Background(), containerd.Namespace)
	name := fmt.Sprint("volumes", imageCount.Add(1))
	t.Cleanup(func() {
		defer c.Close()
		if err := c.ImageService().Delete(ctx, "test/"+name+":latest"); err != nil && !errdefs.IsNotFound(err) {
			t.Error(err)
		}
	})
	ref, err := shared.importImage(t.Context(), c, name, volumes...)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (s *stage) layer() ([]byte, error) {
	probe, err := os.ReadFile(filepath.Join(s.libexec, "probe"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		tar.Header
		text []byte
	}{
		{tar.Header{Name: "probe", Mode: 0o755}, probe},
		{tar.Header{Name: "i386", Mode: 0o755}, i386Program},
		{tar.Header{Name: "x32", Mode: 0o755}, x32Program},
		{tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")},
		{tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\napp:x:1001:\nextra:x:1002:app\n")},
		{tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: "data/", Mode: 0o750, Uid: 1000, Gid: 1001, Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: "data/seed", Mode: 0o640, Uid: 1000, Gid: 1001}, []byte("seed")},
		{tar.Header{Name: "to-data", Linkname: "data", Typeflag: tar.TypeSymlink}, nil},
		{tar.Header{Name: "to-proc", Linkname: "/proc", Typeflag: tar.TypeSymlink}, nil},
		{tar.Header{Name: "to-root", Linkname: "/", Typeflag: tar.TypeSymlink}, nil},
		{tar.Header{Name: "to-itself", Linkname: "to-itself", Typeflag: tar.TypeSymlink}, nil},
		{tar.Header{Name: "sly", Linkname: "../../../../../../../../etc", Typeflag: tar.TypeSymlink}, nil},
	} {
		f.Size = int64(len(f.text))
		if err := w.WriteHeader(&f.Header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
