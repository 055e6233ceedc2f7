package images

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// helperTimeout bounds one question to a credential helper.
const helperTimeout = 10 * time.Second

// credentials reads a Docker config.json each time it is asked, so that a login
// takes effect at once. The rules are Docker's ("docker login", credential
// helpers): a helper of the registry's own, then the general one, then what is in
// the file.
type credentials struct {
	path string
	run  context.Context // of the pull that asks; containerd's callback has none
}

type dockerConfig struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredHelpers map[string]string     `json:"credHelpers"`
	CredsStore  string                `json:"credsStore"`
}

type dockerAuth struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// lookup returns the user and the secret for a registry's host; both are empty
// for anonymous. A secret without a user is an OAuth2 refresh token.
func (c credentials) lookup(host string) (user, secret string, err error) {
	if c.path == "" {
		return "", "", nil
	}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read Docker config: %w", err)
	}
	var config dockerConfig
	if err := json.Unmarshal(text, &config); err != nil {
		return "", "", fmt.Errorf("read Docker config %s: %w", c.path, err)
	}
	keys := configKeys(host)
	for _, key := range keys {
		if helper := config.CredHelpers[key]; helper != "" {
			return c.ask(helper, key)
		}
	}
	if config.CredsStore != "" {
		for _, key := range keys {
			if user, secret, err := c.ask(config.CredsStore, key); err != nil || secret != "" {
				return user, secret, err
			}
		}
	}
	for key, auth := range config.Auths {
		if matches(key, keys) {
			return auth.open()
		}
	}
	return "", "", nil
}

// configKeys returns how a config may call a registry, best first.
func configKeys(host string) []string {
	if host == "docker.io" || host == "registry-1.docker.io" {
		return []string{"https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"}
	}
	return []string{host, "https://" + host, "http://" + host}
}

// matches reports whether a key of auths means one of these registries. Old
// configs have URLs with a path.
func matches(key string, keys []string) bool {
	bare := func(s string) string {
		if _, after, ok := strings.Cut(s, "://"); ok {
			s = after
		}
		host, _, _ := strings.Cut(s, "/")
		return host
	}
	for _, k := range keys {
		if key == k || bare(key) == bare(k) {
			return true
		}
	}
	return false
}

func (a dockerAuth) open() (user, secret string, err error) {
	if a.IdentityToken != "" {
		return "", a.IdentityToken, nil
	}
	if a.Auth == "" {
		return a.Username, a.Password, nil
	}
	plain, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		return "", "", fmt.Errorf("read Docker config: auth is not base64: %w", err)
	}
	user, secret, ok := strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
	if !ok {
		return "", "", errors.New("read Docker config: auth is not user:password")
	}
	return user, secret, nil
}

// ask runs a credential helper (docker/docker-credential-helpers, command get).
func (c credentials) ask(helper, key string) (user, secret string, err error) {
	if strings.ContainsAny(helper, "/\\") {
		return "", "", fmt.Errorf("credential helper %q is not a plain name", helper)
	}
	ctx, cancel := context.WithTimeout(c.run, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "get")
	cmd.Stdin = strings.NewReader(key)
	out, err := cmd.Output()
	if bytes.Contains(out, []byte("credentials not found")) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("credential helper %s: %w", helper, err)
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", "", fmt.Errorf("credential helper %s: %w", helper, err)
	}
	if answer.Username == "<token>" {
		answer.Username = ""
	}
	return answer.Username, answer.Secret, nil
}
