package images

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	containerdlog "github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"

	"berth/fault"
)

// Pull makes an image available here, unpacked for this platform, and returns
// its digest reference, name@sha256:…, which stays valid as long as InUse names
// the image. It can be repeated.
//
// Like the ECS agent by default it asks the registry what a tag means now, and
// uses the copy that is here if that is the same, or if the registry cannot be
// reached. It asks nobody about imported images and about digests that are here.
// Callers with the same name share one download; it goes on while any of them
// wants it. Errors other than fault.Internal are about the image or its
// registry, in Fargate's words.
func (s *Store) Pull(ctx context.Context, image string) (ref string, err error) {
	n, err := parseName(image)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "CannotPullContainerError: %q is not an image name: %v", image, err)
	}
	for {
		f := s.join(ctx, n)
		select {
		case <-f.done:
			ref, err = f.ref, f.err
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.leave(f)
		if err != nil {
			return "", err
		}
		if here, err := s.use(ctx, ref); err != nil || here {
			return ref, err
		}
	}
}

// flight is one pull under way, for all who want it.
type flight struct {
	name    name
	number  uint64
	cancel  context.CancelFunc
	waiters int           // guarded by Store.mu
	done    chan struct{} // closed when ref and err are set
	ref     string
	err     error
	progress
}

// join returns the flight for n, a new one if there is none.
func (s *Store) join(ctx context.Context, n name) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[n.String()]
	if f == nil {
		ctx, cancel := context.WithCancel(containerdlog.WithLogger(context.WithoutCancel(ctx), s.quiet))
		s.count++
		f = &flight{name: n, number: s.count, cancel: cancel, done: make(chan struct{})}
		f.begin(n, s.Now())
		s.flights[n.String()] = f
		s.flying.Go(func() {
			f.ref, f.err = s.fly(ctx, f)
			f.end(f.err)
			s.land(f)
		})
	}
	f.waiters++
	return f
}

// leave gives up one's interest in a flight. Without any it is called off.
func (s *Store) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		s.forget(f)
	}
}

// land makes the outcome of a flight known.
func (s *Store) land(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(f)
	s.landed = append(s.landed, f)
	s.landed = s.landed[max(0, len(s.landed)-maxLanded):]
	close(f.done)
}

func (s *Store) forget(f *flight) {
	if s.flights[f.name.String()] == f {
		delete(s.flights, f.name.String())
	}
}

// fly brings the image of a flight here.
func (s *Store) fly(ctx context.Context, f *flight) (ref string, err error) {
	n := f.name
	here, imported, err := s.local(ctx, n)
	if err != nil {
		return "", err
	}
	if here != "" && (imported || n.digest != "") {
		return here, nil
	}
	resolver := s.resolver(ctx)
	var desc ocispec.Descriptor
	attempts, err := s.try(ctx, here == "", func() (err error) {
		if _, desc, err = resolver.Resolve(ctx, n.String()); err != nil {
			return resolveError(n, err)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil && here != "" && kind(err) == fault.Unavailable && !own(err) {
		s.Log.Warn("registry did not answer; the local copy is used",
			zap.Stringer("image", n), zap.String("ref", here), zap.Error(err))
		return here, nil
	}
	if err != nil {
		return "", pullFault(stepManifest, attempts, err)
	}
	f.resolved(desc)
	if ref = n.at(desc.Digest); ref == here {
		return ref, nil
	}
	// The tag means something that may be here under another tag.
	if present, err := s.usable(ctx, ref); err != nil {
		return "", err
	} else if present {
		if kept, err := s.retag(ctx, n, desc); err != nil || kept {
			return ref, err
		}
	}
	return s.fetch(ctx, f, pinned{resolver, ref, desc})
}

// fetch downloads and unpacks the image of a flight and records it. A lease keeps
// its content until both records are written: as long as only one is, a removal
// could think that nobody needs it.
func (s *Store) fetch(ctx context.Context, f *flight, from pinned) (ref string, err error) {
	held, release, err := s.hold(ctx)
	if err != nil {
		return "", err
	}
	defer func() { release(false) }()
	attempts, err := s.try(held, true, func() error { return s.download(held, f, from) })
	if err != nil {
		step := stepContent
		if kind(err) == fault.Invalid {
			step = stepManifest
		}
		return "", pullFault(step, attempts, err)
	}
	s.Log.Info("image pulled", zap.Stringer("image", f.name), zap.String("ref", from.ref),
		zap.Duration("took", s.Now().Sub(f.started())))
	return s.keep(held, f.name, from.desc, false)
}

// try does something until it succeeds, cannot succeed or was tried often
// enough, and returns how often it was tried.
func (s *Store) try(ctx context.Context, again bool, f func() error) (attempts int, err error) {
	for {
		err = f()
		attempts++
		if ctx.Err() != nil {
			return attempts, ctx.Err()
		}
		if err == nil || !again || attempts > len(s.Backoff) || own(err) || kind(err) != fault.Unavailable {
			return attempts, err
		}
		s.Log.Debug("registry failed for now", zap.Int("attempt", attempts), zap.Error(err))
		wait := time.NewTimer(s.Backoff[attempts-1])
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return attempts, ctx.Err()
		}
	}
}

// download fetches what is missing of an image and unpacks it. ctx holds the
// lease.
func (s *Store) download(ctx context.Context, f *flight, from pinned) error {
	_, err := s.Client.Pull(ctx, from.ref,
		client.WithResolver(from),
		client.WithPlatformMatcher(s.platform),
		client.WithPullUnpack,
		client.WithPullSnapshotter(s.Snapshotter),
		client.WithPullLabel(labelUsed, s.Now().UTC().Format(time.RFC3339Nano)),
		client.WithImageHandlerWrapper(func(next images.Handler) images.Handler { return s.watch(f, next) }))
	return err
}

// watch tells the flight what its image consists of and what has arrived, and
// refuses an image that is not for this platform before its layers are fetched.
func (s *Store) watch(f *flight, next images.Handler) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := next.Handle(ctx, desc)
		if err != nil {
			if strings.Contains(err.Error(), "no match for platform") { // images.LimitManifests has no error to compare with
				return nil, errPlatform
			}
			return nil, err
		}
		if images.IsManifestType(desc.MediaType) {
			f.expect(ctx, children)
		}
		if images.IsConfigType(desc.MediaType) {
			if err := s.runsHere(ctx, desc); err != nil {
				return nil, err
			}
		}
		f.arrived(desc)
		return children, nil
	}
}

// runsHere compares the platform in an image's config with this host's. A config
// that names none is taken at its word.
func (s *Store) runsHere(ctx context.Context, config ocispec.Descriptor) error {
	text, err := content.ReadBlob(ctx, s.Client.ContentStore(), config)
	if err != nil {
		return fmt.Errorf("read image config: %w", err)
	}
	var img ocispec.Image
	if err := json.Unmarshal(text, &img); err != nil {
		return fmt.Errorf("read image config: %w", err)
	}
	if img.OS != "" && img.Architecture != "" && !s.platform.Match(img.Platform) {
		return errPlatform
	}
	return nil
}
