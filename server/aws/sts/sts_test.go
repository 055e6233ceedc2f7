package sts_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"

	"berth/access"
	"berth/access/session"
	"berth/fault"
	"berth/server/aws/sts"
	"berth/server/aws/wire"
)

// shut lets nobody do anything but assume the role open.
type shut struct{}

func (shut) Authorize(_ context.Context, who access.Identity, a access.Action) error {
	if a.Name == "sts:AssumeRole" && a.Resource != "arn:aws:iam::111122223333:role/shut" {
		return nil
	}
	return fault.New(fault.Denied, "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", who.ARN, a.Name, a.Resource, a.Name)
}

// serve returns a client of STS for whom is who.
func serve(t *testing.T, who access.Identity) (*client.Client, *session.Keeper, string) {
	keeper, err := session.New(make([]byte, 32), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	front := wire.New(wire.Config{
		Services: []wire.Service{sts.New(sts.Config{Issuer: keeper, Account: func(_ context.Context, key string) (string, error) {
			if key != "AKIAIOSFODNN7EXAMPLE" {
				return "", fault.New(fault.NotFound, "no key")
			}
			return "111122223333", nil
		}})},
		Authenticate: func(*http.Request, []byte, string) (access.Identity, error) { return who, nil }, Access: shut{},
		Log: zap.NewNop(), Now: time.Now, NewRequestID: func() string { return "request-1" },
	})
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	return client.New(client.Options{Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	}), keeper, server.URL
}

var ann = access.Identity{Account: "111122223333", Region: "eu-west-1", ARN: "arn:aws:iam::111122223333:user/ann", UserID: "AIDA1", Key: "AKIAIOSFODNN7EXAMPLE"}

// refusedAs reports which error of the API err is.
func refusedAs(err error) string {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return ""
	}
	return e.ErrorCode() + ": " + e.ErrorMessage()
}

// Ensure AWS's own client gets credentials of a role that the server knows again, and whose
// holder is who the role is.
func TestAssumeRole(t *testing.T) {
	c, keeper, _ := serve(t, ann)
	assume := func(in client.AssumeRoleInput) (*client.AssumeRoleOutput, error) {
		if in.RoleArn == nil {
			in.RoleArn = aws.String("arn:aws:iam::111122223333:role/service/open")
		}
		if in.RoleSessionName == nil {
			in.RoleSessionName = aws.String("task-1")
		}
		return c.AssumeRole(t.Context(), &in)
	}
	out, err := assume(client.AssumeRoleInput{DurationSeconds: aws.Int32(900)})
	if err != nil {
		t.Fatal(err)
	}
	if *out.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/open/task-1" || !strings.HasSuffix(*out.AssumedRoleUser.AssumedRoleId, ":task-1") {
		t.Errorf("%+v", out.AssumedRoleUser)
	}
	secret, who, err := keeper.Session(t.Context(), *out.Credentials.AccessKeyId, *out.Credentials.SessionToken)
	if err != nil || secret != *out.Credentials.SecretAccessKey || who.ARN != *out.AssumedRoleUser.Arn || who.Admin {
		t.Errorf("%+v, %v", who, err)
	}
	if left := time.Until(*out.Credentials.Expiration); left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("it ends in %s", left)
	}
	for want, in := range map[string]client.AssumeRoleInput{
		"AccessDenied: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/shut": {RoleArn: aws.String("arn:aws:iam::111122223333:role/shut")},
		"AccessDenied: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::999999999999:role/open": {RoleArn: aws.String("arn:aws:iam::999999999999:role/open")},
		"ValidationError: arn:aws:iam::111122223333:user/open is invalid":                                                                                      {RoleArn: aws.String("arn:aws:iam::111122223333:user/open")},
		"ValidationError: 1 validation error detected: Value '899' at 'DurationSeconds' failed":                                                                {DurationSeconds: aws.Int32(899)},
		"ValidationError: 1 validation error detected: Value 'a b' at 'RoleSessionName' failed":                                                                {RoleSessionName: aws.String("a b")},
		"ValidationError: A session policy is not supported":                                                                                                   {Policy: aws.String("{}")},
		"ValidationError: An MFA device is not supported":                                                                                                      {SerialNumber: aws.String("arn:aws:iam::1:mfa/x"), TokenCode: aws.String("123456")},
	} {
		if _, err := assume(in); !strings.HasPrefix(refusedAs(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	c, _, _ = serve(t, session.Role("111122223333", "open", "x"))
	if _, err := assume(client.AssumeRoleInput{DurationSeconds: aws.Int32(3601)}); !strings.Contains(refusedAs(err), "role chaining") {
		t.Error(err)
	}
	if _, err := c.GetSessionToken(t.Context(), nil); refusedAs(err) != "AccessDenied: Cannot call GetSessionToken with session credentials" {
		t.Error(err)
	}
}

// Ensure somebody without any permission may know who they are, and get a session.
func TestOneself(t *testing.T) {
	c, keeper, url := serve(t, ann)
	out, err := c.GetCallerIdentity(t.Context(), nil)
	if err != nil || *out.Account != "111122223333" || *out.Arn != ann.ARN || *out.UserId != "AIDA1" {
		t.Errorf("%+v, %v", out, err)
	}
	got, err := c.GetSessionToken(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, who, err := keeper.Session(t.Context(), *got.Credentials.AccessKeyId, *got.Credentials.SessionToken); err != nil || who.ARN != ann.ARN {
		t.Errorf("%+v, %v", who, err)
	}
	if _, err := c.GetAccessKeyInfo(t.Context(), &client.GetAccessKeyInfoInput{AccessKeyId: got.Credentials.AccessKeyId}); !strings.HasPrefix(refusedAs(err), "AccessDenied") {
		t.Error(err)
	}
	resp, err := http.Post(url, "application/x-www-form-urlencoded", strings.NewReader("Action=GetCallerIdentity&Version=2011-06-15"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/ann</Arn><UserId>AIDA1</UserId><Account>111122223333</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`
	if err != nil || string(body) != want {
		t.Errorf("%s, %v", body, err)
	}
}

// Ensure what is known and not done says so in the API's own errors.
func TestRefused(t *testing.T) {
	c, _, _ := serve(t, ann)
	_, err := c.AssumeRoleWithWebIdentity(t.Context(), &client.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String("arn:aws:iam::111122223333:role/open"), RoleSessionName: aws.String("xx"), WebIdentityToken: aws.String("token")})
	if got := refusedAs(err); !strings.HasPrefix(got, "InvalidIdentityToken") {
		t.Error(err)
	}
}
