package access

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"berth/access/sigv4"
	"berth/fault"
)

// Sessions knows the credentials that STS gave out.
type Sessions interface {
	// Session returns the secret of a temporary access key and who its holder is, by the
	// session token, or fault.Unauthenticated.
	Session(ctx context.Context, key, token string) (secret string, who Identity, err error)
}

// Authenticator finds out who sent a request.
type Authenticator struct {
	Book     Book
	Sessions Sessions // nil: there are none
	Seal     Seal     // of secrets of access keys
	Region   string   // of calls that do not say
	Now      func() time.Time

	// Trusted reports whether a proxy at that address tells the truth about its clients
	// (X-Forwarded-For, X-Forwarded-Proto). nil: none does.
	Trusted func(addr string) bool
}

// Request returns who sent r, whose body is body, for a service of that signing name; "" is
// Berth's own API. Who cannot prove it is fault.Unauthenticated, for signatures with a
// *sigv4.Error as its cause.
func (a *Authenticator) Request(r *http.Request, body []byte, service string) (Identity, error) {
	var who Identity
	var err error
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		who, err = a.bearer(r.Context(), token)
	} else {
		who, err = a.signature(r, body, service)
	}
	if err != nil {
		return Identity{}, err
	}
	who.Source, who.Secure = Origin(r, a.Trusted)
	return who, nil
}

// bearer returns whose a token is.
func (a *Authenticator) bearer(ctx context.Context, token string) (Identity, error) {
	unknown := fault.New(fault.Unauthenticated, "the token is not known, or does not count any more")
	id, ok := parseToken(strings.TrimSpace(token))
	if !ok {
		return Identity{}, fault.New(fault.Unauthenticated, "this is not a token of Berth's: it begins with %s and has %d characters",
			tokenPrefix, len(tokenPrefix)+tokenID+1+tokenSecret+tokenCheck)
	}
	k, u, hash, err := a.Book.Key(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Identity{}, err
	}
	// A key that is not there costs as much as one that is.
	if !equal(HashToken(strings.TrimSpace(token)), hash) || k.Kind != Bearer || !k.Live(a.Now()) {
		return Identity{}, unknown
	}
	return identity(u, k, a.Region), nil
}

// signature returns whose signature r has.
func (a *Authenticator) signature(r *http.Request, body []byte, service string) (Identity, error) {
	if service == "" && !sigv4.Signed(r) {
		return Identity{}, fault.New(fault.Unauthenticated, "this server asks who calls, and no token was given")
	}
	s, err := sigv4.Parse(r)
	if err != nil {
		return Identity{}, refused(err)
	}
	if err := s.Timely(a.Now()); err != nil {
		return Identity{}, refused(err)
	}
	if service == "" {
		service = "execute-api" // as AWS signs APIs that are not its own
	}
	if err := s.For(service); err != nil {
		return Identity{}, refused(err)
	}
	secret, who, err := a.secretOf(r.Context(), s)
	if err != nil && fault.KindOf(err) != fault.Unauthenticated && fault.KindOf(err) != fault.NotFound {
		return Identity{}, err
	}
	// A key that is not there costs as much as one that is.
	if wrong := s.Verify(r, body, secret); err != nil {
		return Identity{}, refused(sigv4.ErrUnknown)
	} else if wrong != nil {
		return Identity{}, refused(wrong)
	}
	who.Region = s.Region
	return who, nil
}

// secretOf returns what s was made with, if it is right, and by whom.
func (a *Authenticator) secretOf(ctx context.Context, s sigv4.Signature) (string, Identity, error) {
	if s.Token != "" {
		if a.Sessions == nil {
			return "", Identity{}, fault.New(fault.Unauthenticated, "there are no sessions")
		}
		return a.Sessions.Session(ctx, s.Key, s.Token)
	}
	k, u, sealed, err := a.Book.Key(ctx, s.Key)
	if err != nil {
		return "", Identity{}, err
	}
	if k.Kind != AccessKey || !k.Live(a.Now()) {
		return "", Identity{}, fault.New(fault.Unauthenticated, "the key does not count")
	}
	secret, err := a.Seal.Open(sealed, k.ID)
	if err != nil {
		return "", Identity{}, err
	}
	return secret, identity(u, k, s.Region), nil
}

func identity(u User, k Key, region string) Identity {
	return Identity{Account: u.Account, Region: region, ARN: u.ARN(), UserID: u.ID(), Key: k.ID, Admin: u.Admin}
}

func refused(err error) error {
	var e *sigv4.Error
	if errors.As(err, &e) {
		return fault.Wrap(fault.Unauthenticated, err, "%s", e.Message)
	}
	return err
}

// Origin returns the address of who sent r and whether nobody could listen, as a trusted
// proxy in front says.
func Origin(r *http.Request, trusted func(string) bool) (source string, secure bool) {
	source, secure = hostOf(r.RemoteAddr), r.TLS != nil
	if trusted == nil || !trusted(source) {
		return source, secure
	}
	secure = strings.EqualFold(last(r.Header.Values("X-Forwarded-Proto")), "https")
	// From the right: each proxy adds who called it, and only ours are believed.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(hostOf(strings.TrimSpace(hops[i])))
		if err != nil { // Whoever wrote that is not one of ours.
			break
		}
		if source = hop.Unmap().WithZone("").String(); !trusted(source) {
			break
		}
	}
	return source, secure
}

// last is the last value of a header: what the nearest proxy wrote.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	line := lines[len(lines)-1]
	return strings.TrimSpace(line[strings.LastIndexByte(line, ',')+1:])
}

// hostOf is the address in ADDRESS:PORT, [ADDRESS]:PORT or ADDRESS.
func hostOf(addr string) string {
	if host, _, ok := cutPort(addr); ok {
		return host
	}
	return strings.Trim(addr, "[]")
}

func cutPort(addr string) (host, port string, ok bool) {
	i := strings.LastIndexByte(addr, ':')
	if i < 0 || strings.Contains(addr[:i], ":") && addr[0] != '[' {
		return "", "", false
	}
	return strings.Trim(addr[:i], "[]"), addr[i+1:], true
}

// Seal encrypts the secrets of access keys, which are needed whole to check signatures:
// AES-256-GCM, bound to the key's ID.
type Seal struct{ aead cipher.AEAD }

// NewSeal returns a Seal with a key of 32 bytes.
func NewSeal(key []byte) (Seal, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return Seal{}, fmt.Errorf("use the key of access keys: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return Seal{aead}, err
}

// Close returns what is kept of a secret.
func (s Seal) Close(secret, id string) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce)
	return s.aead.Seal(nonce, nonce, []byte(secret), []byte(id))
}

// Open is the inverse of Close. What another key or another server sealed is an error.
func (s Seal) Open(sealed []byte, id string) (string, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return "", fmt.Errorf("the secret of key %s is damaged", id)
	}
	text, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(id))
	if err != nil {
		return "", fmt.Errorf("the secret of key %s cannot be read: %w", id, err)
	}
	return string(text), nil
}
