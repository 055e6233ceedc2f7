package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"

	"berth/access"
	"berth/server/api"
)

// WhoAmI returns who the server takes the caller for.
func (c *Client) WhoAmI(ctx context.Context) (api.Caller, error) {
	var who api.Caller
	err := c.call(ctx, request{method: "GET", path: "/whoami"}, &who)
	return who, err
}

// PutUser makes a user.
func (c *Client) PutUser(ctx context.Context, r api.UserRequest) (access.User, error) {
	var u access.User
	err := c.call(ctx, request{method: "POST", path: "/users", body: r}, &u)
	return u, err
}

// Users returns the users of an account; of the caller's, or for an admin of all, if it is "".
func (c *Client) Users(ctx context.Context, account string) ([]access.User, error) {
	var list api.UserList
	err := c.call(ctx, request{method: "GET", path: "/users", query: values("account", account)}, &list)
	return list.Users, err
}

// RemoveUser forgets a user with their keys and policies.
func (c *Client) RemoveUser(ctx context.Context, account, name string) error {
	return c.call(ctx, request{method: "DELETE", path: userPath(name), query: values("account", account)}, nil)
}

// NewKey makes a key of a user. Its secret is in the answer and nowhere else.
func (c *Client) NewKey(ctx context.Context, account, user string, r api.KeyRequest) (api.NewKey, error) {
	var k api.NewKey
	err := c.call(ctx, request{method: "POST", path: userPath(user) + "/keys", query: values("account", account), body: r}, &k)
	return k, err
}

// Keys returns a user's keys without their secrets.
func (c *Client) Keys(ctx context.Context, account, user string) ([]access.Key, error) {
	var list api.KeyList
	err := c.call(ctx, request{method: "GET", path: userPath(user) + "/keys", query: values("account", account)}, &list)
	return list.Keys, err
}

// SetKey disables a key, or enables it again.
func (c *Client) SetKey(ctx context.Context, account, id string, disabled bool) error {
	return c.call(ctx, request{method: "PATCH", path: "/keys/" + url.PathEscape(id), query: values("account", account), body: api.KeyChange{Disabled: &disabled}}, nil)
}

// RemoveKey forgets a key.
func (c *Client) RemoveKey(ctx context.Context, account, id string) error {
	return c.call(ctx, request{method: "DELETE", path: "/keys/" + url.PathEscape(id), query: values("account", account)}, nil)
}

// Policies returns the policies of user/NAME or role/NAME, by their names.
func (c *Client) Policies(ctx context.Context, account, principal string) (map[string]access.Policy, error) {
	var list api.PolicyList
	err := c.call(ctx, request{method: "GET", path: principalPath(principal), query: values("account", account)}, &list)
	return list.Policies, err
}

// PutPolicy gives user/NAME or role/NAME a policy: a document, or the JSON text of the name
// of one that every account has.
func (c *Client) PutPolicy(ctx context.Context, account, principal, name string, document []byte) (access.Policy, error) {
	var p access.Policy
	err := c.call(ctx, request{method: "PUT", path: principalPath(principal) + "/" + url.PathEscape(name), query: values("account", account), body: json.RawMessage(document)}, &p)
	return p, err
}

// RemovePolicy takes a policy from user/NAME or role/NAME.
func (c *Client) RemovePolicy(ctx context.Context, account, principal, name string) error {
	return c.call(ctx, request{method: "DELETE", path: principalPath(principal) + "/" + url.PathEscape(name), query: values("account", account)}, nil)
}

// Quota returns what an account may have at a time.
func (c *Client) Quota(ctx context.Context, account string) (access.Quota, error) {
	var q access.Quota
	err := c.call(ctx, request{method: "GET", path: "/quotas/" + url.PathEscape(account)}, &q)
	return q, err
}

// SetQuota sets what an account may have at a time.
func (c *Client) SetQuota(ctx context.Context, account string, q access.Quota) error {
	return c.call(ctx, request{method: "PUT", path: "/quotas/" + url.PathEscape(account), body: q}, nil)
}

// Audit yields the audit log, newest first: of an account, or of the caller's, or for an
// admin of all if it is "".
func (c *Client) Audit(ctx context.Context, account string) iter.Seq2[access.Record, error] {
	return func(yield func(access.Record, error) bool) {
		for before := int64(0); ; {
			query := values("account", account)
			if before > 0 {
				query.Set("before", strconv.FormatInt(before, 10))
			}
			var page api.AuditPage
			if err := c.call(ctx, request{method: "GET", path: "/audit", query: query}, &page); err != nil {
				yield(access.Record{}, err)
				return
			}
			for _, r := range page.Records {
				if !yield(r, nil) {
					return
				}
			}
			if before = page.Before; before == 0 {
				return
			}
		}
	}
}

func userPath(name string) string { return "/users/" + url.PathEscape(name) }

// principalPath is where the policies of user/NAME or role/NAME are.
func principalPath(principal string) string {
	kind, name := "users", principal
	if len(principal) > 5 {
		switch principal[:5] {
		case "user/":
			name = principal[5:]
		case "role/":
			kind, name = "roles", principal[5:]
		}
	}
	return "/" + kind + "/" + url.PathEscape(name) + "/policies"
}
