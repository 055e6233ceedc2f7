package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/crypto/acme"

	"berth/access"
	"berth/access/session"
	"berth/access/sigv4"
	"berth/fault"
	"berth/server/aws/wire"
	"berth/server/edge"
	"berth/store"
)

// doorConfig says who is let in, and how nobody listens on the way.
type doorConfig struct {
	Auth bool // callers prove who they are

	TLSCert, TLSKey string   // files; read again when they change
	ACMEHosts       []string // names that a certificate is got for
	ACMEDirectory   string   // URL of the authority
	ACMEEmail       string
	ACMERoots       string // file with the certificates by which the authority itself is known

	BehindProxy    bool     // a proxy in front speaks TLS
	TrustedProxies []string // addresses or CIDRs of proxies that are believed about their clients

	KeepAudit time.Duration
}

func (c *doorConfig) flags(f *pflag.FlagSet) {
	f.BoolVar(&c.Auth, "auth", false, "ask callers for a token or an access key; the first admin's are written into the state directory")
	f.StringVar(&c.TLSCert, "tls-cert", "", "`file` with the server's certificate and those above it, PEM")
	f.StringVar(&c.TLSKey, "tls-key", "", "`file` with the certificate's private key, PEM")
	f.StringSliceVar(&c.ACMEHosts, "acme-host", nil, "`name` of this server for which it gets a certificate by ACME (TLS-ALPN-01, so the port must be 443 outside); can be repeated")
	f.StringVar(&c.ACMEDirectory, "acme-directory", acme.LetsEncryptURL, "`URL` of the ACME authority")
	f.StringVar(&c.ACMEEmail, "acme-email", "", "`address` that the authority may write to")
	f.StringVar(&c.ACMERoots, "acme-ca-file", "", "`file` with the certificates by which the authority itself is known, PEM (default: the host's)")
	f.BoolVar(&c.BehindProxy, "behind-proxy", false, "a proxy in front of this server speaks TLS")
	f.StringSliceVar(&c.TrustedProxies, "trusted-proxy", []string{"127.0.0.0/8", "::1/128"}, "`address` or CIDR of a proxy that is believed about its clients, with --behind-proxy")
	c.KeepAudit = 365 * lifetimes["d"]
	f.Var(lifetime{&c.KeepAudit}, "audit-retention", "how long the audit log is kept")
}

func (c *doorConfig) check() error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fault.New(fault.Invalid, "--tls-cert and --tls-key go together")
	case c.TLSCert != "" && len(c.ACMEHosts) > 0:
		return fault.New(fault.Invalid, "--tls-cert and --acme-host exclude one another")
	case c.KeepAudit < 24*time.Hour:
		return fault.New(fault.Invalid, "--audit-retention %s: it can be 1d or more", lifetime{&c.KeepAudit})
	}
	for _, file := range []*string{&c.TLSCert, &c.TLSKey, &c.ACMERoots} {
		if *file != "" {
			var err error
			if *file, err = filepath.Abs(*file); err != nil {
				return fmt.Errorf("find %s: %w", *file, err)
			}
		}
	}
	if c.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
			return fault.Wrap(fault.Invalid, err, "--tls-cert %s and --tls-key %s cannot be used: %v", c.TLSCert, c.TLSKey, err)
		}
	}
	for i, name := range c.ACMEHosts {
		c.ACMEHosts[i] = strings.ToLower(strings.TrimSuffix(name, "."))
		if !strings.Contains(name, ".") || strings.ContainsAny(name, "*:/ ") || net.ParseIP(name) != nil {
			return fault.New(fault.Invalid, "--acme-host %q is no name in the DNS, as in berth.example.com", name)
		}
	}
	_, err := c.trusted()
	return err
}

// serves reports whether this server itself speaks TLS.
func (c *doorConfig) serves() bool { return c.TLSCert != "" || len(c.ACMEHosts) > 0 }

// encrypted reports whether nobody can listen on the way from beyond this host.
func (c *doorConfig) encrypted() bool { return c.serves() || c.BehindProxy }

// apart is the account whose tasks alone have the server's own secrets, buckets and
// credentials; "" if all have them. Where nobody proves who they are, accounts keep nothing
// from anybody.
func (c *serverConfig) apart() string {
	if !c.Door.Auth {
		return ""
	}
	return c.Account
}

// trusted returns which proxies are believed, nil if none are.
func (c *doorConfig) trusted() (func(string) bool, error) {
	var all []netip.Prefix
	for _, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fault.New(fault.Invalid, "--trusted-proxy %q is neither an address nor a CIDR", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		all = append(all, p.Masked())
	}
	if !c.BehindProxy {
		return nil, nil
	}
	return func(addr string) bool {
		a, err := netip.ParseAddr(addr)
		if err != nil {
			return false
		}
		for _, p := range all {
			if p.Contains(a.Unmap()) {
				return true
			}
		}
		return false
	}, nil
}

// door lets callers in.
type door struct {
	identify     func(r *http.Request) (access.Identity, error)
	authenticate func(r *http.Request, body []byte, service string) (access.Identity, error)
	access       access.Authorizer
	throttle     func(who access.Identity) error
	audit        func(ctx context.Context, r access.Record)
	users        users
	trusted      func(addr string) bool // a proxy; nil: there is none
	tls          *tls.Config            // nil: none
	run          func(ctx context.Context) error
}

// openDoor returns the door that c describes. With --auth and nobody in the book it makes the
// first admin.
func openDoor(ctx context.Context, c serverConfig, st *store.Store, sessions *session.Keeper, log *zap.Logger) (door, error) {
	key, err := stateKey(c.StateDir, "access.key")
	if err != nil {
		return door{}, err
	}
	seal, err := access.NewSeal(key)
	if err != nil {
		return door{}, err
	}
	trusted, err := c.Door.trusted()
	if err != nil {
		return door{}, err
	}
	d := door{users: users{st, seal}, access: access.Open{}, run: c.Door.forget(st, log)}
	d.audit = func(ctx context.Context, r access.Record) {
		if err := st.Audit(ctx, r); err != nil {
			log.Error("call not in the audit log", zap.String("request", r.EventID), zap.String("name", r.Name), zap.Error(err))
		}
	}
	limits := &access.Throttle{Quota: st.Quota, Now: time.Now}
	d.throttle = func(who access.Identity) error { return limits.Take(ctx, who) }
	if c.Door.Auth {
		a := &access.Authenticator{Book: st, Sessions: sessions, Seal: seal, Region: c.Region, Now: time.Now, Trusted: trusted}
		d.authenticate = a.Request
		d.identify = func(r *http.Request) (access.Identity, error) { return whole(a, r) }
		d.access = access.Guard{Policies: st, Now: time.Now}
		if err := d.users.first(ctx, c); err != nil {
			return door{}, err
		}
	} else {
		d.authenticate = believed(sessions, wire.Anybody(c.Account, c.Region))
		d.identify = func(r *http.Request) (access.Identity, error) {
			who := access.Identity{Account: c.Account, Region: c.Region, ARN: access.Root(c.Account), UserID: c.Account, Admin: true}
			who.Source, who.Secure = access.Origin(r, trusted)
			return who, nil
		}
	}
	d.trusted = trusted
	d.tls, err = c.Door.tls(c.StateDir, log)
	return d, err
}

// whole asks who sent r, which the native API has read already if it is signed.
func whole(a *access.Authenticator, r *http.Request) (access.Identity, error) {
	if !sigv4.Signed(r) {
		return a.Request(r, nil, "")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return access.Identity{}, fault.Wrap(fault.Invalid, err, "the request's body broke off")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return a.Request(r, body, "")
}

// audited writes down what somebody did through AWS's APIs.
func (d door) audited(ctx context.Context, done wire.Done) {
	if done.Operation.Reads {
		return
	}
	who := done.Identity
	r := access.Record{
		EventID: done.RequestID, EventTime: done.At.UTC(), Source: done.Service + ".amazonaws.com", Name: done.Operation.Name,
		Account: who.Account, Region: who.Region, Identity: access.WhoOf(who), Address: done.Source, Agent: done.Agent,
		Parameters: access.Parameters(done.Input),
	}
	for _, a := range done.Actions {
		if a.Resource != "*" {
			r.Resources = append(r.Resources, a.Resource)
		}
	}
	if done.Err != nil {
		r.ErrorCode, r.ErrorMessage = wire.CodeOf(done.Err), wire.Message(done.Err)
	}
	d.audit(ctx, r)
}

// listener speaks TLS on l if this server does.
func (d door) listener(l net.Listener) net.Listener {
	if d.tls == nil {
		return l
	}
	return tls.NewListener(l, d.tls)
}

// handler is h for those who come in here.
func (d door) handler(h http.Handler) http.Handler {
	if d.trusted == nil {
		return h
	}
	return edge.Private(h, d.trusted)
}

// forget returns what forgets old entries of the audit log.
func (c doorConfig) forget(st *store.Store, log *zap.Logger) func(context.Context) error {
	const every, atATime = time.Hour, 1000
	return func(ctx context.Context) error {
		for {
			n, err := st.PruneAudit(ctx, time.Now().Add(-c.KeepAudit), atATime)
			if err != nil && ctx.Err() == nil {
				log.Warn("audit log not pruned", zap.Error(err))
			}
			wait := every
			if n == atATime {
				wait = 0
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// users looks after who may call, for the native API.
type users struct {
	*store.Store
	seal access.Seal
}

func (u users) NewKey(ctx context.Context, k access.Key) (access.Key, string, error) {
	made, kept, secret, err := access.Issue(k, u.seal)
	if err != nil {
		return k, "", err
	}
	return made, secret, u.PutKey(ctx, made, kept)
}

// What the first admin gets, in files of the state directory that only its owner can read.
const (
	adminName        = "admin"
	adminToken       = "admin.token"       // for BERTH_TOKEN
	adminCredentials = "admin.credentials" // for AWS_SHARED_CREDENTIALS_FILE
)

// canEnter reports whether some admin has a key that counts at now.
func (u users) canEnter(ctx context.Context, now time.Time) (bool, error) {
	all, err := u.Users(ctx, "")
	if err != nil {
		return false, err
	}
	for _, each := range all {
		if !each.Admin {
			continue
		}
		keys, err := u.Keys(ctx, each.Account, each.Name)
		if err != nil || slices.ContainsFunc(keys, func(k access.Key) bool { return k.Live(now) }) {
			return err == nil, err
		}
	}
	return false, nil
}

// first makes an admin, or keys for the one it made before, if no admin can come in: at the
// first start, when a server died while it did so, and when the last key was lost or taken
// away and somebody who may start servers here wants in again. The files are written before
// the keys count.
func (u users) first(ctx context.Context, c serverConfig) error {
	now := time.Now().UTC()
	if in, err := u.canEnter(ctx, now); err != nil || in {
		return err
	}
	made, err := u.User(ctx, c.Account, adminName)
	if err == nil && !made.Admin {
		return fault.New(fault.Conflict, "no admin of this server can come in, and %s of account %s is none; start without --auth and remove that user", adminName, c.Account)
	}
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err != nil {
		if err := u.PutUser(ctx, access.User{Account: c.Account, Name: adminName, Admin: true, CreatedAt: now}); err != nil {
			return err
		}
	}
	k := access.Key{Account: c.Account, User: adminName, CreatedAt: now}
	token, access_ := k, k
	token.Kind, access_.Kind = access.Bearer, access.AccessKey
	token, tokenKept, tokenSecret, err := access.Issue(token, u.seal)
	if err != nil {
		return err
	}
	access_, accessKept, accessSecret, err := access.Issue(access_, u.seal)
	if err != nil {
		return err
	}
	credentials := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", access_.ID, accessSecret)
	for file, text := range map[string]string{adminToken: tokenSecret + "\n", adminCredentials: credentials} {
		if err := writeSecret(filepath.Join(c.StateDir, file), text); err != nil {
			return err
		}
	}
	if err := u.PutKey(ctx, token, tokenKept); err != nil { // With it another access key can be made.
		return err
	}
	return u.PutKey(ctx, access_, accessKept)
}

// writeSecret writes a file that only its owner can read, whole or not at all.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.Remove(f.Name()))
	}
	return nil
}

// ownServer makes the client one of the server with that state directory on this host: with
// its admin's token, if there is one and no other was given. It has to have the certificate
// in the file pinned, if that is not empty.
func (a *app) ownServer(stateDir, pinned string) {
	a.pinned = pinned
	if a.token != "" {
		return
	}
	if b, err := os.ReadFile(filepath.Join(stateDir, adminToken)); err == nil {
		a.token = strings.TrimSpace(string(b))
	}
}
