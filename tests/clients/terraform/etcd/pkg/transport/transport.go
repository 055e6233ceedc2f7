// Package transport stands in for etcd's TLS settings, as package client does.
package transport

import (
	"crypto/tls"

	"github.com/coreos/etcd/client"
)

// TLSInfo names files.
type TLSInfo struct {
	CAFile, CertFile, KeyFile, TrustedCAFile string
}

// ClientConfig returns an error.
func (TLSInfo) ClientConfig() (*tls.Config, error) { return nil, client.ErrNone }

// Empty reports whether no files are named.
func (TLSInfo) Empty() bool { return true }
