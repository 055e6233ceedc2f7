package rest

import (
	"context"
	"time"

	"berth/access"
	"berth/fault"
	"berth/server/api"
)

// Users looks after who may call.
type Users interface {
	PutUser(ctx context.Context, u access.User) error
	Users(ctx context.Context, account string) ([]access.User, error)
	User(ctx context.Context, account, name string) (access.User, error)
	RemoveUser(ctx context.Context, account, name string) error

	// NewKey makes a key as k says, and returns it with its secret.
	NewKey(ctx context.Context, k access.Key) (access.Key, string, error)
	Keys(ctx context.Context, account, user string) ([]access.Key, error)

	// Key returns a key and the user whose it is, or fault.NotFound. What is kept of its
	// secret does not concern this package.
	Key(ctx context.Context, id string) (access.Key, access.User, []byte, error)
	SetKey(ctx context.Context, account, id string, disabled bool) error
	RemoveKey(ctx context.Context, account, id string) error

	PutPolicy(ctx context.Context, account, principal, name string, p access.Policy) error
	PoliciesOf(ctx context.Context, account, principal string) (map[string]access.Policy, error)
	RemovePolicy(ctx context.Context, account, principal, name string) error

	Quota(ctx context.Context, account string) (access.Quota, error)
	SetQuota(ctx context.Context, account string, q access.Quota) error

	// AuditLog returns at most limit records, newest first, of before a position, if that is
	// not 0; of an account, if that is not "".
	AuditLog(ctx context.Context, account string, before int64, limit int) ([]access.Record, error)
}

// userOperations are those of users, keys, policies and quotas.
func (s *server) userOperations() []operation {
	return []operation{
		call(s, "GET", "/whoami", "Say who calls", 200, s.whoAmI),
		call(s, "POST", "/users", "Make a user", 201, s.putUser),
		call(s, "GET", "/users", "List users", 200, s.users),
		call(s, "GET", "/users/:name", "Describe a user", 200, s.user),
		call(s, "DELETE", "/users/:name", "Forget a user, with their keys and policies", 204, s.removeUser),
		call(s, "POST", "/users/:name/keys", "Make an access key or a token; its secret is shown once", 201, s.newKey),
		call(s, "GET", "/users/:name/keys", "List a user's keys, without their secrets", 200, s.keys),
		call(s, "PATCH", "/keys/:id", "Disable a key, or enable it again", 204, s.setKey),
		call(s, "DELETE", "/keys/:id", "Forget a key", 204, s.removeKey),
		call(s, "GET", "/users/:name/policies", "List a user's policies", 200, s.userPolicies),
		call(s, "PUT", "/users/:name/policies/:policy", "Give a user a policy, in place of the one of that name", 200, s.putUserPolicy),
		call(s, "DELETE", "/users/:name/policies/:policy", "Take a policy from a user", 204, s.removeUserPolicy),
		call(s, "GET", "/roles/:name/policies", "List a role's policies", 200, s.rolePolicies),
		call(s, "PUT", "/roles/:name/policies/:policy", "Give a role a policy, in place of the one of that name", 200, s.putRolePolicy),
		call(s, "DELETE", "/roles/:name/policies/:policy", "Take a policy from a role", 204, s.removeRolePolicy),
		call(s, "GET", "/quotas/:account", "Say what an account may have at a time", 200, s.quota),
		call(s, "PUT", "/quotas/:account", "Set what an account may have at a time", 200, s.putQuota),
		call(s, "GET", "/audit", "Read the audit log, newest first", 200, s.audit),
	}
}

func (s *server) whoAmI(ctx context.Context, _ *none) (*api.Caller, error) {
	who := access.From(ctx)
	return &api.Caller{Account: who.Account, Region: who.Region, ARN: who.ARN, UserID: who.UserID, Key: who.Key, Admin: who.Admin}, nil
}

// accountIn says whose things are meant.
type accountIn struct {
	Account string `query:"account" doc:"The caller's if left out; another's only for admins"`
}

// of returns the account that is meant, if the caller may mean it.
func of(ctx context.Context, account string) (string, error) {
	who := access.From(ctx)
	switch {
	case account == "" || account == who.Account:
		return who.Account, nil
	case !access.IsAccount(account):
		return "", fault.At("account", "must have 12 digits, not %q", account)
	case !who.Admin:
		return "", fault.New(fault.Denied, "User: %s is not authorized for account %s", who.ARN, account)
	}
	return account, nil
}

type putUserIn struct{ Body api.UserRequest }

func (s *server) putUser(ctx context.Context, in *putUserIn) (*access.User, error) {
	account, err := of(ctx, in.Body.Account)
	if err != nil {
		return nil, err
	}
	if in.Body.Admin && !access.From(ctx).Admin {
		return nil, fault.New(fault.Denied, "only admins of this server can make another")
	}
	u := access.User{Account: account, Name: in.Body.Name, Admin: in.Body.Admin, CreatedAt: s.Now().UTC()}
	if err := u.Validate(); err != nil {
		return nil, err
	}
	return &u, s.Users.PutUser(ctx, u)
}

func (s *server) users(ctx context.Context, in *accountIn) (*api.UserList, error) {
	account := in.Account
	if who := access.From(ctx); account != "" || !who.Admin { // An admin who names none sees all.
		var err error
		if account, err = of(ctx, account); err != nil {
			return nil, err
		}
	}
	all, err := s.Users.Users(ctx, account)
	return &api.UserList{Users: some(all)}, err
}

type userIn struct {
	Name string `path:"name"`
	accountIn
}

func (s *server) user(ctx context.Context, in *userIn) (*access.User, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	u, err := s.Users.User(ctx, account, in.Name)
	return &u, err
}

func (s *server) removeUser(ctx context.Context, in *userIn) (*none, error) {
	u, err := s.user(ctx, in)
	if err != nil {
		return nil, err
	}
	if u.Admin && !access.From(ctx).Admin {
		return nil, fault.New(fault.Denied, "only admins of this server can remove one")
	}
	return nil, s.Users.RemoveUser(ctx, u.Account, u.Name)
}

type newKeyIn struct {
	userIn
	Body api.KeyRequest `required:"false"`
}

func (s *server) newKey(ctx context.Context, in *newKeyIn) (*api.NewKey, error) {
	u, err := s.user(ctx, &in.userIn)
	if err != nil {
		return nil, err
	}
	if u.Admin && !access.From(ctx).Admin { // It would be a way to become one.
		return nil, fault.New(fault.Denied, "only admins of this server can make keys of one")
	}
	k := access.Key{Kind: in.Body.Kind, Account: u.Account, User: u.Name, CreatedAt: s.Now().UTC()}
	switch k.Kind {
	case "":
		k.Kind = access.Bearer
	case access.Bearer, access.AccessKey:
	default:
		return nil, fault.At("kind", "must be TOKEN or ACCESS_KEY, not %q", k.Kind)
	}
	if days := in.Body.ExpiresInDays; days != nil {
		if *days < 1 || *days > 3650 {
			return nil, fault.At("expiresInDays", "must be from 1 to 3650")
		}
		k.ExpiresAt = k.CreatedAt.Add(time.Duration(*days) * 24 * time.Hour)
	}
	made, secret, err := s.Users.NewKey(ctx, k)
	return &api.NewKey{Key: made, Secret: secret}, err
}

func (s *server) keys(ctx context.Context, in *userIn) (*api.KeyList, error) {
	u, err := s.user(ctx, in)
	if err != nil {
		return nil, err
	}
	all, err := s.Users.Keys(ctx, u.Account, u.Name)
	return &api.KeyList{Keys: some(all)}, err
}

type keyIn struct {
	ID string `path:"id"`
	accountIn
}

// changeable returns the account of a key that the caller may change: those of the server's
// admins are not for the admins of an account.
func (s *server) changeable(ctx context.Context, in *keyIn) (string, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return "", err
	}
	k, u, _, err := s.Users.Key(ctx, in.ID)
	switch {
	case err != nil:
		return "", err
	case k.Account != account:
		return "", fault.New(fault.NotFound, "no key %s", in.ID)
	case u.Admin && !access.From(ctx).Admin:
		return "", fault.New(fault.Denied, "only admins of this server can change the keys of one")
	}
	return account, nil
}

type setKeyIn struct {
	keyIn
	Body api.KeyChange
}

func (s *server) setKey(ctx context.Context, in *setKeyIn) (*none, error) {
	account, err := s.changeable(ctx, &in.keyIn)
	if err != nil {
		return nil, err
	}
	if in.Body.Disabled == nil {
		return nil, fault.At("disabled", "it is missing")
	}
	return nil, s.Users.SetKey(ctx, account, in.ID, *in.Body.Disabled)
}

func (s *server) removeKey(ctx context.Context, in *keyIn) (*none, error) {
	account, err := s.changeable(ctx, in)
	if err != nil {
		return nil, err
	}
	return nil, s.Users.RemoveKey(ctx, account, in.ID)
}

// policyIn is a policy of a user or a role. Its body is the policy, or the name of one that
// every account has, as a JSON text.
type policyIn struct {
	userIn
	Policy string `path:"policy"`
}

type putPolicyIn struct {
	policyIn
	Body access.Policy
}

// decode lets package access read the policy.
func (in *putPolicyIn) decode(body []byte) (err error) {
	in.Body, err = access.ParsePolicy(body)
	return err
}

func (s *server) userPolicies(ctx context.Context, in *userIn) (*api.PolicyList, error) {
	u, err := s.user(ctx, in)
	if err != nil {
		return nil, err
	}
	return s.policies(ctx, u.Account, "user/"+u.Name)
}

func (s *server) policies(ctx context.Context, account, principal string) (*api.PolicyList, error) {
	all, err := s.Users.PoliciesOf(ctx, account, principal)
	return &api.PolicyList{Policies: all}, err
}

func (s *server) putUserPolicy(ctx context.Context, in *putPolicyIn) (*access.Policy, error) {
	u, err := s.user(ctx, &in.userIn)
	if err != nil {
		return nil, err
	}
	return s.putPolicy(ctx, u.Account, "user/"+u.Name, in)
}

func (s *server) putPolicy(ctx context.Context, account, principal string, in *putPolicyIn) (*access.Policy, error) {
	if err := (access.User{Account: account, Name: in.Policy}).Validate(); err != nil {
		return nil, fault.At("policy", "its name has 1 to 64 letters, digits and +=,.@_-")
	}
	return &in.Body, s.Users.PutPolicy(ctx, account, principal, in.Policy, in.Body)
}

func (s *server) removeUserPolicy(ctx context.Context, in *policyIn) (*none, error) {
	u, err := s.user(ctx, &in.userIn)
	if err != nil {
		return nil, err
	}
	return nil, s.Users.RemovePolicy(ctx, u.Account, "user/"+u.Name, in.Policy)
}

func (s *server) rolePolicies(ctx context.Context, in *userIn) (*api.PolicyList, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	return s.policies(ctx, account, "role/"+in.Name)
}

func (s *server) putRolePolicy(ctx context.Context, in *putPolicyIn) (*access.Policy, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	if err := (access.User{Account: account, Name: in.Name}).Validate(); err != nil {
		return nil, err
	}
	return s.putPolicy(ctx, account, "role/"+in.Name, in)
}

func (s *server) removeRolePolicy(ctx context.Context, in *policyIn) (*none, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	return nil, s.Users.RemovePolicy(ctx, account, "role/"+in.Name, in.Policy)
}

type quotaIn struct {
	Account string `path:"account" doc:"12 digits"`
}

func (s *server) quota(ctx context.Context, in *quotaIn) (*access.Quota, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	q, err := s.Users.Quota(ctx, account)
	return &q, err
}

type putQuotaIn struct {
	quotaIn
	Body access.Quota
}

func (s *server) putQuota(ctx context.Context, in *putQuotaIn) (*access.Quota, error) {
	account, err := of(ctx, in.Account)
	if err != nil {
		return nil, err
	}
	if q := in.Body; q.VCPU < 0 || q.Tasks < 0 || q.Requests < 0 {
		return nil, fault.New(fault.Invalid, "no quota can be below 0; 0 is no limit")
	}
	return &in.Body, s.Users.SetQuota(ctx, account, in.Body)
}

type auditIn struct {
	accountIn
	Before int  `query:"before" minimum:"0" doc:"Records before this position"`
	Limit  *int `query:"limit" minimum:"1" maximum:"1000" doc:"100 if left out"`
}

func (s *server) audit(ctx context.Context, in *auditIn) (*api.AuditPage, error) {
	account := in.Account
	if who := access.From(ctx); account != "" || !who.Admin { // An admin who names none sees all.
		var err error
		if account, err = of(ctx, account); err != nil {
			return nil, err
		}
	}
	limit := limitMax
	if in.Limit != nil {
		limit = *in.Limit
	}
	all, err := s.Users.AuditLog(ctx, account, int64(in.Before), limit)
	page := &api.AuditPage{Records: some(all)}
	if len(all) == limit {
		page.Before = all[len(all)-1].Seq
	}
	return page, err
}
