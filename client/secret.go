package client

import (
	"bytes"
	"context"
	"net/url"

	"berth/server/api"
)

// PutSecret keeps a secret, in place of the one that was there.
func (c *Client) PutSecret(ctx context.Context, name string, value []byte) (api.SecretInfo, error) {
	var s api.SecretInfo
	r := request{method: "PUT", path: secretPath(name), stream: bytes.NewReader(value), media: octets}
	err := c.call(ctx, r, &s)
	return s, err
}

// Secrets returns what may be known of the secrets that the server keeps.
func (c *Client) Secrets(ctx context.Context) ([]api.SecretInfo, error) {
	var list api.SecretList
	err := c.call(ctx, request{method: "GET", path: "/secrets"}, &list)
	return list.Secrets, err
}

// RemoveSecret forgets a secret.
func (c *Client) RemoveSecret(ctx context.Context, name string) error {
	return c.call(ctx, request{method: "DELETE", path: secretPath(name)}, nil)
}

// octets is the media type of bytes that are what they are.
const octets = "application/octet-stream"

func secretPath(name string) string { return "/secrets/" + url.PathEscape(name) }
