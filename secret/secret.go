// Package secret turns a reference into its value: what a container's secrets and
// environment files name in its definition into variables for its environment.
//
// A definition names secrets as on AWS, by parameters of the Parameter Store and
// secrets of Secrets Manager. Here both are names, and a [Source] knows what is behind
// them: an encrypted store of the server's own, its environment, a directory, Vault.
//
// The rule: a value goes to whoever asked for it and nowhere else. No error has any
// part of one in it, and nobody here logs.
package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"berth/fault"
	"berth/task"
)

// MaxValue is the most bytes that a value may have, as in Secrets Manager (Secrets
// Manager quotas, "Secret value size").
const MaxValue = 64 << 10

// Source knows values by their names. A name has slashes between its parts and none
// before the first; see task.ValidateSecretName.
//
// An error is fault.NotFound if there is no secret of that name, fault.Unavailable if
// it is worth asking again later, and fault.Invalid if asking again would not help.
type Source interface {
	// Value returns the value of a secret or, if key is not empty, that member of it.
	Value(ctx context.Context, name, key string) (string, error)
}

// Resolver finds the variables that a container is given in confidence.
type Resolver struct {
	// Sources are asked in order; the first that has a secret answers for all. One that
	// cannot be asked now is waited for: the next one might know an older value.
	Sources []Source

	// Buckets are the directories of this host that stand for buckets of S3.
	Buckets map[string]string

	// Account is the one whose tasks have the secrets by their names and the buckets, if it
	// is not empty. The secrets of other accounts are those below the account's ID, as in
	// 222222222222/prod/db, whatever account an ARN says; they have no buckets.
	Account string
}

// Fargate's words for what went wrong before a container was made.
const (
	pulling  = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
	fromASM  = pulling + "unable to retrieve secret from asm: "
	fromSSM  = pulling + "unable to retrieve secrets from ssm: "
	envFiles = "ResourceInitializationError: failed to download env files: "
)

// Resolve returns the variables that the files and secrets of p add to its
// environment, as KEY=VALUE, each key once. Its plain variables count more than those
// of files, and among files the first that has a variable; secrets count more than
// either. Errors are those of a Source, in Fargate's words.
func (r *Resolver) Resolve(ctx context.Context, p task.ContainerPlan) ([]string, error) {
	taken := make(map[string]bool)
	for _, kv := range p.Env {
		key, _, _ := strings.Cut(kv, "=")
		taken[key] = true
	}
	var secrets []string
	known := make(map[string]string) // by valueFrom: AWS is asked once for it, too
	for _, s := range p.Secrets {
		value, ok := known[s.ValueFrom]
		if !ok {
			var err error
			if value, err = r.secret(ctx, p.Account, s.ValueFrom); err != nil {
				return nil, err
			}
			known[s.ValueFrom] = value
		}
		taken[s.Name] = true
		secrets = append(secrets, s.Name+"="+value)
	}
	var env []string
	for _, f := range p.EnvironmentFiles {
		vars, err := r.file(p.Account, f.Value)
		if err != nil {
			return nil, &fault.Error{Kind: kindOf(err), Msg: envFiles + fault.Message(err), Err: err}
		}
		for _, v := range vars {
			if !taken[v.Name] {
				taken[v.Name] = true
				env = append(env, v.Name+"="+v.Value)
			}
		}
	}
	return append(env, secrets...), nil
}

// foreign reports whether an account is not the one whose all this is.
func (r *Resolver) foreign(account string) bool { return r.Account != "" && account != r.Account }

func (r *Resolver) secret(ctx context.Context, account, valueFrom string) (string, error) {
	ref, err := task.ParseSecretRef(valueFrom)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "%s%s", pulling, fault.Message(err))
	}
	value, err := r.find(ctx, account, ref)
	if err == nil && strings.ContainsRune(value, 0) {
		err = fault.New(fault.Invalid, "the value has a NUL in it, which no variable can have")
	}
	if err == nil {
		return value, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	what, words := fault.Message(err), fromSSM
	missing := fault.KindOf(err) == fault.NotFound
	switch {
	case ref.Manager && missing && !errors.Is(err, errNoKey):
		what, words = "ResourceNotFoundException: Secrets Manager can't find the specified secret.", fromASM
	case ref.Manager:
		words = fromASM
	case missing:
		what = "invalid parameters: " + valueFrom
	}
	if ref.Manager {
		what = "failed to fetch secret " + valueFrom + " from secrets manager: " + what
	}
	return "", &fault.Error{Kind: kindOf(err), Msg: words + what, Err: err}
}

// find asks the sources by each of the names that a reference may mean.
func (r *Resolver) find(ctx context.Context, account string, ref task.SecretRef) (string, error) {
	var denied error
names:
	for _, name := range ref.Names() {
		if r.foreign(account) {
			name = account + "/" + name
		}
		for _, s := range r.Sources {
			value, err := s.Value(ctx, name, ref.Key)
			switch {
			case errors.Is(err, errDenied): // It may be so of a name that nobody meant.
				denied = errors.Join(denied, err)
				continue names
			case fault.KindOf(err) == fault.NotFound && !errors.Is(err, errNoKey):
			default:
				return value, err
			}
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", absent(ref.Name)
}

// kindOf is fault.KindOf for those who repeat what may be better later: a source that
// broke in a way of its own is one.
func kindOf(err error) fault.Kind {
	if kind := fault.KindOf(err); kind != fault.Internal {
		return kind
	}
	return fault.Unavailable
}

// errDenied is in the error of a Source that does not tell whether there is the secret.
var errDenied = errors.New("denied")

// errNoKey is in the error of a Source that has the secret, but not the member of it.
var errNoKey = errors.New("no such key")

// pick returns the member of that name of a JSON object; with no name, all of the text.
// What is no string is written as JSON. The causes of errors stay here: they would
// quote the text.
func pick(text []byte, key string) (string, error) {
	if key == "" {
		return string(text), nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil || members == nil {
		return "", fault.New(fault.Invalid, "the secret is no JSON object, so it has no key %s", key)
	}
	member, ok := members[key]
	if !ok {
		return "", fault.Wrap(fault.NotFound, errNoKey, "retrieved secret from Secrets Manager did not contain json key %s", key)
	}
	return plain(member)
}

// plain is a JSON value as a variable has it: a string without its quotes.
func plain(value json.RawMessage) (string, error) {
	var s string
	if bytes.HasPrefix(value, []byte(`"`)) && json.Unmarshal(value, &s) == nil {
		return s, nil
	}
	var out bytes.Buffer
	if json.Compact(&out, value) != nil {
		return "", fault.New(fault.Invalid, "the secret is no JSON")
	}
	return out.String(), nil
}
