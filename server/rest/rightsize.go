package rest

import (
	"context"

	"berth/access"
	"berth/billing/rightsize"
)

// Sizes says which sizes tasks need.
type Sizes interface {
	Advise(ctx context.Context, r rightsize.Request) (rightsize.Advice, error)
}

type rightsizeIn struct {
	Body rightsize.Request `required:"false"`
}

func (s *server) rightsize(ctx context.Context, in *rightsizeIn) (*rightsize.Advice, error) {
	in.Body.Account = access.From(ctx).Account
	a, err := s.Sizes.Advise(ctx, in.Body)
	return &a, err
}
