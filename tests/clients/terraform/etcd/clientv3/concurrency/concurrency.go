// Package concurrency stands in for etcd's locks, as package client does.
package concurrency

import (
	"context"

	"github.com/coreos/etcd/client"
	"github.com/coreos/etcd/clientv3"
)

type (
	// Session is what a lock lives as long as.
	Session struct{}
	// Mutex is a lock.
	Mutex struct{}
)

func NewSession(*clientv3.Client) (*Session, error) { return nil, client.ErrNone }

func (*Session) Close() error { return nil }

func NewMutex(*Session, string) *Mutex { return &Mutex{} }

func (*Mutex) Key() string { return "" }

func (*Mutex) Lock(context.Context) error { return client.ErrNone }

func (*Mutex) Unlock(context.Context) error { return nil }
