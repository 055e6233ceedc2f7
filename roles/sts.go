package roles

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"berth/fault"
)

// STS has the credentials that a Security Token Service gives for each role: AWS's own,
// or one that imitates it. It keeps them until shortly before they end.
type STS struct {
	client *sts.Client
	now    func() time.Time

	mu sync.Mutex
	by map[key]*held
}

type key struct{ role, session string }

// held are the credentials of one session. Its mu is held while they are asked for.
type held struct {
	mu  sync.Mutex
	got Credentials
}

// soon is how long before their end credentials are replaced: the SDKs ask again up to
// five minutes before.
const soon = 10 * time.Minute

// Source is where an STS takes its own credentials from.
type Source interface {
	Credentials(ctx context.Context, role, session string) (Credentials, error)
}

// Fixed is a Source of one pair of keys.
type Fixed Credentials

// Credentials implements Source.
func (f Fixed) Credentials(context.Context, string, string) (Credentials, error) {
	return Credentials(f), nil
}

// NewSTS returns the STS at that URL, which is asked with the credentials of own.
func NewSTS(url, region string, own Source, now func() time.Time) *STS {
	return &STS{now: now, by: make(map[key]*held), client: sts.New(sts.Options{
		Region: region, BaseEndpoint: aws.String(url), RetryMaxAttempts: 2,
		Credentials: aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			c, err := own.Credentials(ctx, "", "")
			return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.Token}, err
		}),
	})}
}

// patience is how long an STS may take to answer. The SDKs of the tasks wait less, and
// ask again.
const patience = 10 * time.Second

// Credentials returns those of a session in a role. If the STS refuses, the error is
// fault.Invalid and says what it said.
func (s *STS) Credentials(ctx context.Context, role, session string) (Credentials, error) {
	h := s.session(key{role, session})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.got.Expiration.After(s.now().Add(soon)) {
		return h.got, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := s.client.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String(role), RoleSessionName: aws.String(session), DurationSeconds: aws.Int32(int32(lasts / time.Second)),
	})
	if err != nil {
		if h.got.Expiration.After(s.now()) && !refused(err) {
			return h.got, nil // They still count.
		}
		return Credentials{}, explain(role, err)
	}
	if out.Credentials == nil || out.Credentials.AccessKeyId == nil {
		return Credentials{}, fmt.Errorf("assume role %s: the answer has no credentials", role)
	}
	h.got = Credentials{
		AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: aws.ToString(out.Credentials.SecretAccessKey),
		Token: aws.ToString(out.Credentials.SessionToken), Expiration: aws.ToTime(out.Credentials.Expiration),
	}
	return h.got, nil
}

// session returns what is held for k, and lets go of what has ended.
func (s *STS) session(k key) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, h := range s.by {
		if other != k && h.mu.TryLock() {
			if h.got.Expiration.Before(s.now()) {
				delete(s.by, other)
			}
			h.mu.Unlock()
		}
	}
	if s.by[k] == nil {
		s.by[k] = new(held)
	}
	return s.by[k]
}

// refused reports whether the STS understood the request and said no.
func refused(err error) bool {
	var answer *smithyhttp.ResponseError
	return errors.As(err, &answer) && answer.HTTPStatusCode() >= 400 && answer.HTTPStatusCode() < 500
}

func explain(role string, err error) error {
	var api smithy.APIError
	if refused(err) && errors.As(err, &api) {
		return fault.Wrap(fault.Invalid, err, "role %s cannot be assumed: %s: %s", role, api.ErrorCode(), api.ErrorMessage())
	}
	if fault.KindOf(err) == fault.Invalid { // our own credentials
		return fault.Wrap(fault.Invalid, err, "role %s cannot be assumed: %s", role, fault.Message(err))
	}
	return fmt.Errorf("assume role %s: %w", role, err)
}
