package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"berth/fault"
)

// acmeDir is where, in the state directory, what ACME got is kept.
const acmeDir = "acme"

// tls returns how this server speaks TLS, nil if it does not.
func (c doorConfig) tls(stateDir string, log *zap.Logger) (*tls.Config, error) {
	switch {
	case c.TLSCert != "":
		files := &certificate{cert: c.TLSCert, key: c.TLSKey, log: log, time: time.Now}
		return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: files.get}, nil
	case len(c.ACMEHosts) > 0:
		client := &acme.Client{DirectoryURL: c.ACMEDirectory}
		if c.ACMERoots != "" {
			h, err := clientTrusting(c.ACMERoots)
			if err != nil {
				return nil, err
			}
			client.HTTPClient = h
		}
		m := &autocert.Manager{
			Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(filepath.Join(stateDir, acmeDir)),
			HostPolicy: autocert.HostWhitelist(c.ACMEHosts...), Email: c.ACMEEmail, Client: client,
		}
		t := m.TLSConfig()
		t.MinVersion = tls.VersionTLS12
		t.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "" { // by its address, as this host's own commands do
				hello.ServerName = c.ACMEHosts[0]
			}
			return m.GetCertificate(hello)
		}
		return t, nil
	}
	return nil, nil
}

// pinned is the file with the certificate that this server has for those who call it by its
// address; "" if it does not speak TLS. autocert calls its files by their hosts.
func (c doorConfig) pinned(stateDir string) string {
	switch {
	case c.TLSCert != "":
		return c.TLSCert
	case len(c.ACMEHosts) > 0:
		return filepath.Join(stateDir, acmeDir, c.ACMEHosts[0])
	}
	return ""
}

// certificate is a certificate in files, which are read again when they have changed: who
// renews it need not restart the server. While they cannot be read the one before counts.
type certificate struct {
	cert, key string
	log       *zap.Logger
	time      func() time.Time

	mu     sync.Mutex
	now    *tls.Certificate
	read   [2]os.FileInfo // the files of now
	tried  [2]os.FileInfo // those that were looked at last
	looked time.Time
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = 5 * time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && c.time().Sub(c.looked).Abs() < lookEvery {
		return c.now, nil
	}
	c.looked = c.time()
	var files [2]os.FileInfo
	for i, path := range []string{c.cert, c.key} {
		files[i], _ = os.Stat(path) // What is not there differs from what was, and cannot be read.
	}
	if c.now != nil && same(files, c.read) {
		return c.now, nil
	}
	next, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil && c.now == nil {
		return nil, err
	}
	if err != nil {
		if !same(files, c.tried) { // Say it once.
			c.log.Warn("the certificate has changed and cannot be used; the one before is", zap.String("file", c.cert), zap.Error(err))
		}
		c.tried = files
		return c.now, nil
	}
	c.log.Info("certificate read", zap.String("file", c.cert), zap.Time("notAfter", next.Leaf.NotAfter))
	c.now, c.read, c.tried = &next, files, files
	return c.now, nil
}

// same reports whether files are those that they were. Times alone are not enough: copying
// may keep them.
func same(a, b [2]os.FileInfo) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) {
			return false
		}
		if a[i] != nil && (!os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size()) {
			return false
		}
	}
	return true
}

// clientTrusting returns a client that trusts the certificates in a file, and those that the
// host trusts.
func clientTrusting(file string) (*http.Client, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "the certificates in %s cannot be read", file)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "there is no certificate in %s", file)
	}
	return clientWith(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}), nil
}

// clientPinning returns a client of the server whose certificate is the first in a file. That
// may be for a name by which this host does not call it, so names do not count, and the file
// is read when the server has answered, which may have got it only then.
func clientPinning(file string) *http.Client {
	return clientWith(&tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the server has no certificate")
			}
			return firstIn(file, s.PeerCertificates[0])
		},
	})
}

func clientWith(c *tls.Config) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = c
	return &http.Client{Transport: t}
}

// firstIn returns an error unless leaf is the first certificate in a PEM file.
func firstIn(file string, leaf *x509.Certificate) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the certificate of this server: %w", err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if one, err := x509.ParseCertificate(block.Bytes); err == nil && one.Equal(leaf) {
			return nil
		}
		break
	}
	return fmt.Errorf("what answers has another certificate than the one in %s", file)
}
