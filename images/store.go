// Package images turns names into digests, and digests into root file systems on
// this host: it pulls from registries, imports from archives, lists, removes and
// collects.
//
// The rule: what Pull returned stays here as long as an unfinished task needs it.
// An image is kept by a record under its digest reference, name@sha256:…; a tag
// is a second record that points to the same content and may move. While content
// is on its way a lease keeps it. Everything else containerd's garbage collector
// may take, so a crash at any instant leaves nothing that does not go away.
package images

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	containerdlog "github.com/containerd/log"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
)

// The labels of Berth's records in containerd.
const (
	labelImported = "berth/imported" // on images: no registry is asked about this name
	labelUsed     = "berth/used-at"  // on digest records: when it was last pulled for a task
	labelHold     = "berth/hold"     // on leases: content that is on its way
)

// holdFor is how long content on its way is kept when the process that held it is
// gone and was never started again.
const holdFor = 24 * time.Hour

// usedGrain is how exact the time of last use is. Not every start of a task has
// to be written down.
const usedGrain = time.Minute

// Config is what New needs. All fields but DockerConfig and HostsDir are required.
type Config struct {
	Client       *client.Client // of containerd; its default namespace holds the images
	Snapshotter  string         // that root file systems are unpacked with
	DockerConfig string         // path of a Docker config.json with credentials; "" for none
	HostsDir     string         // directory of mirrors and certificates, laid out as containerd's certs.d; "" for none

	// Backoff is the waits between attempts when a registry fails for now. Its
	// length is the number of repetitions.
	Backoff []time.Duration

	// InUse returns the names and digest references of the images that
	// unfinished tasks need. A task must be in it before its Pull is called.
	InUse func(ctx context.Context) ([]string, error)

	Log *zap.Logger
	Now func() time.Time
}

// Store is the images on this host. Its methods are safe for concurrent use.
type Store struct {
	Config
	http     *http.Client
	platform platforms.MatchComparer
	quiet    *containerdlog.Entry // for containerd's libraries, which say in errors what matters

	mu       sync.Mutex
	flights  map[string]*flight // by normalised name
	landed   []*flight          // the last ones that ended, oldest first
	count    uint64             // of flights that ever began
	verified map[string]bool    // digest references that were seen unpacked
	flying   sync.WaitGroup

	// removing is held while the use of images is looked up and unused ones are
	// deleted, and shared while a Pull makes sure that its image is still there.
	removing sync.RWMutex
}

// New returns a Store. It does nothing by itself; call Sweep before the first
// use, and Close after the last.
func New(c Config) *Store {
	mute := logrus.New()
	mute.SetOutput(io.Discard)
	return &Store{
		Config:   c,
		http:     &http.Client{Transport: newTransport()},
		platform: platforms.Default(),
		quiet:    logrus.NewEntry(mute),
		flights:  make(map[string]*flight),
		verified: make(map[string]bool),
	}
}

// Sweep lets go of what pulls and imports were holding when their process died.
func (s *Store) Sweep(ctx context.Context) error {
	held, err := s.Client.LeasesService().List(ctx, `labels."`+labelHold+`"==true`)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, l := range held {
		if err := s.Client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("delete lease: %w", err)
		}
	}
	return nil
}

// Close waits until no pull is under way any more. The pulls end when the
// contexts of those who want them end.
func (s *Store) Close() error {
	s.flying.Wait()
	s.http.CloseIdleConnections()
	return nil
}

// hold returns a context in which content that is written is kept until release.
// With now, release also removes at once what nothing else keeps.
func (s *Store) hold(ctx context.Context) (held context.Context, release func(now bool), err error) {
	l, err := s.Client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(holdFor),
		leases.WithLabels(map[string]string{labelHold: "true"}))
	if err != nil {
		return nil, nil, fmt.Errorf("create lease: %w", err)
	}
	return leases.WithLease(ctx, l.ID), func(now bool) {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		var opts []leases.DeleteOpt
		if now {
			opts = append(opts, leases.SynchronousDelete)
		}
		if err := s.Client.LeasesService().Delete(last, l, opts...); err != nil && !errdefs.IsNotFound(err) {
			s.Log.Warn("lease was not deleted; it ends by itself", zap.String("lease", l.ID), zap.Error(err))
		}
	}, nil
}

// record writes that a name means this content. It can be repeated.
func (s *Store) record(ctx context.Context, name string, target ocispec.Descriptor, labels map[string]string) error {
	img := images.Image{Name: name, Target: target, Labels: labels}
	for {
		_, err := s.Client.ImageService().Create(ctx, img)
		if errdefs.IsAlreadyExists(err) {
			_, err = s.Client.ImageService().Update(ctx, img, "target", "labels")
			if errdefs.IsNotFound(err) {
				continue // removed between the two
			}
		}
		if err != nil {
			return fmt.Errorf("record image %s: %w", name, err)
		}
		return nil
	}
}

// keep records an image under its digest reference and, if the name has a tag,
// under that. The digest comes first: a tag never means what is not kept. Until
// then ctx holds a lease on the content.
func (s *Store) keep(ctx context.Context, n name, target ocispec.Descriptor, imported bool) (ref string, err error) {
	s.removing.RLock()
	defer s.removing.RUnlock()
	ref = n.at(target.Digest)
	if err := s.record(ctx, ref, target, s.labels(imported)); err != nil {
		return "", err
	}
	if n.tag == "" {
		return ref, nil
	}
	return ref, s.record(ctx, n.String(), target, s.labels(imported))
}

// retag makes a tag mean an image that is here, unless that was removed.
func (s *Store) retag(ctx context.Context, n name, target ocispec.Descriptor) (kept bool, err error) {
	s.removing.RLock()
	defer s.removing.RUnlock()
	_, err = s.Client.ImageService().Get(ctx, n.at(target.Digest))
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for image %s: %w", n, err)
	}
	if n.tag == "" {
		return true, nil
	}
	return true, s.record(ctx, n.String(), target, s.labels(false))
}

func (s *Store) labels(imported bool) map[string]string {
	l := map[string]string{labelUsed: s.Now().UTC().Format(time.RFC3339Nano)}
	if imported {
		l[labelImported] = "true"
	}
	return l
}

// local returns the digest reference that a name means here, "" if none that is
// whole and unpacked.
func (s *Store) local(ctx context.Context, n name) (ref string, imported bool, err error) {
	img, err := s.Client.ImageService().Get(ctx, n.String())
	if errdefs.IsNotFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look for image %s: %w", n, err)
	}
	ref = n.at(img.Target.Digest)
	ok, err := s.usable(ctx, ref)
	if err != nil || !ok {
		return "", false, err
	}
	return ref, img.Labels[labelImported] != "", nil
}

// usable reports whether an image is here under its digest reference, with its
// root file system. It unpacks one that has lost it.
func (s *Store) usable(ctx context.Context, ref string) (bool, error) {
	img, err := s.Client.ImageService().Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for image %s: %w", ref, err)
	}
	s.mu.Lock()
	verified := s.verified[ref]
	s.mu.Unlock()
	if verified {
		return true, nil
	}
	full := client.NewImageWithPlatform(s.Client, img, s.platform)
	unpacked, err := full.IsUnpacked(ctx, s.Snapshotter)
	if err == nil && !unpacked {
		err = full.Unpack(ctx, s.Snapshotter)
	}
	if err != nil {
		if ctx.Err() != nil || errdefs.IsUnavailable(err) {
			return false, fmt.Errorf("unpack image %s: %w", ref, err)
		}
		s.Log.Warn("local image is not whole", zap.String("image", ref), zap.Error(err))
		return false, nil
	}
	s.verify(ref, true)
	return true, nil
}

// verify notes whether an image is known to be unpacked.
func (s *Store) verify(ref string, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is {
		s.verified[ref] = true
	} else {
		delete(s.verified, ref)
	}
}

// use notes that a task needs an image now. It reports whether the image is
// still here: it may have been removed since the name was looked up.
func (s *Store) use(ctx context.Context, ref string) (bool, error) {
	s.removing.RLock()
	defer s.removing.RUnlock()
	img, err := s.Client.ImageService().Get(ctx, ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for image %s: %w", ref, err)
	}
	now := s.Now().UTC()
	if last, err := time.Parse(time.RFC3339Nano, img.Labels[labelUsed]); err == nil && now.Sub(last).Abs() < usedGrain {
		return true, nil
	}
	img.Labels = map[string]string{labelUsed: now.Format(time.RFC3339Nano)}
	_, err = s.Client.ImageService().Update(ctx, img, "labels."+labelUsed)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("note use of image %s: %w", ref, err)
	}
	return true, nil
}
