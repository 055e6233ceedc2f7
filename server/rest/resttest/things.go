package resttest

import (
	"context"
	"iter"
	"slices"
	"strings"

	"berth/fault"
	"berth/server/api"
	"berth/server/rest"
	"berth/task"
)

// Register is rest.Definitions.
func (f *Fake) Register(_ context.Context, _ task.Realm, d task.Definition) (task.Definition, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d.Revision = 1
	for _, old := range f.definitions {
		if old.Family == d.Family {
			d.Revision = old.Revision + 1
		}
	}
	d.ARN = f.Realm.DefinitionARN(d.Family, d.Revision)
	d.Status, d.RegisteredAt = task.Active, f.now
	f.definitions = append(f.definitions, d)
	return d, nil
}

// find returns the definition that ref names. mu is held.
func (f *Fake) find(ref string) (*task.Definition, error) {
	family, revision, err := task.ParseDefinitionRef(ref)
	if err != nil {
		return nil, err
	}
	for i := len(f.definitions) - 1; i >= 0; i-- {
		d := &f.definitions[i]
		if d.Family == family && (d.Revision == revision || revision == 0 && d.Status == task.Active) {
			return d, nil
		}
	}
	return nil, fault.New(fault.NotFound, "Unable to describe task definition.")
}

// Definition is rest.Definitions.
func (f *Fake) Definition(_ context.Context, _ task.Realm, ref string) (task.Definition, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.find(ref)
	if err != nil {
		return task.Definition{}, err
	}
	return *d, nil
}

// Deregister is rest.Definitions.
func (f *Fake) Deregister(_ context.Context, _ task.Realm, ref string) (task.Definition, error) {
	return f.change(ref, func(d *task.Definition) { d.Status, d.DeregisteredAt = task.Inactive, f.now })
}

// SetDefinitionTags is rest.Definitions.
func (f *Fake) SetDefinitionTags(_ context.Context, _ task.Realm, ref string, tags []task.Tag) (task.Definition, error) {
	return f.change(ref, func(d *task.Definition) { d.Tags = tags })
}

func (f *Fake) change(ref string, how func(*task.Definition)) (task.Definition, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, err := f.find(ref)
	if err != nil {
		return task.Definition{}, err
	}
	how(d)
	return *d, nil
}

// Definitions is rest.Definitions.
func (f *Fake) Definitions(_ context.Context, q rest.DefinitionFilter) ([]task.Definition, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []task.Definition
	for _, d := range f.definitions {
		if d.Status == q.Status && strings.HasPrefix(d.Family, q.FamilyPrefix) && d.ARN > q.Token {
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b task.Definition) int { return strings.Compare(a.ARN, b.ARN) })
	if q.Descending {
		slices.Reverse(all)
	}
	if len(all) > q.Limit {
		return all[:q.Limit], all[q.Limit-1].ARN, nil
	}
	return all, "", nil
}

// Images is rest.Images.
func (f *Fake) Images(context.Context) ([]task.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.images), nil
}

// SetImages says which images are here.
func (f *Fake) SetImages(images ...task.Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images = images
}

// SetPulls says which pulls go on.
func (f *Fake) SetPulls(pulls ...task.PullProgress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulls = pulls
	f.changed()
}

// Remove is rest.Images.
func (f *Fake) Remove(_ context.Context, name string, force bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.images, func(i task.Image) bool { return i.Name == name })
	switch {
	case i < 0:
		return fault.New(fault.NotFound, "no image %q is here", name)
	case f.images[i].InUse && !force:
		return fault.New(fault.Conflict, "a task needs image %q", name)
	}
	f.images = slices.Delete(f.images, i, i+1)
	return nil
}

// Collect is rest.Images.
func (f *Fake) Collect(context.Context) (api.Collected, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out api.Collected
	f.images = slices.DeleteFunc(f.images, func(i task.Image) bool {
		unused := !i.InUse && !i.Imported
		if unused {
			out.Removed, out.FreedBytes = append(out.Removed, i.Name), out.FreedBytes+i.SizeBytes
		}
		return unused
	})
	return out, nil
}

// Pull is rest.Images. Images whose name has "missing" in it are in no registry.
func (f *Fake) Pull(_ context.Context, ref string) iter.Seq2[task.PullProgress, error] {
	return func(yield func(task.PullProgress, error) bool) {
		for _, p := range []task.PullProgress{
			{Image: ref, Status: "RESOLVING"},
			{Image: ref, Status: "DOWNLOADING", DoneBytes: 512 << 10, TotalBytes: 1 << 20},
			{Image: ref, Status: "DONE", Digest: "sha256:" + strings.Repeat("0", 64), DoneBytes: 1 << 20, TotalBytes: 1 << 20},
		} {
			if p.Status == "DOWNLOADING" && strings.Contains(ref, "missing") {
				yield(p, fault.New(fault.NotFound, "CannotPullContainerError: %s: not found", ref))
				return
			}
			if p.Layers = []task.LayerProgress{}; !yield(p, nil) {
				return
			}
		}
	}
}

// Pulls is rest.Images.
func (f *Fake) Pulls(ctx context.Context) iter.Seq2[[]task.PullProgress, error] {
	return func(yield func([]task.PullProgress, error) bool) {
		for {
			f.mu.Lock()
			pulls, grown := slices.Clone(f.pulls), f.grown
			f.mu.Unlock()
			if !yield(pulls, nil) {
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}
}
