package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"berth/fault"
)

// Vault has secrets in a KV engine of HashiCorp Vault, version 1 or 2 (Vault HTTP API,
// "KV secrets engine").
//
// A secret of Vault is a set of fields. The value is what is in Field or, if there is no
// such field, all of them as a JSON object; the key of a reference picks one.
type Vault struct {
	Address   string // as in http://127.0.0.1:8200
	Mount     string // path of the engine, as in secret
	Version   int    // of the engine: 1 or 2
	Namespace string // of Vault Enterprise; empty: none
	Field     string
	TokenFile string // read anew for each request: Vault's agent replaces it

	Client *http.Client // made by VaultClient
}

const (
	vaultPatience = 5 * time.Second
	vaultAnswer   = 1 << 20 // most bytes that are read of an answer
	vaultSteps    = 3       // most redirections that are followed
)

// VaultClient returns the client for a Vault. It follows redirections, as a standby
// sends them, but takes the token to no other host than one of the same scheme.
func VaultClient() *http.Client {
	return &http.Client{
		Timeout: vaultPatience,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > vaultSteps || r.URL.Scheme != via[0].URL.Scheme {
				return errors.New("a redirection that is not followed")
			}
			return nil
		},
	}
}

// Value implements Source.
func (v Vault) Value(ctx context.Context, name, key string) (string, error) {
	fields, err := v.fields(ctx, name)
	if err != nil {
		return "", err
	}
	if key == "" {
		if value, ok := fields[v.Field]; ok {
			return sized(plain(value))
		}
		all, err := json.Marshal(fields)
		if err != nil {
			return "", fault.New(fault.Invalid, "the secret is no JSON")
		}
		return sized(string(all), nil)
	}
	if value, ok := fields[key]; ok {
		return sized(plain(value))
	}
	// It may be in a JSON object that was put into one field.
	if value, ok := fields[v.Field]; ok {
		text, err := plain(value)
		if err != nil {
			return "", err
		}
		return sized(pick([]byte(text), key))
	}
	return "", fault.Wrap(fault.NotFound, errNoKey, "retrieved secret from Secrets Manager did not contain json key %s", key)
}

func sized(value string, err error) (string, error) {
	if err == nil && len(value) > MaxValue {
		return "", errTooLarge(MaxValue)
	}
	return value, err
}

// fields asks Vault.
func (v Vault) fields(ctx context.Context, name string) (map[string]json.RawMessage, error) {
	token, err := os.ReadFile(v.TokenFile)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the token for Vault cannot be read")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.address(name), nil)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "Vault's address is none")
	}
	req.Header.Set("X-Vault-Token", strings.TrimSpace(string(token)))
	req.Header.Set("X-Vault-Request", "true")
	if v.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", v.Namespace)
	}
	resp, err := v.Client.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "Vault does not answer")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, vaultAnswer+1))
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, err, "Vault's answer broke off")
	case resp.StatusCode == http.StatusNotFound:
		return nil, absent(name)
	case resp.StatusCode == http.StatusForbidden:
		return nil, fault.Wrap(fault.Invalid, errDenied, "AccessDeniedException: Vault denies this server the secret (403)")
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusPreconditionFailed, resp.StatusCode >= 500:
		return nil, fault.New(fault.Unavailable, "Vault answers %d", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fault.New(fault.Invalid, "Vault answers %d", resp.StatusCode)
	case len(body) > vaultAnswer:
		return nil, errTooLarge(vaultAnswer)
	}
	return v.data(body, name)
}

// data finds the fields in an answer: in data, and of version 2 in data.data.
func (v Vault) data(body []byte, name string) (map[string]json.RawMessage, error) {
	inner := body
	for range v.Version {
		var outer struct{ Data json.RawMessage }
		if json.Unmarshal(inner, &outer) != nil {
			return nil, fault.New(fault.Unavailable, "what answers for Vault is not Vault")
		}
		inner = outer.Data
	}
	var fields map[string]json.RawMessage
	if len(inner) == 0 || json.Unmarshal(inner, &fields) != nil {
		return nil, fault.New(fault.Unavailable, "what Vault answers is not of its KV engine, version %d", v.Version)
	}
	if fields == nil { // deleted: Vault says so with a 404 and this
		return nil, absent(name)
	}
	return fields, nil
}

func (v Vault) address(name string) string {
	parts := []string{"v1"}
	parts = append(parts, strings.Split(strings.Trim(v.Mount, "/"), "/")...)
	if v.Version == 2 {
		parts = append(parts, "data")
	}
	parts = append(parts, strings.Split(name, "/")...)
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.TrimRight(v.Address, "/") + "/" + strings.Join(parts, "/")
}

// ParseVault reads what names a Vault: its address, the path of the engine (secret if
// left out) and, as a query, kv=1, namespace=NAME and field=NAME.
func ParseVault(text, tokenFile string) (Vault, error) {
	v := Vault{Mount: "secret", Version: 2, Field: "value", TokenFile: tokenFile, Client: VaultClient()}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return v, fault.New(fault.Invalid, "%q is no address of Vault, as in http://127.0.0.1:8200/secret", text)
	}
	if tokenFile == "" {
		return v, fault.New(fault.Invalid, "a file with the token for Vault is missing")
	}
	v.Address = fmt.Sprintf("%s://%s", u.Scheme, u.Host)
	if mount := strings.Trim(u.Path, "/"); mount != "" {
		v.Mount = mount
	}
	for name, values := range u.Query() {
		switch value := values[len(values)-1]; {
		case name == "kv" && slices.Contains([]string{"1", "2"}, value):
			v.Version = int(value[0] - '0')
		case name == "namespace":
			v.Namespace = value
		case name == "field" && value != "":
			v.Field = value
		default:
			return v, fault.New(fault.Invalid, "%s=%s is not known of Vault; kv=1 or kv=2, namespace=NAME and field=NAME are", name, value)
		}
	}
	return v, nil
}
