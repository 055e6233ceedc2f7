package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// authority is an ACME server (RFC 8555) that knows TLS-ALPN-01 (RFC 8737) only, and finds
// every host at one address. It does not check the signatures of requests: the client is not
// what it is there to test.
type authority struct {
	t      *testing.T
	server *httptest.Server
	at     string // where hosts are
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
	issued atomic.Int32

	mu    sync.Mutex
	thumb string // of the account's key
	host  string // of the order
	valid bool   // the host is the account's
	chain []byte
}

func newAuthority(t *testing.T, at string) *authority {
	a := &authority{t: t, at: at}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.server = httptest.NewTLSServer(a)
	t.Cleanup(a.server.Close)
	return a
}

const challengeToken = "a-token"

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	url := a.server.URL
	w.Header().Set("Replay-Nonce", "nonce")
	status := func() string {
		if a.valid {
			return "valid"
		}
		return "pending"
	}
	challenge := func() map[string]any {
		return map[string]any{"type": "tls-alpn-01", "url": url + "/challenge", "token": challengeToken, "status": status()}
	}
	order := func(status string) map[string]any {
		o := map[string]any{"status": status, "identifiers": []any{map[string]any{"type": "dns", "value": a.host}},
			"authorizations": []string{url + "/authorization"}, "finalize": url + "/finalize"}
		if a.chain != nil {
			o["certificate"] = url + "/certificate"
		}
		return o
	}
	answer := func(code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(v)
	}
	protected, payload := a.read(r)
	switch r.URL.Path {
	case "/directory":
		answer(200, map[string]any{"newNonce": url + "/nonce", "newAccount": url + "/account", "newOrder": url + "/order", "revokeCert": url + "/revoke", "keyChange": url + "/key"})
	case "/nonce":
		w.WriteHeader(200)
	case "/account":
		a.thumb = thumbprint(a.t, protected)
		w.Header().Set("Location", url+"/account/1")
		answer(201, map[string]any{"status": "valid"})
	case "/order":
		var in struct {
			Identifiers []struct{ Value string }
		}
		json.Unmarshal(payload, &in)
		a.host = in.Identifiers[0].Value
		w.Header().Set("Location", url+"/order/1")
		answer(201, order("pending"))
	case "/order/1":
		state := "ready"
		if a.chain != nil {
			state = "valid"
		}
		answer(200, order(state))
	case "/authorization":
		answer(200, map[string]any{"status": status(), "identifier": map[string]any{"type": "dns", "value": a.host}, "challenges": []any{challenge()}})
	case "/challenge":
		if err := a.ask(); err != nil {
			a.t.Error(err)
		}
		a.valid = true
		answer(200, challenge())
	case "/finalize":
		var in struct{ CSR string }
		json.Unmarshal(payload, &in)
		der, _ := base64.RawURLEncoding.DecodeString(in.CSR)
		a.issue(der)
		w.Header().Set("Location", url+"/order/1")
		answer(200, order("valid"))
	case "/certificate":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		w.Write(a.chain)
	default:
		answer(404, map[string]any{"type": "urn:ietf:params:acme:error:malformed", "detail": r.URL.Path})
	}
}

// read returns the two parts of a request, which is a JWS.
func (a *authority) read(r *http.Request) (protected, payload []byte) {
	var jws struct{ Protected, Payload string }
	json.NewDecoder(r.Body).Decode(&jws)
	protected, _ = base64.RawURLEncoding.DecodeString(jws.Protected)
	payload, _ = base64.RawURLEncoding.DecodeString(jws.Payload)
	return protected, payload
}

func thumbprint(t *testing.T, protected []byte) string {
	var in struct{ JWK struct{ X, Y string } }
	if err := json.Unmarshal(protected, &in); err != nil {
		t.Error(err)
	}
	number := func(text string) *big.Int {
		b, _ := base64.RawURLEncoding.DecodeString(text)
		return new(big.Int).SetBytes(b)
	}
	thumb, err := acme.JWKThumbprint(&ecdsa.PublicKey{Curve: elliptic.P256(), X: number(in.JWK.X), Y: number(in.JWK.Y)})
	if err != nil {
		t.Error(err)
	}
	return thumb
}

// acmeIdentifier is the extension with the proof (RFC 8737, section 6.1).
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// ask asks the host whether it is the account's.
func (a *authority) ask() error {
	conn, err := tls.Dial("tcp", a.at, &tls.Config{ServerName: a.host, NextProtos: []string{acme.ALPNProto}, InsecureSkipVerify: true})
	if err != nil {
		return fmt.Errorf("ask %s: %w", a.host, err)
	}
	defer conn.Close()
	want := sha256.Sum256([]byte(challengeToken + "." + a.thumb))
	proof, err := asn1.Marshal(want[:])
	if err != nil {
		return err
	}
	for _, e := range conn.ConnectionState().PeerCertificates[0].Extensions {
		if e.Id.Equal(acmeIdentifier) && e.Critical && bytes.Equal(e.Value, proof) {
			return nil
		}
	}
	return fmt.Errorf("%s proves nothing", a.host)
}

func (a *authority) issue(der []byte) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || !a.valid {
		a.t.Errorf("a certificate for %s (proved %t): %v", a.host, a.valid, err)
		return
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leaf, err := x509.CreateCertificate(rand.Reader, template, a.root, csr.PublicKey, a.key)
	if err != nil {
		a.t.Error(err)
		return
	}
	for _, each := range [][]byte{leaf, a.root.Raw} {
		a.chain = append(a.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: each})...)
	}
	a.issued.Add(1)
}
