package ecs

import (
	"context"
	"errors"
	"strings"

	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

// serviceOf returns the service of an ARN's rest, CLUSTER/NAME or NAME, and what follows it.
func (s *server) serviceOf(ctx context.Context, c wire.Call, a arn) (v service.Service, set string, err error) {
	parts := strings.SplitN(a.rest, "/", 3)
	if len(parts) == 1 {
		parts = []string{task.DefaultCluster, parts[0]}
	}
	if len(parts) == 3 {
		set = parts[2]
	}
	if s.Services == nil {
		return v, set, noSuchResource()
	}
	v, err = s.Services.Named(ctx, c.Realm().InCluster(parts[0]), parts[1])
	if notFound(err) || err == nil && v.Status == service.Inactive {
		return v, set, noSuchResource()
	}
	return v, set, err
}

func (s *server) serviceTags(ctx context.Context, c wire.Call, a arn) ([]task.Tag, error) {
	v, _, err := s.serviceOf(ctx, c, a)
	return v.Tags, err
}

func (s *server) tagService(ctx context.Context, c wire.Call, a arn, set []task.Tag, remove []string) error {
	v, _, err := s.serviceOf(ctx, c, a)
	if err != nil {
		return err
	}
	_, err = s.Services.Retag(ctx, v.Realm, v.Name, set, remove)
	return tagFault(err)
}

func (s *server) taskSetTags(ctx context.Context, c wire.Call, a arn) ([]task.Tag, error) {
	v, id, err := s.serviceOf(ctx, c, a)
	if err != nil {
		return nil, err
	}
	t, err := v.TaskSet(id)
	return t.Tags, tagFault(err)
}

func (s *server) tagTaskSet(ctx context.Context, c wire.Call, a arn, set []task.Tag, remove []string) error {
	v, id, err := s.serviceOf(ctx, c, a)
	if err != nil {
		return err
	}
	_, _, err = s.Services.RetagSet(ctx, v.Realm, v.Name, id, set, remove)
	return tagFault(err)
}

func tagFault(err error) error {
	if errors.Is(err, service.ErrNoService) || errors.Is(err, service.ErrNoTaskSet) {
		return noSuchResource()
	}
	return as(invalid, err)
}
