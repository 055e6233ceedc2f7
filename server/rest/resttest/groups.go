package resttest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/fault"
	"berth/task"
)

// Groups is rest.Groups.
func (f *Fake) Groups(context.Context, task.Realm) ([]task.SecurityGroup, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.groups)
	slices.SortFunc(all, func(a, b task.SecurityGroup) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Group is rest.Groups.
func (f *Fake) Group(_ context.Context, _ task.Realm, ref string) (task.SecurityGroup, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.indexGroup(ref)
	if i < 0 {
		return task.SecurityGroup{}, fault.New(fault.NotFound, "The security group '%s' does not exist", ref)
	}
	return f.groups[i], nil
}

func (f *Fake) indexGroup(ref string) int {
	return slices.IndexFunc(f.groups, func(g task.SecurityGroup) bool { return g.ID == ref || g.Name == ref })
}

// PutGroup is rest.Groups. IDs count up.
func (f *Fake) PutGroup(_ context.Context, _ task.Realm, g task.SecurityGroup) (task.SecurityGroup, error) {
	if err := g.Validate(); err != nil {
		return g, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.indexGroup(g.Name); i >= 0 {
		g.ID = f.groups[i].ID
		f.groups[i] = g
		return g, nil
	}
	g.ID = fmt.Sprintf("sg-%017x", len(f.groups)+1)
	f.groups = append(f.groups, g)
	return g, nil
}

// RemoveGroup is rest.Groups.
func (f *Fake) RemoveGroup(ctx context.Context, in task.Realm, ref string) error {
	if _, err := f.Group(ctx, in, ref); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups = slices.Delete(f.groups, f.indexGroup(ref), f.indexGroup(ref)+1)
	return nil
}
