// Package client stands in for the etcd client that Terraform 0.11 is linked with to keep
// state there. The real one does not start when it is built with a Go of today, since an
// encoding of its own has a letter twice. Here state is kept in files, so nothing of this is
// ever called: it has what Terraform names, and no more.
package client

import (
	"context"
	"errors"
)

// ErrNone is what all of these return.
var ErrNone = errors.New("no etcd here")

// ErrorCodeKeyNotFound is a code of Error.
const ErrorCodeKeyNotFound = 100

type (
	// Config says how to reach etcd.
	Config struct {
		Endpoints          []string
		Username, Password string
	}
	// Client is a client of etcd.
	Client any
	// Error is what etcd says.
	Error struct{ Code int }
	// GetOptions says how to read.
	GetOptions struct{ Quorum bool }
	// Node is what is kept under a key.
	Node struct {
		Dir   bool
		Value string
	}
	// Response is an answer.
	Response struct{ Node *Node }
	// KeysAPI reads and writes keys.
	KeysAPI struct{}
)

func (Error) Error() string { return "etcd" }

// New returns ErrNone.
func New(Config) (Client, error) { return nil, ErrNone }

// NewKeysAPI returns one that does nothing.
func NewKeysAPI(Client) KeysAPI { return KeysAPI{} }

// Get returns ErrNone.
func (KeysAPI) Get(context.Context, string, *GetOptions) (*Response, error) { return nil, ErrNone }

// Set returns ErrNone.
func (KeysAPI) Set(context.Context, string, string, any) (*Response, error) { return nil, ErrNone }

// Delete returns ErrNone.
func (KeysAPI) Delete(context.Context, string, any) (*Response, error) { return nil, ErrNone }
