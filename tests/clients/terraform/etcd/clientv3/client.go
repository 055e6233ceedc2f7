// Package clientv3 stands in for etcd's client of that name, as package client does.
package clientv3

import (
	"context"
	"crypto/tls"

	"github.com/coreos/etcd/client"
)

type (
	// Config says how to reach etcd.
	Config struct {
		Endpoints          []string
		Username, Password string
		TLS                *tls.Config
	}
	// KeyValue is what is kept under a key.
	KeyValue struct {
		Key, Value  []byte
		ModRevision int64
	}
	// GetResponse answers Get.
	GetResponse struct {
		Count int64
		Kvs   []*KeyValue
	}
	// PutResponse answers Put.
	PutResponse struct{}
	// DeleteResponse answers Delete.
	DeleteResponse struct{ Deleted int64 }
	// OpResponse is one answer in a transaction.
	OpResponse struct{}
	// TxnResponse answers a transaction.
	TxnResponse struct {
		Succeeded bool
		Responses []OpResponse
	}
	// KV reads and writes keys.
	KV struct{}
	// Client is a client of etcd.
	Client struct{ KV }
	// Txn is a transaction.
	Txn struct{}
	// Cmp is a condition.
	Cmp struct{}
	// Op is an act.
	Op struct{}
	// OpOption is how to act.
	OpOption func(*Op)
)

// New returns an error: there is no etcd.
func New(Config) (*Client, error) { return nil, client.ErrNone }

// NewKV returns one that does nothing, as all that follow.
func NewKV(*Client) KV { return KV{} }

func (KV) Get(context.Context, string, ...OpOption) (*GetResponse, error) {
	return nil, client.ErrNone
}

func (KV) Put(context.Context, string, string) (*PutResponse, error) { return nil, client.ErrNone }

func (KV) Delete(context.Context, string) (*DeleteResponse, error) { return nil, client.ErrNone }

func (KV) Txn(context.Context) Txn { return Txn{} }

func (t Txn) If(...Cmp) Txn { return t }

func (t Txn) Then(...Op) Txn { return t }

func (Txn) Commit() (*TxnResponse, error) { return nil, client.ErrNone }

func (OpResponse) GetResponseRange() *GetResponse { return &GetResponse{} }

func Compare(Cmp, string, any) Cmp { return Cmp{} }

func ModRevision(string) Cmp { return Cmp{} }

func OpPut(string, string) Op { return Op{} }

func OpGet(string) Op { return Op{} }

func WithPrefix() OpOption { return func(*Op) {} }

func WithKeysOnly() OpOption { return func(*Op) {} }
