package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"berth/fault"
	"berth/secret"
	"berth/server/api"
	"berth/task"
)

// secretFlags defines the flags that say where secrets and environment files are.
func (c *serverConfig) secretFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&c.Secrets, "secrets", []string{"local"}, "`source` of secrets: local, env:PREFIX, dir:/PATH or vault:http://HOST:PORT/MOUNT; "+
		"several are asked in order")
	f.StringVar(&c.VaultTokenFile, "vault-token-file", "", "`file` with the token for Vault, read anew each time")
	f.StringSliceVar(&c.S3, "s3", nil, "`BUCKET=DIR`: the directory of this host that stands for that bucket of S3 for environmentFiles; can be repeated")
}

// checkSecrets refuses what can never work.
func (c *serverConfig) checkSecrets() error {
	if c.VaultTokenFile != "" && !filepath.IsAbs(c.VaultTokenFile) { // a server in the background is elsewhere
		return fault.New(fault.Invalid, "--vault-token-file %s is not absolute", c.VaultTokenFile)
	}
	if _, err := c.secretSources(nil); err != nil {
		return err
	}
	_, err := c.buckets()
	return err
}

// secrets opens what knows the secrets of tasks, and what the server keeps itself.
func (c *serverConfig) secrets(stateDir string) (*secret.Resolver, keptSecrets, error) {
	var kept keptSecrets
	buckets, err := c.buckets()
	if err != nil {
		return nil, kept, err
	}
	if slices.Contains(c.Secrets, "local") {
		if kept.Local, err = secret.NewLocal(filepath.Join(stateDir, "secrets"), time.Now); err != nil {
			return nil, kept, err
		}
	}
	sources, err := c.secretSources(kept.Local)
	return &secret.Resolver{Sources: sources, Buckets: buckets, Account: c.apart()}, kept, err
}

// secretSources reads the flag --secrets. local is the server's own store.
func (c *serverConfig) secretSources(local *secret.Local) ([]secret.Source, error) {
	var all []secret.Source
	for _, text := range c.Secrets {
		kind, rest, _ := strings.Cut(text, ":")
		switch {
		case text == "local":
			all = append(all, local)
		case kind == "env" && rest != "": // all of the environment is nobody's secret
			all = append(all, secret.Environment{Prefix: rest, Lookup: os.LookupEnv})
		case kind == "dir" && filepath.IsAbs(rest):
			if st, err := os.Stat(rest); err != nil || !st.IsDir() {
				return nil, fault.Wrap(fault.Invalid, err, "--secrets %s: %s is no directory of this host", text, rest)
			}
			all = append(all, secret.Directory(rest))
		case kind == "vault":
			v, err := secret.ParseVault(rest, c.VaultTokenFile)
			if err != nil {
				return nil, fault.Wrap(fault.Invalid, err, "--secrets %s: %s (--vault-token-file)", text, fault.Message(err))
			}
			all = append(all, v)
		default:
			return nil, fault.New(fault.Invalid, "--secrets %q: it can be local, env:PREFIX, dir:/PATH or vault:http://HOST:PORT/MOUNT", text)
		}
	}
	return all, nil
}

// buckets returns the directories that stand for buckets of S3, by their names.
func (c *serverConfig) buckets() (map[string]string, error) {
	all := make(map[string]string)
	for _, text := range c.S3 {
		name, dir, ok := strings.Cut(text, "=")
		if !ok || !filepath.IsAbs(dir) {
			return nil, fault.New(fault.Invalid, "--s3 %q has not the form my-bucket=/srv/bucket", text)
		}
		if err := task.ValidateBucket(name); err != nil {
			return nil, fault.New(fault.Invalid, "--s3 %s: %s", text, fault.Message(err))
		}
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return nil, fault.Wrap(fault.Invalid, err, "--s3 %s: %s is no directory of this host", text, dir)
		}
		if all[name] != "" {
			return nil, fault.New(fault.Invalid, "--s3: %s is there twice", name)
		}
		all[name] = dir
	}
	return all, nil
}

// keptSecrets lets the server look after the secrets that it keeps itself.
type keptSecrets struct{ *secret.Local } // nil: it keeps none

var errNotKept = fault.New(fault.Conflict, "this server keeps no secrets itself: it was started with --secrets, and local is not among them")

func (k keptSecrets) PutSecret(ctx context.Context, name string, value []byte) (api.SecretInfo, error) {
	if k.Local == nil {
		return api.SecretInfo{}, errNotKept
	}
	i, err := k.Put(ctx, name, value)
	return asSecret(i), err
}

func (k keptSecrets) Secrets(ctx context.Context) ([]api.SecretInfo, error) {
	if k.Local == nil {
		return nil, nil
	}
	all, err := k.List(ctx)
	out := make([]api.SecretInfo, len(all))
	for i, info := range all {
		out[i] = asSecret(info)
	}
	return out, err
}

// report tells the operator which files of secrets are damaged.
func (k keptSecrets) report(ctx context.Context, log *zap.Logger) {
	if k.Local == nil {
		return
	}
	all, err := k.List(ctx)
	if err != nil {
		log.Error("secrets not looked through", zap.Error(err))
	}
	for _, i := range all {
		if i.Damaged != nil {
			log.Error("secret damaged: put it again, or remove it", zap.String("secret", i.Name), zap.Error(i.Damaged))
		}
	}
}

func (k keptSecrets) RemoveSecret(ctx context.Context, name string) error {
	if k.Local == nil {
		return errNotKept
	}
	return k.Remove(ctx, name)
}

func asSecret(i secret.Info) api.SecretInfo {
	return api.SecretInfo{Name: i.Name, CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt, SizeBytes: i.Size, Damaged: i.Damaged != nil}
}
