package ecs

import (
	"context"

	"berth/access"
	"berth/server/aws/wire"
	"berth/service"
	"berth/task"
)

// onService says that a call touches a service, with its tags.
func (s *server) onService(ctx context.Context, c wire.Call, cluster, ref string, request []task.Tag) ([]access.Action, error) {
	r, err := realmOf(c, cluster)
	if err != nil {
		return nil, nil // The operation says what is wrong.
	}
	name, err := serviceName(r, ref)
	if err != nil {
		return nil, nil
	}
	var have []task.Tag
	if v, err := s.Services.Named(ctx, r, name); err == nil {
		have = v.Tags
	}
	return []access.Action{{Resource: service.Service{Realm: r, Name: name}.ARN(), Context: about(r, have, request)}}, nil
}

func (s *server) onCreateService(ctx context.Context, c wire.Call, in *createServiceIn) ([]access.Action, error) {
	all, err := s.onService(ctx, c, in.Cluster, in.Name, in.Tags)
	if err != nil || len(all) == 0 {
		return all, err
	}
	r, _ := realmOf(c, in.Cluster)
	all = append(all, s.passing(ctx, r, in.Definition)...)
	return s.tagging(ctx, c, all, "CreateService", all[0].Resource, r, in.Tags), nil
}

func (s *server) onUpdateService(ctx context.Context, c wire.Call, in *updateServiceIn) ([]access.Action, error) {
	all, err := s.onService(ctx, c, in.Cluster, in.Service, nil)
	if r, failed := realmOf(c, in.Cluster); failed == nil && len(all) > 0 {
		all = append(all, s.passing(ctx, r, in.Definition)...)
	}
	return all, err
}

// passing says that tasks of a definition, if one is named, will act in its roles.
func (s *server) passing(ctx context.Context, r task.Realm, ref *string) []access.Action {
	if ref == nil {
		return nil
	}
	d, err := s.Definitions.Definition(ctx, r, *ref)
	if err != nil {
		return nil // The operation says what is wrong.
	}
	return access.PassRoles(r.Account, d.TaskRoleARN, d.ExecutionRoleARN)
}

func (s *server) onDeleteService(ctx context.Context, c wire.Call, in *deleteServiceIn) ([]access.Action, error) {
	return s.onService(ctx, c, in.Cluster, in.Service, nil)
}

func (s *server) onDescribeServices(ctx context.Context, c wire.Call, in *describeServicesIn) (all []access.Action, err error) {
	for _, ref := range in.Services {
		one, _ := s.onService(ctx, c, in.Cluster, ref, nil)
		all = append(all, one...)
	}
	return all, nil
}
