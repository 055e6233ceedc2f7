// Package roles has the credentials in which tasks act: the same ones for every role,
// from a file, or those that an STS gives for each.
//
// The rule: a secret is in memory or in a file that nobody but its owner can read, and
// in no log and no error.
package roles

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"berth/fault"
)

// Credentials are what a program signs its requests with.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	Token           string
	Expiration      time.Time // whoever has them asks again before that
}

// lasts is how long credentials count that do not say, before they are asked for again.
const lasts = time.Hour

// File has the credentials in a file for every role: JSON with AccessKeyId,
// SecretAccessKey and, if they are temporary, Token or SessionToken and Expiration; or
// that under "Credentials", as "aws sts" prints it. It is read each time, so that it can
// be replaced.
type File struct {
	Path string
	Now  func() time.Time
}

// Credentials returns what the file says. If it cannot be used, the error is
// fault.Invalid.
func (f File) Credentials(context.Context, string, string) (Credentials, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return Credentials{}, f.unusable("cannot be read", err)
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return Credentials{}, fmt.Errorf("look at credentials file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return Credentials{}, f.unusable(fmt.Sprintf("can be read by others: its mode is %04o, and has to be 0600", st.Mode().Perm()), nil)
	}
	type entry struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		SessionToken    string
		Expiration      time.Time
	}
	var text struct {
		entry
		Credentials *entry
	}
	if err := json.NewDecoder(file).Decode(&text); err != nil {
		return Credentials{}, f.unusable("is not the JSON of credentials", nil) // The error could tell of the secret.
	}
	e := text.entry
	if text.Credentials != nil {
		e = *text.Credentials
	}
	if e.AccessKeyID == "" || e.SecretAccessKey == "" {
		return Credentials{}, f.unusable("has no AccessKeyId and SecretAccessKey", nil)
	}
	if e.Token == "" {
		e.Token = e.SessionToken
	}
	now := f.Now()
	if e.Expiration.IsZero() {
		e.Expiration = now.Add(lasts)
	}
	if !e.Expiration.After(now) {
		return Credentials{}, f.unusable("has credentials that expired at "+e.Expiration.UTC().Format(time.RFC3339), nil)
	}
	return Credentials{AccessKeyID: e.AccessKeyID, SecretAccessKey: e.SecretAccessKey, Token: e.Token, Expiration: e.Expiration}, nil
}

// unusable says what is wrong with the file to tasks, and to the operator where it is.
func (f File) unusable(what string, cause error) error {
	if cause == nil {
		cause = fmt.Errorf("file %s", f.Path)
	}
	return fault.Wrap(fault.Invalid, cause, "this server's file of credentials %s", what)
}
