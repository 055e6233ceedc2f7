package images

import (
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"berth/fault"
)

// name is an image name, normalised as Docker does it: busybox is
// docker.io/library/busybox:latest. It has a tag or a digest, not both: a digest
// says more than the tag beside it.
type name struct {
	repository string // with its registry, docker.io/library/busybox
	tag        string
	digest     digest.Digest
}

func parseName(s string) (name, error) {
	ref, err := reference.ParseDockerRef(s) // It drops the tag beside a digest.
	if err != nil {
		return name{}, err
	}
	n := name{repository: ref.Name()}
	switch ref := ref.(type) {
	case reference.Canonical:
		n.digest = ref.Digest()
	case reference.NamedTagged:
		n.tag = ref.Tag()
	}
	return n, nil
}

// String returns the name of the record that n means.
func (n name) String() string {
	if n.digest != "" {
		return n.at(n.digest)
	}
	return n.repository + ":" + n.tag
}

// at returns a digest reference in the repository of n.
func (n name) at(d digest.Digest) string { return n.repository + "@" + d.String() }

// Normalise returns an image's name in full, as PullProgress and List have it:
// docker.io/library/busybox:latest for busybox. A name that cannot be one is
// fault.Invalid, at the field image.
func Normalise(image string) (string, error) {
	n, err := parseName(image)
	if err != nil {
		return "", fault.At("image", "%q is not an image name: %v", image, err)
	}
	return n.String(), nil
}
