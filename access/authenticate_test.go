package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"berth/access/sigv4"
	"berth/fault"
)

// book is one user with keys.
type book struct {
	user User
	keys map[string]Key
	kept map[string][]byte
}

func (b book) Key(_ context.Context, id string) (Key, User, []byte, error) {
	k, ok := b.keys[id]
	if !ok {
		return Key{}, User{}, nil, fault.New(fault.NotFound, "no key")
	}
	return k, b.user, b.kept[id], nil
}

func world(t *testing.T) (*Authenticator, book, func(Key) (string, string)) {
	seal, err := NewSeal(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	b := book{User{Account: "123456789012", Name: "ann"}, map[string]Key{}, map[string][]byte{}}
	issue := func(k Key) (string, string) {
		k.Account, k.User = b.user.Account, b.user.Name
		made, kept, secret, err := Issue(k, seal)
		if err != nil {
			t.Fatal(err)
		}
		b.keys[made.ID], b.kept[made.ID] = made, kept
		return made.ID, secret
	}
	return &Authenticator{Book: b, Seal: seal, Region: "us-east-1", Now: func() time.Time { return now }}, b, issue
}

// Ensure tokens count as long as they are whole, enabled and not expired.
func TestBearer(t *testing.T) {
	a, b, issue := world(t)
	id, token := issue(Key{Kind: Bearer, ExpiresAt: now.Add(time.Minute)})
	ask := func(token string) (Identity, error) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		return a.Request(r, nil, "")
	}
	who, err := ask(token)
	if err != nil || who.Account != "123456789012" || who.ARN != "arn:aws:iam::123456789012:user/ann" || who.Key != id || who.UserName() != "ann" || who.Admin || who.Region != "us-east-1" {
		t.Fatalf("%+v, %v", who, err)
	}
	other := "berth_" + strings.Repeat("A", 16) + "_" + strings.Repeat("B", 32)
	for name, text := range map[string]string{
		"empty": "", "cut": token[:len(token)-1], "mistyped": token[:20] + "!" + token[21:], "unknown": other + checksum(other), "another kind": "ghp_x",
	} {
		if _, err := ask(text); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	mine := token[:23] + strings.Repeat("x", 32) // the same ID with another secret
	if _, err := ask(mine + checksum(mine)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("another secret: %v", err)
	}
	k := b.keys[id]
	k.Disabled = true
	b.keys[id] = k
	if _, err := ask(token); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("disabled: %v", err)
	}
	k.Disabled, k.ExpiresAt = false, now
	b.keys[id] = k
	if _, err := ask(token); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("expired: %v", err)
	}
	akid, secret := issue(Key{Kind: AccessKey})
	if _, err := ask(akid + secret); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an access key as a token: %v", err)
	}
}

// sessions is one temporary key.
type sessions struct{}

func (sessions) Session(_ context.Context, key, token string) (string, Identity, error) {
	if token != "good" {
		return "", Identity{}, fault.New(fault.Unauthenticated, "no")
	}
	return "temporary", Identity{Account: "123456789012", ARN: "arn:aws:sts::123456789012:assumed-role/worker/s"}, nil
}

// Ensure signatures are those of keys that count, for the service that is asked, and that a
// session's token is checked.
func TestSignatures(t *testing.T) {
	a, b, issue := world(t)
	a.Sessions = sessions{}
	id, secret := issue(Key{Kind: AccessKey})
	if !strings.HasPrefix(id, "AKIA") || len(id) != 20 || len(secret) != 40 {
		t.Errorf("%s %s", id, secret)
	}
	ask := func(key, secret, token, service string) (Identity, error) {
		r := httptest.NewRequest("POST", "http://localhost/", nil)
		sum := sha256.Sum256([]byte("{}"))
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, r,
			hex.EncodeToString(sum[:]), service, "eu-west-2", now); err != nil {
			t.Fatal(err)
		}
		return a.Request(r, []byte("{}"), "ecs")
	}
	if who, err := ask(id, secret, "", "ecs"); err != nil || who.UserName() != "ann" || who.Region != "eu-west-2" || who.Source != "192.0.2.1" {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err := ask("ASIAX", "temporary", "good", "ecs"); err != nil || who.RoleName() != "worker" || who.Region != "eu-west-2" {
		t.Errorf("%+v, %v", who, err)
	}
	reason := func(err error) sigv4.Reason {
		var e *sigv4.Error
		if fault.KindOf(err) != fault.Unauthenticated || !errors.As(err, &e) {
			t.Errorf("%v", err)
			return 99
		}
		return e.Reason
	}
	for name, c := range map[string]struct {
		key, secret, token, service string
		want                        sigv4.Reason
	}{
		"unknown key":    {"AKIAUNKNOWN", secret, "", "ecs", sigv4.Unknown},
		"wrong secret":   {id, secret + "x", "", "ecs", sigv4.Mismatch},
		"wrong service":  {id, secret, "", "logs", sigv4.Scope},
		"wrong session":  {"ASIAX", "temporary", "bad", "ecs", sigv4.Unknown},
		"session of key": {id, secret, "good", "ecs", sigv4.Mismatch},
	} {
		_, err := ask(c.key, c.secret, c.token, c.service)
		if got := reason(err); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	k := b.keys[id]
	k.Disabled = true
	b.keys[id] = k
	if _, err := ask(id, secret, "", "ecs"); reason(err) != sigv4.Unknown {
		t.Errorf("disabled: %v", err)
	}
	if _, err := a.Request(httptest.NewRequest("POST", "/", nil), nil, "ecs"); reason(err) != sigv4.Missing {
		t.Errorf("nothing: %v", err)
	}
}

// Ensure only trusted proxies are believed about their clients.
func TestOrigin(t *testing.T) {
	trusted := func(addr string) bool { return addr == "127.0.0.1" || addr == "10.0.0.1" }
	for _, c := range []struct {
		remote, forwarded, proto, source string
		secure                           bool
	}{
		{"127.0.0.1:5", "203.0.113.9", "https", "203.0.113.9", true},
		{"127.0.0.1:5", "6.6.6.6, 203.0.113.9, 10.0.0.1", "http", "203.0.113.9", false},
		{"203.0.113.7:5", "1.1.1.1", "https", "203.0.113.7", false},
		{"[2001:db8::1]:5", "", "", "2001:db8::1", false},
		{"127.0.0.1:5", "[2001:db8::1]:443", "https", "2001:db8::1", true},
		{"127.0.0.1:5", "", "https", "127.0.0.1", true},
		{"127.0.0.1:5", "203.0.113.9, unknown", "HTTPS", "127.0.0.1", true},
		{"127.0.0.1:5", "6.6.6.6, ::ffff:203.0.113.9", "http, https", "203.0.113.9", true},
		{"127.0.0.1:5", "203.0.113.9", "https, http", "203.0.113.9", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header = http.Header{"X-Forwarded-For": {c.forwarded}, "X-Forwarded-Proto": {c.proto}}
		if source, secure := Origin(r, trusted); source != c.source || secure != c.secure {
			t.Errorf("%+v: %s %t", c, source, secure)
		}
	}
}

// Ensure an account has as many requests as its quota says, and others' do not count.
func TestThrottle(t *testing.T) {
	at := now
	quota := Quota{Requests: 5}
	th := &Throttle{Quota: func(_ context.Context, account string) (Quota, error) {
		if account == "a" {
			return quota, nil
		}
		return Quota{}, nil
	}, Now: func() time.Time { return at }}
	count := func(account string, n int) (ok int) {
		for range n {
			if th.Take(t.Context(), Identity{Account: account}) == nil {
				ok++
			}
		}
		return ok
	}
	if got := count("a", 50); got != 10 {
		t.Errorf("at once: %d, want 10", got)
	}
	at = at.Add(time.Second)
	if got := count("a", 50); got != 5 {
		t.Errorf("after a second: %d, want 5", got)
	}
	if got := count("b", 50); got != 50 {
		t.Errorf("without a quota: %d", got)
	}
	quota.Requests, at = 0, at.Add(3*time.Second)
	if got := count("a", 50); got != 50 {
		t.Errorf("a quota that was taken away: %d", got)
	}
}
