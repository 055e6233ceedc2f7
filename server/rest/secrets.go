package rest

import (
	"context"
	"io"

	"berth/fault"
	"berth/server/api"
)

type putSecretIn struct {
	Name   string    `path:"name" doc:"Its slashes may stand as they are"`
	Stream io.Reader `accept:"application/octet-stream,text/plain"`
}

func (s *server) putSecret(ctx context.Context, in *putSecretIn) (*api.SecretInfo, error) {
	value, err := io.ReadAll(io.LimitReader(in.Stream, api.MaxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(value) > api.MaxSecret {
		return nil, fault.New(fault.TooLarge, "the secret has more than %d bytes (64 KiB)", api.MaxSecret)
	}
	secret, err := s.Secrets.PutSecret(ctx, in.Name, value)
	return &secret, err
}

func (s *server) secrets(ctx context.Context, _ *none) (*api.SecretList, error) {
	secrets, err := s.Secrets.Secrets(ctx)
	return &api.SecretList{Secrets: some(secrets)}, err
}

type removeSecretIn struct {
	Name string `path:"name" doc:"Its slashes may stand as they are"`
}

func (s *server) removeSecret(ctx context.Context, in *removeSecretIn) (*none, error) {
	return nil, s.Secrets.RemoveSecret(ctx, in.Name)
}
