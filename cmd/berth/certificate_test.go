package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// writeCertificate writes a certificate for a name that no test calls its server by, and its
// key, and returns its serial number.
func writeCertificate(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "berth.example"}, DNSNames: []string{"berth.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Ensure a certificate that was renewed is used without a restart, and that one whose halves
// do not fit together, or that is gone, leaves the one before and is told of once.
func TestCertificateChanges(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	cert, key := writeCertificate(t, dir, 1)
	core, logs := observer.New(zap.WarnLevel)
	c := &certificate{cert: cert, key: key, log: zap.New(core), time: func() time.Time { return now }}
	serial := func() int64 {
		t.Helper()
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("certificate %d", got)
	}
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, dir, 2)
	if got := serial(); got != 1 {
		t.Errorf("certificate %d before its time", got)
	}
	now = now.Add(lookEvery)
	if got := serial(); got != 2 {
		t.Errorf("certificate %d after a renewal", got)
	}
	if err := os.WriteFile(key, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(lookEvery)
		if got := serial(); got != 2 {
			t.Errorf("certificate %d with another's key", got)
		}
	}
	if logs.Len() != 1 {
		t.Errorf("told of %d times", logs.Len())
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery)
	if got := serial(); got != 2 {
		t.Errorf("certificate %d of a file that is gone", got)
	}
	writeCertificate(t, dir, 3)
	now = now.Add(lookEvery)
	if got := serial(); got != 3 {
		t.Errorf("certificate %d after it was mended", got)
	}
}

// Ensure this host's own commands speak to the server of their state directory only, whatever
// name its certificate is for: they send an admin's token.
func TestPinned(t *testing.T) {
	own, other := t.TempDir(), t.TempDir()
	cert, key := writeCertificate(t, own, 1)
	otherCert, otherKey := writeCertificate(t, other, 2)
	told := ""
	serve := func(cert, key string) string {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			told = r.Header.Get("Authorization")
			io.WriteString(w, `{"status":"ok"}`)
		}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	ask := func(endpoint string) error {
		a := &app{endpoint: endpoint, token: "t", pinned: cert}
		_, err := a.client().Health(t.Context())
		return err
	}
	if err := ask(serve(otherCert, otherKey)); err == nil || told != "" {
		t.Errorf("another server was told %q: %v", told, err)
	}
	if err := ask(serve(cert, key)); err != nil || told != "Bearer t" {
		t.Errorf("the own server was told %q: %v", told, err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if err := ask("https://" + strings.TrimPrefix(plain.URL, "http://")); err == nil {
		t.Error("a server without TLS will do")
	}
}

// Ensure a certificate is got by ACME from an authority that asks the server itself whether
// the host is its own, also for a client that does not say the host's name; that it is kept;
// and that none is asked for other names.
func TestACME(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	authority := newAuthority(t, l.Addr().String())
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c := doorConfig{ACMEHosts: []string{"Berth.Example"}, ACMEDirectory: authority.server.URL + "/directory", ACMERoots: roots, KeepAudit: 24 * time.Hour}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, err := c.tls(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: zap.NewStdLog(zap.NewNop())}
	go srv.Serve(tls.NewListener(l, config))
	t.Cleanup(func() { srv.Close() })
	get := func(client *http.Client) error {
		resp, err := client.Get("https://" + l.Addr().String())
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	if err := get(clientPinning(c.pinned(dir))); err != nil {
		t.Fatalf("by its address: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority.root)
	named := func(name string) *http.Client { return clientWith(&tls.Config{RootCAs: pool, ServerName: name}) }
	if err := get(named("berth.example")); err != nil {
		t.Errorf("by its name: %v", err)
	}
	if err := get(named("other.example")); err == nil {
		t.Error("it has a certificate for a name that is not its own")
	}
	if n := authority.issued.Load(); n != 1 {
		t.Errorf("%d certificates were asked for", n)
	}
	if info, err := os.Stat(c.pinned(dir)); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the kept certificate: %v, %v", info, err)
	}
}
