package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash/crc32"
	"regexp"
	"strings"
	"time"

	"berth/fault"
)

// User is somebody who may call.
type User struct {
	Account   string    `json:"account" doc:"12 digits"`
	Name      string    `json:"name"`
	Admin     bool      `json:"admin" doc:"Of this server: may do everything in all accounts"`
	CreatedAt time.Time `json:"createdAt"`
}

// ARN is that of an IAM user.
func (u User) ARN() string { return "arn:aws:iam::" + u.Account + ":user/" + u.Name }

// ID is what STS calls a user's unique ID; it follows from the name.
func (u User) ID() string {
	sum := sha256.Sum256([]byte(u.ARN()))
	return "AIDA" + strings.ToUpper(hex.EncodeToString(sum[:]))[:16]
}

// userName is the form of an IAM user's name (IAM API, CreateUser).
var userName = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)

// Validate reports the first thing wrong with u.
func (u User) Validate() error {
	switch {
	case !IsAccount(u.Account):
		return fault.At("account", "must have 12 digits, not %q", u.Account)
	case !userName.MatchString(u.Name):
		return fault.At("name", "has 1 to 64 letters, digits and +=,.@_-")
	}
	return nil
}

// KeyKind is what a key is good for.
type KeyKind string

// Kinds of keys.
const (
	AccessKey KeyKind = "ACCESS_KEY" // signs, as AWS's
	Bearer    KeyKind = "TOKEN"      // is sent along
)

// Key is a key of a user. Its secret is nowhere in it.
type Key struct {
	ID        string    `json:"id"`
	Kind      KeyKind   `json:"kind" enum:"ACCESS_KEY,TOKEN"`
	Account   string    `json:"account"`
	User      string    `json:"user"`
	Disabled  bool      `json:"disabled"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt,omitzero" doc:"Left out if it does not"`
}

// Live reports whether k counts at now: it is neither disabled nor expired.
func (k Key) Live(now time.Time) bool {
	return !k.Disabled && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// draw returns n random letters, each as likely as any other.
func draw(letters string, n int) string {
	out := make([]byte, 0, n)
	limit := byte(256/len(letters)*len(letters) - 1)
	for b := make([]byte, 64); len(out) < n; {
		rand.Read(b)
		for _, c := range b {
			if c <= limit && len(out) < n {
				out = append(out, letters[int(c)%len(letters)])
			}
		}
	}
	return string(out)
}

// NewAccessKey returns an ID and a secret in the form of AWS's: 20 characters that begin
// with AKIA, and 40 (IAM user guide, "Manage access keys").
func NewAccessKey() (id, secret string) {
	return "AKIA" + draw(base32, 16), draw(base62+"+/", 40)
}

// A token is berth_ID_SECRETCHECK: 16 letters by which it is known, 32 that nobody
// guesses, and a checksum of six, so that one that was left lying about can be found and one
// that was mistyped is known without asking.
const (
	tokenPrefix = "berth_"
	tokenID     = 16
	tokenSecret = 32
	tokenCheck  = 6
)

// NewToken returns a bearer token and the ID by which it is known.
func NewToken() (id, token string) {
	id = draw(base62, tokenID)
	token = tokenPrefix + id + "_" + draw(base62, tokenSecret)
	return id, token + checksum(token)
}

func checksum(text string) string {
	n := crc32.ChecksumIEEE([]byte(text))
	out := make([]byte, tokenCheck)
	for i := range out {
		out[tokenCheck-1-i] = base62[n%62]
		n /= 62
	}
	return string(out)
}

// parseToken returns the ID of a token; false if it cannot be one.
func parseToken(token string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(rest) != tokenID+1+tokenSecret+tokenCheck || rest[tokenID] != '_' {
		return "", false
	}
	body := token[:len(token)-tokenCheck]
	return rest[:tokenID], checksum(body) == token[len(body):]
}

// HashToken is what is kept of a token. It has 190 random bits, so a plain hash is enough.
func HashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// Book remembers users and their keys.
type Book interface {
	// Key returns a key and what is kept of its secret, or fault.NotFound; and the user
	// whose it is.
	Key(ctx context.Context, id string) (Key, User, []byte, error)
}

// Quota is what an account may have at a time. Zero fields are no limit.
type Quota struct {
	VCPU     int `json:"vcpu,omitempty" minimum:"0" doc:"vCPUs of tasks that have not stopped"`
	Tasks    int `json:"tasks,omitempty" minimum:"0" doc:"Tasks that have not stopped"`
	Requests int `json:"requestsPerSecond,omitempty" minimum:"0" doc:"Requests in a second, on average; twice as many at once"`
}

// equal compares what is secret, in a time that says nothing.
func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
