package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"time"

	"berth/access"
	"berth/access/session"
	"berth/fault"
	"berth/roles"
	"berth/server/aws/sts"
	"berth/server/aws/wire"
	"berth/store"
	"berth/task"
)

// sessionKeyFile is the key that sessions are made with. Without it none counts any more.
const sessionKeyFile = "sessions.key"

// newSessions returns who makes temporary credentials.
func newSessions(c serverConfig) (*session.Keeper, error) {
	key, err := stateKey(c.StateDir, sessionKeyFile)
	if err != nil {
		return nil, err
	}
	// What was given out while everybody was believed counts for nothing once nobody is.
	who := "everybody is believed"
	if c.Door.Auth {
		who = "callers prove who they are"
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(who))
	return session.New(h.Sum(nil), time.Now)
}

// newSTS returns the Security Token Service. On a server that believes everybody, an access
// key that is an account's ID is that account's, and any other the server's.
func newSTS(c serverConfig, sessions *session.Keeper, st *store.Store) wire.Service {
	return sts.New(sts.Config{Issuer: sessions, Account: func(ctx context.Context, key string) (string, error) {
		if c.Door.Auth {
			k, _, _, err := st.Key(ctx, key)
			return k.Account, err
		}
		if access.IsAccount(key) {
			return key, nil
		}
		return c.Account, nil
	}})
}

// believed lets who has a session token of this server be who that says, also where
// everybody is believed without.
func believed(sessions *session.Keeper, next func(*http.Request, []byte, string) (access.Identity, error)) func(*http.Request, []byte, string) (access.Identity, error) {
	return func(r *http.Request, body []byte, service string) (access.Identity, error) {
		who, err := next(r, body, service)
		token := r.Header.Get("X-Amz-Security-Token")
		if token == "" {
			token = r.URL.Query().Get("X-Amz-Security-Token")
		}
		if err != nil || token == "" {
			return who, err
		}
		_, holder, err := sessions.Session(r.Context(), who.Key, token)
		if fault.KindOf(err) == fault.Unauthenticated {
			return who, nil // of another server, which nobody asked about
		}
		holder.Region, holder.Admin = who.Region, who.Admin
		return holder, err
	}
}

// taskRoles has the credentials of tasks' roles from this server's own STS. A task is in its
// own account, whatever account the ARN of its role names: a definition that was written for
// AWS has that of AWS.
type taskRoles struct {
	sessions *session.Keeper
	store    *store.Store
}

// Credentials is part of metadata.Roles.
func (r taskRoles) Credentials(ctx context.Context, role, id string) (roles.Credentials, error) {
	_, name, ok := session.ParseRole(role)
	if !ok {
		return roles.Credentials{}, fault.New(fault.Invalid, "role %s cannot be assumed: it is not the ARN of a role", role)
	}
	t, err := r.store.Task(ctx, task.ID(id))
	if err != nil {
		return roles.Credentials{}, err
	}
	c, err := r.sessions.Issue(session.Role(t.Realm().Account, name, id), roleLasts)
	return roles.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.Secret, Token: c.Token, Expiration: c.Expiration}, err
}

// roleLasts is how long the credentials of a task count: as on Fargate, six hours. SDKs ask
// for others before.
const roleLasts = 6 * time.Hour
