// Package session makes the temporary credentials that STS gives out, and knows them again.
//
// Nothing is kept of them: a session token is what the server needs to know, encrypted with
// a key that only it has, and the secret follows from the token's key ID and end. So any
// number can be out, a restart forgets none, and a copy of the database gives none away.
// They cannot be taken back before they end; a role whose policies are removed may do
// nothing from then on.
package session

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/access"
	"berth/fault"
)

// Limits of sessions (STS API, AssumeRole and GetSessionToken).
const (
	Shortest = 15 * time.Minute
	Longest  = 12 * time.Hour // of a role
	Default  = time.Hour
	Chained  = time.Hour // of a role that a session assumes, at most
)

// Credentials are what a program signs its requests with.
type Credentials struct {
	AccessKeyID string // ASIA and 16 characters
	Secret      string // 40 characters
	Token       string
	Expiration  time.Time // whole seconds
}

// Keeper makes sessions and knows them again.
type Keeper struct {
	seal   cipher.AEAD
	secret []byte // that secrets are made with
	now    func() time.Time
}

// New returns a Keeper with a key of 32 random bytes. Servers with the same key know each
// other's sessions.
func New(key []byte, now func() time.Time) (*Keeper, error) {
	derive := func(use string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte("berth/session/" + use))
		return h.Sum(nil)
	}
	block, err := aes.NewCipher(derive("token"))
	if err != nil {
		return nil, fmt.Errorf("use the key of sessions: %w", err)
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("use the key of sessions: %w", err)
	}
	return &Keeper{seal, derive("secret"), now}, nil
}

// claims are what a token says.
type claims struct {
	Account string `json:"a"`
	ARN     string `json:"r"`
	UserID  string `json:"u"`
	Ends    int64  `json:"e"` // seconds since 1970
}

// Issue makes credentials for who, that count for d.
func (k *Keeper) Issue(who access.Identity, d time.Duration) (Credentials, error) {
	c := Credentials{AccessKeyID: newKey(who.Account), Expiration: k.now().Add(d).UTC().Truncate(time.Second)}
	text, err := json.Marshal(claims{who.Account, who.ARN, who.UserID, c.Expiration.Unix()})
	if err != nil {
		return Credentials{}, fmt.Errorf("encode session: %w", err)
	}
	nonce := make([]byte, k.seal.NonceSize())
	rand.Read(nonce)
	c.Token = base64.StdEncoding.EncodeToString(k.seal.Seal(nonce, nonce, text, []byte(c.AccessKeyID)))
	c.Secret = k.secretOf(c.AccessKeyID, c.Expiration.Unix())
	return c, nil
}

// Session returns the secret of a temporary access key and who its holder is. What is not a
// session of this server's, or has ended, is fault.Unauthenticated.
func (k *Keeper) Session(_ context.Context, key, token string) (secret string, who access.Identity, err error) {
	sealed, err := base64.StdEncoding.DecodeString(token)
	n := k.seal.NonceSize()
	if err != nil || len(sealed) < n {
		return "", who, invalid()
	}
	text, err := k.seal.Open(nil, sealed[:n], sealed[n:], []byte(key))
	if err != nil {
		return "", who, invalid()
	}
	var c claims
	if err := json.Unmarshal(text, &c); err != nil {
		return "", who, fmt.Errorf("decode session: %w", err)
	}
	if !k.now().Before(time.Unix(c.Ends, 0)) {
		return "", who, fault.New(fault.Unauthenticated, "The security token included in the request is expired")
	}
	return k.secretOf(key, c.Ends), access.Identity{Account: c.Account, ARN: c.ARN, UserID: c.UserID, Key: key}, nil
}

func invalid() error {
	return fault.New(fault.Unauthenticated, "The security token included in the request is invalid.")
}

func (k *Keeper) secretOf(key string, ends int64) string {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte(key + "/" + strconv.FormatInt(ends, 10)))
	return base64.StdEncoding.EncodeToString(h.Sum(nil)[:30])
}

// kind begins the IDs of temporary access keys (IAM user guide, "IAM identifiers").
const kind = "ASIA"

var alphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

// newKey returns a fresh ID of a temporary access key, in which its account is.
func newKey(account string) string {
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil {
		n = 0
	}
	id := make([]byte, 13)
	binary.BigEndian.PutUint64(id, n<<24) // 40 bits
	rand.Read(id[5:10])
	return kind + alphabet.EncodeToString(id[:10])
}

// AccountOf returns the account of a temporary access key, as its ID says. ok is false if it
// is none.
func AccountOf(key string) (account string, ok bool) {
	text, ok := strings.CutPrefix(key, kind)
	id, err := alphabet.DecodeString(text)
	if !ok || err != nil || len(id) != 10 {
		return "", false
	}
	n := binary.BigEndian.Uint64(append([]byte{0, 0, 0}, id[:5]...))
	return fmt.Sprintf("%012d", n), true
}

// Role returns who somebody is in a role of an account: its name without its path, in a
// session of that name.
func Role(account, name, session string) access.Identity {
	sum := sha256.Sum256([]byte("arn:aws:iam::" + account + ":role/" + name))
	return access.Identity{
		Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + name + "/" + session,
		UserID: "AROA" + strings.ToUpper(hex.EncodeToString(sum[:]))[:17] + ":" + session,
	}
}

// ParseRole reads the ARN of a role: its account and its name without its path.
func ParseRole(arn string) (account, name string, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:iam::")
	if !ok {
		return "", "", false
	}
	account, path, ok := strings.Cut(rest, ":role/")
	name = path[strings.LastIndexByte(path, '/')+1:]
	if !ok || !access.IsAccount(account) || name == "" {
		return "", "", false
	}
	return account, name, true
}
