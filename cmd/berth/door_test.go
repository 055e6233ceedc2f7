package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/zap"

	"berth/access"
	"berth/server/rest"
	"berth/server/rest/resttest"
	"berth/store/storetest"
)

// entrance is a door with --auth on a store of its own.
func entrance(t *testing.T) (users, *access.Authenticator, serverConfig) {
	t.Helper()
	seal, err := access.NewSeal(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	st := storetest.Open(t, t.TempDir())
	c := serverConfig{StateDir: t.TempDir(), Account: "123456789012", Region: "eu-west-1"}
	return users{st, seal}, &access.Authenticator{Book: st, Seal: seal, Region: c.Region, Now: time.Now}, c
}

func adminTokenIn(t *testing.T, c serverConfig) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.StateDir, adminToken))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func enters(a *access.Authenticator, token string) error {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	who, err := a.Request(r, nil, "")
	if err == nil && !who.Admin {
		return errors.New("it is no admin's")
	}
	return err
}

// Ensure the first admin can come in whenever the server died while it made them, once only,
// and that somebody who lost all keys gets another with a new start.
func TestFirstAdmin(t *testing.T) {
	ctx := t.Context()
	u, a, c := entrance(t)
	if err := u.PutUser(ctx, access.User{Account: c.Account, Name: adminName, Admin: true, CreatedAt: time.Now()}); err != nil { // and then it died
		t.Fatal(err)
	}
	if err := u.first(ctx, c); err != nil {
		t.Fatal(err)
	}
	token := adminTokenIn(t, c)
	if err := enters(a, token); err != nil {
		t.Fatalf("the first admin's token: %v", err)
	}
	if info, err := os.Stat(filepath.Join(c.StateDir, adminToken)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := u.first(ctx, c); err != nil || adminTokenIn(t, c) != token {
		t.Errorf("a second start makes another token (%v)", err)
	}
	keys, err := u.Keys(ctx, c.Account, adminName)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, k := range keys {
		if err := u.SetKey(ctx, c.Account, k.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.first(ctx, c); err != nil {
		t.Fatal(err)
	}
	if next := adminTokenIn(t, c); next == token || enters(a, next) != nil || enters(a, token) == nil {
		t.Error("who lost all keys cannot come in again, or the old one counts")
	}
}

// Ensure nobody becomes an admin by having the name of the first.
func TestFirstAdminIsNobodyElse(t *testing.T) {
	u, _, c := entrance(t)
	if err := u.PutUser(t.Context(), access.User{Account: c.Account, Name: adminName, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := u.first(t.Context(), c); err == nil {
		t.Error("a user who is no admin was given an admin's keys")
	}
}

// Ensure a signature for the native API is of the body too, and that presigned requests work.
func TestSignedNative(t *testing.T) {
	u, a, c := entrance(t)
	if err := u.PutUser(t.Context(), access.User{Account: c.Account, Name: "ann", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	key, secret, err := u.NewKey(t.Context(), access.Key{Kind: access.AccessKey, Account: c.Account, User: "ann", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	f := resttest.New()
	config := f.Config()
	config.Log, config.Identify = zap.NewNop(), func(r *http.Request) (access.Identity, error) { return whole(a, r) }
	api := rest.New(t.Context(), config)
	credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: secret}
	send := func(method, path, signed, sent string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1:8080/api/v1"+path, strings.NewReader(sent))
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = int64(len(signed)) // it is signed as well
		sum := sha256.Sum256([]byte(signed))
		if err := v4.NewSigner().SignHTTP(context.Background(), credentials, r, hex.EncodeToString(sum[:]), "execute-api", c.Region, time.Now()); err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		api.ServeHTTP(rec, r)
		return rec
	}
	const body = `{"taskDefinition":"none"}`
	if rec := send("POST", "/tasks", body, body); rec.Code != 404 { // signed well: there is no such definition
		t.Errorf("a signed request: %d %s", rec.Code, rec.Body)
	}
	if rec := send("POST", "/tasks", body, strings.Replace(body, "none", "more", 1)); rec.Code != 401 {
		t.Errorf("another body under a signature: %d %s", rec.Code, rec.Body)
	}
	if rec := send("POST", "/tasks", "", body); rec.Code != 401 {
		t.Errorf("a body under a signature of none: %d %s", rec.Code, rec.Body)
	}
	if rec := send("POST", "/tasks", "x", strings.Repeat(" ", 2<<20)); rec.Code != 413 {
		t.Errorf("a body that nobody would hold: %d %s", rec.Code, rec.Body)
	}
	r, err := http.NewRequest("GET", "http://127.0.0.1:8080/api/v1/tasks?family=x&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	uri, _, err := v4.NewSigner().PresignHTTP(context.Background(), credentials, r, hex.EncodeToString(sum[:]), "execute-api", c.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, httptest.NewRequest("GET", uri, nil))
	if rec.Code != 200 || !bytes.Contains(rec.Body.Bytes(), []byte("tasks")) {
		t.Errorf("a presigned request: %d %s", rec.Code, rec.Body)
	}
}
