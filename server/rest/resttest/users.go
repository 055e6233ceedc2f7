package resttest

import (
	"context"
	"slices"

	"berth/access"
	"berth/fault"
)

// people is who may call, as far as the fake remembers it.
type people struct {
	users    []access.User
	keys     []access.Key
	policies map[string]map[string]access.Policy // account and principal → name
	quotas   map[string]access.Quota
	audited  []access.Record
}

// Audited returns what was written into the audit log.
func (f *Fake) Audited() []access.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.audited)
}

// PutUser is rest.Users.
func (f *Fake) PutUser(_ context.Context, u access.User) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users = append(f.users, u)
	return nil
}

// Users is rest.Users.
func (f *Fake) Users(_ context.Context, account string) (all []access.User, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range f.users {
		if account == "" || u.Account == account {
			all = append(all, u)
		}
	}
	return all, nil
}

// User is rest.Users.
func (f *Fake) User(_ context.Context, account, name string) (access.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, u := range f.users {
		if u.Account == account && u.Name == name {
			return u, nil
		}
	}
	return access.User{}, fault.New(fault.NotFound, "account %s has no user %s", account, name)
}

// RemoveUser is rest.Users.
func (f *Fake) RemoveUser(_ context.Context, account, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users = slices.DeleteFunc(f.users, func(u access.User) bool { return u.Account == account && u.Name == name })
	return nil
}

// NewKey is rest.Users. IDs count up, and secrets are the IDs.
func (f *Fake) NewKey(_ context.Context, k access.Key) (access.Key, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k.ID = string(k.Kind) + string(rune('1'+len(f.keys)))
	f.keys = append(f.keys, k)
	return k, "secret of " + k.ID, nil
}

// Keys is rest.Users.
func (f *Fake) Keys(_ context.Context, account, user string) (all []access.Key, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys {
		if k.Account == account && k.User == user {
			all = append(all, k)
		}
	}
	return all, nil
}

// SetKey is rest.Users.
func (f *Fake) SetKey(_ context.Context, account, id string, disabled bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, k := range f.keys {
		if k.Account == account && k.ID == id {
			f.keys[i].Disabled = disabled
			return nil
		}
	}
	return fault.New(fault.NotFound, "no key %s", id)
}

// RemoveKey is rest.Users.
func (f *Fake) RemoveKey(_ context.Context, account, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.keys)
	f.keys = slices.DeleteFunc(f.keys, func(k access.Key) bool { return k.Account == account && k.ID == id })
	if len(f.keys) == n {
		return fault.New(fault.NotFound, "no key %s", id)
	}
	return nil
}

// PutPolicy is rest.Users.
func (f *Fake) PutPolicy(_ context.Context, account, principal, name string, p access.Policy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.policies == nil {
		f.policies = make(map[string]map[string]access.Policy)
	}
	of := account + " " + principal
	if f.policies[of] == nil {
		f.policies[of] = make(map[string]access.Policy)
	}
	f.policies[of][name] = p
	return nil
}

// PoliciesOf is rest.Users.
func (f *Fake) PoliciesOf(_ context.Context, account, principal string) (map[string]access.Policy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string]access.Policy)
	for name, p := range f.policies[account+" "+principal] {
		all[name] = p
	}
	return all, nil
}

// RemovePolicy is rest.Users.
func (f *Fake) RemovePolicy(_ context.Context, account, principal, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.policies[account+" "+principal][name]; !ok {
		return fault.New(fault.NotFound, "%s has no policy %s", principal, name)
	}
	delete(f.policies[account+" "+principal], name)
	return nil
}

// Quota is rest.Users.
func (f *Fake) Quota(_ context.Context, account string) (access.Quota, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.quotas[account], nil
}

// SetQuota is rest.Users.
func (f *Fake) SetQuota(_ context.Context, account string, q access.Quota) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.quotas == nil {
		f.quotas = make(map[string]access.Quota)
	}
	f.quotas[account] = q
	return nil
}

// AuditLog is rest.Users.
func (f *Fake) AuditLog(_ context.Context, account string, before int64, limit int) (all []access.Record, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.audited) - 1; i >= 0 && len(all) < limit; i-- {
		r := f.audited[i]
		r.Seq = int64(i + 1)
		if (account == "" || r.Account == account) && (before == 0 || r.Seq < before) {
			all = append(all, r)
		}
	}
	return all, nil
}

// Key is rest.Users.
func (f *Fake) Key(_ context.Context, id string) (access.Key, access.User, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys {
		if k.ID != id {
			continue
		}
		for _, u := range f.users {
			if u.Account == k.Account && u.Name == k.User {
				return k, u, nil, nil
			}
		}
	}
	return access.Key{}, access.User{}, nil, fault.New(fault.NotFound, "no key %s", id)
}
