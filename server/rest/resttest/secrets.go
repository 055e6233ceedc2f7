package resttest

import (
	"context"
	"slices"
	"strings"

	"berth/fault"
	"berth/server/api"
	"berth/task"
)

// PutSecret is rest.Secrets. It keeps no value.
func (f *Fake) PutSecret(_ context.Context, name string, value []byte) (api.SecretInfo, error) {
	if err := task.ValidateSecretName(name); err != nil {
		return api.SecretInfo{}, err
	}
	if len(value) == 0 {
		return api.SecretInfo{}, fault.New(fault.Invalid, "the secret is empty")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := api.SecretInfo{Name: strings.TrimPrefix(name, "/"), CreatedAt: f.now, UpdatedAt: f.now, SizeBytes: len(value)}
	if i := f.indexSecret(name); i >= 0 {
		s.CreatedAt = f.kept[i].CreatedAt
		f.kept[i] = s
		return s, nil
	}
	f.kept = append(f.kept, s)
	slices.SortFunc(f.kept, func(a, b api.SecretInfo) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

func (f *Fake) indexSecret(name string) int {
	return slices.IndexFunc(f.kept, func(s api.SecretInfo) bool { return s.Name == strings.TrimPrefix(name, "/") })
}

// Secrets is rest.Secrets.
func (f *Fake) Secrets(context.Context) ([]api.SecretInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.kept), nil
}

// DamageSecret lets a secret's file be damaged.
func (f *Fake) DamageSecret(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.indexSecret(name); i >= 0 {
		f.kept[i].SizeBytes, f.kept[i].Damaged = 0, true
	}
}

// RemoveSecret is rest.Secrets.
func (f *Fake) RemoveSecret(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.indexSecret(name)
	if i < 0 {
		return fault.New(fault.NotFound, "there is no secret %s", name)
	}
	f.kept = slices.Delete(f.kept, i, i+1)
	return nil
}
