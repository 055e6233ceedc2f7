//go:build e2e

package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	imagename "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"berth/fault"
)

// saved returns what docker save would write.
func saved(t *testing.T, images map[string]v1.Image) []byte {
	t.Helper()
	byTag := make(map[imagename.Tag]v1.Image)
	for n, img := range images {
		byTag[must(imagename.NewTag(n))] = img
	}
	var b bytes.Buffer
	if err := tarball.MultiWrite(byTag, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// laidOut returns an OCI layout as a tar archive.
func laidOut(t *testing.T, add func(p layout.Path) error) []byte {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := add(p); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// named is the annotation that gives an image its name in a layout.
func named(name string) layout.Option {
	return layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name})
}

func other() string { return map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH] }

func TestImport(t *testing.T) {
	a, b := picture(runtime.GOARCH, 5000, 2), picture(runtime.GOARCH, 5000, 1)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: picture(other(), 5000, 1), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: other()}}},
		mutate.IndexAddendum{Add: a, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	for _, c := range []struct {
		name    string
		archive []byte
		tag     string
		want    []string
	}{
		{"docker", saved(t, map[string]v1.Image{"example.com/a:1": a}), "", []string{"example.com/a:1"}},
		{"docker, several", saved(t, map[string]v1.Image{"example.com/a:1": a, "b": b}), "", []string{"docker.io/library/b:latest", "example.com/a:1"}},
		{"docker, tag", saved(t, map[string]v1.Image{"example.com/a:1": a}), "mine:2", []string{"docker.io/library/mine:2"}},
		{"docker, gzip", gzipped(t, saved(t, map[string]v1.Image{"a": a})), "", []string{"docker.io/library/a:latest"}},
		{"layout", laidOut(t, func(p layout.Path) error { return p.AppendImage(a, named("example.com/a:1")) }), "", []string{"example.com/a:1"}},
		{"layout, gzip", gzipped(t, laidOut(t, func(p layout.Path) error { return p.AppendImage(a, named("a:1")) })), "", []string{"docker.io/library/a:1"}},
		{"layout, bare tag", laidOut(t, func(p layout.Path) error { return p.AppendImage(a, named("latest")) }), "mine", []string{"docker.io/library/mine:latest"}},
		{"layout, several", laidOut(t, func(p layout.Path) error {
			return errors.Join(p.AppendImage(a, named("a:1")), p.AppendImage(b, named("b:1")))
		}), "", []string{"docker.io/library/a:1", "docker.io/library/b:1"}},
		{"layout, index", laidOut(t, func(p layout.Path) error { return p.AppendIndex(index, named("a:1")) }), "", []string{"docker.io/library/a:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newStore(t)
			for range 2 {
				got, err := s.Import(t.Context(), bytes.NewReader(c.archive), c.tag)
				if err != nil || len(got) != len(c.want) {
					t.Fatalf("got %+v, %v", got, err)
				}
			}
			list, err := s.List(t.Context())
			if err != nil || len(list) != len(c.want) {
				t.Fatalf("list: %+v, %v", list, err)
			}
			for i, img := range list {
				if img.Name != c.want[i] || !img.Imported || img.SizeBytes < 5000 || img.UsedAt.IsZero() {
					t.Errorf("got %+v, want %s", img, c.want[i])
				}
				// No registry is asked, and none of these exists.
				ref, err := s.Pull(t.Context(), img.Name)
				if err != nil || !strings.HasSuffix(ref, "@"+img.Digest) {
					t.Errorf("pull: %s, %v", ref, err)
				}
				s.verify(ref, false)
				if ok, err := s.usable(t.Context(), ref); !ok || err != nil {
					t.Errorf("%s is not unpacked: %v", ref, err)
				}
			}
			// Imported images stay when others are collected.
			if _, err := s.Collect(t.Context(), -time.Hour); err != nil {
				t.Fatal(err)
			}
			if again, err := s.List(t.Context()); err != nil || len(again) != len(list) {
				t.Errorf("after Collect: %+v, %v", again, err)
			}
		})
	}
}

// The content of an image comes through: here from the archive to the snapshot.
func TestImportSharesLayersWithPulled(t *testing.T) {
	s, _ := newStore(t)
	h := newHub(t)
	img := picture(runtime.GOARCH, 5000, 2)
	ref := h.host + "/app@" + h.put(t, "app", "latest", img)
	pull(t, s, h.host+"/app", ref)
	got, err := s.Import(t.Context(), bytes.NewReader(laidOut(t, func(p layout.Path) error { return p.AppendImage(img) })), "mine")
	if err != nil || len(got) != 1 || !strings.HasSuffix(ref, got[0].Digest) {
		t.Fatalf("got %+v, %v, want the digest of %s", got, err, ref)
	}
	if err := s.Remove(t.Context(), h.host+"/app", false); err != nil {
		t.Fatal(err)
	}
	mine, err := s.Pull(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	s.verify(mine, false)
	if ok, err := s.usable(t.Context(), mine); !ok || err != nil {
		t.Errorf("the imported image lost what it shared: %v", err)
	}
}

func TestImportRefuses(t *testing.T) {
	good := saved(t, map[string]v1.Image{"a": picture(runtime.GOARCH, 5000, 1)})
	ownLayer := func(layer string) []byte {
		img := picture(runtime.GOARCH, 5000, 1)
		dir := t.TempDir()
		p := must(layout.Write(dir, empty.Index))
		if err := p.AppendImage(img, named("a:1")); err != nil {
			t.Fatal(err)
		}
		d := must(must(img.Layers())[0].Digest())
		path := filepath.Join(dir, "blobs", "sha256", d.Hex)
		if layer == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(layer), 0o600); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	flipped := bytes.Clone(gzipped(t, good))
	flipped[len(flipped)-6] ^= 1
	entry := func(name, text string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
		w.Close()
		return b.Bytes()
	}
	for _, c := range []struct {
		name    string
		archive []byte
		tag     string
		want    string
	}{
		{"nothing", nil, "", "unrecognized image format"},
		{"not a tar", []byte(strings.Repeat("hello ", 1000)), "", "invalid tar header"},
		{"cut off", good[:len(good)/2], "", "unexpected EOF"},
		{"bad checksum", flipped, "", "gzip: invalid checksum"},
		{"other files", entry("hello.txt", "hello"), "", "unrecognized image format"},
		{"bad manifest", entry("manifest.json", "{"), "", `"manifest.json"`},
		{"missing config", entry("manifest.json", `[{"Config":"c.json","RepoTags":["a:1"],"Layers":[]}]`), "", `"c.json" not found`},
		{"layout without index", entry("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), "", "missing index.json"},
		{"missing layer", ownLayer(""), "", " is missing"},
		{"wrong layer", ownLayer("junk"), "", " is missing"},
		{"no name", laidOut(t, func(p layout.Path) error { return p.AppendImage(picture(runtime.GOARCH, 10, 1)) }), "", "has no name"},
		{"foreign", saved(t, map[string]v1.Image{"a": picture(other(), 10, 1)}), "", "matching platform"},
		{"one tag for two", saved(t, map[string]v1.Image{"a": picture(runtime.GOARCH, 10, 1), "b": picture(runtime.GOARCH, 10, 1)}), "c", "2 images"},
		{"bad tag", good, "A B", "is not a name"},
		{"digest as tag", good, "a@" + someDigest, "digest"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newStore(t)
			got, err := s.Import(t.Context(), bytes.NewReader(c.archive), c.tag)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), c.want) {
				t.Errorf("got %+v, %v: %s", got, fault.KindOf(err), fault.Message(err))
			}
			if n, err := s.occupied(t.Context()); err != nil || n != 0 {
				t.Errorf("%d bytes are left, %v", n, err)
			}
			if left, err := s.Client.ContentStore().ListStatuses(t.Context()); err != nil || len(left) != 0 {
				t.Errorf("half blobs are left: %v, %v", left, err)
			}
			if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("list: %+v, %v", list, err)
			}
		})
	}
}

// A sender that breaks off is not a bad archive.
func TestImportBrokenSender(t *testing.T) {
	s, _ := newStore(t)
	good := saved(t, map[string]v1.Image{"a": picture(runtime.GOARCH, 50_000, 1)})
	broken := errors.New("connection reset by peer")
	_, err := s.Import(t.Context(), io.MultiReader(bytes.NewReader(good[:20_000]), failing{broken}), "")
	if !errors.Is(err, broken) || fault.KindOf(err) != fault.Internal {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestDemo(t *testing.T) {
	s, _ := newStore(t)
	var refs []string
	for _, program := range []string{"one", "one", "two"} {
		if err := s.Demo(t.Context(), []byte(program)); err != nil {
			t.Fatal(err)
		}
		ref, err := s.Pull(t.Context(), DemoName)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	if refs[0] != refs[1] || refs[1] == refs[2] {
		t.Errorf("got %v", refs)
	}
	if list, err := s.List(t.Context()); err != nil || list[0].Name != "docker.io/berth/demo:latest" || !list[0].Imported {
		t.Errorf("list: %+v, %v", list, err)
	}
}
