// Package access says who calls and what they may do. It decides for all fronts.
package access

import (
	"context"
	"regexp"
	"strings"

	"berth/task"
)

// Identity is who calls, once that is proved.
type Identity struct {
	Account string // 12 digits
	Region  string // that the call is for
	ARN     string // arn:aws:iam::ACCOUNT:user/NAME, arn:aws:iam::ACCOUNT:root or arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
	UserID  string // as STS's GetCallerIdentity tells it
	Key     string // ID of the access key or token; "" if there was none
	Admin   bool   // of this server: sees all accounts
	Source  string // address of the client; "" if it is not known
	Secure  bool   // the call came over TLS
}

// UserName is the name of the user that calls; "" for the account itself and for roles.
func (i Identity) UserName() string {
	name, ok := strings.CutPrefix(i.ARN, "arn:aws:iam::"+i.Account+":user/")
	if !ok {
		return ""
	}
	return name
}

// RoleName is the name of the role in which a session calls; "" if it is none.
func (i Identity) RoleName() string {
	rest, ok := strings.CutPrefix(i.ARN, "arn:aws:sts::"+i.Account+":assumed-role/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// Realm returns where the caller's things are, in the cluster that has no other name.
func (i Identity) Realm() task.Realm {
	return task.Realm{Account: i.Account, Region: i.Region, Cluster: task.DefaultCluster}
}

type identityKey struct{}

// With returns a context in which who calls is known. A front calls it once per request.
func With(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, i)
}

// From returns who calls; the zero Identity if no front has said.
func From(ctx context.Context) Identity {
	i, _ := ctx.Value(identityKey{}).(Identity)
	return i
}

// Action is one thing that somebody wants to do.
type Action struct {
	Name     string              // as in policies: ecs:RunTask
	Resource string              // its ARN, or * if it has none
	Context  map[string][]string // condition keys, as in aws:RequestTag/team
}

// Authorizer decides whether who may do something.
type Authorizer interface {
	// Authorize returns nil, or fault.Denied in AWS's words.
	Authorize(ctx context.Context, who Identity, a Action) error
}

// Open lets everybody do everything: a server on loopback that was not told to ask.
type Open struct{}

// Authorize is part of Authorizer.
func (Open) Authorize(context.Context, Identity, Action) error { return nil }

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// IsAccount reports whether s is the ID of an account.
func IsAccount(s string) bool { return accountID.MatchString(s) }
