package sigv4_test

import (
	"bytes"
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
	"pgregory.net/rapid"

	"berth/access/sigv4"
)

const (
	key    = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var now = time.Date(2026, 11, 29, 2, 30, 0, 0, time.UTC)

// request returns a request as a server sees one.
func request(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.ListClusters")
	return r
}

// sign signs r as AWS's own SDK does.
func sign(t testing.TB, r *http.Request, body, secret, token string, at time.Time) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token},
		r, hex.EncodeToString(sum[:]), "ecs", "eu-west-2", at)
	if err != nil {
		t.Fatal(err)
	}
}

// receive sends r through HTTP, so that its parts are where a server finds them.
func receive(t testing.TB, r *http.Request, body string) *http.Request {
	t.Helper()
	var b bytes.Buffer
	r.Body = http.NoBody
	if body != "" {
		r.Body = readCloser{strings.NewReader(body)}
	}
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	got := httptest.NewRequest(r.Method, r.URL.RequestURI(), nil)
	got.Host, got.Header, got.ContentLength = r.Host, r.Header.Clone(), int64(len(body))
	if got.Host == "" {
		got.Host = r.URL.Host
	}
	return got
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func check(r *http.Request, body, secret string, at time.Time) error {
	s, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	return errors.Join(s.Timely(at), s.For("ecs"), s.Verify(r, []byte(body), secret))
}

// Ensure what AWS's SDK signs is taken, and nothing that differs from it in anything.
func TestHeader(t *testing.T) {
	const body = `{"maxResults":1}`
	signed := func() *http.Request {
		r := request(t, "POST", "http://localhost:8080/", body)
		sign(t, r, body, secret, "", now)
		return receive(t, r, body)
	}
	if err := check(signed(), body, secret, now); err != nil {
		t.Fatal(err)
	}
	s, err := sigv4.Parse(signed())
	if err != nil || s.Key != key || s.Region != "eu-west-2" || s.Service != "ecs" || !s.At.Equal(now) {
		t.Errorf("%+v, %v", s, err)
	}
	for name, c := range map[string]struct {
		change func(r *http.Request)
		body   string
		secret string
		at     time.Time
		want   sigv4.Reason
	}{
		"secret":        {func(*http.Request) {}, body, secret + "x", now, sigv4.Mismatch},
		"body":          {func(*http.Request) {}, body + " ", secret, now, sigv4.Mismatch},
		"method":        {func(r *http.Request) { r.Method = "GET" }, body, secret, now, sigv4.Mismatch},
		"path":          {func(r *http.Request) { r.URL.Path = "/x" }, body, secret, now, sigv4.Mismatch},
		"query":         {func(r *http.Request) { r.URL.RawQuery = "a=b" }, body, secret, now, sigv4.Mismatch},
		"host":          {func(r *http.Request) { r.Host = "other" }, body, secret, now, sigv4.Mismatch},
		"target":        {func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.StopTask") }, body, secret, now, sigv4.Mismatch},
		"unsigned":      {func(r *http.Request) { r.Header.Set("X-Amz-More", "1") }, body, secret, now, sigv4.Mismatch},
		"payload claim": {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, body, secret, now, sigv4.Mismatch},
		"token":         {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") }, body, secret, now, sigv4.Mismatch},
		"late":          {func(*http.Request) {}, body, secret, now.Add(5*time.Minute + time.Second), sigv4.Expired},
		"early":         {func(*http.Request) {}, body, secret, now.Add(-5*time.Minute - time.Second), sigv4.Expired},
		"none":          {func(r *http.Request) { r.Header.Del("Authorization") }, body, secret, now, sigv4.Missing},
		"another kind":  {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, body, secret, now, sigv4.Incomplete},
		"half":          {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c") }, body, secret, now, sigv4.Incomplete},
		"date":          {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20261128T233000Z") }, body, secret, now, sigv4.Incomplete},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed()
			c.change(r)
			err := check(r, c.body, c.secret, c.at)
			var e *sigv4.Error
			if !errors.As(err, &e) || e.Reason != c.want {
				t.Errorf("%v, want reason %d", err, c.want)
			}
		})
	}
}

// Ensure sessions' tokens are part of what is signed, and another service's signature does
// not count.
func TestSessionAndScope(t *testing.T) {
	r := request(t, "POST", "http://localhost/", "")
	sign(t, r, "", secret, "session", now)
	got := receive(t, r, "")
	if s, err := sigv4.Parse(got); err != nil || s.Token != "session" || s.Verify(got, nil, secret) != nil {
		t.Errorf("%+v, %v", s, err)
	}
	s, err := sigv4.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	var e *sigv4.Error
	if err := s.For("logs"); !errors.As(err, &e) || e.Reason != sigv4.Scope {
		t.Errorf("%v", err)
	}
	got.Header.Set("X-Amz-Security-Token", "another")
	if err := s.Verify(got, nil, secret); err == nil {
		t.Error("another session's token counts")
	}
}

// Ensure presigned requests count as long as they say and no longer.
func TestPresigned(t *testing.T) {
	presigned := func(seconds string) *http.Request {
		r, err := http.NewRequest("GET", "http://localhost:8080/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires="+seconds, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(nil)
		uri, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, r,
			hex.EncodeToString(sum[:]), "ecs", "eu-west-2", now)
		if err != nil {
			t.Fatal(err)
		}
		got := httptest.NewRequest("GET", uri, nil)
		got.RequestURI = ""
		return got
	}
	for _, c := range []struct {
		seconds string
		at      time.Time
		ok      bool
	}{
		{"900", now, true}, {"900", now.Add(15 * time.Minute), true}, {"900", now.Add(15*time.Minute + time.Second), false},
		{"60", now.Add(-4 * time.Minute), true}, {"60", now.Add(-6 * time.Minute), false},
		{"604801", now, false}, {"36028797018964028", now, false}, // 2^55+60: in nanoseconds it is a minute again
		{"-1", now, false}, {"x", now, false},
	} {
		if err := check(presigned(c.seconds), "", secret, c.at); (err == nil) != c.ok {
			t.Errorf("%s s at %v: %v", c.seconds, c.at.Sub(now), err)
		}
	}
	r := presigned("900")
	q := r.URL.Query()
	q.Set("Action", "AssumeRole")
	r.URL.RawQuery = q.Encode()
	if err := check(r, "", secret, now); err == nil {
		t.Error("a query that was changed counts")
	}
}

// Ensure any path, query and header that the SDK signs is taken.
func TestAnyRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,12}`)
		body := rapid.String().Draw(t, "body")
		r, err := http.NewRequest("POST", "http://localhost:8080/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path = "/" + rapid.StringMatching(`[a-zA-Z0-9:/_.~ -]{0,20}`).Draw(t, "path")
		q := r.URL.Query()
		for range rapid.IntRange(0, 4).Draw(t, "parameters") {
			q.Add(rapid.StringMatching(`[A-Za-z.0-9]{1,6}`).Draw(t, "name"), text.Draw(t, "value"))
		}
		r.URL.RawQuery = q.Encode()
		r.Header.Set("X-Amz-Meta", text.Draw(t, "header"))
		r.Header.Add("X-Amz-List", text.Draw(t, "first"))
		r.Header.Add("X-Amz-List", text.Draw(t, "second"))
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, r,
			hex.EncodeToString(sum[:]), "ecs", "eu-west-2", now); err != nil {
			t.Fatal(err)
		}
		r.ContentLength = int64(len(body))
		r.Host = r.URL.Host
		if err := check(r, body, secret, now); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzParse looks for headers that break the parser, and for any that count without the
// secret.
func FuzzParse(f *testing.F) {
	r := request(f, "POST", "http://localhost/", "")
	sign(f, r, "", secret, "", now)
	f.Add(r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/20261129/r/s/aws4_request, SignedHeaders=host, Signature=00", "20261129T023000Z", "X-Amz-Algorithm=AWS4-HMAC-SHA256")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		s, err := sigv4.Parse(r)
		if err != nil {
			if !errors.As(err, new(*sigv4.Error)) {
				t.Fatalf("%T", err)
			}
			return
		}
		if s.Verify(r, nil, "a secret that nobody signed with") == nil {
			t.Error("it counts")
		}
	})
}
