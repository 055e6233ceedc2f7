package access

import (
	"context"
	"fmt"
	"time"

	"berth/fault"
)

// Policies remembers what people may do.
type Policies interface {
	// PoliciesOf returns the policies of user/NAME or role/NAME of an account, by their
	// names; none if nobody has that name.
	PoliciesOf(ctx context.Context, account, principal string) (map[string]Policy, error)
}

// Guard decides by policies. Admins of the server and the accounts themselves may do
// everything; users and roles what their policies allow.
type Guard struct {
	Policies Policies
	Now      func() time.Time
}

// Authorize is part of Authorizer.
func (g Guard) Authorize(ctx context.Context, who Identity, a Action) error {
	if who.Admin || who.ARN == Root(who.Account) {
		return nil
	}
	principal := "user/" + who.UserName()
	if role := who.RoleName(); role != "" {
		principal = "role/" + role
	}
	named, err := g.Policies.PoliciesOf(ctx, who.Account, principal)
	if err != nil {
		return fmt.Errorf("read policies: %w", err)
	}
	var policies []Policy
	for _, p := range named {
		policies = append(policies, p)
	}
	on := ""
	if a.Resource != "" && a.Resource != "*" {
		on = " on resource: " + a.Resource
	}
	switch judge(policies, a, factsOf(who, a, g.Now())) {
	case allowed:
		return nil
	case denied:
		return fault.New(fault.Denied, "User: %s is not authorized to perform: %s%s with an explicit deny in an identity-based policy", who.ARN, a.Name, on)
	}
	return fault.New(fault.Denied, "User: %s is not authorized to perform: %s%s because no identity-based policy allows the %s action", who.ARN, a.Name, on, a.Name)
}

// Root is the ARN of an account itself.
func Root(account string) string { return "arn:aws:iam::" + account + ":root" }
