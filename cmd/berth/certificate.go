package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"sync"
	"time"

	"berth/fault"
)

// certificate is a certificate in files, which are read again when they have changed: who
// renews it need not restart the server. While they cannot be read the one before counts.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	now     *tls.Certificate
	changed [2]time.Time // when the files of now were
	looked  time.Time
}

// lookEvery is how often the files are looked at, at most.
const lookEvery = 5 * time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && time.Since(c.looked) < lookEvery {
		return c.now, nil
	}
	c.looked = time.Now()
	var changed [2]time.Time
	for i, file := range []string{c.cert, c.key} {
		if st, err := os.Stat(file); err == nil {
			changed[i] = st.ModTime()
		}
	}
	if c.now != nil && changed == c.changed {
		return c.now, nil
	}
	next, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.now != nil {
			return c.now, nil
		}
		return nil, err
	}
	c.now, c.changed = &next, changed
	return c.now, nil
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
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t}, nil
}
