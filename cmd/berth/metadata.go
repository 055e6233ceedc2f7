package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"berth/access/session"
	"berth/fault"
	"berth/isolation/containerd"
	"berth/roles"
	"berth/server/metadata"
	"berth/store"
)

// asked is where tasks ask about themselves.
type asked struct {
	listener net.Listener
	handler  http.Handler
	names    metadata.Names
}

func openMetadata(ctx context.Context, c serverConfig, st *store.Store, sessions *session.Keeper, host *containerd.Runtime, snapshotter string, log *zap.Logger) (asked, error) {
	secret, err := metadataKey(c.StateDir)
	if err != nil {
		return asked{}, err
	}
	clock, err := newClock()
	if err != nil {
		return asked{}, err
	}
	names := metadata.Names{Secret: secret}
	credentials, whose := c.roles(), c.apart()
	if credentials == nil { // Berth's own are of each task's account.
		credentials, whose = taskRoles{sessions, st}, ""
	}
	handler := metadata.New(metadata.Config{
		Tasks: st, Host: host, Snapshotter: snapshotter, Clock: clock.state, Protection: protection{st, time.Now},
		Roles: credentials, Account: whose, Names: names, Log: log, Now: time.Now,
	})
	l, err := host.MetadataListener(ctx)
	if err != nil {
		return asked{}, err
	}
	return asked{metadata.Limit(l), handler, names}, nil
}

const metadataKeyFile = "metadata.key"

// metadataKey returns the secret behind the paths of tasks' credentials, and makes it
// first if there is none: tasks outlive the server, and so do their paths.
func metadataKey(stateDir string) ([]byte, error) { return stateKey(stateDir, metadataKeyFile) }

// stateKey returns the 32 random bytes in a file of the state directory, and makes them
// first if they are not there. Only the owner can read them.
func stateKey(stateDir, file string) ([]byte, error) {
	const size = 32
	path := filepath.Join(stateDir, file)
	key, err := os.ReadFile(path)
	if err == nil && len(key) == size {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	key = make([]byte, size)
	rand.Read(key)
	f, err := os.CreateTemp(stateDir, file+".") // mode 0600
	if err == nil {
		_, err = f.Write(key)
		if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
			err = os.Rename(f.Name(), path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", file, err)
	}
	return key, nil
}

// roles returns who has the credentials of tasks' roles, nil if this server's own STS has.
func (c *serverConfig) roles() metadata.Roles {
	var own roles.Source
	if c.TaskCredentials != "" {
		own = roles.File{Path: c.TaskCredentials, Now: time.Now}
	}
	switch {
	case c.STSEndpoint != "":
		if own == nil {
			// Those that imitate an STS want some, whatever they are, and LocalStack takes
			// twelve digits for the account.
			own = roles.Fixed{AccessKeyID: c.Account, SecretAccessKey: "berth"}
		}
		return roles.NewSTS(c.STSEndpoint, c.Region, own, time.Now)
	case own != nil:
		return own
	}
	return nil
}

// checkRoles refuses a file without credentials and what is not the URL of an STS.
func (c *serverConfig) checkRoles() error {
	if c.STSEndpoint != "" {
		u, err := url.Parse(c.STSEndpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fault.New(fault.Invalid, "--sts-endpoint %q is not a URL, as in http://127.0.0.1:4566", c.STSEndpoint)
		}
	}
	if c.TaskCredentials != "" {
		var err error
		if c.TaskCredentials, err = filepath.Abs(c.TaskCredentials); err != nil {
			return fmt.Errorf("find credentials file: %w", err)
		}
		if _, err := (roles.File{Path: c.TaskCredentials, Now: time.Now}).Credentials(context.Background(), "", ""); err != nil {
			return fault.Wrap(fault.Invalid, err, "--task-credentials %s: %s", c.TaskCredentials, fault.Message(err))
		}
	}
	return nil
}
