// Package wire speaks AWS's protocols: JSON 1.1, Query and EC2. It finds the operation
// that a request is for, reads its input strictly, asks who calls and whether they may,
// and writes what comes of it, or the error, as AWS's clients expect it. What operations
// do is in the folders beside it, one for each service.
//
// The protocols are those of Smithy's documentation ("AWS JSON 1.1 protocol", "AWS query
// protocol", "AWS EC2 query protocol").
package wire

import (
	"context"
	"net/http"
	"reflect"
	"strings"

	"berth/access"
	"berth/task"
)

// Call is what an operation knows besides its input.
type Call struct {
	Identity  access.Identity
	RequestID string
	Host      string // as the client wrote it: a name or address, and the port
	Secure    bool   // the request came over TLS
	Source    string // address of the client
}

// Realm returns where the caller's things are, in the default cluster.
func (c Call) Realm() task.Realm { return c.Identity.Realm() }

// Protocol is how a service's requests and answers look.
type Protocol uint8

const (
	JSON  Protocol = iota // AWS JSON 1.0 or 1.1
	Query                 // form in, XML out, as STS has it
	EC2                   // form in, XML out, as EC2 has it
)

// Service is one AWS service, as its folder in server/aws makes it.
type Service struct {
	Name     string // as signatures and policies call it: ecs, logs, sts
	Signing  string // as signatures call it, if that is not Name
	Protocol Protocol
	Target   string // JSON: what X-Amz-Target has before its dot
	Version  string // JSON: 1.0 or 1.1; Query and EC2: the date of the API, 2011-06-15
	Invalid  string // code of a request that breaks the model, as in InvalidParameterException

	// Code returns the service's word for a fault that is not an *Error, and its HTTP
	// status. Empty, also if Code is nil: wire's own (errors.go).
	Code func(err error) (code string, status int)

	Operations []Operation
}

// Operation is one call of a service. Op makes it.
type Operation struct {
	Name string // as in the API: DescribeClusters

	// Reads is set for operations that change nothing: they are not audited.
	Reads bool

	free   bool // see Free
	in     reflect.Type
	act    func(ctx context.Context, c Call, in any) ([]access.Action, error)
	handle func(ctx context.Context, c Call, in any) (any, error)
}

// Option says more of an operation.
type Option func(*Operation)

// On says what a call of an operation touches, for policies to decide on: an action
// without a name has the operation's. Without On it is the operation on *.
func On[In any](f func(ctx context.Context, c Call, in *In) ([]access.Action, error)) Option {
	return func(o *Operation) {
		o.act = func(ctx context.Context, c Call, in any) ([]access.Action, error) { return f(ctx, c, in.(*In)) }
	}
}

// Free says that whoever could prove who they are may make the call, whatever policies say:
// as AWS has it for a few calls about oneself.
func Free() Option { return func(o *Operation) { o.free = true } }

// Resources is On for operations of which only the ARNs matter.
func Resources[In any](f func(c Call, in *In) []string) Option {
	return On(func(_ context.Context, c Call, in *In) ([]access.Action, error) {
		var as []access.Action
		for _, arn := range f(c, in) {
			as = append(as, access.Action{Resource: arn})
		}
		return as, nil
	})
}

// Op makes an operation of a plain function. In and Out are structs whose members have
// json tags with the model's names; members that may be left out are pointers, slices,
// maps, or fields with omitempty. These tags of In are checked before f is called, also in
// structs within it:
//
//	required:"true"     the member must be there
//	min:"1" max:"10"    of a string, its characters; of a list or map, its length; of a number, itself
//	pattern:"…"         of a string, the whole of it (RE2)
//	enum:"A,B"          of a string
//
// Out may be a Stream. nil is an empty answer.
func Op[In, Out any](name string, f func(context.Context, Call, *In) (*Out, error), options ...Option) Operation {
	o := Operation{
		Name: name, in: reflect.TypeFor[In](), Reads: reads(name),
		handle: func(ctx context.Context, c Call, in any) (any, error) {
			out, err := f(ctx, c, in.(*In))
			if err != nil {
				return nil, err
			}
			if out == nil {
				return struct{}{}, nil
			}
			return out, nil
		},
	}
	for _, option := range options {
		option(&o)
	}
	return o
}

// reads reports whether an operation of that name changes nothing, which AWS's names tell.
func reads(name string) bool {
	for _, verb := range []string{"Describe", "List", "Get", "Filter", "StartLiveTail", "Test", "Decode"} {
		if strings.HasPrefix(name, verb) {
			return true
		}
	}
	return false
}

// None is the input or the output of an operation that has none.
type None struct{}

// Stream is an answer that comes bit by bit.
type Stream interface {
	// Stream writes the answer, its headers too, until it is whole or ctx ends.
	Stream(ctx context.Context, w http.ResponseWriter) error
}
