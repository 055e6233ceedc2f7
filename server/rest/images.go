package rest

import (
	"context"
	"io"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

type importIn struct {
	Tag    string    `query:"tag" doc:"What to call the image; as the archive says if left out"`
	Stream io.Reader `accept:"application/x-tar,application/octet-stream,application/gzip,application/vnd.oci.image.layout.v1+tar"`
}

func (s *server) importImage(ctx context.Context, in *importIn) (*api.ImageList, error) {
	images, err := s.Images.Import(ctx, in.Tag, in.Stream)
	return &api.ImageList{Images: some(images)}, err
}

func (s *server) images(ctx context.Context, _ *none) (*api.ImageList, error) {
	images, err := s.Images.Images(ctx)
	return &api.ImageList{Images: some(images)}, err
}

type removeImageIn struct {
	Name  string `path:"name" doc:"Its slashes may stand as they are"`
	Force bool   `query:"force" doc:"Also if a task needs it; the task keeps what it has"`
}

func (s *server) removeImage(ctx context.Context, in *removeImageIn) (*none, error) {
	return nil, s.Images.Remove(ctx, in.Name, in.Force)
}

type pullIn struct {
	Body api.PullRequest
}

// pull streams progress until the image is here. The pull goes on without its
// reader if tasks wait for it too, and only then.
func (s *server) pull(ctx context.Context, in *pullIn, out *stream[task.PullProgress]) error {
	if in.Body.Image == "" {
		return fault.At("image", "it is missing")
	}
	for p, err := range s.Images.Pull(ctx, in.Body.Image) {
		if err != nil {
			return err
		}
		if err := out.send("", "pull", p, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) pulls(ctx context.Context, _ *none, out *stream[api.PullList]) error {
	if err := out.begin(); err != nil {
		return err
	}
	for ps, err := range s.Images.Pulls(ctx) {
		if err != nil {
			return err
		}
		if err := out.send("", "pulls", api.PullList{Pulls: some(ps)}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) collect(ctx context.Context, _ *none) (*api.Collected, error) {
	c, err := s.Images.Collect(ctx)
	c.Removed = some(c.Removed)
	return &c, err
}
